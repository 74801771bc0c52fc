"""Compare an answer with what a case expects: columns, types, and the rows as a multiset."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tests.support.arrow_types import spark_name
from tests.support.values import canonical_rows, row_text

_SHOWN_ROWS = 8


@dataclass(frozen=True)
class Answer:
    """A table in the engine-neutral form: columns with Spark type names, rows in canonical form and order."""

    columns: tuple[tuple[str, str], ...]
    rows: list[list[Any]]

    @classmethod
    def of(cls, table: pa.Table) -> Answer:
        """Take the answer from an Arrow table."""
        columns = tuple((field.name, spark_name(field.type)) for field in table.schema)
        return cls(columns, canonical_rows(table))

    def by_name(self) -> Answer:
        """Return the same answer with its columns sorted by name (for `column_order: "any"`)."""
        order = sorted(range(len(self.columns)), key=lambda position: self.columns[position][0])
        rows = [[row[position] for position in order] for row in self.rows]
        return Answer(tuple(self.columns[position] for position in order), sorted(rows, key=row_text))


def difference(actual: pa.Table | Answer, expected: pa.Table | Answer, *, any_column_order: bool = False) -> str | None:
    """Describe how two answers differ.

    Args:
        actual: What was computed.
        expected: What it should be.
        any_column_order: Compare columns by name instead of by position.

    Returns:
        None when columns, types and the multiset of rows are equal; otherwise a text for a person.
    """
    left = actual if isinstance(actual, Answer) else Answer.of(actual)
    right = expected if isinstance(expected, Answer) else Answer.of(expected)
    if any_column_order:
        left, right = left.by_name(), right.by_name()
    if left.columns != right.columns:
        return "\n".join(["columns differ", f"  actual:   {_typed(left)}", f"  expected: {_typed(right)}"])
    got, wanted = (Counter(map(row_text, answer.rows)) for answer in (left, right))
    if got == wanted:
        return None
    lines = [
        f"rows differ: {len(left.rows)} actual, {len(right.rows)} expected",
        f"  columns: {_typed(left)}",
        *_listed("only in actual", got - wanted),
        *_listed("only in expected", wanted - got),
    ]
    return "\n".join(lines)


def assert_same(actual: pa.Table | Answer, expected: pa.Table | Answer, *, any_column_order: bool = False) -> None:
    """Fail with a readable difference unless both answers have the same columns, types and multiset of rows."""
    text = difference(actual, expected, any_column_order=any_column_order)
    if text is not None:
        raise AssertionError(text)


def _typed(answer: Answer) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in answer.columns)


def _listed(title: str, rows: Counter[str]) -> list[str]:
    shown = [f"    {count} x {text}" for text, count in sorted(rows.items())[:_SHOWN_ROWS]]
    hidden = len(rows) - len(shown)
    return [f"  {title}: {rows.total()}", *shown, *([f"    ... and {hidden} more"] if hidden else [])]
