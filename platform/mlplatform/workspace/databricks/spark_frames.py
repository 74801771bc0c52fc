"""Frames on their way to a table: cast to its declaration in Spark, or lifted from Arrow into Spark."""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import quote
from mlplatform.protocols.table_checks import check_distinct, check_unique, raise_for_nulls, readable, repeated_keys
from mlplatform.types import arrow_type, is_number, spark_type
from mlplatform.workspace.shared.frames import check_fit, conform, is_lazy, is_spark_frame, refuse_other_kind, to_arrow

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from mlplatform.workspace.databricks.unity import Unity

STAGED_BYTES = 64 * 1024**2
_COUNT = "__count"


def arrow_schema(schema: StructType) -> pa.Schema:
    """Return Spark's schema as Arrow declares it: timestamps in UTC, comments kept."""
    fields = []
    for column in schema:
        comment = (column.metadata or {}).get("comment")
        metadata = {"comment": comment} if comment else None
        name = column.dataType.simpleString()
        # A table may hold a column without a zone, though no feature may be one.
        kind = pa.timestamp("us") if name == "timestamp_ntz" else arrow_type(name)
        fields.append(pa.field(column.name, kind, nullable=column.nullable, metadata=metadata))
    return pa.schema(fields)


def spark_name(kind: pa.DataType) -> str:
    """Return Spark's name of an Arrow type."""
    without_zone = pa.types.is_timestamp(kind) and kind.tz is None
    return "timestamp_ntz" if without_zone else spark_type(kind)


def spark_or_arrow(frame: Any) -> DataFrame | pa.Table:
    """Return a Spark DataFrame as it is, also that of a frame, and rows in memory as Arrow."""
    if is_lazy(frame):
        frame = frame.to_native()
    return frame if is_spark_frame(frame) else to_arrow(frame)


@contextmanager
def conformed(unity: Unity, frame: Any, schema: pa.Schema, table: str) -> Iterator[DataFrame]:
    """Give the frame with exactly the declared columns and types, as a Spark DataFrame.

    Raises:
        TableError: As `mlplatform.workspace.shared.frames.conform`. Of a Spark DataFrame nulls are found when it is
            written, and casts that may lose something are refused whatever the values are.
    """
    source = spark_or_arrow(frame)
    check_distinct(source.column_names if isinstance(source, pa.Table) else source.columns, f"The frame for {table}")
    if not isinstance(source, pa.Table):
        yield _cast(source, schema, table)
        return
    with lifted(unity, conform(source, schema, table)) as rows:
        yield rows


