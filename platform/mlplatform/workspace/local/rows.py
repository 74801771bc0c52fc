"""Rows on their way into a table: in memory, or in Parquet files, which are read batch by batch, again if need be."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from mlplatform.errors import TableError
from mlplatform.naming import quote
from mlplatform.protocols import table_checks
from mlplatform.workspace.local import duck
from mlplatform.workspace.local.data_files import MEMORY_LIMIT, read_parquet
from mlplatform.workspace.shared.frames import check_fit, conform, nulls_where_none_may_be

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

_FORMS: dict[pa.DataType, pa.DataType] = {
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
}


class RowSource(Protocol):
    """Rows that a write takes: it may read them several times, as when another writer's commit came first."""

    @property
    def schema(self) -> pa.Schema:
        """Their columns and types."""
        ...

    def reader(self) -> pa.RecordBatchReader:
        """Return a new reader of all rows."""
        ...

    def scan(self, connection: duckdb.DuckDBPyConnection, view: str) -> None:
        """Make the rows readable as a view of a DuckDB connection.

        Args:
            connection: Where to make the view.
            view: Its name.
        """
        ...


class ArrowSource:
    """Rows in memory.

    Attributes:
        table: The rows.
    """

    def __init__(self, table: pa.Table) -> None:
        """Take the rows as they are."""
        self.table = table

    @property
    def schema(self) -> pa.Schema:
        """Their columns and types."""
        return self.table.schema

    def reader(self) -> pa.RecordBatchReader:
        """Return a new reader of all rows."""
        return self.table.to_reader()

    def scan(self, connection: duckdb.DuckDBPyConnection, view: str) -> None:
        """Make the rows readable as a view."""
        connection.register(view, self.table)


class ParquetSource:
    """Rows in Parquet files, which no write changes; at most a row group at a time is in memory."""

    def __init__(self, source: Path | Sequence[Path], schema: pa.Schema | None = None) -> None:
        """Name the files; nothing is read but the columns of the first.

        Args:
            source: A folder with the files, as an engine writes them, or the files.
            schema: Columns and types; needed where there may be no file. Columns of it that the files lack are null,
                and types of it differ from the files' in what does not matter to a value (`string`, `large_string`).

        Raises:
            TableError: If there is neither a file nor a schema.
        """
        self.files = _parquet_files(source) if isinstance(source, Path) else list(source)
        if not self.files and schema is None:
            raise TableError(
                f"There are no rows in {source} any more.",
                hint="A staged frame holds its rows within its context only.",
            )
        self.written = parquet.read_schema(self.files[0]).remove_metadata() if self.files else schema or pa.schema([])
        self.schema = schema if schema is not None else _plain(self.written)

    def reader(self) -> pa.RecordBatchReader:
        """Return a new reader of all rows, file after file."""
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def scan(self, connection: duckdb.DuckDBPyConnection, view: str) -> None:
        """Make the rows readable as a view."""
        if not self.files:
            connection.register(view, self.schema.empty_table())
            return
        present = set(self.written.names)
        columns = ", ".join(
            quote(field.name, "duckdb") if field.name in present else f"NULL AS {quote(field.name, 'duckdb')}"
            for field in self.schema
        )
        listed = read_parquet(self.files)
        connection.execute(f"CREATE OR REPLACE VIEW {quote(view, 'duckdb')} AS SELECT {columns} FROM {listed}")

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in _read(self.files, self.schema.names):
            rows = pa.Table.from_batches([batch])
            columns = [
                rows.column(field.name).cast(field.type)
                if field.name in rows.column_names
                else pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
                for field in self.schema
            ]
            yield from pa.Table.from_arrays(columns, schema=self.schema).to_batches()


class Counted:
    """Counts the rows that a reader gives."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        """Take a reader, which is read by reading `reader`."""
        self.rows = 0
        self._source = reader
        self.reader = pa.RecordBatchReader.from_batches(reader.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._source:
            self.rows += batch.num_rows
            yield batch


def as_rows(source: RowSource | pa.Table) -> RowSource:
    """Return rows, which may be an Arrow table, as `RowSource`."""
    return ArrowSource(source) if isinstance(source, pa.Table) else source


def fitted(source: RowSource | pa.Table, schema: pa.Schema, table: str, into: Path, scratch: Path) -> RowSource:
    """Return the rows with exactly the declared columns, types and nullability, as `workspace.shared.frames.conform`.

    Rows in files whose types differ from the declared ones are cast batch by batch into another file, once, so that
    what does not fit is refused before anything is written.

    Args:
        source: The rows.
        schema: The declared schema; nullable columns of it that the rows lack are null.
        table: The table's name, for messages.
        into: A folder for the cast rows; removed by whoever owns it.
        scratch: Where DuckDB spills.

    Raises:
        TableError: If columns are unknown or missing, values do not fit the type, or a required value is null.
    """
    rows = as_rows(source)
    if isinstance(rows, ArrowSource):
        return ArrowSource(conform(rows.table, schema, table))
    if not isinstance(rows, ParquetSource):
        raise TypeError(f"{type(rows).__name__} are no rows that can be made to fit.")
    check_fit(rows.schema.names, schema, table)
    nulls = _nulls(rows, [field.name for field in schema if not field.nullable], scratch)
    for column, count in nulls.items():
        if count:
            raise nulls_where_none_may_be(column, table, count)
    if all(field.type.equals(schema.field(field.name).type) for field in rows.schema):
        return ParquetSource(rows.files, schema)
    into.mkdir(parents=True, exist_ok=True)
    file = into / f"rows-{uuid.uuid4().hex}.parquet"
    try:
        with parquet.ParquetWriter(file, schema) as writer:
            for batch in rows.reader():
                writer.write_table(conform(pa.Table.from_batches([batch]), schema, table))
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return ParquetSource([file], schema)


def check_no_nulls(rows: RowSource, keys: Sequence[str], table: str, scratch: Path) -> None:
    """Refuse rows with null keys.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    if isinstance(rows, ArrowSource):
        table_checks.check_no_nulls(rows.table, keys, table)
    elif isinstance(rows, ParquetSource):
        table_checks.raise_for_nulls(_nulls(rows, keys, scratch), table)


