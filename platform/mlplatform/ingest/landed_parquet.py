"""Reading one landed Parquet file: each value as the text that stands for it, the same that a CSV file would hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlplatform.errors import StageError
from mlplatform.ingest.landed_header import check_columns
from mlplatform.ingest.physical_lines import MalformedLine
from mlplatform.ingest.source import RESCUED, Source, shown_path

if TYPE_CHECKING:
    from typing import IO

_ROWS = 50_000
_HINT = "Nothing of this file was ingested. Have it delivered again, or move it out of the landing folder."


class LandedParquet:
    """A landed Parquet file, read as text, batch by batch; see `LandedFile`, of which it has the attributes."""

    def __init__(self, path: Path, source: Source) -> None:
        """Read the schema.

        Args:
            path: The file.
            source: Declares its columns.

        Raises:
            StageError: If the file cannot be read, lacks declared columns, or one of them has a type without a text.
        """
        self._path, self._source, self._shown = path, source, shown_path(path)
        with self._opened() as file:
            schema = file.schema_arrow
        header = schema.names
        check_columns(self._shown, header, source)
        for column in source.columns:
            if not has_text(schema.field(column).type):
                raise StageError(
                    f"{self._shown}: the column {column} is {schema.field(column).type}, which has no text.",
                    hint="Have it delivered as text, number, boolean, day or time; or leave it out of the columns.",
                )
        self.malformed: list[MalformedLine] = []
        self.blank = 0
        self.added_columns = [column for column in header if column not in source.columns]
        self.schema = pa.schema([pa.field(column, pa.string()) for column in (*source.columns, RESCUED)])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their order.

        Raises:
            StageError: If the file cannot be read to its end.
        """
        with self._opened() as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                columns = [as_text(batch.column(column)) for column in self._source.columns]
                yield pa.RecordBatch.from_arrays([*columns, self._rescue(batch)], schema=self.schema)

    def _rescue(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        if not self.added_columns:
            return pa.nulls(batch.num_rows, pa.string())
        rows = batch.select(self.added_columns).to_pylist()
        return pa.array([json.dumps(row, ensure_ascii=False, default=str) for row in rows], pa.string())

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            # By Python: it opens names that are not UTF-8, too.
            with self._path.open("rb") as raw, pq.ParquetFile(cast("IO[Any]", raw)) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StageError(f"{self._shown} cannot be read as Parquet: {reason}", hint=_HINT) from error


def has_text(kind: pa.DataType) -> bool:
    """Tell whether the values of a type have one text each: not lists, maps, bytes and the like."""
    if pa.types.is_dictionary(kind):
        return has_text(kind.value_type)
    looks: Sequence[Any] = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_date,
        pa.types.is_timestamp,
        pa.types.is_null,
    )
    return any(is_such(kind) for is_such in looks)


def as_text(values: pa.Array[Any]) -> pa.Array[Any]:
    """Return values as text: as the same text that is read as this value again.

    A day is ISO 8601; a time as well, in UTC with a `Z`, or without a zone where it has none. Empty text is missing, as
    an empty cell of a CSV file is.

    Args:
        values: Of a type that has texts.

    Raises:
        pa.ArrowInvalid: If a time has nanoseconds, which a timestamp here does not hold.

    Examples:
        >>> as_text(pa.array([1.5, None, 1e20])).to_pylist()
        ['1.5', None, '1e+20']
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return as_text(values.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        exact: Any = values.cast(pa.timestamp("us", "UTC" if kind.tz else None))
        return cast("pa.Array[Any]", pc.strftime(exact, "%Y-%m-%dT%H:%M:%SZ" if kind.tz else "%Y-%m-%dT%H:%M:%S"))
    if pa.types.is_decimal(kind):
        # Arrow writes small ones with an exponent.
        return pa.array([None if value is None else f"{value:f}" for value in values.to_pylist()], pa.string())
    if pa.types.is_date64(kind):
        values = values.cast(pa.date32())
    text: Any = values.cast(pa.string())
    return cast("pa.Array[Any]", pc.if_else(pc.equal(text, pa.scalar("")), pa.scalar(None, pa.string()), text))
