"""Frames of the local workspace: narwhals over DuckDB relations on the tables' files, spilling to disk.

What Spark (Sail) computed comes in as Parquet, and goes out to Spark as Parquet, both in the scratch folder.
"""

from __future__ import annotations

import shutil
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import narwhals as nw
import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.frames import Collection, Frame, note_collection, share_bound, too_many
from mlplatform.protocols.table_checks import check_columns, check_distinct
from mlplatform.statistics.counts import count_batches
from mlplatform.types import TIMESTAMP
from mlplatform.workspace.local import duck, latest_view, staging
from mlplatform.workspace.local.plain_path import plain_path
from mlplatform.workspace.local.pruning import files_within
from mlplatform.workspace.local.rows import ParquetSource, fitted
from mlplatform.workspace.shared.frames import filtered, is_lazy, is_spark_frame, to_arrow

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.protocols.column_counts import Cells, ColumnCounts
    from mlplatform.protocols.tables import Filter, FrameLike

MEMORY_LIMIT = "2GB"
_HASH = "__sample_hash"
_WHOLE = ("HUGEINT", "UHUGEINT", "UBIGINT", "UINTEGER")


class DeltaFolders(Protocol):
    """Where the tables' files are."""

    def path(self, name: ObjectName | str) -> Path:
        """Return the folder of a table or view."""
        ...

    def open(self, name: ObjectName | str, *, version: int | None = None) -> DeltaTable:
        """Return the delta-rs handle of a table."""
        ...


