"""Counting a column in cells: which cells, and what is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cells:
    """Cells that a column is counted in.

    Attributes:
        edges: Ascending edges of numeric cells: a cell holds `edge <= value < next edge`, the first and the last are
            open. None: the cells are categories.
        categories: The categories; one more cell takes the values that are none of them.
    """

    edges: Sequence[float] | None
    categories: Sequence[str] = ()

    @property
    def number(self) -> int:
        """How many cells there are."""
        return len(self.categories if self.edges is None else self.edges) + 1


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


def _either(choose: Callable[[list[float]], float], one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return choose(known) if known else None
