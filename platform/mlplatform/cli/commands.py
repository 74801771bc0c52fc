"""How every command is made: the common options before or after it, its examples, and the sections of the help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import click

from mlplatform.cli.hints import given_options
from mlplatform.cli.options import CommonOption, Options, common_options
from mlplatform.config.environments import STANDARD
from mlplatform.errors import PlatformError

COMMON_TITLE = "Common options, before or after the command (the one after it wins)"
_WHERE = tuple(item.name for item in fields(Options) if item.name not in ("as_json", "hints"))


class Command(click.Command):
    """A command that takes the common options; its function gets them as `options`."""

    def __init__(self, *arguments: Any, without_workspace: bool = False, **attributes: Any) -> None:
        """Add the common options.

        Args:
            *arguments: As click's commands take them.
            without_workspace: The command works in no workspace: options that name one are taken, and not shown.
            **attributes: As click's commands take them.
        """
        super().__init__(*arguments, **attributes)
        self.params += common_options(hidden=without_workspace)
        self._without_workspace = without_workspace

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with the common options as one object."""
        hints = given_options(_WHERE)
        where = {name: ctx.params.pop(name) for name in _WHERE}
        ctx.params.pop("debug")  # read by whoever shows the error
        as_json = ctx.params.pop("as_json")
        options = Options(**where | {"catalog": where["catalog"] or None}, as_json=as_json, hints=hints)
        ctx.params["options"] = options
        try:
            if (
                options.env not in STANDARD and not self._without_workspace
            ):  # what looks for more is imported when needed
                from mlplatform import discovery

                discovery.check_environment(options.env, options.use_cases)
            return super().invoke(ctx)
        except PlatformError as error:
            # A command that a hint names is to work as it stands.
            error.hint = hints.repeated(error.hint)
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the common ones."""
        _write_options(self.get_params(ctx), ctx, formatter)


class CommandGroup(click.Group):
    """A group of commands that takes the common options before the command."""

    def __init__(self, *arguments: Any, without_workspace: bool = False, **attributes: Any) -> None:
        """Add the common options.

        Args:
            *arguments: As click's groups take them.
            without_workspace: None of its commands works in a workspace: options that name one are taken, not
                shown.
            **attributes: As click's groups take them.
        """
        super().__init__(*arguments, **attributes)
        for option in common_options(hidden=without_workspace):
            option.expose_value = False
            self.params.append(option)
        self._sections: dict[str, tuple[str, ...]] = {}

    def add_sections(self, sections: Mapping[str, Sequence[click.Command]]) -> None:
        """Add commands that the help lists under titles.

        Args:
            sections: Title -> its commands, in the order in which they are listed.
        """
        for title, commands in sections.items():
            for command in commands:
                self.add_command(command)
            self._sections[title] = tuple(str(command.name) for command in commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were added: the help tells a story, not an alphabet."""
        del ctx
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the group's own options, then the common ones."""
        self.format_commands(ctx, formatter)
        _write_options(self.get_params(ctx), ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under the titles of their sections."""
        names = self.list_commands(ctx)
        within = {name for section in self._sections.values() for name in section}
        rest = tuple(name for name in names if name not in within)
        width = max((len(name) for name in names), default=0)
        for title, section in (*self._sections.items(), ("Commands", rest)):
            commands = [(name, self.commands[name]) for name in section if name in self.commands]
            shown = [(name, command) for name, command in commands if not command.hidden]
            if shown:
                limit = formatter.width - 6 - width
                rows = [(name.ljust(width), command.get_short_help_str(limit)) for name, command in shown]
                with formatter.section(title):
                    formatter.write_dl(rows)


def _write_options(params: Sequence[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    own: list[tuple[str, str]] = []
    common: list[tuple[str, str]] = []
    for param in params:
        record = param.get_help_record(ctx)
        if record is not None and not isinstance(param, click.Argument):
            (common if isinstance(param, CommonOption) else own).append(record)
    for title, records in (("Options", own), (COMMON_TITLE, common)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def command(
    name: str | None = None,
    *,
    examples: Sequence[str] = (),
    note: str = "",
    without_workspace: bool = False,
    group: click.Group | None = None,
) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command that takes the common options.

    Args:
        name: The command's name; None: the function's.
        examples: Lines that the help shows as examples.
        note: A paragraph below them.
        without_workspace: The command works in no workspace.
        group: The group that it belongs to; None: the program, which `main` puts together.
    """
    lines = "\n".join(f"  {example}" for example in examples)
    epilog = "\n\n".join(part for part in (f"\b\nExamples:\n{lines}" if examples else "", note) if part)

    def decorated(function: Callable[..., Any]) -> Command:
        decorated_command = click.command(name, cls=Command, epilog=epilog, without_workspace=without_workspace)(
            function
        )
        if group is not None:
            group.add_command(decorated_command)
        return decorated_command

    return decorated
