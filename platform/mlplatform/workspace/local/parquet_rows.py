"""Rows in a Parquet file, that are looked up and scored: as many as the disk holds, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.types import normal_schema, normal_table

_WHAT = "the frame to score"
# What fits into so much memory is looked up there: below, a detour over the disk only takes time.
IN_MEMORY_BYTES = 256 * 1024**2
_BYTES_A_VALUE = 8


@dataclass(frozen=True)
class ParquetRows:
    """The rows of one file.

    Attributes:
        file: The file.
        schema: Its columns, in normal types.
        num_rows: How many rows.
    """

    file: Path
    schema: pa.Schema
    num_rows: int

    @classmethod
    def of(cls, file: Path) -> ParquetRows:
        """Take a file.

        Raises:
            FeatureStoreError: If a column has a type that features cannot have.
        """
        with pq.ParquetFile(file) as opened:
            return cls(file, normal_schema(opened.schema_arrow, of=_WHAT), opened.metadata.num_rows)

    def fits_in_memory(self, columns: int) -> bool:
        """Tell whether the rows, with so many columns in the end, are looked up in memory."""
        return self.num_rows * columns * _BYTES_A_VALUE <= IN_MEMORY_BYTES

    def table(self) -> pa.Table:
        """Return all rows."""
        return normal_table(pq.read_table(self.file), of=_WHAT)

    def first(self) -> pa.Table:
        """Return the first row; none where there is none."""
        batches = list(islice(self.batches(1), 1))
        return pa.Table.from_batches(batches, schema=self.schema)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their order, at most so many at a time."""
        with pq.ParquetFile(self.file) as opened:
            for batch in opened.iter_batches(batch_size=rows):
                yield from normal_table(pa.Table.from_batches([batch]), of=_WHAT).combine_chunks().to_batches()