class LocalFrames:
    """Frames of the local workspace; see `mlplatform.protocols.frames.Frames`.

    All frames are relations of one DuckDB connection, so that any two can be joined. Only this class computes them, one
    at a time.
    """

    def __init__(self, tables: DeltaFolders, scratch: Path, spark: Callable[[], SparkSession]) -> None:
        """Take the tables, and the scratch folder, and what gives the Spark session when it is needed."""
        self._tables = tables
        self._scratch = scratch
        self._spark = spark
        self.ceiling: int | None = None
        # Relation of what is staged -> its folder: written to a table, it is not computed into files again.
        self._staged: weakref.WeakKeyDictionary[Any, Path] = weakref.WeakKeyDictionary()

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return duck.open_connection(self._scratch, memory_limit=MEMORY_LIMIT)

    def read(
        self,
        name: ObjectName | str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
        any_of: Sequence[Filter] = (),
    ) -> Frame:
        """Return a table (or view) as a frame, pinned at a version; files that hold no row asked for are left out."""
        view = latest_view.load(self._tables.path(name))
        table = self._tables.open(name if view is None else view.of, version=version)
        schema = duck.arrow_schema(table)
        asked = [item[0] for item in (*filters, *any_of)]
        check_columns(name, schema, [*(columns or ()), *asked])
        with duck.computing(f"Reading {name}"):
            if view is not None:
                relation = view.relation(duck.relation(self._connection, table, schema.names), schema, view.of)
            else:
                needed = list(dict.fromkeys([*(columns or schema.names), *asked]))
                files = files_within(table, filters, any_of) if asked else None
                relation = duck.relation(self._connection, table, needed, files=files)
        frame = filtered(nw.from_native(relation), schema, filters, name, any_of)
        return frame if columns is None else frame.select(*columns)

    def of(self, rows: FrameLike) -> Frame:
        """Return rows as a frame; what Spark holds is computed now."""
        if is_lazy(rows):
            return rows
        if is_spark_frame(rows):
            folder = self._folder()
            staging.write(rows, folder)
            return self.of_files(folder)
        table = to_arrow(rows)
        check_distinct(table.column_names, "The frame")
        return nw.from_native(self._connection.from_arrow(table))

    def file_of(self, frame: Frame) -> Path:
        """Compute a frame into a Parquet file in the scratch folder; removed when the workspace is closed."""
        folder = self._folder()
        staging.write(frame, folder)
        return staging.only_file(folder)

    def of_files(self, folder: Path) -> Frame:
        """Return the Parquet files of a folder as a frame."""
        return nw.from_native(duck.parquet_relation(self._connection, staging.files(folder)))

    def of_staged(self, folder: Path) -> Frame:
        """Return the Parquet files of a folder as a frame that is not computed into files once more."""
        frame = self.of_files(folder)
        self._staged[frame.to_native()] = folder
        return frame

    def to_spark(self, rows: FrameLike) -> DataFrame:
        """Return rows as a Spark DataFrame, through Parquet; removed when the workspace is closed."""
        if is_spark_frame(rows):
            return rows  # type: ignore[return-value]  # is_spark_frame() says what it is
        folder = self._folder()
        staging.write(self.of(rows), folder)
        return self._spark().read.parquet(str(plain_path(folder)))

    @contextmanager
    def staged(self, rows: FrameLike, *, order_by: Sequence[str] = ()) -> Iterator[Frame]:
        """Compute rows once, into Parquet in the scratch folder."""
        with self.staged_files(rows, order_by=order_by) as folder:
            yield self.of_staged(folder)

    @contextmanager
    def staged_files(self, rows: FrameLike, *, order_by: Sequence[str] = ()) -> Iterator[Path]:
        """Compute rows once, and give the folder of the Parquet files; with an order there is one file.

        A frame that is staged stays where it is.
        """
        staged = self._staged.get(rows.to_native()) if is_lazy(rows) and not order_by else None
        if staged is not None:
            yield staged
            return
        if order_by:
            rows = self.of(rows).sort(*order_by)
        folder = self._folder()
        try:
            staging.write(rows, folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def conformed(self, rows: FrameLike, schema: pa.Schema, table: str) -> Iterator[Frame]:
        """Give rows in exactly the declared columns and types, computed once into files."""
        with self.staged_files(rows) as folder:
            cast = self._folder()
            try:
                source = fitted(ParquetSource(folder), schema, table, cast, self._scratch)
                files = [str(file) for file in source.files] if isinstance(source, ParquetSource) else []
                yield nw.from_native(duck.parquet_relation(self._connection, files, schema))
            finally:
                shutil.rmtree(cast, ignore_errors=True)

    @staticmethod
    def schema(frame: Frame) -> pa.Schema:
        """Return a frame's columns in the types in which they are collected; no row is computed."""
        relation: Any = frame.to_native()
        with duck.computing("Reading the columns of a frame"):
            nothing: pa.Table = relation.limit(0).to_arrow_table()
        return _normal(nothing, _kinds(relation)).schema

    def collect(self, frame: Frame, *, at_most: int, what: str) -> pa.Table:
        """Return a frame's rows as Arrow, in normal types."""
        bound = at_most if self.ceiling is None else min(at_most, self.ceiling)
        relation: Any = frame.to_native()
        with duck.computing(f"Collecting {what}"):
            rows: pa.Table = relation.limit(bound + 1).to_arrow_table()
        if rows.num_rows > bound:
            raise too_many(what, self.count(frame), bound)
        return self.bounded(_normal(rows, _kinds(relation)), at_most=at_most, what=what)

    def bounded(self, rows: pa.Table, *, at_most: int, what: str) -> pa.Table:
        """Return rows that were read by other means, and count them among what was collected.

        Raises:
            TableError: If there are more than may be collected.
        """
        bound = at_most if self.ceiling is None else min(at_most, self.ceiling)
        if rows.num_rows > bound:
            raise too_many(what, rows.num_rows, bound)
        note_collection(Collection(what, rows.num_rows, rows.nbytes, bound))
        return rows

    def count(self, frame: Frame) -> int:
        """Return how many rows a frame has."""
        with duck.computing("Counting rows"):
            rows = frame.select(nw.len().alias("rows")).to_native().fetchall()
        return int(rows[0][0])

    def fingerprint(self, frame: Frame, columns: Sequence[str]) -> str:
        """Return a text that tells which rows a frame holds: their number, and the exclusive or and sum of hashes."""
        relation: Any = frame.to_native()
        hashed = f"hash({', '.join(quote(column, 'duckdb') for column in columns)})"
        with duck.computing("Telling which rows a frame holds"):
            (row,) = relation.aggregate(f"count(*), bit_xor({hashed}), sum({hashed}::HUGEINT)").fetchall()
        return ":".join(f"{int(value or 0):x}" for value in row)

    def count_cells(self, rows: FrameLike, cells: Mapping[str, Cells]) -> dict[str, ColumnCounts]:
        """Count columns in cells, batch by batch: for few rows a tenth of what DuckDB takes to plan as many counts."""
        if isinstance(rows, pa.RecordBatchReader | pa.Table):
            return count_batches(cells, rows if isinstance(rows, pa.RecordBatchReader) else rows.to_batches())
        frame = self.of(rows)
        present = [name for name in frame.collect_schema().names() if name in cells]
        with duck.computing("Counting columns in cells"):
            return count_batches(cells, frame.select(*present).to_native().to_arrow_reader(duck.BATCH_ROWS))

    def sample(self, frame: Frame, *, keys: Sequence[str], at_most: int, seed: int) -> Frame:
        """Return the rows whose keys have the smallest MD5 together with the seed."""
        relation: Any = frame.to_native()
        schema = frame.collect_schema()
        texts = ", ".join(_key_text(key, schema[key]) for key in keys)
        hashed = relation.project(f"*, md5(concat_ws('|', '{seed:d}', {texts})) AS {_HASH}")
        sample: Frame = nw.from_native(hashed).sort(_HASH, *keys).head(at_most).drop(_HASH)
        return sample

    def share(self, frame: Frame, *, keys: Sequence[str], share: float, salt: str, outside: bool = False) -> Frame:
        """Return the rows whose keys' MD5 with the salt lies in a share of its range, or the others."""
        relation: Any = frame.to_native()
        schema = frame.collect_schema()
        texts = ", ".join(_key_text(key, schema[key]) for key in keys)
        side = ">=" if outside else "<"
        chosen = relation.filter(f"md5(concat_ws('|', {duck.literal(salt)}, {texts})) {side} '{share_bound(share)}'")
        found: Frame = nw.from_native(chosen)
        return found

    def close(self) -> None:
        """Close the connection, if there is one, and what else spills to the scratch folder."""
        connection = self.__dict__.pop("_connection", None)
        if connection is not None:
            connection.close()
        duck.close_instances(self._scratch)

    def _folder(self) -> Path:
        return self._scratch / "frames" / uuid.uuid4().hex


def _key_text(key: str, kind: nw.dtypes.DType) -> str:
    """Return SQL for a key as text, the same in every engine; a null is empty."""
    column = quote(key, "duckdb")
    text = f"epoch_us({column})" if kind == nw.Datetime else column
    return f"coalesce(CAST({text} AS VARCHAR), '')"


def _kinds(relation: duckdb.DuckDBPyRelation) -> dict[str, str]:
    return dict(zip(relation.columns, map(str, relation.types), strict=True))


def _normal(rows: pa.Table, kinds: Mapping[str, str]) -> pa.Table:
    """Return rows in normal types: DuckDB sums whole numbers to 128 bits, which Arrow has not.

    Args:
        rows: The rows.
        kinds: Column -> DuckDB's name of its type.
    """
    fields = []
    for column in rows.schema:
        kind = column.type
        if kinds[column.name] in _WHOLE:
            kind = pa.int64()
        elif pa.types.is_timestamp(kind) and kind.tz is not None:
            kind = TIMESTAMP
        fields.append(pa.field(column.name, kind))
    try:
        return rows.cast(pa.schema(fields))
    except pa.ArrowException as error:
        raise TableError(f"The rows collected do not fit their types: {error}") from error
