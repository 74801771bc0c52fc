"""Ingest: each landed file that was available by `as_of` becomes rows of its bronze table, exactly once."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from mlplatform.errors import StageError
from mlplatform.medallion.landed_file import LandedFile, read_landed_file
from mlplatform.medallion.source import INGESTED_AT, Source
from mlplatform.ops.stage_runs import StageResult, utc_now
from mlplatform.quality.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.quality.quarantine import CONTENT, REASON, quarantine_schema
from mlplatform.stages.context import StageContext
from mlplatform.workspace.protocols import Transaction

NAME = "ingest"


def run(context: StageContext) -> StageResult:
    """Ingest all sources.

    Raises:
        IngestError: If a landed file cannot be read or lacks columns; files before it stay ingested.
    """
    result = StageResult(rows_in=0, rows_out=0, rows_quarantined=0)
    for source_type in context.use_case.sources:
        _ingest_source(context, source_type(), result)
    if not result.rows_in and not result.details:
        result.skipped = "no new file"
    return result


def _ingest_source(context: StageContext, source: Source, result: StageResult) -> None:
    tables, namespace = context.ws.tables, context.namespace
    bronze, quarantine = namespace.bronze(source.name), namespace.quarantine(source.name)
    tables.create(bronze, source.bronze_schema(), description=source.description)
    tables.create(quarantine, quarantine_schema(), description=f"Rows of {source.name} that could not go on")
    landing = context.use_case.landing
    due = [path for path in source.landed(landing) if source.available_at(path) <= context.as_of]
    names = [path.relative_to(landing).as_posix() for path in due]
    files = [Transaction(f"ingest:{name}") for name in names]
    contents = [Transaction(f"ingest:{name}:{_digest(path)}") for name, path in zip(names, due, strict=True)]
    taken, unchanged = tables.committed(bronze, files), tables.committed(bronze, contents)
    for number, (path, relative) in enumerate(zip(due, names, strict=True)):
        if taken[number]:
            if not unchanged[number]:
                result.details.setdefault("changed_after_ingestion", []).append(relative)
            continue
        available_at = source.available_at(path)
        context.progress(f"{source.name}: {path.name}")
        landed = read_landed_file(path, source)
        if landed.added_columns:
            result.details.setdefault("schema_changed", {})[relative] = landed.added_columns
        # The quarantine first: bronze's commit is what marks the file as done.
        malformed = _malformed(landed, relative, available_at)
        tables.append(quarantine, malformed, transactions=[files[number]])
        rows = _bronze_rows(landed, relative, available_at)
        tables.append(bronze, rows, transactions=[files[number], contents[number]])
        _count(result, rows.num_rows, malformed.num_rows)
    result.outputs[str(bronze)] = tables.version(bronze)
    result.outputs[str(quarantine)] = tables.version(quarantine)


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
                REASON: f"malformed_line: {reason}",
                CONTENT: text,
            }
            for number, (text, reason) in enumerate(landed.malformed)
        ],
        schema=quarantine_schema(),
    )


def _count(result: StageResult, good: int, bad: int) -> None:
    if result.rows_in is None or result.rows_out is None or result.rows_quarantined is None:
        raise StageError("The ingest stage lost count of its rows.")
    result.rows_in += good + bad
    result.rows_out += good
    result.rows_quarantined += bad


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
