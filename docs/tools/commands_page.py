"""`docs/commands.md`: every command with its options, as click has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from docs.tools.markdown import cell, made_by, table
from mlplatform.cli.commands import COMMON_TITLE
from mlplatform.cli.main import PROGRAM, SECTIONS, cli
from mlplatform.cli.options import CommonOption

_INTRODUCTION = f"""\
# Commands

{made_by("the command line's own help")}

`{PROGRAM} --help` lists the commands, `{PROGRAM} run --help` says what `run` does. What a command exits with is in
[errors and exit codes](errors.md). In Databricks jobs the same commands are tasks of the entry point `mlplatform-job`
([how a task ends](databricks.md#what-a-use-case-gets)).

Use cases, stages, environments and feature tables are completed by Tab, once a shell has read its script:

    eval "$(_MLPLATFORM_COMPLETE=bash_source {PROGRAM})"     # in ~/.bashrc; zsh_source in ~/.zshrc
    _MLPLATFORM_COMPLETE=fish_source {PROGRAM} | source      # in ~/.config/fish/completions/{PROGRAM}.fish

The local workspace is the folder `--home`; in Python it is `open_workspace(root=...)`, and which kind of workspace it
is, `--workspace`, is `open_workspace(workspace=...)`. What is typed wins over an environment variable.
[What a home needs](operations.md#the-home).
"""
# How click marks a paragraph that is not to be wrapped.
_AS_IT_IS = "\b\n"


def page() -> str:
    """Return the text of the page."""
    parts = [_INTRODUCTION, *_contents(), *_common()]
    for title, commands in SECTIONS.items():
        parts.append(f"## {title}\n")
        for command in commands:
            parts += _command(command, f"{PROGRAM} {command.name}")
    return "\n".join(parts)


def _contents() -> Iterator[str]:
    rows = []
    for title, commands in SECTIONS.items():
        shown = [command for command in commands if not command.hidden]
        rows += [
            (title if number == 0 else "", f"[`{command.name}`](#{PROGRAM}-{command.name})", _first_line(command))
            for number, command in enumerate(shown)
        ]
    yield table(("", "command", "what it does"), rows)


def _common() -> Iterator[str]:
    yield f"## {COMMON_TITLE.partition(',')[0]}\n"
    yield "Every command takes them, before its name or after it; where one is given twice, the one after it wins.\n"
    context = click.Context(cli, info_name=PROGRAM)
    yield _options([param for param in cli.params if isinstance(param, CommonOption)], context)


def _command(command: click.Command, path: str) -> Iterator[str]:
    if command.hidden:
        return
    context = click.Context(command, info_name=path)
    yield f"### {path}\n"
    yield _help(command)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield f"```text\nUsage: {usage}\n```\n"
    own = [param for param in command.get_params(context) if not isinstance(param, CommonOption)]
    shown = [param for param in own if isinstance(param, click.Option) and "--help" not in param.opts]
    if shown:
        yield _options(shown, context)
    yield from _epilog(command.epilog or "")
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _command(inner, f"{path} {inner.name}")


def _help(command: click.Command) -> str:
    return _as_code(inspect.cleandoc(command.help or "")) + "\n"


def _first_line(command: click.Command) -> str:
    return _as_code(inspect.cleandoc(command.help or "").partition("\n")[0])


def _options(options: list[click.Parameter] | list[click.Option], context: click.Context) -> str:
    records = [record for option in options if (record := option.get_help_record(context))]
    # The choices of an option stand between bars, which end a cell.
    rows = [(f"`{cell(names)}`", _as_code(cell(re.sub(r"\s+", " ", text)))) for names, text in records]
    return table(("option", "what it does"), rows)


def _epilog(text: str) -> Iterator[str]:
    for paragraph in filter(None, text.split("\n\n")):
        if not paragraph.startswith(_AS_IT_IS):
            yield _as_code(paragraph) + "\n"
            continue
        title, *lines = paragraph.removeprefix(_AS_IT_IS).splitlines()
        # A line that goes on is typed once.
        begun = [False, *(line.endswith("\\") for line in lines[:-1])]
        yield f"{title}\n"
        yield "\n".join(
            [
                "```console",
                *(
                    f"  {line.strip()}" if goes_on else f"$ {line.strip()}"
                    for line, goes_on in zip(lines, begun, strict=True)
                ),
                "```\n",
            ]
        )


def _as_code(text: str) -> str:
    """Mark options, settings and files as code: the help, which is shown on a terminal, has no marks for most."""
    marked = re.sub(r"(?<![\w`-])(--[a-z][\w-]*(?: [A-Z][A-Z_]+)?)", r"`\1`", text)
    return re.sub(r"(?<![\w`/.])((?:MLPLATFORM_[A-Z_]+)|(?:config\.yml)|(?:[A-Z]+_[A-Z_]+))(?![\w`])", r"`\1`", marked)
