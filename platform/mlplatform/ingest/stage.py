"""Ingest: each landed file that was available by `as_of` becomes rows of its bronze table, exactly once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, cast

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import StageError
from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.large_quarantine import large, say_large
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.ingest.quarantine import CONTENT, MALFORMED, REASON, quarantine_schema
from mlplatform.ingest.source import INGESTED_AT, Source
from mlplatform.ingest.waiting_files import landed_files
from mlplatform.naming import ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.tables import Transaction

NAME = "ingest"
BATCH_ROWS = 500_000


def run(context: StageContext) -> StageResult[Any]:
    """Ingest all sources.

    Raises:
        StageError: If a landed file cannot be read or lacks columns; files before it stay ingested.
    """
    result: StageResult[Any] = StageResult(rows_in=0, rows_out=0, rows_quarantined=0)
    for source_type in context.use_case.sources:
        _ingest_source(context, source_type(), result)
    if not result.rows_in and not result.details.keys() - {markers.TABLES}:
        result.skipped = "no new file"
    return result


def create_tables(context: StageContext) -> None:
    """Create the bronze and quarantine tables of all sources where they are missing."""
    for source_type in context.use_case.sources:
        _create(context, source_type())


def _create(context: StageContext, source: Source) -> tuple[ObjectName, ObjectName]:
    tables, namespace = context.ws.tables, context.namespace
    bronze, quarantine = namespace.bronze(source.name), namespace.quarantine(source.name)
    tables.create(bronze, source.bronze_schema(), description=source.description)
    tables.create(quarantine, quarantine_schema(), description=f"Rows of {source.name} that could not go on")
    return bronze, quarantine


def _ingest_source(context: StageContext, source: Source, result: StageResult[Any]) -> None:
    tables = context.ws.tables
    bronze, quarantine = _create(context, source)
    landing = _landing(context, source)
    waiting = landed_files(context, source, landing)
    gone, quarantine_gone = markers.lost(context, NAME, bronze), markers.lost(context, NAME, quarantine)
    first = markers.last(context, NAME, bronze) is None and not tables.version(bronze)
    if gone or quarantine_gone or first:
        # What a reader remembers having brought is about the table that it brought it to.
        waiting.again()
    due = [path for path in waiting.names() if source.available_at(path) <= context.as_of]
    names = [path.relative_to(landing).as_posix() for path in due]
    files = [Transaction(f"ingest:{name}") for name in names]
    contents = [Transaction(f"ingest:{name}:{_digest(path)}") for name, path in zip(names, due, strict=True)]
    taken, unchanged = tables.committed(bronze, files), tables.committed(bronze, contents)
    changed = [name for name, done, same in zip(names, taken, unchanged, strict=True) if done and not same]
    if changed:
        result.details.setdefault("changed_after_ingestion", []).extend(changed)
    batch = _Batch(context, bronze, quarantine, result)
    # A table that was put back lacks files that it takes for done all the same.
    lacking = set(names) - set(_files_of(context, bronze).to_pylist()) if gone else set()
    refilled = 0
    try:
        for number, (path, relative) in enumerate(zip(due, names, strict=True)):
            available_at = source.available_at(path)
            if taken[number] and relative not in lacking:
                if quarantine_gone:
                    malformed = _malformed(waiting.read(path), relative, available_at)
                    refilled += batch.refill(malformed, files[number])
                continue
            landed = waiting.read(path)
            if landed.added_columns:
                result.details.setdefault("schema_changed", {})[relative] = landed.added_columns
            rows, malformed = _bronze_rows(landed, relative, available_at), _malformed(landed, relative, available_at)
            once = () if taken[number] else (files[number], contents[number])
            batch.add(relative, rows, malformed, files[number], once)
    finally:
        # Also when a file cannot be read: those before it stay ingested.
        batch.commit()
    waiting.done(due)
    if gone:
        again = sum(not done or name in lacking for done, name in zip(taken, names, strict=True))
        _say_gone(context, source, bronze, again, result)
    if quarantine_gone and refilled:
        markers.note(result, f"{quarantine.name} was gone: {refilled} malformed line(s) are in it again.")
    markers.keep(context, result, bronze)
    markers.keep(context, result, quarantine)


def _files_of(context: StageContext, table: ObjectName) -> pa.Array[Any]:
    return context.ws.tables.to_arrow(table, columns=[FILE]).column(FILE).combine_chunks().unique()


def _say_gone(context: StageContext, source: Source, bronze: ObjectName, files: int, result: StageResult[Any]) -> None:
    """Say what was ingested again into a table that was gone, and what can no longer be."""
    tables = context.ws.tables
    there = _files_of(context, bronze)
    missing = 0
    for silver in context.use_case.silver:
        name = context.namespace.silver(silver.name)
        if silver.source is source.__class__ and tables.exists(name):
            held = tables.to_arrow(name, columns=[FILE], filters=[(AVAILABLE_AT, "<=", context.as_of)])
            known = held.column(FILE).unique()
            missing = max(missing, pc.sum(pc.invert(pc.is_in(known, there)).cast(pa.int64())).as_py() or 0)
    text = f"{bronze.name} was gone, or another table lay in its place: {files} file(s) were ingested again."
    if missing:
        text += (
            f" {missing} file(s) whose rows silver holds are no longer where files land: silver keeps these rows, and "
            "could not be made again without them. Put the files back."
        )
    markers.note(result, text)


def _landing(context: StageContext, source: Source) -> Path:
    """Return the folder that the source's glob looks into: where files land, or where its replay puts them."""
    landing: Path = context.use_case.landing
    if source.replay is None:
        return landing
    folder: Path = context.ws.files("landing") / context.namespace.catalog / context.use_case.name / source.name
    with context.ws.lock(f"replay {context.use_case.name} {source.name}"):
        source.replay().deal_out(landing, folder, source.files)
    return folder