@contextmanager
def lifted(unity: Unity, rows: pa.Table, *, lasting: bool = False) -> Iterator[DataFrame]:
    """Give Arrow rows as a Spark DataFrame; large ones go through Parquet in the ops volume.

    Args:
        unity: The connection.
        rows: The rows.
        lasting: The DataFrame is used after the context; large rows then go with the query, too.

    Raises:
        TableError: If the volume cannot be written.
    """
    if lasting or rows.nbytes <= STAGED_BYTES:
        yield unity.spark.createDataFrame(rows, schema=_ddl(rows.schema))
        return
    folder = unity.ops_volume / "staging" / uuid.uuid4().hex
    try:
        yield uploaded(unity, rows.to_reader(), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def uploaded(unity: Unity, rows: pa.RecordBatchReader, folder: Path) -> DataFrame:
    """Return rows as a Spark DataFrame of a Parquet file, to which they are written batch by batch.

    Args:
        unity: The connection.
        rows: The rows.
        folder: A folder of the ops volume that does not exist.

    Raises:
        TableError: If the volume cannot be written.
    """
    from pyarrow import parquet

    try:
        folder.mkdir(parents=True)
        with parquet.ParquetWriter(folder / "rows.parquet", rows.schema) as writer:
            for batch in rows:
                writer.write_batch(batch)
    except OSError as error:
        raise TableError(
            f"Rows cannot be staged in {folder}: {error.strerror or error}.",
            hint="Run where volumes are mounted (a job, a notebook), or hand over a Spark DataFrame.",
        ) from error
    return unity.spark.read.schema(_ddl(rows.schema)).parquet(str(folder))


def check_unique_frame(frame: DataFrame | pa.Table, rows: DataFrame, keys: Sequence[str], table: str) -> None:
    """Refuse rows with null or repeated keys.

    Args:
        frame: What was handed over, in Spark or as Arrow.
        rows: The same, conformed.
        keys: The key columns.
        table: The table's name, for messages.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    from pyspark.sql import functions as F  # noqa: N812

    if isinstance(frame, pa.Table):
        check_unique(frame, keys, table)
        return
    columns = [F.col(quote(key)) for key in keys]
    # One query: each would compute the rows anew.
    repeated = F.col(_COUNT) > 1
    counts = (
        rows.groupBy(*columns)
        .agg(F.count("*").alias(_COUNT))
        .agg(
            *(F.sum(F.when(column.isNull(), F.col(_COUNT))).alias(f"nulls{at}") for at, column in enumerate(columns)),
            F.count_if(repeated).alias("keys"),
            F.sum(F.when(repeated, F.col(_COUNT) - 1)).alias("surplus"),
            *(
                # Where no key is null, these are of the same row.
                F.first(F.when(repeated, column), ignorenulls=True).alias(f"key{at}")
                for at, column in enumerate(columns)
            ),
        )
    )
    # Through Arrow: it knows times that Python does not.
    counted = counts.toArrow()
    raise_for_nulls({key: counted.column(f"nulls{at}")[0].as_py() or 0 for at, key in enumerate(keys)}, table)
    number, surplus = (counted.column(name)[0].as_py() for name in ("keys", "surplus"))
    if number:
        example = {key: readable(counted.column(f"key{at}")[0]) for at, key in enumerate(keys)}
        raise repeated_keys(table, number, surplus, example)


def _cast(frame: DataFrame, schema: pa.Schema, table: str) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    check_fit(frame.columns, schema, table)
    given_schema = arrow_schema(frame.schema)
    columns = []
    for field in schema:
        if field.name not in given_schema.names:
            columns.append(F.lit(None).cast(spark_name(field.type)).alias(field.name))
            continue
        kind = given_schema.field(field.name).type
        misfit = f"Column {field.name} of {table} is {field.type}; the frame's {kind} does not fit"
        if why := _loses(kind, field.type):
            raise TableError(f"{misfit}: {why}.", hint="Cast it where it is computed.")
        column = F.col(quote(field.name))
        if kind == field.type:
            columns.append(column)
            continue
        cast = column.cast(spark_name(field.type))
        if pa.types.is_float64(kind) and pa.types.is_float32(field.type):
            beyond = (F.abs(column) < F.lit(math.inf)) & (F.abs(cast) == F.lit(math.inf))
            refused = F.raise_error(F.lit(f"{misfit}: a value would be infinite")).cast("float")
            cast = F.when(beyond, refused).otherwise(cast)
        columns.append(cast.alias(field.name))
    return frame.select(*columns)


def _loses(source: pa.DataType, target: pa.DataType) -> str:
    """Return what Spark's cast would cut off, or take for granted, without a word; overflows are errors of its own."""
    try:
        refuse_other_kind(source, target)
    except pa.ArrowInvalid as error:
        return str(error)
    if is_number(source) and pa.types.is_boolean(target):
        return "other numbers than 0 would be true"
    whole = pa.types.is_integer(target)
    if pa.types.is_floating(source):
        return "values would be rounded" if whole or pa.types.is_decimal(target) else ""
    if pa.types.is_decimal(source):
        coarser = pa.types.is_decimal(target) and target.scale < source.scale
        return "values would be rounded" if whole or coarser else ""
    return "the time of day would be lost" if pa.types.is_timestamp(source) and pa.types.is_date(target) else ""


def _ddl(schema: pa.Schema) -> str:
    return ", ".join(f"{quote(field.name)} {spark_name(field.type)}" for field in schema)
