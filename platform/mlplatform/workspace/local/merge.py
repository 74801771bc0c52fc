"""What a merge writes: only the new rows where no key exists yet, else the whole table again; computed out of core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import quote
from mlplatform.workspace.local import duck

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Merged:
    """The rows of a merge's commit.

    Attributes:
        rows: What to write, in the schema of the table after the merge; None: nothing, the table holds it all.
        written: Rows that are inserted or changed.
        rewrites: True when `rows` replace the table, False when they are added to it.
        widens: True when the schema gains columns.
    """

    rows: pa.Table | pa.RecordBatchReader | None
    written: int
    rewrites: bool
    widens: bool


def plan_merge(
    connection: duckdb.DuckDBPyConnection, table: DeltaTable, source: pa.Table, keys: Sequence[str]
) -> Merged:
    """Decide what a merge of `source` into the opened version of a table writes.

    Args:
        connection: A DuckDB connection of this merge alone; must stay open until the rows are written.
        table: The handle that the commit will go through.
        source: The rows to merge; keys are not null and unique (checked before).
        keys: The key columns.

    Returns:
        The rows and how to write them.

    Raises:
        TableError: If rows that are new to the table lack a column that may not be null.
    """
    existing = duck.arrow_schema(table)
    new_fields = [field.with_nullable(True) for field in source.schema if field.name not in existing.names]
    schema = pa.schema([*existing, *new_fields])
    connection.register("source", source)
    duck.scan(connection, "target", table)
    on = " AND ".join(f"t.{quote(key, 'duckdb')} = s.{quote(key, 'duckdb')}" for key in keys)
    matches, same = _counted(connection, on, source, widens=bool(new_fields))
    required = [field.name for field in existing if not field.nullable and field.name not in source.column_names]
    if required and matches < source.num_rows:
        raise TableError(
            f"{source.num_rows - matches} new row(s) lack the required column(s) {', '.join(required)}.",
            hint="A new row needs all columns that may not be null.",
        )
    if not matches and not source.num_rows and not new_fields:
        return Merged(None, 0, rewrites=False, widens=False)
    if not matches:
        return Merged(_widened(source, schema), source.num_rows, rewrites=False, widens=bool(new_fields))
    if matches == same:
        # Nothing changes: rewriting the table for rows that it holds already is what makes repeated merges slow.
        if matches == source.num_rows:
            return Merged(None, 0, rewrites=False, widens=False)
        fresh = connection.sql(f"SELECT s.* FROM source s WHERE NOT EXISTS (SELECT 1 FROM target t WHERE {on})")
        rows = fresh.to_arrow_table().cast(source.schema)
        return Merged(_widened(rows, schema), rows.num_rows, rewrites=False, widens=False)
    columns = [(field.name, quote(field.name, "duckdb")) for field in schema]
    old_values = ", ".join(f"t.{sql}" if name in existing.names else f"NULL AS {sql}" for name, sql in columns)
    new_values = ", ".join((f"s.{sql}" if name in source.column_names else f"t.{sql}") for name, sql in columns)
    merged = connection.sql(
        f"SELECT {old_values} FROM target t WHERE NOT EXISTS (SELECT 1 FROM source s WHERE {on}) "
        f"UNION ALL SELECT {new_values} FROM source s LEFT JOIN target t ON {on}"
    )
    return Merged(duck.stream(merged, schema), source.num_rows - same, rewrites=True, widens=bool(new_fields))


def plan_replacement(
    connection: duckdb.DuckDBPyConnection, table: DeltaTable, source: pa.Table, span: tuple[str, datetime, datetime]
) -> pa.RecordBatchReader:
    """Return the table's rows outside a range, and `source` in place of those within.

    Args:
        connection: A DuckDB connection of this write alone; must stay open until the rows are written.
        table: The handle that the commit will go through.
        source: The rows that take the range's place, in the table's schema.
        span: Column, start and end, both included.
    """
    schema = duck.arrow_schema(table)
    connection.register("source", source)
    duck.scan(connection, "target", table)
    columns = ", ".join(quote(name, "duckdb") for name in schema.names)
    column, start, end = span
    time = quote(column, "duckdb")
    rows = connection.sql(
        f"SELECT {columns} FROM target WHERE {time} IS NULL OR {time} < $start OR {time} > $end "
        f"UNION ALL SELECT {columns} FROM source",
        params={"start": start, "end": end},
    )
    return duck.stream(rows, schema)


def _counted(connection: duckdb.DuckDBPyConnection, on: str, source: pa.Table, *, widens: bool) -> tuple[int, int]:
    """Return how many rows' keys the table holds, and of how many of those it holds all values."""
    values = [f"t.{name} IS NOT DISTINCT FROM s.{name}" for name in (quote(n, "duckdb") for n in source.column_names)]
    same = "false" if widens else " AND ".join(values)
    counts = connection.sql(
        f"SELECT count(*), count(*) FILTER (WHERE {same}) FROM source s JOIN target t ON {on}"
    ).fetchall()
    return int(counts[0][0]), int(counts[0][1])


def _widened(source: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        source.column(field.name) if field.name in source.column_names else pa.nulls(source.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
