"""Comparing the rows of a feature table with those computed another time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import TableError
from mlplatform.joins import with_keys_of, without_keys_of
from mlplatform.types import SortOrder


@dataclass(frozen=True)
class RowDifferences:
    """How two computations of the same rows differ, by key.

    Attributes:
        added: Rows of the new one whose key the old one lacks.
        removed: Rows of the old one whose key the new one lacks.
        changed_old: Rows with a key of both and other values, as they were.
        changed_new: The same rows as they are now, in the same order.
    """

    added: pa.Table
    removed: pa.Table
    changed_old: pa.Table
    changed_new: pa.Table

    def __bool__(self) -> bool:
        """Tell whether they differ at all."""
        return bool(self.added.num_rows or self.removed.num_rows or self.changed_new.num_rows)

    def examples(self, *, old: str, new: str, count: int = 2) -> str:
        """Return some of the rows, for a message.

        Args:
            old: What the old computation is called.
            new: What the new one is called.
            count: Of each kind.
        """
        lines = [f"only {new}: {row}" for row in self.added.slice(0, count).to_pylist()]
        lines += [f"only {old}: {row}" for row in self.removed.slice(0, count).to_pylist()]
        pairs = zip(self.changed_old.slice(0, count).to_pylist(), self.changed_new.to_pylist(), strict=False)
        lines += [f"{old} {one}, {new} {other}" for one, other in pairs]
        return "; ".join(lines)


def compare_rows(
    old: pa.Table, new: pa.Table, keys: Sequence[str], *, tolerance: float = 0.0, nan_is_null: bool = True
) -> RowDifferences:
    """Compare two computations of rows.

    Args:
        old: The rows as computed first; keys unique.
        new: The rows as computed now, with the same columns.
        keys: The columns that identify a row.
        tolerance: Of floats, relative and absolute: sums depend on the order in which an engine adds them up.
        nan_is_null: Take NaN and null as one: a frame that went through pandas has turned one into the other.

    Raises:
        TableError: If a key occurs more than once on either side, or the columns are not the same.
    """
    by = list(keys)
    if set(old.column_names) != set(new.column_names):
        other = sorted(set(old.column_names) ^ set(new.column_names))
        raise TableError(f"Only one of two computations has the column(s) {', '.join(other)}.", hint="Compare like.")
    for rows in (old, new):
        surplus = rows.num_rows - rows.group_by(by).aggregate([]).num_rows
        if surplus:
            raise TableError(f"{surplus} computed row(s) repeat a key.", hint=f"Rows are unique by {', '.join(by)}.")
    columns = old.column_names
    order: SortOrder = [(key, "ascending") for key in by]

    then, now = (with_keys_of(*pair, by).select(columns).sort_by(order) for pair in ((old, new), (new, old)))
    differs = np.zeros(then.num_rows, dtype=bool)
    for column in columns:
        if column not in by:
            differs |= ~_same(then.column(column), now.column(column), tolerance, nan_is_null=nan_is_null)
    chosen = pa.array(differs)
    return RowDifferences(
        without_keys_of(new, old, by).select(columns).sort_by(order),
        without_keys_of(old, new, by).sort_by(order),
        then.filter(chosen),
        now.filter(chosen),
    )


def _same(old: pa.ChunkedArray[Any], new: pa.ChunkedArray[Any], tolerance: float, *, nan_is_null: bool) -> Any:
    if pa.types.is_floating(old.type):
        close = np.isclose(old.to_numpy(), new.to_numpy(), rtol=tolerance, atol=tolerance, equal_nan=True)
        return close if nan_is_null else close & pc.equal(pc.is_null(old), pc.is_null(new)).to_numpy()
    both_null = pc.and_(pc.is_null(old), pc.is_null(new))
    return pc.coalesce(pc.or_kleene(pc.equal(old, new), both_null), both_null).to_numpy()
