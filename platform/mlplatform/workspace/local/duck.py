"""DuckDB over Delta tables: reads a table's active files, out of core; its own Delta extension is a download."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from mlplatform.naming import quote

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable

# Up to this reader version a table's parquet files are its rows; above, deletion vectors and column mapping come in.
PLAIN_READER_VERSION = 2
# What DuckDB says of a Ctrl-C while it computes, and of one inside of a Python function that it calls.
_INTERRUPTED = ("Query interrupted", "KeyboardInterrupt")
BATCH_ROWS = 122_880  # DuckDB's own row-group size: batches need no copying together


@contextmanager
def connect(scratch: Path, *, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB that spills to a folder and thinks in UTC.

    Args:
        scratch: Where it spills what does not fit in memory.
        memory_limit: DuckDB's own limit, as in `4GB`; default: DuckDB's (80 % of the machine).
    """
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        # Literals, not parameters: SET takes none. The folder is ours, and quoted all the same.
        connection.execute(f"SET temp_directory = {_literal(str(scratch / 'duckdb'))}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")
        if memory_limit:
            connection.execute(f"SET memory_limit = {_literal(memory_limit)}")
        yield connection
    except Exception as error:
        # DuckDB takes a Ctrl-C for itself. Whoever looks for errors, and records them, must not be told this one.
        if any(said in str(error) for said in _INTERRUPTED):
            raise KeyboardInterrupt from error
        raise
    finally:
        connection.close()


def arrow_schema(table: DeltaTable) -> pa.Schema:
    """Return the schema of a Delta table at its opened version."""
    # delta-rs gives another library's schema; it has Arrow's interface, which pyarrow's stubs do not know.
    schema: Any = table.schema().to_arrow()
    return pa.schema(schema)


def scan(
    connection: duckdb.DuckDBPyConnection, view: str, table: DeltaTable, columns: Sequence[str] | None = None
) -> None:
    """Make a Delta table at its opened version readable as a view.

    Args:
        connection: Where to make the view.
        view: Its name.
        table: The delta-rs handle; its version decides which files are read.
        columns: The columns wanted; default all.
    """
    schema = arrow_schema(table)
    names = list(columns) if columns is not None else schema.names
    files = [local_path(uri) for uri in table.file_uris()]
    if table.protocol().min_reader_version > PLAIN_READER_VERSION or table.metadata().partition_columns or not files:
        # Deletion vectors, column mapping and partitions: only a Delta reader knows which rows exist.
        connection.register(f"{view}__arrow", _read(table, schema, names))
        connection.execute(f"CREATE VIEW {quote(view, 'duckdb')} AS SELECT * FROM {quote(view + '__arrow', 'duckdb')}")
        return
    present = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {_read_parquet(files)}").fetchall()}
    # A column added later is in none of the older files, and perhaps in no file at all.
    selected = ", ".join(
        quote(name, "duckdb") if name in present else f"NULL AS {quote(name, 'duckdb')}" for name in names
    )
    connection.execute(f"CREATE VIEW {quote(view, 'duckdb')} AS SELECT {selected} FROM {_read_parquet(files)}")


def stream(relation: duckdb.DuckDBPyRelation, schema: pa.Schema, batch_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
    """Stream a result as Arrow batches of a declared schema."""
    reader = relation.to_arrow_reader(batch_rows)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _read_parquet(files: Sequence[str]) -> str:
    listed = ", ".join(_literal(file) for file in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def local_path(uri: str) -> str:
    """Return the path of a file as delta-rs names it."""
    # delta-rs gives the folder percent-encoded: a space in it would be looked for as `%20`.
    return unquote(uri.removeprefix("file://"))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _read(table: DeltaTable, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    from deltalake import QueryBuilder

    if not table.file_uris():
        return schema.empty_table().select(list(columns))
    batches = QueryBuilder().register("t", table).execute("SELECT * FROM t")
    return pa.table(batches).cast(schema).select(list(columns))
