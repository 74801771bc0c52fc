"""Command lines as documents and scripts show them, parsed as click does, and never run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import click

from mlplatform.cli.main import PROGRAM, cli

PLACEHOLDER = re.compile(r"\{\{ \w+ \}\}|\$\{\{? ?[\w.]+ ?\}?\}|\$\(?\w+\)?|\$@")


def words_of(text: str) -> list[str]:
    """Return the words behind the program's name, up to where another program begins.

    Examples:
        >>> words_of("mlplatform config schema > use_cases/config.schema.json   # once")
        ['config', 'schema']
    """
    words = shlex.split(PLACEHOLDER.sub("1", text), comments=True)[1:]
    stops = [number for number, word in enumerate(words) if word in (">", "|", "&&", ";", "||") or word.endswith(";")]
    return [word.rstrip(";") for word in words[: stops[0] if stops else None] if word != "..."]


def parse(words: Sequence[str]) -> None:
    """Parse a command line as click does, and run nothing.

    Args:
        words: What stands behind the program's name.

    Raises:
        click.UsageError: If the command line does not take it.
        click.exceptions.Exit: If it only asks for help, or the version.
    """
    command: click.Command = cli
    context = command.make_context(PROGRAM, list(words), obj={})
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest:
            raise click.UsageError("Missing command.")
        name, inner, rest = command.resolve_command(context, rest)
        assert inner is not None
        command = inner
        context = command.make_context(name, rest, parent=context)