def check_unique(rows: RowSource, keys: Sequence[str], table: str, scratch: Path) -> None:
    """Refuse rows with null or repeated keys.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    if isinstance(rows, ArrowSource):
        table_checks.check_unique(rows.table, keys, table)
        return
    check_no_nulls(rows, keys, table, scratch)
    columns = ", ".join(quote(key, "duckdb") for key in keys)
    # A name that no key can have: the longest key's, and more.
    total = quote(f"{max(keys, key=len)}__rows", "duckdb")
    with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
        rows.scan(connection, "source")
        connection.execute(
            f"CREATE TEMP TABLE repeated AS SELECT {columns}, count(*) AS {total} FROM source GROUP BY {columns} "
            "HAVING count(*) > 1"
        )
        number, surplus = connection.sql(
            f"SELECT count(*), coalesce(sum({total}) - count(*), 0) FROM repeated"
        ).fetchall()[0]
        if number:
            first = connection.sql(f"SELECT {columns} FROM repeated LIMIT 1").to_arrow_table()
            example = {key: table_checks.readable(first.column(key)[0]) for key in keys}
            raise table_checks.repeated_keys(table, int(number), int(surplus), example)


def check_within(rows: RowSource, span: tuple[str, datetime, datetime], table: str, scratch: Path) -> None:
    """Refuse rows outside the range that they are to replace.

    Args:
        rows: The rows.
        span: Column, start and end, both included.
        table: The table's name, for messages.
        scratch: Where DuckDB spills.

    Raises:
        TableError: With their number.
    """
    column, start, end = span
    if isinstance(rows, ArrowSource):
        times = rows.table.column(column)
        within = pc.and_(pc.greater_equal(times, pa.scalar(start)), pc.less_equal(times, pa.scalar(end)))
        inside = pc.sum(within.cast(pa.int64())).as_py() or 0
        table_checks.raise_for_outside(table, len(times) - inside, len(times), span)
        return
    time = quote(column, "duckdb")
    with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
        rows.scan(connection, "source")
        total, inside = connection.sql(
            f"SELECT count(*), count(*) FILTER ({time} >= $start AND {time} <= $end) FROM source",
            params={"start": start, "end": end},
        ).fetchall()[0]
    table_checks.raise_for_outside(table, int(total) - int(inside), int(total), span)


def _parquet_files(folder: Path) -> list[Path]:
    # What begins with an underscore or a dot is an engine's note to itself.
    return sorted(file for file in folder.rglob("*.parquet") if not file.name.startswith(("_", ".")))


def _read(files: Sequence[Path], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with parquet.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in names]
            yield from file.iter_batches(duck.BATCH_ROWS, columns=columns)


def _plain(schema: pa.Schema) -> pa.Schema:
    # Engines write texts in several forms; a value is the same in each.
    return pa.schema([field.with_type(_FORMS.get(field.type, field.type)) for field in schema])


def _nulls(rows: ParquetSource, columns: Sequence[str], scratch: Path) -> dict[str, int]:
    """Return the number of nulls of each column."""
    if not columns or not rows.files:
        return {}
    told = _nulls_of_footers(rows, columns)
    if told is not None:
        return told
    counts = ", ".join(f"count(*) - count({quote(column, 'duckdb')})" for column in columns)
    with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
        rows.scan(connection, "source")
        return dict(zip(columns, connection.sql(f"SELECT {counts} FROM source").fetchall()[0], strict=True))


def _nulls_of_footers(rows: ParquetSource, columns: Sequence[str]) -> dict[str, int] | None:
    """Return the number of nulls of each column as the files' footers have it; None where one does not say."""
    nulls = dict.fromkeys(columns, 0)
    for path in rows.files:
        with parquet.ParquetFile(path) as file:
            footer = file.metadata
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            chunks = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
            for name in columns:
                if name not in rows.written.names:
                    nulls[name] += group.num_rows
                    continue
                # The chunks of a nested column have other names.
                statistics = chunks[name].statistics if name in chunks else None
                if statistics is None or statistics.null_count is None:
                    return None
                nulls[name] += statistics.null_count
    return nulls
