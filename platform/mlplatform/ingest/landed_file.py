"""Reading one landed CSV file: all text, malformed lines kept apart, anything unreadable a clear error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pacsv

from mlplatform.errors import StageError
from mlplatform.ingest.source import RESCUED, Source

MOST_MALFORMED = 1_000_000
"""A file with more malformed lines is refused: it is of another kind, and all of them are kept until it is read."""


class LandedFile:
    """A landed CSV file (plain or gzip), read as text, batch by batch.

    Attributes:
        malformed: (line text, reason) of each line whose number of fields is wrong, as far as the file has been read.
        added_columns: Columns of the header that the source does not declare.
        schema: The declared columns and `_rescued_data`, all strings; empty cells are null.
    """

    def __init__(self, path: Path, source: Source) -> None:
        """Read the header.

        Args:
            path: The file.
            source: Declares its columns.

        Raises:
            StageError: If the file cannot be read, is not UTF-8, or lacks declared columns.
        """
        self._path, self._source = path, source
        self._header = _header(path)
        missing = [column for column in source.columns if column not in self._header]
        if missing:
            raise StageError(
                f"{path} lacks the column(s) {', '.join(missing)} that source {source.name} declares; "
                f"its header is: {', '.join(self._header)}.",
                hint="The schema of the drop changed: adapt the source's columns, or have the file delivered again.",
            )
        repeated = sorted({column for column in self._header if self._header.count(column) > 1})
        if repeated:
            raise StageError(f"{path} has the column(s) {', '.join(repeated)} twice.", hint="Have it delivered again.")
        self.malformed: list[tuple[str, str]] = []
        self.added_columns = [column for column in self._header if column not in source.columns]
        self.schema = pa.schema([pa.field(column, pa.string()) for column in (*source.columns, RESCUED)])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the well-formed rows in their order.

        Raises:
            StageError: If the file cannot be read to its end, or has more than `MOST_MALFORMED` malformed lines.
        """
        self.malformed.clear()
        with _readable(self._path), self._open() as reader:
            for batch in reader:
                self._check_malformed()
                columns = [batch.column(column) for column in self._source.columns]
                yield pa.RecordBatch.from_arrays([*columns, self._rescue(batch)], schema=self.schema)
        self._check_malformed()

    def _open(self) -> pacsv.CSVStreamingReader:
        return pacsv.open_csv(
            self._path,
            # One thread: only then are malformed rows reported in a fixed order.
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=self._keep_apart),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(self._header, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )

    def _keep_apart(self, row: pacsv.InvalidRow) -> Literal["skip"]:
        self.malformed.append((row.text or "", f"{row.actual_columns} fields instead of {row.expected_columns}"))
        return "skip"

    def _check_malformed(self) -> None:
        if len(self.malformed) > MOST_MALFORMED:
            raise StageError(
                f"{self._path} has more than {MOST_MALFORMED} malformed lines, such as: {self.malformed[0][0][:200]}",
                hint="Nothing of this file was ingested. Has it the separator and the columns of this source?",
            )

    def _rescue(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        if not self.added_columns:
            return pa.nulls(batch.num_rows, pa.string())
        rows = batch.select(self.added_columns).to_pylist()
        return pa.array([json.dumps(row, ensure_ascii=False) for row in rows], pa.string())


def _header(path: Path) -> list[str]:
    # Malformed lines are no concern of the header's.
    lenient = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=_skip)
    with _readable(path), pacsv.open_csv(path, parse_options=lenient) as reader:
        return list(reader.schema.names)


def _skip(row: pacsv.InvalidRow) -> Literal["skip"]:
    del row
    return "skip"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError, EOFError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StageError(
            f"{path} cannot be read as CSV: {reason}",
            hint="Nothing of this file was ingested. Have it delivered again, or move it out of the landing folder.",
        ) from error