class _Batch:
    """Files on their way into bronze: a commit holds as many as fit, since commits cost more than small files."""

    def __init__(
        self, context: StageContext, bronze: ObjectName, quarantine: ObjectName, result: StageResult[Any]
    ) -> None:
        self._context, self._bronze, self._quarantine, self._result = context, bronze, quarantine, result
        self._rows: list[pa.Table] = []
        self._transactions: list[Transaction] = []

    def refill(self, malformed: pa.Table, transaction: Transaction) -> int:
        """Take a file's malformed lines into a quarantine that lost them; return how many."""
        if malformed.num_rows:
            self._context.ws.tables.append(self._quarantine, malformed, transactions=[transaction])
        return int(malformed.num_rows)

    def add(
        self,
        file: str,
        rows: pa.Table,
        malformed: pa.Table,
        quarantined: Transaction,
        transactions: tuple[Transaction, ...],
    ) -> None:
        """Take a file's rows; its malformed lines are written first, for bronze's commit is what marks it as done."""
        if malformed.num_rows:
            self._context.ws.tables.append(self._quarantine, malformed, transactions=[quarantined])
            reasons = cast("list[str]", malformed.column(REASON).to_pylist())
            found = large(self._quarantine.name, {file: rows.num_rows + len(reasons)}, {file: reasons})
            say_large(self._context, found, self._result)
        self._rows.append(rows)
        self._transactions.extend(transactions)
        _count(self._result, rows.num_rows, malformed.num_rows)
        if sum(part.num_rows for part in self._rows) >= BATCH_ROWS:
            self.commit()

    def commit(self) -> None:
        """Write what was taken, exactly once."""
        if self._rows:
            count = len(self._rows)
            self._context.progress(f"{self._bronze.name}: {count} file(s)")
            rows = pa.concat_tables(self._rows)
            self._context.ws.tables.append(self._bronze, rows, transactions=self._transactions)
        self._rows, self._transactions = [], []


def _bronze_rows(landed: LandedFile, relative: str, available_at: datetime) -> pa.Table:
    count = landed.rows.num_rows
    moment = pa.timestamp("us", tz="UTC")
    return (
        landed.rows.append_column(FILE, pa.array([relative] * count, pa.string()))
        .append_column(ROW, pa.array(range(count), pa.int64()))
        .append_column(AVAILABLE_AT, pa.array([available_at] * count, moment))
        .append_column(INGESTED_AT, pa.array([utc_now()] * count, moment))
    )


def _malformed(landed: LandedFile, relative: str, available_at: datetime) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                FILE: relative,
                ROW: number,
                AVAILABLE_AT: available_at,
                REASON: f"{MALFORMED}: {reason}",
                CONTENT: text,
            }
            for number, (text, reason) in enumerate(landed.malformed)
        ],
        schema=quarantine_schema(),
    )


def _count(result: StageResult[Any], good: int, bad: int) -> None:
    if result.rows_in is None or result.rows_out is None or result.rows_quarantined is None:
        raise StageError("The ingest stage lost count of its rows.")
    result.rows_in += good + bad
    result.rows_out += good
    result.rows_quarantined += bad


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Ingest(Stage[Any]):
    """Landed files become bronze rows."""

    name: ClassVar[str] = NAME

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context)
