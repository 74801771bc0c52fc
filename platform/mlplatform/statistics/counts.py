"""Counting a column in fixed cells: batch by batch, in memory that does not grow with the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.protocols.column_counts import Cells, ColumnCounts

_THREADS = 2
Floats = npt.NDArray[np.float64]


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


def count_batches(cells: Mapping[str, Cells], batches: Iterable[pa.RecordBatch | pa.Table]) -> dict[str, ColumnCounts]:
    """Count batches of rows in cells; two columns at a time, each batch once.

    Args:
        cells: Column -> its cells.
        batches: Rows; a column that the first batch lacks is left out.

    Returns:
        Column -> counts. Without any batch: nothing.
    """
    found: dict[str, ColumnCounts] = {}
    edges = {name: None if of.edges is None else np.asarray(of.edges, dtype=np.float64) for name, of in cells.items()}
    with ThreadPoolExecutor(_THREADS) as pool:
        for batch in batches:
            names = [name for name in cells if name in batch.schema.names]
            counted = pool.map(
                lambda name, rows=batch: count_column(rows.column(name), edges[name], cells[name].categories), names
            )
            for name, counts in zip(names, counted, strict=True):
                found[name] = found[name].plus(counts) if name in found else counts
    return found
