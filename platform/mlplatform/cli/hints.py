"""Commands that a message names, with the options that say where: as the user gave them, so that they work as told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import click
from click.core import ParameterSource

_COMMAND = re.compile(r"\bmlplatform((?: \w[\w-]*)+)")
Option = tuple[str, str]


@dataclass(frozen=True)
class Hints:
    """What is added to a command that is told.

    Attributes:
        given: Options that the user gave, such as `("--home", "/data/ws")`.
        root: The group of all commands.
    """

    given: tuple[Option, ...] = ()
    root: click.Command | None = None

    def repeated(self, text: str) -> str:
        """Return a text whose commands carry the options given, where they take them and do not name them."""
        return "\n".join(_COMMAND.sub(self._with_options, line) for line in text.split("\n")) if self.given else text

    def _with_options(self, match: re.Match[str]) -> str:
        words = match[1].split()
        command: click.Command | None = self.root
        depth = 0
        while depth < len(words) and isinstance(command, click.Group) and words[depth] in command.commands:
            command, depth = command.commands[words[depth]], depth + 1
        if command is None or isinstance(command, click.Group):
            return match[0]
        argument = depth < len(words) and any(isinstance(param, click.Argument) for param in command.params)
        head = " ".join(["mlplatform", *words[: depth + argument]])
        tail = match[0][len(head) :]
        rest = match.string[match.start() + len(head) :].partition(";")[0]
        flags = {flag for param in command.params if not getattr(param, "hidden", False) for flag in param.opts}
        added = [
            f" {flag} {shlex.quote(value)}" for flag, value in self.given if flag in flags and f"{flag} " not in rest
        ]
        return head + "".join(added) + tail


def given_options(names: Sequence[str]) -> Hints:
    """Return what the user gave of some options of the command that is being run.

    Args:
        names: Of the parameters. What an environment variable says is not repeated: it is still there.
    """
    context = click.get_current_context()
    given = []
    for param in context.command.params:
        if param.name not in names or context.get_parameter_source(param.name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[param.name]
        given.append((param.opts[-1], str(value)))
    return Hints(tuple(given), context.find_root().command)
