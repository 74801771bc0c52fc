"""Reading one landed CSV file: all text, malformed lines kept apart, anything unreadable a clear error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pacsv

from mlplatform.errors import StageError
from mlplatform.ingest.source import RESCUED, Source


@dataclass(frozen=True)
class LandedFile:
    """What a file held.

    Attributes:
        rows: The well-formed rows: the declared columns and `_rescued_data`, all strings; empty cells are null.
        malformed: (line text, reason) of each line whose number of fields is wrong.
        added_columns: Columns of the header that the source does not declare.
    """

    rows: pa.Table
    malformed: list[tuple[str, str]]
    added_columns: list[str]


def read_landed_file(path: Path, source: Source) -> LandedFile:
    """Read a CSV file (plain or gzip) as text.

    Args:
        path: The file.
        source: Declares its columns.

    Raises:
        StageError: If the file cannot be read, is not UTF-8, or lacks declared columns.
    """
    malformed: list[tuple[str, str]] = []

    def keep_apart(row: pacsv.InvalidRow) -> Literal["skip"]:
        malformed.append((row.text or "", f"{row.actual_columns} fields instead of {row.expected_columns}"))
        return "skip"

    header = _header(path)
    missing = [column for column in source.columns if column not in header]
    if missing:
        raise StageError(
            f"{path} lacks the column(s) {', '.join(missing)} that source {source.name} declares; "
            f"its header is: {', '.join(header)}.",
            hint="The schema of the drop changed: adapt the source's columns, or have the file delivered again.",
        )
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise StageError(f"{path} has the column(s) {', '.join(repeated)} twice.", hint="Have it delivered again.")
    try:
        table = pacsv.read_csv(
            path,
            # One thread: only then are malformed rows reported in a fixed order.
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep_apart),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    added = [column for column in header if column not in source.columns]
    rows = table.select(list(source.columns)).append_column(RESCUED, _rescue(table, added))
    return LandedFile(rows=rows, malformed=malformed, added_columns=added)


def _header(path: Path) -> list[str]:
    try:
        # Malformed lines are no concern of the header's.
        lenient = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=_skip)
        with pacsv.open_csv(path, parse_options=lenient) as reader:
            return list(reader.schema.names)
    except (pa.ArrowInvalid, OSError, EOFError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _skip(row: pacsv.InvalidRow) -> Literal["skip"]:
    del row
    return "skip"


def _unreadable(path: Path, error: Exception) -> StageError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return StageError(
        f"{path} cannot be read as CSV: {reason}",
        hint="Nothing of this file was ingested. Have it delivered again, or move it out of the landing folder.",
    )


def _rescue(table: pa.Table, added: list[str]) -> pa.Array[Any]:
    if not added:
        return pa.nulls(table.num_rows, pa.string())
    return pa.array([json.dumps(row, ensure_ascii=False) for row in table.select(added).to_pylist()], pa.string())
