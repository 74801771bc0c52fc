"""Frames of the embedded feature client: rows for its tables, and results as Spark DataFrames, through Parquet."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.protocols.frame_checks import check_unique_frame
from mlplatform.types import normal_schema
from mlplatform.workspace.local.plain_path import plain_path
from mlplatform.workspace.shared.feature_frames import ArrowRows, Rows, frame_in, frame_schema
from mlplatform.workspace.shared.frames import is_lazy, is_spark_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.protocols.frames import Frame
    from mlplatform.workspace.local.frames import LocalFrames


@dataclass(frozen=True)
class StagedRows:
    """Rows for a feature table in Parquet files, where DuckDB counts them and the merge reads them."""

    frames: LocalFrames
    frame: Frame
    schema: pa.Schema

    def any(self) -> bool:
        """Tell whether there is a row at all."""
        return self.frames.count(self.frame.head(1)) > 0

    def check_keys(self, keys: Sequence[str], table: str) -> None:
        """Refuse null and repeated keys."""
        check_unique_frame(self.frames, self.frame, keys, table)


@contextmanager
def rows_in(frames: LocalFrames, frame: Any, *, of: str) -> Iterator[Rows]:
    """Give rows for a feature table: what an engine has yet to compute is computed into files, once.

    Args:
        frames: The workspace's frames.
        frame: Rows of Spark, a frame, Arrow or pandas.
        of: What they are, for messages.

    Raises:
        FeatureStoreError: If it is not a frame, repeats a column's name, or has a type that features cannot have.
    """
    if is_spark_frame(frame):
        schema = frame_schema(frame, of=of)
    elif is_lazy(frame):
        schema = normal_schema(frames.schema(frame), of=of)
    else:
        yield ArrowRows(frame_in(frame, of=of))
        return
    with frames.staged(frame) as staged:
        yield StagedRows(frames, staged, schema)


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
        return self._spark().read.parquet(str(plain_path(folder)))
