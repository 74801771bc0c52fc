"""Frames of the Databricks workspace: narwhals over Spark DataFrames; rows stay in Spark."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.frames import Collection, Frame, note_collection, share_bound, too_many
from mlplatform.protocols.table_checks import check_columns, check_distinct
from mlplatform.workspace.databricks import cell_counts
from mlplatform.workspace.databricks.spark_errors import translated_spark
from mlplatform.workspace.databricks.spark_frames import arrow_schema, conformed, lifted, spark_or_arrow, uploaded
from mlplatform.workspace.shared.frames import filtered, is_lazy

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.column_counts import Cells, ColumnCounts
    from mlplatform.protocols.tables import Filter, FrameLike
    from mlplatform.workspace.databricks.unity import Unity

_HASH = "__sample_hash"
_WORD = 2**64 - 1


class DatabricksFrames:
    """Frames of the Databricks workspace; see `mlplatform.protocols.frames.Frames`."""

    def __init__(self, unity: Unity, read: Callable[[ObjectName | str, int | None], DataFrame]) -> None:
        """Take the connection, and what reads a table at a version (None: the newest)."""
        self._unity = unity
        self._read = read
        self.ceiling: int | None = None

    def read(
        self,
        name: ObjectName | str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
        any_of: Sequence[Filter] = (),
    ) -> Frame:
        """Return a table (or view) as a frame, pinned at a version; Delta leaves files out by their statistics."""
        rows = self._read(name, version)
        schema = arrow_schema(rows.schema)
        asked = [item[0] for item in (*filters, *any_of)]
        check_columns(name, schema, [*(columns or ()), *asked])
        # Spark takes a dot for the way into a struct: such columns are filtered by their places.
        places = {column: f"c{at}" for at, column in enumerate(schema.names)} if _awkward(schema) else {}
        if places:
            rows = rows.toDF(*places.values())
            schema = pa.schema([field.with_name(places[field.name]) for field in schema])
            filters, any_of = _renamed(filters, places), _renamed(any_of, places)
        frame = filtered(nw.from_native(rows), schema, filters, name, any_of)
        if columns is not None:
            frame = frame.select(*(places.get(column, column) for column in columns))
        if not places:
            return frame
        named: DataFrame = frame.to_native()
        return nw.from_native(named.toDF(*(columns if columns is not None else places)))

    def of(self, rows: FrameLike) -> Frame:
        """Return rows as a frame; Arrow and pandas rows, which are small, go to Spark with the query."""
        if is_lazy(rows):
            return rows
        return nw.from_native(self.to_spark(rows))

    def to_spark(self, rows: FrameLike) -> DataFrame:
        """Return rows as a Spark DataFrame."""
        source = spark_or_arrow(rows)
        if not isinstance(source, pa.Table):
            return source
        check_distinct(source.column_names, "The frame")
        with lifted(self._unity, source, lasting=True) as df:
            return df

    @contextmanager
    def staged(self, rows: FrameLike, *, order_by: Sequence[str] = ()) -> Iterator[Frame]:
        """Compute rows once, into Parquet in the volume of the platform's files: serverless compute caches nothing.

        Raises:
            TableError: If the volume cannot be written.
        """
        folder = self._unity.ops_volume / "staging" / uuid.uuid4().hex
        try:
            if isinstance(rows, pa.RecordBatchReader):
                rows = uploaded(self._unity, rows, folder / "uploaded")
                if not order_by:
                    yield nw.from_native(rows)
                    return
            df = self.to_spark(rows)
            if order_by:
                df = df.orderBy(*(quote(column) for column in order_by))
            schema, computed = df.schema, str(folder / "computed")
            with translated_spark(f"Computing rows into {computed}"):
                df.write.parquet(computed)
            yield nw.from_native(self._unity.spark.read.schema(schema).parquet(computed))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def conformed(self, rows: FrameLike, schema: pa.Schema, table: str) -> Iterator[Frame]:
        """Give rows in exactly the declared columns and types; values are cast when they are computed."""
        with conformed(self._unity, rows, schema, table) as df:
            yield nw.from_native(df)

    def collect(self, frame: Frame, *, at_most: int, what: str) -> pa.Table:
        """Return a frame's rows as Arrow, in normal types."""
        bound = at_most if self.ceiling is None else min(at_most, self.ceiling)
        df: DataFrame = frame.to_native()
        with translated_spark(f"Collecting {what}"):
            # One more than may come: then there are more, and the rest stays where it is.
            rows = df.limit(bound + 1).toArrow()
        if rows.num_rows > bound:
            raise too_many(what, self.count(frame), bound)
        rows = _normal(rows, df)
        note_collection(Collection(what, rows.num_rows, rows.nbytes, bound))
        return rows

    def count(self, frame: Frame) -> int:
        """Return how many rows a frame has."""
        df: DataFrame = frame.to_native()
        with translated_spark("Counting rows"):
            return df.count()

    def fingerprint(self, frame: Frame, columns: Sequence[str]) -> str:
        """Return a text that tells which rows a frame holds: their number, and the exclusive or and sum of hashes."""
        from pyspark.sql import functions as F  # noqa: N812

        df: DataFrame = frame.to_native()
        hashed = df.select(F.xxhash64(*(F.col(quote(column)) for column in columns)).alias("hash"))
        with translated_spark("Telling which rows a frame holds"):
            row = hashed.agg(
                F.count("*"), F.bit_xor("hash"), F.sum(F.col("hash").cast("decimal(20,0)")).cast("string")
            ).collect()[0]
        return ":".join(f"{int(value or 0) & _WORD:x}" for value in row)

    def count_cells(self, rows: FrameLike, cells: Mapping[str, Cells]) -> dict[str, ColumnCounts]:
        """Count columns in cells by one query; a row for each cell comes back."""
        df: DataFrame = self.of(rows).to_native()
        present = {name: of for name, of in cells.items() if name in df.columns}
        if not present:
            return {}
        counted = self.collect(
            nw.from_native(cell_counts.grouped(df, present)),
            at_most=sum(of.number + 1 for of in present.values()),
            what="counts of columns in cells",
        )
        return cell_counts.counts(counted, present)

    def sample(self, frame: Frame, *, keys: Sequence[str], at_most: int, seed: int) -> Frame:
        """Return the rows whose keys have the smallest MD5 together with the seed."""
        from pyspark.sql import functions as F  # noqa: N812

        df: DataFrame = frame.to_native()
        kinds = dict(df.dtypes)
        texts = [F.expr(_key_text(key, kinds[key])) for key in keys]
        hashed = df.withColumn(_HASH, F.md5(F.concat_ws("|", F.lit(f"{seed:d}"), *texts)))
        first = hashed.orderBy(_HASH, *(quote(key) for key in keys)).limit(at_most).drop(_HASH)
        sample: Frame = nw.from_native(first)
        return sample

    def share(self, frame: Frame, *, keys: Sequence[str], share: float, salt: str, outside: bool = False) -> Frame:
        """Return the rows whose keys' MD5 with the salt lies in a share of its range, or the others."""
        from pyspark.sql import functions as F  # noqa: N812

        df: DataFrame = frame.to_native()
        kinds = dict(df.dtypes)
        texts = [F.expr(_key_text(key, kinds[key])) for key in keys]
        hashed, bound = F.md5(F.concat_ws("|", F.lit(salt), *texts)), F.lit(share_bound(share))
        chosen: Frame = nw.from_native(df.where(hashed >= bound if outside else hashed < bound))
        return chosen


def _key_text(key: str, kind: str) -> str:
    """Return SQL for a key as text, the same in every engine; a null is empty."""
    column = quote(key)
    text = f"unix_micros({column})" if kind == "timestamp" else column
    return f"coalesce(CAST({text} AS STRING), '')"


def _normal(rows: pa.Table, df: DataFrame) -> pa.Table:
    """Return rows in the types that Spark's schema says, timestamps in UTC."""
    schema = arrow_schema(df.schema)
    try:
        return rows.cast(pa.schema([pa.field(field.name, field.type) for field in schema]))
    except pa.ArrowException as error:
        raise TableError(f"The rows collected do not fit their types: {error}") from error


def _awkward(schema: pa.Schema) -> bool:
    return any("." in name or "`" in name for name in schema.names)


def _renamed(filters: Sequence[Filter], names: Mapping[str, str]) -> list[Filter]:
    return [(names[column], operator, value) for column, operator, value in filters]
