"""Results of the feature client as Spark DataFrames: through parquet on disk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


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
