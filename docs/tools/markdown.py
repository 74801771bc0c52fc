"""Markdown that is made from code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def made_by(source: str) -> str:
    """Return the lines that say what a page is made from, and by what."""
    return f"<!-- Made by `make reference`: what is changed here is lost. -->\nThis page is made from {source}."


def cell(text: str) -> str:
    r"""Return a text as it may stand in a cell: a bar would end it.

    Examples:
        >>> print(cell("[a|b]"))
        [a\|b]
    """
    return text.replace("|", "\\|")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    Examples:
        >>> print(table(("key", "type"), [("owner", "text")]))
        | key | type |
        |---|---|
        | owner | text |
        <BLANKLINE>
    """
    lines = ["| " + " | ".join(row) + " |" for row in (titles, *rows)]
    lines.insert(1, "|" + "---|" * len(titles))
    return "\n".join(line.replace("|  |", "| |") for line in lines) + "\n"
