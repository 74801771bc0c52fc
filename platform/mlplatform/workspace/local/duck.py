"""DuckDB over Delta tables: reads a table's active files, out of core; its own Delta extension is a download."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import quote

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable

# Up to this reader version a table's parquet files are its rows; above, deletion vectors and column mapping come in.
PLAIN_READER_VERSION = 2
# What DuckDB says of a Ctrl-C while it computes, and of one inside of a Python function that it calls.
_INTERRUPTED = ("Query interrupted", "KeyboardInterrupt")
BATCH_ROWS = 122_880  # DuckDB's own row-group size: batches need no copying together

_instances: dict[tuple[int, Path, str | None], duckdb.DuckDBPyConnection] = {}
_starting = Lock()


@contextmanager
def connect(scratch: Path, *, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory database of DuckDB, empty and of one's own, for as long as the context lasts.

    It is one of an instance that stays: a write opens several, and an instance takes thirty times as long to start.

    Args:
        scratch: As `open_connection`; a folder that lasts, for its instance stays, with the memory that it holds.
        memory_limit: As `open_connection`; of all that are open at a time.
    """
    import duckdb

    instance = _instance(scratch, memory_limit)
    connection = instance.cursor()
    name = f"own_{uuid.uuid4().hex}"
    connection.execute(f"ATTACH ':memory:' AS {name}")
    connection.execute(f"USE {name}")
    connection.execute("SET TimeZone = 'UTC'")  # of the connection, as `USE`
    try:
        with uninterrupted():
            yield connection
    finally:
        connection.close()
        # Where the instance was closed meanwhile, its databases went with it.
        with suppress(duckdb.Error), instance.cursor() as last:
            last.execute(f"DETACH {name}")


def close_instances(scratch: Path) -> None:
    """Close the instances that spill to a folder, or below: none can spill once the folder is gone."""
    with _starting:
        for place in [place for place in _instances if place[1].is_relative_to(scratch)]:
            _instances.pop(place).close()


