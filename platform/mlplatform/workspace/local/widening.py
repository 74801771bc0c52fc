"""Making a Delta table wider at home: new columns are a change of the log; wider types are a table written anew.

delta-rs 1.6 does not know Delta's table feature for type widening, neither to write nor to read such a table. So the
rows are streamed through in their wider types, in one commit that brings the new schema along; earlier versions are
read with the schema that they had.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import CommitProperties, Schema, write_deltalake

from mlplatform.naming import quote
from mlplatform.protocols.table_checks import check_type
from mlplatform.protocols.widening import widened_schema
from mlplatform.workspace.local import duck
from mlplatform.workspace.local.data_files import FILE_BYTES, HOOKS, MEMORY_LIMIT, WRITER

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from mlplatform.protocols.tables import Widening


def apply(table: DeltaTable, change: Widening, order: Sequence[str], scratch: Path) -> None:
    """Make a table wider.

    Args:
        table: Its newest version.
        change: What it lacks.
        order: The columns by which its rows are laid out.
        scratch: A folder for what does not fit in memory.

    Raises:
        TableError: If Delta has no such type.
        CommitFailedError: If another writer was faster.
    """
    for field in (*change.added, *change.retyped):
        check_type(field.name, field.type)
    if change.retyped:
        _write_anew(table, change, order, scratch)
        return
    for column in change.relaxed:
        table.alter.drop_column_not_null(column, post_commithook_properties=HOOKS)
    if change.added:
        fields = Schema.from_arrow(pa.schema(change.added)).fields
        table.alter.add_columns(fields, post_commithook_properties=HOOKS)


def _write_anew(table: DeltaTable, change: Widening, order: Sequence[str], scratch: Path) -> None:
    existing = duck.arrow_schema(table)
    schema = widened_schema(existing, change)
    with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
        rows = duck.relation(connection, table, existing.names)
        if order:
            rows = rows.order(", ".join(quote(column, "duckdb") for column in order))
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(schema, _widened(duck.stream(rows, existing), schema)),
            mode="overwrite",
            schema_mode="overwrite",
            target_file_size=FILE_BYTES,
            writer_properties=WRITER,
            commit_properties=CommitProperties(max_commit_retries=0),
            post_commithook_properties=HOOKS,
        )


def _widened(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in rows:
        columns = [_column(batch, field) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(batch: pa.RecordBatch, field: pa.Field[Any]) -> pa.Array[Any]:
    column: pa.Array[Any]
    if field.name in batch.schema.names:
        column = batch.column(field.name).cast(field.type)
    else:
        column = pa.nulls(batch.num_rows, field.type)
    return column
