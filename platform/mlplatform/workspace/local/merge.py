"""What a merge writes: only the new rows where no key is there yet, else the whole table anew; computed out of core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
        rows: What to write, in the schema of the table after the merge.
        rewrites: True when `rows` replace the table, False when they are added to it.
        widens: True when the schema gains columns.
    """

    rows: pa.Table | pa.RecordBatchReader
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
    there = pa.schema(table.schema().to_arrow())
    added = [field.with_nullable(True) for field in source.schema if field.name not in there.names]
    schema = pa.schema([*there, *added])
    connection.register("source", source)
    duck.scan(connection, "target", table)
    on = " AND ".join(f"t.{quote(key, 'duckdb')} = s.{quote(key, 'duckdb')}" for key in keys)
    matches = connection.sql(
        f"SELECT count(*) FROM source s WHERE EXISTS (SELECT 1 FROM target t WHERE {on})"
    ).fetchall()
    known = int(matches[0][0])
    required = [field.name for field in there if not field.nullable and field.name not in source.column_names]
    if required and known < source.num_rows:
        raise TableError(
            f"{source.num_rows - known} new row(s) lack the required column(s) {', '.join(required)}.",
            hint="A new row needs all columns that may not be null.",
        )
    if not known:
        return Merged(rows=_widened(source, schema), rewrites=False, widens=bool(added))
    columns = [(field.name, quote(field.name, "duckdb")) for field in schema]
    kept = ", ".join(f"t.{sql}" if name in there.names else f"NULL AS {sql}" for name, sql in columns)
    new = ", ".join((f"s.{sql}" if name in source.column_names else f"t.{sql}") for name, sql in columns)
    merged = connection.sql(
        f"SELECT {kept} FROM target t WHERE NOT EXISTS (SELECT 1 FROM source s WHERE {on}) "
        f"UNION ALL SELECT {new} FROM source s LEFT JOIN target t ON {on}"
    )
    return Merged(rows=duck.stream(merged, schema), rewrites=True, widens=bool(added))


def _widened(source: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        source.column(field.name) if field.name in source.column_names else pa.nulls(source.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