def _instance(scratch: Path, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    """Return the instance of this process (a forked one needs its own), a scratch folder and a limit."""
    place = (os.getpid(), scratch, memory_limit)
    with _starting:
        if place not in _instances:
            _instances[place] = open_connection(scratch, memory_limit=memory_limit)
        return _instances[place]


def open_connection(scratch: Path, *, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that spills to a folder and thinks in UTC.

    Args:
        scratch: Where it spills what does not fit in memory.
        memory_limit: DuckDB's own limit, as in `4GB`; default: DuckDB's (80 % of the machine).
    """
    import duckdb

    connection = duckdb.connect(":memory:")
    # Literals, not parameters: SET takes none. The folder is ours, and quoted all the same.
    connection.execute(f"SET temp_directory = {literal(str(scratch / 'duckdb'))}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    # Without `parquet_metadata_cache`, though it saves a third of a small query: the footer of each file that a step
    # stages would be held until the connection is closed (60 KB a file of 40 columns).
    if memory_limit:
        connection.execute(f"SET memory_limit = {literal(memory_limit)}")
    return connection


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Give a Ctrl-C back as what it is: DuckDB takes it for itself, and whoever records errors must not be told it."""
    try:
        yield
    except Exception as error:
        if any(said in str(error) for said in _INTERRUPTED):
            raise KeyboardInterrupt from error
        raise


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Turn DuckDB's errors while it computes into ours.

    Raises:
        TableError: With what was being done.
        KeyboardInterrupt: If it was a Ctrl-C.
    """
    import duckdb

    try:
        with uninterrupted():
            yield
    except duckdb.Error as error:
        raise TableError(
            f"{what} failed: {error}",
            hint="Are all files of the tables there, and is there room on the disk for what does not fit in memory?",
        ) from error


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
    if not plain(table) or not files:
        connection.register(f"{view}__arrow", _read(table, schema, names))
        connection.execute(f"CREATE VIEW {quote(view, 'duckdb')} AS SELECT * FROM {quote(view + '__arrow', 'duckdb')}")
        return
    relation = parquet_relation(connection, files, pa.schema([schema.field(name) for name in names]))
    relation.create_view(view)


def plain(table: DeltaTable) -> bool:
    """Tell whether a table's Parquet files are its rows.

    With deletion vectors, column mapping or partitions only a Delta reader knows which rows exist.
    """
    return table.protocol().min_reader_version <= PLAIN_READER_VERSION and not table.metadata().partition_columns


def relation(
    connection: duckdb.DuckDBPyConnection,
    table: DeltaTable,
    columns: Sequence[str],
    *,
    files: Collection[str] | None = None,
) -> duckdb.DuckDBPyRelation:
    """Return a Delta table at its opened version as a relation.

    Args:
        connection: The connection that the relation belongs to.
        table: The delta-rs handle; its version decides which files are read.
        columns: The columns wanted.
        files: Read only these of its files (paths relative to its folder); None: all.
    """
    schema = pa.schema([arrow_schema(table).field(name) for name in columns])
    if not plain(table):
        return connection.from_arrow(_read(table, arrow_schema(table), columns))
    root = Path(local_path(table.table_uri))
    names = [unquote(name) for name in files] if files is not None else None
    paths = [local_path(uri) for uri in table.file_uris()]
    if names is not None:
        wanted = {str(root / name) for name in names}
        paths = [path for path in paths if path in wanted]
    return parquet_relation(connection, paths, schema)


def parquet_relation(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], schema: pa.Schema | None = None
) -> duckdb.DuckDBPyRelation:
    """Return Parquet files as a relation.

    Args:
        connection: The connection that the relation belongs to.
        files: Their paths; without any, the relation is empty.
        schema: The columns wanted; a column that no file has (it was added later) is null. None: those of the files.

    Raises:
        TableError: If there is neither a file nor a schema.
    """
    if not files:
        if schema is None:
            raise TableError("There are no files to read.", hint="This is an error of the platform; please report it.")
        return connection.from_arrow(schema.empty_table())
    rows = connection.sql(f"SELECT * FROM {read_parquet(files)}")
    if schema is None:
        return rows
    present = set(rows.columns)
    selected = ", ".join(
        quote(field.name, "duckdb")
        if field.name in present
        else f"CAST(NULL AS {_null_type(connection, field.type)}) AS {quote(field.name, 'duckdb')}"
        for field in schema
    )
    return rows.project(selected)


def stream(relation: duckdb.DuckDBPyRelation, schema: pa.Schema, batch_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
    """Stream a result as Arrow batches of a declared schema."""
    reader = relation.to_arrow_reader(batch_rows)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _null_type(connection: duckdb.DuckDBPyConnection, kind: pa.DataType) -> str:
    return str(connection.from_arrow(pa.schema([pa.field("column", kind)]).empty_table()).types[0])


def read_parquet(files: Sequence[Path | str], *options: str) -> str:
    """Return the SQL that reads files, whatever characters their paths hold.

    Args:
        files: The files.
        *options: Further options of `read_parquet`, such as `file_row_number = true`.
    """
    listed = ", ".join(literal(_pattern(str(file))) for file in files)
    return f"read_parquet([{listed}], {', '.join(['union_by_name = true', 'hive_partitioning = false', *options])})"


def _pattern(path: str) -> str:
    """Return the pattern that only one path matches: DuckDB takes every path that it reads for a pattern.

    Examples:
        >>> _pattern("a*/b?.parquet")
        'a[*]/b[?].parquet'
    """
    return re.sub(r"[*?[]", r"[\g<0>]", path)


def local_path(uri: str) -> str:
    """Return the path of a file as delta-rs names it."""
    # delta-rs gives the folder percent-encoded: a space in it would be looked for as `%20`.
    return unquote(uri.removeprefix("file://"))


def literal(text: str) -> str:
    """Return a text as a SQL literal.

    Examples:
        >>> literal("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _read(table: DeltaTable, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    from deltalake import QueryBuilder

    if not table.file_uris():
        return schema.empty_table().select(list(columns))
    batches = QueryBuilder().register("t", table).execute("SELECT * FROM t")
    return pa.table(batches).cast(schema).select(list(columns))
