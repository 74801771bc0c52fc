"""Landed files on their way into bronze: what is due, and what one commit brings of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from mlplatform.ingest.physical_lines import MalformedLine
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.ingest.quarantine import CONTENT, MALFORMED, REASON, quarantine_schema
from mlplatform.ingest.source import INGESTED_AT
from mlplatform.ingest.stamp import UNKNOWN, Stamp
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.tables import Transaction
from mlplatform.types import TIMESTAMP

if TYPE_CHECKING:
    from mlplatform.protocols.tables import FrameLike

BATCH_BYTES = 32 * 1024**2
"""So much text is held in memory: of small files in one commit, or of a large one before it is spilled to disk."""


@dataclass(frozen=True)
class DueFile:
    """A landed file that was available by the time of the run.

    Attributes:
        path: The file.
        name: The same, below the landing folder.
        available_at: When it could be known.
        content: Digest of what it holds; empty where it is known to be unchanged.
        ingested: Whether bronze has taken it.
        unchanged: Whether bronze has taken it with this very content.
        stamp: What the file system says of it.
    """

    path: Path
    name: str
    available_at: datetime
    content: str = ""
    ingested: bool = False
    unchanged: bool = False
    stamp: Stamp = UNKNOWN

    @property
    def transaction(self) -> Transaction:
        """Marks the file as ingested, whatever it holds."""
        return Transaction(f"ingest:{self.name}")

    @property
    def transaction_of_content(self) -> Transaction:
        """Marks the file as ingested with this content."""
        return Transaction(f"ingest:{self.name}:{self.content}")

    @property
    def marks(self) -> tuple[Transaction, Transaction]:
        """Both: what bronze's commit counts as."""
        return self.transaction, self.transaction_of_content


@dataclass(frozen=True)
class FileCounts:
    """What a file held.

    Attributes:
        file: The file.
        rows: Its well-formed rows.
        malformed: Reason, as the quarantine holds it -> malformed lines.
        added_columns: Columns of the header that the source does not declare.
    """

    file: DueFile
    rows: int
    malformed: Mapping[str, int] = field(default_factory=dict)
    added_columns: Sequence[str] = ()

    @property
    def quarantined(self) -> int:
        """The number of malformed lines."""
        return sum(self.malformed.values())


@dataclass(frozen=True)
class FileDelivery:
    """Files that bronze takes in one commit.

    Attributes:
        files: The files.
        rows: Their well-formed rows, as bronze holds them.
        malformed: Their malformed lines, as the quarantine holds them.
    """

    files: Sequence[FileCounts]
    rows: FrameLike
    malformed: FrameLike


class Landed(Protocol):
    """A landed file that has been opened, of whatever format.

    Attributes:
        malformed: The lines that are no records, as far as the file has been read.
        added_columns: Its columns that the source does not declare.
        schema: The declared columns and `_rescued_data`, all strings.
    """

    malformed: list[MalformedLine]
    added_columns: list[str]
    schema: pa.Schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the well-formed rows in their order.

        Raises:
            StageError: If the file cannot be read to its end.
        """
        ...


class FileReading:
    """Reads one file into batches of bronze."""

    def __init__(self, landed: Landed, file: DueFile) -> None:
        """Take the opened file."""
        self._landed, self._file = landed, file
        self._rows = 0
        added = (FILE, pa.string()), (ROW, pa.int64()), (AVAILABLE_AT, TIMESTAMP), (INGESTED_AT, TIMESTAMP)
        self.schema = pa.schema([*landed.schema, *(pa.field(name, kind) for name, kind in added)])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, numbered, with where they came from.

        Raises:
            StageError: If the file cannot be read to its end.
        """
        self._rows, now = 0, utc_now()
        for batch in self._landed.batches():
            first, count = self._rows, batch.num_rows
            self._rows += count
            added: dict[str, Any] = {
                FILE: pa.repeat(pa.scalar(self._file.name), count),
                ROW: pa.array(range(first, first + count), pa.int64()),
                AVAILABLE_AT: pa.repeat(pa.scalar(self._file.available_at, TIMESTAMP), count),
                INGESTED_AT: pa.repeat(pa.scalar(now, TIMESTAMP), count),
            }
            yield pa.RecordBatch.from_arrays([*batch.columns, *added.values()], schema=self.schema)

    def counts(self) -> FileCounts:
        """Return what the file held, once its batches have been read."""
        counts: dict[str, int] = {}
        for line in self._landed.malformed:
            counts[_said(line.reason)] = counts.get(_said(line.reason), 0) + 1
        return FileCounts(self._file, self._rows, counts, self._landed.added_columns)

    def malformed(self) -> pa.Table:
        """Return its malformed lines as the quarantine holds them, once its batches have been read."""
        name, available_at = self._file.name, self._file.available_at
        lines = [
            {FILE: name, ROW: line.number, AVAILABLE_AT: available_at, REASON: _said(line.reason), CONTENT: line.text}
            for line in self._landed.malformed
        ]
        return pa.Table.from_pylist(lines, schema=quarantine_schema())


class SmallFiles:
    """Files whose rows fit in memory together: a commit holds as many as fit, since commits cost more than they do.

    Attributes:
        size: Bytes of the rows.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._counts: list[FileCounts] = []
        self._rows: list[pa.Table] = []
        self._malformed: list[pa.Table] = []
        self.size = 0

    def __bool__(self) -> bool:
        """Tell whether there is a file."""
        return bool(self._counts)

    def add(self, reading: FileReading, batches: Iterable[pa.RecordBatch]) -> None:
        """Add a file whose batches have all been read."""
        self._counts.append(reading.counts())
        rows = pa.Table.from_batches(batches, schema=reading.schema)
        self._rows.append(rows)
        self.size += rows.nbytes
        self._malformed.append(reading.malformed())

    def deliver(self) -> FileDelivery:
        """Return all of them as one delivery, and hold nothing."""
        delivery = FileDelivery(self._counts, pa.concat_tables(self._rows), pa.concat_tables(self._malformed))
        self._counts, self._rows, self._malformed, self.size = [], [], [], 0
        return delivery


def _said(reason: str) -> str:
    return f"{MALFORMED}: {reason}"
