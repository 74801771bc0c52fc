"""Frames of the feature client: any kind in, normal Arrow inside, Spark DataFrames out through parquet on disk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.errors import FeatureStoreError, TableError
from mlplatform.features.types import arrow_type, normal_schema, normal_table
from mlplatform.workspace.frames import to_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def frame_in(frame: Any, *, of: str) -> pa.Table:
    """Return a Spark, Arrow or pandas frame as Arrow in normal types.

    Args:
        frame: The frame.
        of: What it is, for messages.

    Raises:
        FeatureStoreError: If it is no frame, repeats a column's name, or has a type that features cannot have.
    """
    columns = list(getattr(frame, "columns", []))
    if hasattr(frame, "toArrow") or type(frame).__module__.startswith("pandas"):
        # Before anything is read: Spark and pandas themselves fail on such frames, each in its own words.
        repeated = sorted({str(name) for name in columns if columns.count(name) > 1})
        if repeated:
            raise FeatureStoreError(
                f"{of} has more than one column named {', '.join(map(repr, repeated))}.", hint="Rename or drop them."
            )
    if hasattr(frame, "toArrow"):
        normal_schema(spark_schema(frame.schema), of=of)
    try:
        table = to_arrow(frame)
    except TableError as error:
        raise FeatureStoreError(f"{of}: {error.message}", hint=error.hint) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise FeatureStoreError(f"{of} cannot be read: {error}", hint="Give each column one type.") from None
    return normal_table(table, of=of)


def spark_schema(schema: Any) -> pa.Schema:
    """Return the Arrow schema of a Spark one (a `StructType`).

    Raises:
        FeatureStoreError: If a column has a type that features cannot have; the column is named.
    """
    fields = []
    for field in schema.fields:
        name = field.dataType.simpleString()
        try:
            kind = pa.null() if name == "void" else arrow_type(name)
        except FeatureStoreError as error:
            raise FeatureStoreError(f"Column {field.name!r}: {error.message}", hint=error.hint) from None
        fields.append(pa.field(field.name, kind, field.nullable))
    return pa.schema(fields)


class FrameExchange:
    """Hands results over to Spark: as parquet in the scratch folder, for a large frame does not pass through gRPC."""

    def __init__(self, scratch: Callable[[], Path], spark: Callable[[], SparkSession]) -> None:
        """Take what gives the scratch folder and the Spark session when they are needed."""
        self._scratch = scratch
        self._spark = spark

    @property
    def scratch(self) -> Path:
        """A folder for temporary files, emptied when the workspace is closed."""
        return self._scratch()

    def to_spark(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> DataFrame:
        """Write batches to a file of their own, and return it as a Spark DataFrame."""
        folder = self._scratch() / "frames" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        file = folder / "part-0.parquet"
        with pq.ParquetWriter(file, schema, compression="zstd", compression_level=1) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return self._spark().read.parquet(str(folder))
