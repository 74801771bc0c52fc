"""Left joins of a frame with feature tables in DuckDB: as of each row's own time, out of core, exact to the microsecond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.naming import quote
from mlplatform.workspace.local import duck

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable

    from mlplatform.features.training_set import Join

_FRAME = "frame"


def join(
    connection: duckdb.DuckDBPyConnection, frame: pa.Table, joins: Sequence[Join], tables: Mapping[str, DeltaTable]
) -> duckdb.DuckDBPyRelation:
    """Return the frame, extended by the joins' outputs; lazily, as a DuckDB relation.

    Rows come in any order, exactly as many as the frame has: keys and time are unique together in a feature table. A
    null key matches nothing. The row found counts as a whole: a null in it stays null.

    Args:
        connection: A connection of this join alone; open until the relation has been read.
        frame: The rows to extend, in normal types.
        joins: What to look up.
        tables: The opened version of each table.

    Returns:
        Columns `c0, c1, ...` (the frame's), then `j0_0, j0_1, ...` (each join's outputs, in order). Positions instead of
        names, because DuckDB does not tell `a` from `A`.

    Raises:
        FeatureStoreError: If a time column of the frame holds nulls.
    """
    for item in joins:
        _refuse_null_times(frame, item)
    connection.register(_FRAME, frame.rename_columns([f"c{place}" for place in range(frame.num_columns)]))
    views = _scan(connection, joins, tables)
    selected = [f"s.c{place}" for place in range(frame.num_columns)]
    sources = [f"{_FRAME} s"]
    for place, item in enumerate(joins):
        sources.append(_clause(item, f"t{place}", views[item.table], frame.column_names))
        selected += _outputs(item, place, frame.column_names)
    return connection.sql(f"SELECT {', '.join(selected)} FROM {' '.join(sources)}")


def output_names(frame: Sequence[str], joins: Sequence[Join]) -> list[str]:
    """Return the names that belong to the columns of `join`, in order."""
    return [*frame, *(output for item in joins for _, output in item.outputs)]


def _refuse_null_times(frame: pa.Table, item: Join) -> None:
    if item.time is None:
        return
    nulls = frame.column(item.time[0]).null_count
    if nulls:
        raise FeatureStoreError(
            f"{nulls} of {frame.num_rows} row(s) have no time in {item.time[0]!r}, by which {item.table} is looked up.",
            hint="A row without a time cannot be looked up as of a time: quarantine or drop such rows first.",
        )


def _scan(
    connection: duckdb.DuckDBPyConnection, joins: Sequence[Join], tables: Mapping[str, DeltaTable]
) -> dict[str, str]:
    views: dict[str, str] = {}
    for item in joins:
        if item.table in views:
            continue
        same = [other for other in joins if other.table == item.table]
        columns = dict.fromkeys(
            name
            for other in same
            for name in (
                *(key for _, key in other.keys),
                *([other.time[1]] if other.time else []),
                *(feature for feature, _ in other.outputs),
            )
        )
        views[item.table] = f"table_{len(views)}"
        duck.scan(connection, views[item.table], tables[item.table], list(columns))
    return views


def _clause(item: Join, alias: str, view: str, frame: Sequence[str]) -> str:
    conditions = [f"s.c{frame.index(mine)} = {alias}.{quote(theirs, 'duckdb')}" for mine, theirs in item.keys]
    kind = "LEFT JOIN"
    if item.time is not None:
        mine, theirs = item.time
        # Without any lookback only an equal time counts: that is a plain join, and cheaper.
        exact = item.lookback_us == 0
        kind = "LEFT JOIN" if exact else "ASOF LEFT JOIN"
        conditions.append(f"s.c{frame.index(mine)} {'=' if exact else '>='} {alias}.{quote(theirs, 'duckdb')}")
    return f"{kind} {quote(view, 'duckdb')} {alias} ON {' AND '.join(conditions)}"


def _outputs(item: Join, place: int, frame: Sequence[str]) -> list[str]:
    selected = []
    for number, (feature, _) in enumerate(item.outputs):
        value = f"t{place}.{quote(feature, 'duckdb')}"
        if item.time is not None and item.lookback_us:
            # The newest row decides: when it is too old, older ones are not tried. Integers, not intervals, so that no
            # calendar arithmetic comes in.
            mine, theirs = f"s.c{frame.index(item.time[0])}", f"t{place}.{quote(item.time[1], 'duckdb')}"
            value = f"CASE WHEN {_micros(mine)} - {_micros(theirs)} <= {item.lookback_us} THEN {value} END"
        selected.append(f"{value} AS j{place}_{number}")
    return selected


def _micros(column: str) -> str:
    return f"epoch_us({column})"
