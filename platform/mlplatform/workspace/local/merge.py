"""What a merge or a replaced range changes: which files are rewritten, with what, and what is added; out of core."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import quote
from mlplatform.workspace.local import duck
from mlplatform.workspace.local.data_files import FILE, ROW, DataFile, Files, groups, read_parquet

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    from deltalake import DeltaTable

    from mlplatform.workspace.local.rows import RowSource


@dataclass(frozen=True)
class TableChange:
    """A change of a table's opened version; its queries are those of the connection that planned it.

    Attributes:
        written: Rows that are inserted or changed.
        removed: Files that leave the table.
        kept: The queries for what takes the place of their rows, each of about one file.
        added: The query for rows that are new to the table; empty: none.
        whole: The query for all rows, where the table must be written anew as its files are not its rows; else empty.
        params: The queries' parameters.
    """

    written: int
    removed: Sequence[DataFile] = ()
    kept: Sequence[str] = ()
    added: str = ""
    whole: str = ""
    params: Mapping[str, datetime] = field(default_factory=dict)

    def readers(self, connection: duckdb.DuckDBPyConnection, schema: pa.Schema) -> Iterator[pa.RecordBatchReader]:
        """Return what is written, query by query; each must be read before the next is asked for."""
        for query in filter(None, (*self.kept, self.added, self.whole)):
            # DuckDB refuses parameters that a query does not name.
            params = {name: value for name, value in self.params.items() if f"${name}" in query}
            yield duck.stream(connection.sql(query, params=params or None), schema)


def plan_merge(
    connection: duckdb.DuckDBPyConnection, table: DeltaTable, folder: Path, source: RowSource, keys: Sequence[str]
) -> TableChange:
    """Decide what a merge of `source` into the opened version of a table changes.

    Args:
        connection: A DuckDB connection of this merge alone; must stay open until the rows are written.
        table: The handle that the commit will go through; it has all columns of the source.
        folder: The table's.
        source: The rows to merge; keys are not null and unique (checked before).
        keys: The key columns, in the order in which rows are laid out.

    Raises:
        TableError: If rows that are new to the table lack a column that may not be null.
    """
    schema = duck.arrow_schema(table)
    source.scan(connection, "source")
    names = source.schema.names
    on = " AND ".join(f"t.{key} = s.{key}" for key in _quoted(keys))
    if not duck.plain(table):
        return _plan_whole_merge(connection, table, schema, names, on)
    files = Files(connection, table, folder).with_keys("source", keys)
    listed = ", ".join(f"s.{key}" for key in _quoted(keys))
    hits = f"SELECT '' AS {FILE}, {listed} FROM source s LIMIT 0"
    if files:
        # The keys alone: which files hold them is found without reading another column.
        located = f"SELECT {', '.join([FILE, *_quoted(keys)])} FROM {read_parquet(_places(files), located=True)}"
        hits = f"SELECT t.{FILE}, {listed} FROM source s JOIN ({located}) t ON {on}"
    connection.execute(f"CREATE TEMP TABLE hits AS {hits}")
    absent = f"FROM source s WHERE NOT EXISTS (SELECT 1 FROM hits t WHERE {on})"
    fresh = _count(connection, absent)
    _check_required(schema, names, fresh)
    added = f"SELECT {_values(schema, names)} {absent}{_sorted(keys)}" if fresh else ""
    touched = {place for (place,) in connection.sql(f"SELECT DISTINCT {FILE} FROM hits").fetchall()}
    files = [file for file in files if file.place in touched]
    if not files:
        return TableChange(fresh, added=added)
    differs = " OR ".join(f"t.{name} IS DISTINCT FROM s.{name}" for name in _quoted(names))
    # Where the rows are that differ: files that hold the same rows already are not written again.
    connection.execute(
        f"CREATE TEMP TABLE changes AS SELECT t.{FILE}, t.{ROW}, s.* "
        f"FROM ({_rows_of(connection, files, names)}) t JOIN source s ON {on} WHERE {differs} ORDER BY t.{FILE}"
    )
    changed = {place for (place,) in connection.sql(f"SELECT DISTINCT {FILE} FROM changes").fetchall()}
    removed = [file for file in files if file.place in changed]
    kept = [_updated(connection, group, schema, names) + _sorted(keys) for group in groups(removed)]
    return TableChange(fresh + _count(connection, "FROM changes"), removed, kept, added)


def refuse_incomplete(
    connection: duckdb.DuckDBPyConnection, table: DeltaTable, source: RowSource, keys: Sequence[str]
) -> None:
    """Refuse rows that are new to a table and lack a column that may not be null, before the table is changed.

    Args:
        connection: A DuckDB connection of this merge alone.
        table: The opened table.
        source: The rows to merge.
        keys: The key columns.

    Raises:
        TableError: With the number of such rows.
    """
    schema, names = duck.arrow_schema(table), source.schema.names
    if all(item.nullable or item.name in names for item in schema):
        return
    source.scan(connection, "source")
    duck.scan(connection, "target", table, list(keys))
    on = " AND ".join(f"t.{key} = s.{key}" for key in _quoted(keys))
    _check_required(
        schema, names, _count(connection, f"FROM source s WHERE NOT EXISTS (SELECT 1 FROM target t WHERE {on})")
    )


def plan_replacement(
    connection: duckdb.DuckDBPyConnection,
    table: DeltaTable,
    folder: Path,
    source: RowSource,
    span: tuple[str, datetime, datetime],
    order: Sequence[str],
) -> TableChange:
    """Decide what changes when `source` takes the place of the rows within a range.

    Args:
        connection: A DuckDB connection of this write alone; must stay open until the rows are written.
        table: The handle that the commit will go through.
        folder: The table's.
        source: The rows that take the range's place, in the table's schema.
        span: Column, start and end, both included.
        order: The columns in whose order rows are laid out.
    """
    schema = duck.arrow_schema(table)
    source.scan(connection, "source")
    column, start, end = span
    time = quote(column, "duckdb")
    params = {"start": start, "end": end}
    outside = f" WHERE {time} IS NULL OR {time} < $start OR {time} > $end"
    columns = ", ".join(_quoted(schema.names))
    total = _count(connection, "FROM source")
    added = f"SELECT {columns} FROM source"
    if not duck.plain(table):
        duck.scan(connection, "target", table)
        return TableChange(total, whole=f"SELECT {columns} FROM target{outside} UNION ALL {added}", params=params)
    removed = Files(connection, table, folder).within(column, start, end)
    kept = [
        f"SELECT {columns} FROM ({_rows_of(connection, group, schema.names)}){outside}{_sorted(order)}"
        for group in groups(removed)
    ]
    return TableChange(total, removed, kept, added + _sorted(order) if total else "", params=params)


def layout(keys: Sequence[str], timeseries_column: str | None) -> list[str]:
    """Return the columns in whose order a table's rows are laid out: time first, as what changes together lies there.

    Examples:
        >>> layout(["customer", "at"], "at")
        ['at', 'customer']
    """
    return sorted(keys, key=lambda key: key != timeseries_column)


def _plan_whole_merge(
    connection: duckdb.DuckDBPyConnection, table: DeltaTable, schema: pa.Schema, names: Sequence[str], on: str
) -> TableChange:
    duck.scan(connection, "target", table)
    differs = " OR ".join(f"t.{name} IS DISTINCT FROM s.{name}" for name in _quoted(names))
    changed = _count(connection, f"FROM source s JOIN target t ON {on} WHERE {differs}")
    absent = f"FROM source s WHERE NOT EXISTS (SELECT 1 FROM target t WHERE {on})"
    fresh = _count(connection, absent)
    _check_required(schema, names, fresh)
    if not changed:
        return TableChange(fresh, added=f"SELECT {_values(schema, names)} {absent}" if fresh else "")
    updated = ", ".join(
        f"{'s' if name in names else 't'}.{sql}" for name, sql in zip(schema.names, _quoted(schema.names), strict=True)
    )
    untouched = ", ".join(f"t.{name}" for name in _quoted(schema.names))
    return TableChange(
        fresh + changed,
        whole=f"SELECT {untouched} FROM target t WHERE NOT EXISTS (SELECT 1 FROM source s WHERE {on}) "
        f"UNION ALL SELECT {updated} FROM source s LEFT JOIN target t ON {on}",
    )


def _check_required(schema: pa.Schema, names: Collection[str], fresh: int) -> None:
    required = [item.name for item in schema if not item.nullable and item.name not in names]
    if required and fresh:
        raise TableError(
            f"{fresh} new row(s) lack the required column(s) {', '.join(required)}.",
            hint="A new row needs all columns that may not be null.",
        )


def _updated(
    connection: duckdb.DuckDBPyConnection, files: Sequence[DataFile], schema: pa.Schema, names: Collection[str]
) -> str:
    """Return the query for the rows of files with their changes."""
    columns = ", ".join(
        f"CASE WHEN s.{FILE} IS NULL THEN t.{sql} ELSE s.{sql} END AS {sql}" if name in names else f"t.{sql} AS {sql}"
        for name, sql in zip(schema.names, _quoted(schema.names), strict=True)
    )
    places = ", ".join(duck.literal(file.place) for file in files)
    return (
        f"SELECT {columns} FROM ({_rows_of(connection, files, schema.names)}) t "
        f"LEFT JOIN (SELECT * FROM changes WHERE {FILE} IN ({places})) s ON t.{FILE} = s.{FILE} AND t.{ROW} = s.{ROW}"
    )


def _rows_of(connection: duckdb.DuckDBPyConnection, files: Sequence[DataFile], names: Sequence[str]) -> str:
    """Return the query for columns of files, and where each row lies; columns that no file has are null."""
    source = read_parquet(_places(files), located=True)
    present = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    columns = [sql if name in present else f"NULL AS {sql}" for name, sql in zip(names, _quoted(names), strict=True)]
    return f"SELECT {', '.join([FILE, ROW, *columns])} FROM {source}"


def _values(schema: pa.Schema, names: Collection[str]) -> str:
    return ", ".join(
        f"s.{sql}" if name in names else f"NULL AS {sql}"
        for name, sql in zip(schema.names, _quoted(schema.names), strict=True)
    )


def _sorted(columns: Sequence[str]) -> str:
    return f" ORDER BY {', '.join(_quoted(columns))}" if columns else ""


def _count(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    return int(connection.sql(f"SELECT count(*) {source}").fetchall()[0][0])


def _places(files: Sequence[DataFile]) -> list[str]:
    return [file.place for file in files]


def _quoted(names: Sequence[str]) -> list[str]:
    return [quote(name, "duckdb") for name in names]
