"""Laying out generated Python as ruff's formatter does, whatever the length of the names in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import category

_LINE = 120
_WIDE = 0x10000


@dataclass(frozen=True)
class PythonCall:
    """A call, or what else has a head and arguments in brackets.

    Attributes:
        head: What stands before the bracket, as in `sql=number_sql`.
        arguments: Each as Python, or a call itself.
    """

    head: str
    arguments: Sequence[str | PythonCall]

    def flat(self) -> str:
        """Return it in one line."""
        return f"{self.head}({', '.join(_flat(argument) for argument in self.arguments)})"

    def laid_out(self, indent: int, after: str = ",") -> str:
        """Return it as it stands at an indent, in as many lines as it takes; the first one without the indent.

        Args:
            indent: Blanks before it.
            after: What follows it in its last line.

        Examples:
            >>> print(PythonCall("f", ["a" * 60, "b" * 60]).laid_out(0, ""))
            f(
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,
                bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,
            )
        """
        flat = self.flat()
        if indent + len(flat) + len(after) <= _LINE:
            return flat + after
        inner = indent + 4
        together = ", ".join(_flat(argument) for argument in self.arguments)
        if inner + len(together) <= _LINE:
            lines = [" " * inner + together]
        else:
            lines = [
                " " * inner + (argument + "," if isinstance(argument, str) else argument.laid_out(inner))
                for argument in self.arguments
            ]
        return "\n".join([f"{self.head}(", *lines, " " * indent + ")" + after])


def expectations(calls: Sequence[PythonCall]) -> str:
    """Return a table's expectations, at their indent; none: nothing."""
    if not calls:
        return ""
    alone = f"    expectations = ({calls[0].flat()},)"
    if len(calls) == 1 and len(alone) <= _LINE:
        return alone
    return "\n".join(["    expectations = (", *(f"        {call.laid_out(8)}" for call in calls), "    )"])


def _flat(argument: str | PythonCall) -> str:
    return argument if isinstance(argument, str) else argument.flat()


def text(value: object) -> str:
    r"""Return a value as text in quotes that Python and YAML read alike: invisible characters by their numbers.

    Examples:
        >>> text("größe\u00a0(m²)")
        '"größe\\u00a0(m²)"'
    """
    quoted = json.dumps(str(value), ensure_ascii=False)
    return "".join(_by_number(sign) if sign != " " and category(sign)[0] in "CZ" else sign for sign in quoted)


def _by_number(sign: str) -> str:
    number = ord(sign)
    return f"\\u{number:04x}" if number < _WIDE else f"\\U{number:08x}"


def marked(python: str) -> str:
    """Return a module in which lines that no layout makes shorter (one long text each) say so."""
    lines = [f"{line}  # noqa: E501" if len(line) > _LINE else line for line in python.split("\n")]
    return "\n".join(lines)


def tuple_of(names: Sequence[str]) -> str:
    """Return a tuple of texts.

    Examples:
        >>> tuple_of(["a"]), tuple_of(["a", "b"])
        ('("a",)', '("a", "b")')
    """
    inside = ", ".join(map(text, names))
    return f"({inside},)" if len(names) == 1 else f"({inside})"


def import_of(names: Sequence[str]) -> str:
    """Return the import of names of the platform."""
    line = f"from mlplatform import {', '.join(names)}"
    return line if len(line) <= _LINE else "\n".join(["from mlplatform import (", *(f"    {n}," for n in names), ")"])
