"""Landed files on their way into bronze: their rows, their malformed lines, and the commits that hold them."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.ingest.quarantine import CONTENT, MALFORMED, REASON, quarantine_schema
from mlplatform.ingest.source import INGESTED_AT
from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.tables import Transaction

BATCH_ROWS = 500_000


class BronzeWriter:
    """Writes files' rows to bronze: a commit holds as many files as fit, since commits cost more than small files."""

    def __init__(self, context: StageContext, bronze: ObjectName) -> None:
        """Write to a bronze table; nothing is written yet."""
        self._context, self._bronze = context, bronze
        self._rows: list[pa.Table] = []
        self._transactions: list[Transaction] = []

    def add(self, rows: pa.Table, transactions: tuple[Transaction, ...]) -> None:
        """Take a file's rows, which are written now or with those of later files.

        Args:
            rows: The rows.
            transactions: What marks the file as ingested.
        """
        self._rows.append(rows)
        self._transactions.extend(transactions)
        if sum(part.num_rows for part in self._rows) >= BATCH_ROWS:
            self.commit()

    def commit(self) -> None:
        """Write what was taken, exactly once."""
        if self._rows:
            self._context.progress(f"{self._bronze.name}: {len(self._rows)} file(s)")
            rows = pa.concat_tables(self._rows)
            self._context.ws.tables.append(self._bronze, rows, transactions=self._transactions)
        self._rows, self._transactions = [], []


def bronze_rows(landed: LandedFile, relative: str, available_at: datetime) -> pa.Table:
    """Return a file's well-formed rows as bronze holds them.

    Args:
        landed: What the file held.
        relative: The file, below the landing folder.
        available_at: When it could be known.
    """
    count = landed.rows.num_rows
    moment = pa.timestamp("us", tz="UTC")
    return (
        landed.rows.append_column(FILE, pa.array([relative] * count, pa.string()))
        .append_column(ROW, pa.array(range(count), pa.int64()))
        .append_column(AVAILABLE_AT, pa.array([available_at] * count, moment))
        .append_column(INGESTED_AT, pa.array([utc_now()] * count, moment))
    )


def malformed_rows(landed: LandedFile, relative: str, available_at: datetime) -> pa.Table:
    """Return a file's malformed lines as the quarantine holds them; arguments as for `bronze_rows`."""
    lines = [
        {FILE: relative, ROW: number, AVAILABLE_AT: available_at, REASON: f"{MALFORMED}: {reason}", CONTENT: text}
        for number, (text, reason) in enumerate(landed.malformed)
    ]
    return pa.Table.from_pylist(lines, schema=quarantine_schema())
