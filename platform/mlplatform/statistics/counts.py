"""Counting a column in fixed cells: batch by batch, in memory that does not grow with the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ColumnCounts:
    """How a column's rows lie in given cells, with its moments.

    Attributes:
        rows: All rows.
        nulls: Rows without a value; NaN counts as null.
        cells: Rows in each cell.
        mean: Of the finite values; None without any, and for categories.
        squares: Sum of their squared deviations from the mean.
        smallest: Smallest value; None without any.
        largest: Largest value.
    """

    rows: int
    nulls: int
    cells: list[int]
    mean: float | None = None
    squares: float | None = None
    smallest: float | None = None
    largest: float | None = None

    @property
    def values(self) -> int:
        """Rows that have a value."""
        return self.rows - self.nulls

    @property
    def deviation(self) -> float | None:
        """Standard deviation (of the population) of the values."""
        return None if self.squares is None or not self.values else math.sqrt(self.squares / self.values)

    def plus(self, other: ColumnCounts) -> ColumnCounts:
        """Return the counts of both together.

        Mean and squares by the pairwise update of Chan, Golub and LeVeque, "Algorithms for Computing the Sample
        Variance", 1983: adding up squares would lose the digits of columns whose mean is large.
        """
        mean, squares = self.mean, self.squares
        if mean is None or squares is None:
            mean, squares = other.mean, other.squares
        elif other.mean is not None and other.squares is not None:
            total, gap = self.values + other.values, other.mean - mean
            squares += other.squares + gap * gap * self.values * other.values / total
            mean += gap * other.values / total
        return ColumnCounts(
            rows=self.rows + other.rows,
            nulls=self.nulls + other.nulls,
            cells=[mine + more for mine, more in zip(self.cells, other.cells, strict=True)],
            mean=mean,
            squares=squares,
            smallest=_either(min, self.smallest, other.smallest),
            largest=_either(max, self.largest, other.largest),
        )


def count_column(
    column: pa.ChunkedArray[Any] | pa.Array[Any], edges: Floats | None, categories: Sequence[str] = ()
) -> ColumnCounts:
    """Count a column in cells.

    Args:
        column: The values.
        edges: Ascending edges of numeric cells; None for categories.
        categories: The categories; one more cell takes the values that are none of them.
    """
    rows = len(column)
    if edges is None:
        index = pc.index_in(pc.cast(column, pa.string()), pa.array(categories, pa.string()), skip_nulls=True)
        codes = np.asarray(index.drop_null().to_numpy(zero_copy_only=False), dtype=np.int64)
        cells = np.bincount(codes, minlength=len(categories))
        unseen = rows - column.null_count - codes.size
        return ColumnCounts(rows, column.null_count, [*cells.tolist(), unseen])
    # Sorted first: then only the edges are looked up, not each value, which is several times as fast.
    values = np.sort(_numbers(column))
    known = int(np.searchsorted(values, np.nan))  # NaN comes last
    below = np.searchsorted(values[:known], edges, side="left")
    first = int(np.searchsorted(values[:known], -np.inf, side="right"))
    finite = values[first : int(np.searchsorted(values[:known], np.inf, side="left"))]
    mean = float(finite.mean()) if finite.size else None
    gaps = finite - mean if mean is not None else finite
    return ColumnCounts(
        rows=rows,
        nulls=rows - known,
        cells=np.diff(below, prepend=0, append=known).tolist(),
        mean=mean,
        squares=float(gaps @ gaps) if mean is not None else None,
        smallest=float(finite[0]) if finite.size else None,
        largest=float(finite[-1]) if finite.size else None,
    )


def as_floats(column: pa.ChunkedArray[Any] | pa.Array[Any]) -> Floats:
    """Return a numeric column's values as floats, without nulls and NaN."""
    values = _numbers(column)
    missing = np.isnan(values)
    return values[~missing] if missing.any() else values


def _numbers(column: pa.ChunkedArray[Any] | pa.Array[Any]) -> Floats:
    """Return a column as floats; nulls become NaN."""
    numbers = pc.cast(column, pa.float64(), safe=False)
    if isinstance(numbers, pa.ChunkedArray):
        return np.asarray(numbers.to_numpy(), dtype=np.float64)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _either(choose: Callable[[list[float]], float], one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return choose(known) if known else None
