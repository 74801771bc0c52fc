"""Reference profiles: what the training data looked like, a column at a time, small enough to travel with the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import StageError
from mlplatform.protocols.column_counts import Cells, ColumnCounts
from mlplatform.statistics import counts as counting
from mlplatform.statistics import edges as edging
from mlplatform.statistics.counts import Floats, as_floats, count_column
from mlplatform.statistics.prior_shift import ScoreCounts
from mlplatform.types import is_number

BINS = 10
GRID = 100
MOST_CATEGORIES = 200
FORMAT = 3
_ON_VALUES = 2
"""The format in which edges lay on values; read as well, its edges moved."""
_RARE = 5


@dataclass(frozen=True)
class ColumnProfile:
    """The distribution of one column: bins, and how many rows lay in each.

    Attributes:
        kind: `numeric` or `category`.
        counts: Rows in each cell, nulls (NaN counts as null), and moments of the column it was taken from.
        edges: Cell edges of a numeric column, ascending: right below each of its distinct values, or below its
            percentiles where there are more than `GRID`, always below the smallest value and above the largest. They
            lie between values, see `statistics.edges`. A cell holds `edge <= value < next edge`; the first and the
            last are open, so that no value falls outside of all, and hold nothing of the column itself.
        coarse: Positions in `edges` of the edges of the ten quantile bins that the stability index is taken over.
        categories: Values of a categorical column, most frequent first; one more cell holds all others ("unseen").
        median: Of a numeric column, one of its values; None without any.
    """

    kind: Literal["numeric", "category"]
    counts: ColumnCounts
    edges: list[float] = field(default_factory=list)
    coarse: list[int] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    median: float | None = None

    @property
    def ordinary(self) -> float | str | None:
        """An ordinary value: the median, or the most frequent category; None when all were null."""
        if self.kind == "category":
            return self.categories[0] if self.categories else None
        return self.median

    @property
    def where(self) -> Cells:
        """The cells."""
        return Cells(self.edges) if self.kind == "numeric" else Cells(None, self.categories)

    def count(self, column: pa.ChunkedArray[Any] | pa.Array[Any]) -> ColumnCounts:
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
        if is_number(column.type):
            profiles[name] = _numeric(column)
        elif (
            pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_boolean(column.type)
        ):
            profiles[name] = _category(column)
    return profiles


def cells_of(profile: Profile) -> dict[str, Cells]:
    """Return the cells of each column."""
    return {name: column.where for name, column in profile.items()}


def count_batches(profile: Profile, batches: Iterable[pa.RecordBatch | pa.Table]) -> dict[str, ColumnCounts]:
    """Count batches of rows in the cells of a profile; see `counts.count_batches`.

    Args:
        profile: Whose cells.
        batches: Rows; a column that the first batch lacks is left out.

    Returns:
        Column -> counts. Without any batch: nothing.
    """
    return counting.count_batches(cells_of(profile), batches)


def to_dict(
    profile: Profile,
    calibration: Mapping[str, float] | None = None,
    baseline: Mapping[str, float] | None = None,
    scores: ScoreCounts | None = None,
) -> dict[str, Any]:
    """Return a profile as plain data, for JSON.

    Args:
        profile: The columns.
        calibration: What `estimate.fit_calibration` gave for the model; None where it has no probabilities.
        baseline: What `baseline.learn` gave for its training labels; None where they are not known.
        scores: How the predictions lay that the calibration was fitted on; None where there is none.
    """
    content = {
        "format": FORMAT,
        "columns": {name: asdict(column) for name, column in profile.items()},
        "calibration": dict(calibration) if calibration else None,
        "baseline": dict(baseline) if baseline else None,
    }
    return content if scores is None else content | {"scores": scores.to_dict()}


def from_dict(data: Mapping[str, Any]) -> dict[str, ColumnProfile]:
    """Read what `to_dict` wrote, in this format or the one before it.

    Raises:
        StageError: If it is no profile of these formats.
    """
    if data.get("format") not in (FORMAT, _ON_VALUES) or not isinstance(data.get("columns"), dict):
        raise StageError(
            f"The reference profile is not of format {FORMAT}; it was written by another version of the library.",
            hint="Train and promote a new version: its profile is written with it.",
        )
    profiles = {
        name: ColumnProfile(**{**column, "counts": ColumnCounts(**column["counts"])})
        for name, column in data["columns"].items()
    }
    return profiles if data["format"] == FORMAT else {name: _off_values(column) for name, column in profiles.items()}


def _off_values(column: ColumnProfile) -> ColumnProfile:
    """Return a profile whose edges lay on values with its edges between them."""
    if column.kind == "category":
        return column
    cells = np.asarray(column.counts.cells, dtype=np.int64)
    median = None
    if column.edges and cells.sum():
        middle = int(np.searchsorted(np.cumsum(cells), cells.sum() / 2))
        median = column.edges[min(max(middle - 1, 0), len(column.edges) - 1)]
    moved = edging.moved(column.edges, column.coarse)
    return ColumnProfile(
        kind="numeric",
        counts=replace(column.counts, cells=np.add.reduceat(cells, moved.starts).tolist()),
        edges=moved.edges,
        coarse=moved.coarse,
        median=median,
    )


def moved(column: ColumnProfile, move: Callable[[Floats], Floats]) -> ColumnProfile:
    """Return the profile of a numeric column whose values have all gone through a function.

    Rows stay in their cells, so that distances of what is moved alike stay what they were. The moments are those of the
    cells' middles.

    Args:
        column: The profile, of values in [0, 1].
        move: Takes values in [0, 1], and never falls as they rise; those that become one share a cell.
    """
    if not column.edges:
        return column

    def of(values: Floats) -> Floats:
        # Outermost edges lie a little beyond the values.
        inside = np.clip(values, 0.0, 1.0)
        return np.asarray(move(inside) + (values - inside))

    before, cells = np.asarray(column.edges), np.asarray(column.counts.cells, dtype=np.int64)
    after = of(before)
    edges, first = np.unique(after, return_index=True)
    # A cell begins at its edge; of edges that became one the first one's begins there, and takes in those between.
    starts = np.concatenate([[0], first + 1])
    smallest, largest = column.counts.smallest, column.counts.largest
    ends = np.concatenate([before[:1], (before[:-1] + before[1:]) / 2, before[-1:]])
    middles, rows = of(ends), float(cells.sum())
    mean = float(cells @ middles / rows) if rows else None
    return ColumnProfile(
        kind=column.kind,
        counts=replace(
            column.counts,
            cells=np.add.reduceat(cells, starts).tolist(),
            mean=mean,
            squares=None if mean is None else float(cells @ (middles - mean) ** 2),
            smallest=None if smallest is None else float(of(np.array([smallest]))[0]),
            largest=None if largest is None else float(of(np.array([largest]))[0]),
        ),
        edges=edges.tolist(),
        coarse=np.unique(np.searchsorted(edges, after[np.asarray(column.coarse, dtype=np.int64)])).tolist(),
        median=None if column.median is None else float(of(np.array([column.median]))[0]),
    )


def _numeric(column: pa.ChunkedArray[Any]) -> ColumnProfile:
    numbers = as_floats(column)
    values = np.sort(numbers[np.isfinite(numbers)])
    if not values.size:
        return ColumnProfile(kind="numeric", counts=count_column(column, np.array([]), ()))
    scale = edging.Scale.of(values)
    with np.errstate(over="ignore", invalid="ignore"):  # two values of opposite sign may lie infinitely far apart
        quantiles = np.quantile(values, np.linspace(0, 1, GRID + 1), method="linear")
    quantiles[0], quantiles[-1] = values[0], values[-1]
    quantiles = quantiles[np.isfinite(quantiles)]
    deciles = quantiles[GRID // BINS : -1 : GRID // BINS] if quantiles.size == GRID + 1 else quantiles
    coarse, hit = np.unique(edging.below(values, deciles, scale), return_counts=True)
    # A value that holds more than a tenth of the rows gets a bin of its own, so that what lies above it shows.
    held = values[np.minimum(np.searchsorted(values, coarse[hit > 1]), values.size - 1)]
    coarse = np.unique([*coarse, *(edging.above(values, float(value), scale) for value in held)])
    distinct = edging.distinct(values, scale, GRID)
    grid = edging.below(values, quantiles if distinct is None else distinct, scale)
    edges = np.unique(np.concatenate([grid, coarse, [edging.above(values, float(values[-1]), scale)]]))
    edges = edges[np.isfinite(edges)]
    return ColumnProfile(
        kind="numeric",
        counts=count_column(column, edges, ()),
        edges=edges.tolist(),
        coarse=np.searchsorted(edges, coarse[np.isfinite(coarse)]).tolist(),
        median=float(values[(values.size - 1) // 2]),
    )


def _category(column: pa.ChunkedArray[Any]) -> ColumnProfile:
    counted = pc.value_counts(pc.cast(column, pa.string()).drop_null())
    values, counts = cast("list[str]", counted.field("values").to_pylist()), counted.field("counts").to_pylist()
    pairs = sorted(
        zip(values, cast("list[int]", counts), strict=True),
        key=lambda pair: (-pair[1], pair[0]),
    )[:MOST_CATEGORIES]
    categories = [value for value, _ in pairs]
    return ColumnProfile(kind="category", counts=count_column(column, None, categories), categories=categories)
