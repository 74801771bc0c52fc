"""Counting columns in cells by Spark: one pass over the rows, and a row back for each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlplatform.naming import quote
from mlplatform.protocols.column_counts import Cells, ColumnCounts
from mlplatform.workspace.databricks.literals import literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NULL = -1


def grouped(df: DataFrame, cells: Mapping[str, Cells]) -> DataFrame:
    """Return rows, nulls, mean, squares and ends of each cell of each column.

    Args:
        df: The rows, with all the columns.
        cells: Column -> its cells.
    """
    from pyspark.sql import functions as F  # noqa: N812

    # Each column's number (or text) once; then each row as one row a column, which are counted together.
    read = [
        F.expr(f"CAST({quote(name)} AS {'STRING' if of.edges is None else 'DOUBLE'})").alias(f"v{place}")
        for place, (name, of) in enumerate(cells.items())
    ]
    stacked = ", ".join(
        f"{place}, {_cell(f'v{place}', of)}, {_number(f'v{place}', of)}" for place, of in enumerate(cells.values())
    )
    long = df.select(*read).select(F.expr(f"stack({len(cells)}, {stacked}) AS (place, cell, number)"))
    return long.groupBy("place", "cell").agg(
        F.count(F.lit(1)).alias("rows"),
        F.count("number").alias("numbers"),
        F.avg("number").alias("mean"),
        F.var_pop("number").alias("variance"),
        F.min("number").alias("smallest"),
        F.max("number").alias("largest"),
    )


def counts(rows: pa.Table, cells: Mapping[str, Cells]) -> dict[str, ColumnCounts]:
    """Return the counts of each column, from what `grouped` gave.

    Args:
        rows: One row a column and cell.
        cells: As for `grouped`.
    """
    found = {}
    places = rows.column("place").to_numpy()
    for place, (name, of) in enumerate(cells.items()):
        mine = rows.filter(pa.array(places == place))
        if mine.num_rows:
            found[name] = _counts(mine, of)
    return found


def _counts(rows: pa.Table, cells: Cells) -> ColumnCounts:
    cell, count = rows.column("cell").to_numpy(), rows.column("rows").to_numpy()
    in_cells = np.zeros(cells.number, dtype=np.int64)
    in_cells[cell[cell != _NULL]] = count[cell != _NULL]
    nulls = int(count[cell == _NULL].sum())
    numbers = rows.filter(pa.array(rows.column("numbers").to_numpy() > 0))
    if cells.edges is None or not numbers.num_rows:
        return ColumnCounts(int(count.sum()), nulls, in_cells.tolist())
    weights, means = numbers.column("numbers").to_numpy(), numbers.column("mean").to_numpy()
    mean = float(weights @ means / weights.sum())
    squares = float(weights @ (numbers.column("variance").to_numpy() + (means - mean) ** 2))
    smallest, largest = numbers.column("smallest").to_numpy(), numbers.column("largest").to_numpy()
    return ColumnCounts(
        rows=int(count.sum()),
        nulls=nulls,
        cells=in_cells.tolist(),
        mean=mean,
        squares=squares,
        smallest=float(smallest.min()),
        largest=float(largest.max()),
    )


def _cell(value: str, cells: Cells) -> str:
    if cells.edges is not None:
        return f"CASE WHEN {value} IS NULL OR isnan({value}) THEN {_NULL} ELSE {_search(value, cells.edges, 0)} END"
    others = len(cells.categories)
    if not others:
        return f"CASE WHEN {value} IS NULL THEN {_NULL} ELSE 0 END"
    listed = ", ".join(literal(category) for category in cells.categories)
    place = f"CAST(array_position(array({listed}), {value}) AS INT)"
    return f"CASE WHEN {value} IS NULL THEN {_NULL} WHEN {place} = 0 THEN {others} ELSE {place} - 1 END"


def _search(value: str, edges: Sequence[float], first: int) -> str:
    """Return SQL for the number of edges at or below a value, counted from `first`: a binary search."""
    if not edges:
        return str(first)
    middle = len(edges) // 2
    below = _search(value, edges[:middle], first)
    above = _search(value, edges[middle + 1 :], first + middle + 1)
    return f"CASE WHEN {value} < {float(edges[middle])!r}D THEN {below} ELSE {above} END"


def _number(value: str, cells: Cells) -> str:
    """Return SQL for a finite number; null for what is none."""
    if cells.edges is None:
        return "CAST(NULL AS DOUBLE)"
    return f"CASE WHEN abs({value}) < double('Infinity') THEN {value} END"
