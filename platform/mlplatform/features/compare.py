"""Comparing the rows of a feature table with those computed another time, in the engine that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import narwhals as nw

from mlplatform.errors import TableError
from mlplatform.protocols.frames import Frame, Frames

_IN_OLD, _IN_NEW = "__in_old", "__in_new"
_NOW = "__now_"


@dataclass(frozen=True)
class ColumnDifference:
    """How one column differs between two computations of the same rows.

    Attributes:
        rows: Rows whose values differ.
        largest: The largest absolute difference of numbers; None where the values are no numbers, or one is null.
    """

    rows: int
    largest: float | None = None


@dataclass(frozen=True)
class RowDifferences:
    """How two computations of the same rows differ, by key.

    Attributes:
        before: Rows of the old one.
        after: Rows of the new one.
        added: Rows of the new one whose key the old one lacks.
        removed: Rows of the old one whose key the new one lacks.
        changed: Rows with a key of both and other values.
        sides: What was compared: examples are read from it.
    """

    before: int
    after: int
    added: int
    removed: int
    changed: int
    sides: Sides

    def __bool__(self) -> bool:
        """Tell whether they differ at all."""
        return bool(self.added or self.removed or self.changed)

    def by_column(self) -> dict[str, ColumnDifference]:
        """Return, of each column in which rows differ that both computations have, in how many and by how much."""
        return self.sides.by_column() if self.changed else {}

    def examples(self, *, old: str, new: str, count: int = 2) -> str:
        """Return some of the rows, the first ones by key, for a message.

        Args:
            old: What the old computation is called.
            new: What the new one is called.
            count: Of each kind.
        """
        sides = self.sides
        lines = [f"only {new}: {row}" for row in sides.first(sides.added, count if self.added else 0)]
        lines += [f"only {old}: {row}" for row in sides.first(sides.removed, count if self.removed else 0)]
        for pair in sides.first(sides.changed, count if self.changed else 0):
            one = {column: pair[column] for column in sides.columns}
            other = {column: pair.get(_NOW + column, pair[column]) for column in sides.columns}
            lines.append(f"{old} {one}, {new} {other}")
        return "; ".join(lines)


def compare_rows(
    frames: Frames,
    old: Frame,
    new: Frame,
    keys: Sequence[str],
    *,
    tolerance: float = 0.0,
    nan_is_null: bool = True,
) -> RowDifferences:
    """Compare two computations of rows; both are read twice, and for examples again: give what is stored or staged.

    Args:
        frames: The workspace's frames.
        old: The rows as computed first; keys unique.
        new: The rows as computed now, with the same columns.
        keys: The columns that identify a row.
        tolerance: Of floats, relative and absolute: sums depend on the order in which an engine adds them up.
        nan_is_null: Take NaN and null as one: a frame that went through pandas has turned one into the other.

    Raises:
        TableError: If a key occurs more than once on either side, or the columns are not the same.
    """
    kinds = old.collect_schema()
    columns, others = kinds.names(), new.collect_schema()
    if set(columns) != set(others.names()):
        other = sorted(set(columns) ^ set(others.names()))
        raise TableError(f"Only one of two computations has the column(s) {', '.join(other)}.", hint="Compare like.")
    same_kind = [nw.col(key).cast(kinds[key]) for key in keys if kinds[key] != others[key]]
    new = new.select(*columns)
    sides = Sides(
        frames, old, new.with_columns(*same_kind) if same_kind else new, tuple(keys), columns, tolerance, nan_is_null
    )
    counts = sides.counts()
    for surplus in (counts.pop("surplus_old"), counts.pop("surplus_new")):
        if surplus:
            raise TableError(f"{surplus} computed row(s) repeat a key.", hint=f"Rows are unique by {', '.join(keys)}.")
    both = counts["before"] - counts["removed"]
    changed = frames.count(sides.changed) if both and len(columns) > len(keys) else 0
    return RowDifferences(**counts, changed=changed, sides=sides)


@dataclass(frozen=True)
class Sides:
    """Two computations of rows, their columns in one order; see `compare_rows`."""

    frames: Frames
    old: Frame
    new: Frame
    keys: tuple[str, ...]
    columns: list[str]
    tolerance: float
    nan_is_null: bool

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each side, of those beyond the first of their key, of those added and gone."""
        one, none = nw.lit(1, nw.Int64()), nw.lit(0, nw.Int64())
        sides = [
            self.old.select(*self.keys, one.alias(_IN_OLD), none.alias(_IN_NEW)),
            self.new.select(*self.keys, none.alias(_IN_OLD), one.alias(_IN_NEW)),
        ]
        in_old, in_new = nw.col(_IN_OLD), nw.col(_IN_NEW)
        by_key = nw.concat(sides).group_by(*self.keys).agg(in_old.sum(), in_new.sum())
        counted = by_key.select(
            in_old.sum().alias("before"),
            in_new.sum().alias("after"),
            nw.when(in_old == 0).then(in_new).otherwise(0).sum().alias("added"),
            nw.when(in_new == 0).then(in_old).otherwise(0).sum().alias("removed"),
            nw.when(in_old > 1).then(in_old - 1).otherwise(0).sum().alias("surplus_old"),
            nw.when(in_new > 1).then(in_new - 1).otherwise(0).sum().alias("surplus_new"),
        )
        rows = self.frames.collect(counted, at_most=1, what="counts of two computations").to_pylist()[0]
        # Sums over no row at all are null.
        return {name: int(value or 0) for name, value in rows.items()}

    def first(self, frame: Frame, count: int) -> list[dict[str, Any]]:
        """Return the first rows by key."""
        if not count:
            return []
        rows = self.frames.collect(frame.sort(*self.keys).head(count), at_most=count, what="examples of differences")
        examples: list[dict[str, Any]] = rows.to_pylist()
        return examples

    @property
    def added(self) -> Frame:
        """Rows of the new side alone."""
        return self.new.join(self.old, on=list(self.keys), how="anti")

    @property
    def removed(self) -> Frame:
        """Rows of the old side alone."""
        return self.old.join(self.new, on=list(self.keys), how="anti")

    @cached_property
    def changed(self) -> Frame:
        """Rows of both sides with other values: as they were, and beside it as they are now."""
        values = [column for column in self.columns if column not in self.keys]
        kinds = self.old.collect_schema()
        now = self.new.rename({column: _NOW + column for column in values})
        differ = [~self._same(column, is_float=kinds[column].is_float()) for column in values]
        return self.old.join(now, on=list(self.keys), how="inner").filter(
            nw.any_horizontal(*differ, ignore_nulls=False)
        )

    def by_column(self) -> dict[str, ColumnDifference]:
        """Return column -> in how many rows it differs, and by how much; columns that are the same are left out."""
        kinds = self.old.collect_schema()
        values = [column for column in self.columns if column not in self.keys]
        counted: list[nw.Expr] = []
        for place, column in enumerate(values):
            differs = ~self._same(column, is_float=kinds[column].is_float())
            counted.append(nw.when(differs).then(1).otherwise(0).sum().alias(f"rows_{place}"))
            if kinds[column].is_numeric():
                then, now = (nw.col(name).cast(nw.Float64()) for name in (column, _NOW + column))
                apart = (then - now).abs()
                counted.append(nw.when(differs & ~apart.is_nan()).then(apart).max().alias(f"largest_{place}"))
        (row,) = self.frames.collect(
            self.changed.select(*counted), at_most=1, what="differences of two computations by column"
        ).to_pylist()
        return {
            column: ColumnDifference(int(row[f"rows_{place}"]), row.get(f"largest_{place}"))
            for place, column in enumerate(values)
            if row[f"rows_{place}"]
        }

    def _same(self, column: str, *, is_float: bool) -> nw.Expr:
        then, now = nw.col(column), nw.col(_NOW + column)
        if is_float and self.nan_is_null:
            then, now = (nw.when(~side.is_nan()).then(side) for side in (then, now))
        equal = then == now
        if is_float and self.tolerance:
            # Relative to the new value, and to one; an infinite one is near to nothing but itself.
            near = (then - now).abs() <= self.tolerance * now.abs() + self.tolerance
            equal = equal | (near & now.is_finite())
        return (then.is_null() & now.is_null()) | equal.fill_null(False)
