"""Differences between what is declared and what exists, by what they do to rows and to live models."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa

from mlplatform.change.declared import DeclaredTable
from mlplatform.errors import TableError
from mlplatform.features.compare import ColumnDifference
from mlplatform.protocols.tables import TableInfo
from mlplatform.protocols.widening import is_wider, widening
from mlplatform.types import spark_type


class Kind(StrEnum):
    """What a difference does, from harmless to grave.

    - `text only`: comments, order, code that gives the same values.
    - `additive`: nothing that exists changes: a new nullable column, a new table, a column that is no longer written.
    - `recompute`: other values, or another shape, that no live model is given.
    - `breaking`: what a live model is given changes its meaning or type, or goes away; or it cannot be computed, or the
      next run refuses it.
    """

    TEXT = "text only"
    ADDITIVE = "additive"
    RECOMPUTE = "recompute"
    BREAKING = "breaking"

    @property
    def gravity(self) -> int:
        """Its place, from 0 for the harmless."""
        return list(Kind).index(self)


@dataclass(frozen=True)
class Difference:
    """One difference between a declaration and what exists.

    Attributes:
        mark: `=` same values, `+` new, `-` gone, `~` changed, `!` cannot be computed, or is refused.
        subject: What differs: a column, `keys`, `code`, ...
        kind: What it does.
        text: How they differ.
    """

    mark: str
    subject: str
    kind: Kind
    text: str


@dataclass(frozen=True)
class Measured:
    """How rows computed by the new declaration differ from those that a table holds.

    Attributes:
        before: Rows that the table holds, of those looked at.
        after: Rows as computed now.
        added: Rows whose key the table does not hold.
        removed: Rows whose key is not computed any more.
        columns: Column -> how it differs; only columns of both, and only those that do.
        renamed: Gone column -> new column of the same type that holds the same values in all rows.
        held: Rows that the table holds, where only a part of its history was looked at; else 0.
        seconds: How long computing took.
        compared: False where keys changed, and rows of both cannot be told to be the same.
    """

    before: int
    after: int
    added: int = 0
    removed: int = 0
    columns: Mapping[str, ColumnDifference] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    held: int = 0
    seconds: float = 0.0
    compared: bool = True

    @property
    def same(self) -> bool:
        """Whether all rows are the same in the columns of both."""
        return self.compared and not (self.added or self.removed or self.columns)

    @property
    def to_compute(self) -> tuple[int, float]:
        """The rows that a new column has to be computed for, and the seconds that this may take."""
        if not self.held or not self.before:
            return self.after, self.seconds
        return self.held, self.seconds * self.held / self.before

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "rows_held": self.held or self.before,
            "rows_before": self.before,
            "rows_after": self.after,
            "rows_added": self.added,
            "rows_removed": self.removed,
            "columns": {
                name: {"rows": item.rows, "largest_difference": item.largest} for name, item in self.columns.items()
            },
            "renamed": dict(self.renamed),
            "seconds": round(self.seconds, 3),
            "compared": self.compared,
        }


def of_shape(table: DeclaredTable, info: TableInfo, read: Collection[str]) -> Iterator[Difference]:
    """Yield how a table's declaration differs from the table in keys, columns, types, order and text.

    Args:
        table: The declaration.
        info: The table.
        read: The columns that live model versions read.
    """
    grave = Kind.BREAKING if read else Kind.RECOMPUTE
    for subject, now, then in (
        ("keys", table.primary_keys, info.primary_keys),
        ("timeseries column", (table.timeseries_column,), (info.timeseries_column,)),
    ):
        if now != then:
            yield Difference("~", subject, grave, f"{_listed(then)} → {_listed(now)}")
    keys = {*table.primary_keys, *info.primary_keys}
    declared, held = table.schema, info.schema
    for name in declared.names:
        if name not in held.names:
            if name not in keys:
                yield _new(declared.field(name))
            continue
        # A table is looked up by its keys.
        is_read = name in read or (bool(read) and name in keys)
        yield from _of_column(declared.field(name), held.field(name), is_read=is_read)
    for name in held.names:
        if name not in declared.names and name not in keys:
            yield _gone(held.field(name), is_read=name in read)
    common = [name for name in held.names if name in declared.names]
    if common != [name for name in declared.names if name in held.names]:
        yield Difference("=", "order", Kind.TEXT, "columns stand in another order")
    if table.description != info.description:
        yield Difference("=", "description", Kind.TEXT, "the table's comment changed")


def refused(table: DeclaredTable, info: TableInfo) -> Iterator[Difference]:
    """Yield why the next run refuses a declaration, by the rules of `Tables.widen`; nothing where it does not.

    Args:
        table: The declaration.
        info: The table.
    """
    try:
        widening(info, table.schema, table.primary_keys, table.timeseries_column)
    except TableError as error:
        text = f"the next run refuses it: {' '.join(error.message.split())}"
        yield Difference("!", "declaration", Kind.BREAKING, text)


def of_values(measured: Measured, read: Collection[str], *, why: str) -> Iterator[Difference]:
    """Yield how rows computed by the new declaration differ from those that exist.

    Args:
        measured: What was found.
        read: The columns that live model versions read.
        why: What changed, as in `code changed`.
    """
    if measured.same:
        of = f"{measured.before:,} of {measured.held:,} rows" if measured.held else f"all {measured.before:,} rows"
        yield Difference("=", why, Kind.TEXT, f"values equal on {of}")
        return
    if not measured.compared:
        text = f"{measured.after:,} rows instead of {measured.before:,}"
        yield Difference("~", why, Kind.BREAKING if read else Kind.RECOMPUTE, text)
        return
    for name, item in measured.columns.items():
        largest = f" (largest {item.largest:.4g})" if item.largest is not None else ""
        both = measured.before - measured.removed
        text = f"{name}: {item.rows:,} of {both:,} rows differ{largest}"
        yield Difference("~", why, Kind.BREAKING if name in read else Kind.RECOMPUTE, text)
    for count, mark, text in (
        (measured.added, "+", "rows that the table does not hold"),
        (measured.removed, "-", "rows that the table holds are not computed any more"),
    ):
        if count:
            yield Difference(mark, why, Kind.BREAKING if read else Kind.RECOMPUTE, f"{count:,} {text}")


def gravest(kinds: Collection[Kind]) -> Kind | None:
    """Return the gravest of some kinds; None of none.

    Examples:
        >>> gravest([Kind.TEXT, Kind.RECOMPUTE, Kind.ADDITIVE])
        <Kind.RECOMPUTE: 'recompute'>
    """
    return max(kinds, key=lambda kind: kind.gravity, default=None)


def _new(column: pa.Field[Any]) -> Difference:
    if column.nullable:
        return Difference("+", column.name, Kind.ADDITIVE, f"new column, {spark_type(column.type)}")
    text = f"new column, {spark_type(column.type)}, that may not be null"
    return Difference("+", column.name, Kind.RECOMPUTE, text)


def _gone(column: pa.Field[Any], *, is_read: bool) -> Difference:
    if is_read:
        return Difference("-", column.name, Kind.BREAKING, "column is not declared any more, and read")
    if column.nullable:
        return Difference("-", column.name, Kind.ADDITIVE, "no longer written; what it holds stays")
    return Difference("-", column.name, Kind.RECOMPUTE, "not declared any more, and may not be null")


def _of_column(declared: pa.Field[Any], held: pa.Field[Any], *, is_read: bool) -> Iterator[Difference]:
    name = declared.name
    if not declared.type.equals(held.type):
        text = f"type {spark_type(held.type)} → {spark_type(declared.type)}"
        if is_wider(declared.type, than=held.type):
            text += ", which Delta can widen"
        yield Difference("~", name, Kind.BREAKING if is_read else Kind.RECOMPUTE, text)
    if declared.nullable != held.nullable:
        if declared.nullable:
            yield Difference("~", name, Kind.ADDITIVE, "may be null now")
        else:
            yield Difference("~", name, Kind.RECOMPUTE, "may not be null any more")
    now, then = (_comment(column) for column in (declared, held))
    if now != then and then is not None:
        yield Difference("=", name, Kind.TEXT, f"{name}: its comment changed")


def _comment(column: pa.Field[Any]) -> str | None:
    """Return a column's comment; None where there is none."""
    metadata = column.metadata or {}
    return metadata[b"comment"].decode() if b"comment" in metadata else None


def _listed(names: Collection[str | None]) -> str:
    return ", ".join(name or "none" for name in names) or "none"
