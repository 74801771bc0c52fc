"""Reference profiles: what the training data looked like, a column at a time, small enough to travel with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BINS = 10
MOST_CATEGORIES = 200


@dataclass(frozen=True)
class ColumnProfile:
    """The distribution of one column.

    Attributes:
        kind: `numeric` or `category`.
        rows: Rows it was taken from.
        null_share: Share of nulls (NaN counts as null), in [0, 1].
        edges: Inner bin edges of a numeric column; the first and last bin are open, so that no value falls outside.
        categories: Values of a categorical column, most frequent first.
        shares: Share of all rows in each bin, or of each category; nulls apart.
    """

    kind: Literal["numeric", "category"]
    rows: int
    null_share: float
    edges: list[float] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)


Profile = Mapping[str, ColumnProfile]


def profile_table(rows: pa.Table) -> dict[str, ColumnProfile]:
    """Profile each column of a table; columns that are neither numbers, booleans nor text are left out."""
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


def shares_in(column: pa.ChunkedArray, reference: ColumnProfile) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the shares of a column's rows in the bins of a reference profile.

    Args:
        column: The values.
        reference: Whose bins.

    Returns:
        Shape (bins + 1,): the bins, then nulls; for a category: the categories, then unseen ones, then nulls.
    """
    rows = len(column)
    if reference.kind == "numeric":
        values = _values(column)
        counts = np.bincount(
            np.searchsorted(np.asarray(reference.edges), values, side="right"), minlength=len(reference.edges) + 1
        )
        known = np.append(counts, rows - values.size)
    else:
        index = pc.index_in(pc.cast(column, pa.string()), pa.array(reference.categories, pa.string()), skip_nulls=True)
        found = index.drop_null().to_numpy() if isinstance(index, pa.ChunkedArray) else index
        counts = np.bincount(np.asarray(found, dtype=np.int64), minlength=len(reference.categories))
        known = np.concatenate([counts, [rows - column.null_count - counts.sum(), column.null_count]])
    return known / max(rows, 1)


def reference_shares(reference: ColumnProfile) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a reference's own shares in the layout of `shares_in`; what its categories left over counts as unseen."""
    shares = np.asarray(reference.shares, dtype=np.float64)
    if reference.kind == "numeric":
        return np.append(shares, reference.null_share)
    return np.concatenate([shares, [max(0.0, 1 - shares.sum() - reference.null_share), reference.null_share]])


def to_dict(profile: Profile) -> dict[str, Any]:
    """Return a profile as plain data, for JSON."""
    return {name: asdict(column) for name, column in profile.items()}


def from_dict(data: Mapping[str, Any]) -> dict[str, ColumnProfile]:
    """Read what `to_dict` wrote."""
    return {name: ColumnProfile(**column) for name, column in data.items()}


def _numeric(column: pa.ChunkedArray) -> ColumnProfile:
    values = _values(column)
    rows = len(column)
    quantiles = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]) if values.size else np.array([])
    edges = np.unique(quantiles)
    if edges.size == 1:
        # Nearly all rows hold one value: it gets a bin of its own, so that what lies above it shows.
        edges = np.append(edges, np.nextafter(edges[0], np.inf))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1)
    return ColumnProfile(
        kind="numeric",
        rows=rows,
        null_share=(rows - values.size) / max(rows, 1),
        edges=edges.tolist(),
        shares=(counts / max(rows, 1)).tolist(),
    )


def _category(column: pa.ChunkedArray) -> ColumnProfile:
    rows = len(column)
    counted = pc.value_counts(pc.cast(column, pa.string()).drop_null())
    pairs = sorted(
        zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True),
        key=lambda pair: (-pair[1], pair[0]),
    )[:MOST_CATEGORIES]
    return ColumnProfile(
        kind="category",
        rows=rows,
        null_share=column.null_count / max(rows, 1),
        categories=[value for value, _ in pairs],
        shares=[count / max(rows, 1) for _, count in pairs],
    )


def _values(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = pc.cast(column, pa.float64()).drop_null().to_numpy()
    return np.asarray(values[~np.isnan(values)], dtype=np.float64)


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
