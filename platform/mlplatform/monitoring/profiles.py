"""Reference profiles: what the training data looked like, a column at a time, small enough to travel with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import StageError
from mlplatform.monitoring.counts import ColumnCounts, Floats, as_floats, count_column

BINS = 10
GRID = 100
MOST_CATEGORIES = 200
FORMAT = 2
_RARE = 5


@dataclass(frozen=True)
class ColumnProfile:
    """The distribution of one column: bins, and how many rows lay in each.

    Attributes:
        kind: `numeric` or `category`.
        counts: Rows in each cell, nulls (NaN counts as null), and moments of the column it was taken from.
        edges: Cell edges of a numeric column, ascending: its distinct values, or its percentiles where there are more
            than `GRID`, always with the smallest value and the next number above the largest. A cell holds
            `edge <= value < next edge`; the first and the last are open, so that no value falls outside of all, and
            hold nothing of the column itself.
        coarse: Positions in `edges` of the edges of the ten quantile bins that the stability index is taken over.
        categories: Values of a categorical column, most frequent first; one more cell holds all others ("unseen").
    """

    kind: Literal["numeric", "category"]
    counts: ColumnCounts
    edges: list[float] = field(default_factory=list)
    coarse: list[int] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)

    @property
    def ordinary(self) -> float | str | None:
        """An ordinary value: the edge at the median, or the most frequent category; None when all were null."""
        if self.kind == "category":
            return self.categories[0] if self.categories else None
        cells = np.asarray(self.counts.cells)
        if not cells.sum():
            return None
        middle = int(np.searchsorted(np.cumsum(cells), cells.sum() / 2))
        return self.edges[min(max(middle - 1, 0), len(self.edges) - 1)]

    def count(self, column: pa.ChunkedArray | pa.Array) -> ColumnCounts:
        """Count another column's rows in this profile's cells.

        Raises:
            ArrowException: If the column holds what cannot be read as a number where numbers were profiled.
        """
        edges = np.asarray(self.edges) if self.kind == "numeric" else None
        return count_column(column, edges, self.categories)

    def bins(self, counts: ColumnCounts) -> npt.NDArray[np.int64]:
        """Return counts in the bins that shares are compared over: ten quantile bins or the categories, then nulls.

        Args:
            counts: Counted in this profile's cells.

        Returns:
            Shape (bins + 1,) for numbers; for a category (categories + 2,): the last but one is unseen values.
        """
        cells = np.asarray(counts.cells, dtype=np.int64)
        if self.kind == "numeric":
            starts = np.array([0, *(place + 1 for place in self.coarse)])
            cells = np.add.reduceat(cells, starts)
        return np.append(cells, counts.nulls)

    def tested_bins(self, counts: ColumnCounts) -> npt.NDArray[np.int64]:
        """Return `bins` for a test of homogeneity: rare categories stand together with the unseen ones.

        The categories are those that the reference happened to hold: of the rare ones another sample of the same
        population holds others, which by themselves would look like a change.
        """
        bins = self.bins(counts)
        if self.kind == "numeric":
            return bins
        rare = np.asarray(self.counts.cells[:-1]) <= _RARE
        return np.concatenate([bins[:-2][~rare], [bins[:-2][rare].sum() + bins[-2]], bins[-1:]])

    def expected_unseen(self) -> int:
        """Return how many of as many new rows would be of no listed category, without any change.

        Leaving one row out at a time, the rows whose category would then not be listed: Good, "The Population
        Frequencies of Species and the Estimation of Population Parameters", Biometrika 1953 (its singletons, where all
        categories are listed).
        """
        cells = np.asarray(self.counts.cells)
        listed, others = cells[:-1], int(cells[-1])
        # Where some are not listed, a category that one row less would bring level with them might not be either.
        lowest = int(listed.min()) + 1 if others and listed.size else 1
        return others + int(listed[listed <= lowest].sum())

    def shares(self, counts: ColumnCounts) -> Floats:
        """Return `bins` as shares of all rows, nulls included; zeros when there are no rows."""
        return self.bins(counts) / max(counts.rows, 1)


Profile = Mapping[str, ColumnProfile]


def profile_table(rows: pa.Table) -> dict[str, ColumnProfile]:
    """Profile each column of a table; columns that are neither numbers, booleans nor text are left out.

    Examples:
        >>> found = profile_table(pa.table({"x": [1.0, 2.0, None]}))["x"]
        >>> found.kind, found.counts.rows, found.counts.nulls, found.counts.mean
        ('numeric', 3, 1, 1.5)
    """
    profiles = {}
    for name in rows.column_names:
        column = rows.column(name)
        if _is_numeric(column.type):
            profiles[name] = _numeric(column)
        elif (
            pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_boolean(column.type)
        ):
            profiles[name] = _category(column)
    return profiles


def to_dict(profile: Profile, calibration: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return a profile as plain data, for JSON.

    Args:
        profile: The columns.
        calibration: What `estimate.fit_calibration` gave for the model; None where it has no probabilities.
    """
    columns = {name: asdict(column) for name, column in profile.items()}
    return {"format": FORMAT, "columns": columns, "calibration": dict(calibration) if calibration else None}


def from_dict(data: Mapping[str, Any]) -> dict[str, ColumnProfile]:
    """Read what `to_dict` wrote.

    Raises:
        StageError: If it is no profile of this format.
    """
    if data.get("format") != FORMAT or not isinstance(data.get("columns"), dict):
        raise StageError(
            f"The reference profile is not of format {FORMAT}; it was written by another version of the library.",
            hint="Train and promote a new version: its profile is written with it.",
        )
    return {
        name: ColumnProfile(**{**column, "counts": ColumnCounts(**column["counts"])})
        for name, column in data["columns"].items()
    }


def _numeric(column: pa.ChunkedArray) -> ColumnProfile:
    values = as_floats(column)
    quantiles = np.quantile(values, np.linspace(0, 1, GRID + 1), method="linear") if values.size else np.array([])
    deciles = np.unique(quantiles[GRID // BINS : -1 : GRID // BINS])
    if deciles.size == 1:
        # Nearly all rows hold one value: it gets a bin of its own, so that what lies above it shows.
        deciles = np.append(deciles, np.nextafter(deciles[0], np.inf))
    distinct = np.unique(values)
    grid = distinct if distinct.size <= GRID else quantiles
    ends = [values.min(), np.nextafter(values.max(), np.inf)] if values.size else []
    edges = np.unique(np.concatenate([grid, deciles, ends]))
    edges = edges[np.isfinite(edges)]
    deciles = deciles[np.isfinite(deciles)]
    return ColumnProfile(
        kind="numeric",
        counts=count_column(column, edges, ()),
        edges=edges.tolist(),
        coarse=np.searchsorted(edges, deciles).tolist(),
    )


def _category(column: pa.ChunkedArray) -> ColumnProfile:
    counted = pc.value_counts(pc.cast(column, pa.string()).drop_null())
    pairs = sorted(
        zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True),
        key=lambda pair: (-pair[1], pair[0]),
    )[:MOST_CATEGORIES]
    categories = [value for value, _ in pairs]
    return ColumnProfile(kind="category", counts=count_column(column, None, categories), categories=categories)


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
