"""Left joins of a frame with feature tables in DuckDB: as of each row's own time, exact to the microsecond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import FeatureStoreError
from mlplatform.naming import quote
from mlplatform.workspace.local import duck
from mlplatform.workspace.local.table_files import files_of

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable

    from mlplatform.features.training_set import Join


# A table with so many times the rows that are looked up has most likely many keys that are not.
FEW = 50


def look_up(
    connection: duckdb.DuckDBPyConnection, frame: pa.Table, item: Join, table: DeltaTable, types: Sequence[pa.DataType]
) -> list[pa.ChunkedArray[Any]]:
    """Return the join's outputs, one value per row of the frame, in the frame's order.

    A null key matches nothing. The row found counts as a whole: a null in it stays null.

    Only the keys go through the join, with the number of their row: the frame's other columns need neither be sorted
    nor copied, and one table after the other takes no more memory than one.

    Args:
        connection: An open connection; nothing is left in it.
        frame: The rows to look up for, in normal types.
        item: What to look up.
        table: The opened version of the table.
        types: The types of the outputs.

    Raises:
        FeatureStoreError: If a time is null, or the table holds a key more than once.
    """
    refuse_null_times(frame, item)
    keys = [key for key, _ in item.keys]
    if item.time is not None:
        keys.append(item.time[0])
    rows = pa.array(np.arange(frame.num_rows, dtype=np.int64))
    # Positions instead of names: DuckDB does not tell `a` from `A`.
    slim = pa.table([*(frame.column(key) for key in keys), rows], names=[*(f"k{n}" for n in range(len(keys))), "row"])
    connection.register("spine", slim)
    try:
        with looking_up(item):
            duck.scan(connection, "features", table, columns_of(item))
            few = frame.num_rows * FEW <= _rows(table)
            matches = connection.sql(query(item, few=few)).to_arrow_table()
    finally:
        connection.unregister("spine")
        connection.execute("DROP VIEW IF EXISTS features")
    return _in_order(matches, frame.num_rows, item, types)


@contextmanager
def looking_up(item: Join) -> Iterator[None]:
    """Turn DuckDB's errors while it joins into ours.

    Raises:
        FeatureStoreError: With the table.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise FeatureStoreError(
            f"Looking up {item.table} failed: {error}",
            hint="Are all its files there, and is there room on the disk for what does not fit in memory?",
        ) from error


def columns_of(item: Join) -> list[str]:
    """Return the columns of the feature table that a join reads."""
    times = [item.time[1]] if item.time else []
    columns = [*(column for _, column in item.keys), *times, *(name for name, _ in item.outputs)]
    return list(dict.fromkeys(columns))


def refuse_null_times(frame: pa.Table, item: Join) -> None:
    """Refuse rows that have no time to be looked up as of.

    Raises:
        FeatureStoreError: With the number of such rows.
    """
    if item.time is not None:
        item.refuse_null_times(frame.column(item.time[0]).null_count, frame.num_rows)


def query(item: Join, *, few: bool = False) -> str:
    """Return the SQL of a join of the views `spine` (k0, k1, ..., row) and `features`, with the outputs j0, j1, ...

    Args:
        item: The join.
        few: Whether few of the table's keys are looked up: then its rows are sorted out first. A join as of a time
            would put all of them in order.
    """
    conditions = [f"s.k{place} = t.{quote(column, 'duckdb')}" for place, (_, column) in enumerate(item.keys)]
    kind = "LEFT JOIN"
    if item.time is not None:
        # Without any lookback only an equal time counts: that is a plain join, and cheaper.
        exact = item.lookback_us == 0
        kind = "LEFT JOIN" if exact else "ASOF LEFT JOIN"
        conditions.append(f"s.k{len(item.keys)} {'=' if exact else '>='} t.{quote(item.time[1], 'duckdb')}")
    values = [f"t.{quote(feature, 'duckdb')}" for feature, _ in item.outputs]
    if item.time is not None and item.lookback_us:
        # The newest row decides: when it is too old, older ones are not tried. Integers, not intervals, so that no
        # calendar arithmetic comes in.
        age = f"epoch_us(s.k{len(item.keys)}) - epoch_us(t.{quote(item.time[1], 'duckdb')})"
        values = [f"CASE WHEN {age} <= {item.lookback_us} THEN {value} END" for value in values]
    outputs = ", ".join(f"{value} AS j{place}" for place, value in enumerate(values))
    features = "features"
    if few and kind.startswith("ASOF"):
        same = " AND ".join(f"f.{quote(column, 'duckdb')} = o.k{place}" for place, (_, column) in enumerate(item.keys))
        features = f"(SELECT f.* FROM features f SEMI JOIN spine o ON {same})"
    return f"SELECT s.row, {outputs} FROM spine s {kind} {features} t ON {' AND '.join(conditions)}"


def _rows(table: DeltaTable) -> int:
    """Return how many rows a table holds; 0 where its log does not say."""
    return pc.sum(files_of(table).column("num_records")).as_py() or 0


def _in_order(matches: pa.Table, rows: int, item: Join, types: Sequence[pa.DataType]) -> list[pa.ChunkedArray[Any]]:
    refuse_twins(item, rows, matches.num_rows)
    numbers = matches.column("row").to_numpy()
    place = np.empty(rows, dtype=np.int64)
    place[numbers] = np.arange(rows, dtype=np.int64)
    columns = []
    for number, kind in enumerate(types):
        column = typed(matches.column(f"j{number}"), kind)
        # Taking from many chunks searches each row's chunk: from one it does not.
        columns.append(pa.chunked_array([column.combine_chunks().take(place)]))
    return columns


def refuse_twins(item: Join, rows: int, found: int) -> None:
    """Refuse a table that holds a key more than once.

    Args:
        item: The join.
        rows: How many rows were looked up for.
        found: How many came out.

    Raises:
        FeatureStoreError: If they are not as many.
    """
    if found != rows:
        raise FeatureStoreError(
            f"{item.table} holds rows with equal keys ({', '.join(name for _, name in item.keys)}): "
            f"{rows} row(s) found {found}.",
            hint="Its keys must be unique together; write it through ws.fe only.",
        )


def typed(column: pa.ChunkedArray[Any], kind: pa.DataType) -> pa.ChunkedArray[Any]:
    """Return what a join found in the type that was declared."""
    if column.null_count == len(column):
        # DuckDB cannot know the type of a column that none of the files has yet.
        nulls = pa.nulls(len(column), kind)  # type: ignore[call-overload]  # the stubs list kinds, and not what they share
        return pa.chunked_array([nulls])
    return column if column.type.equals(kind) else column.cast(kind)
