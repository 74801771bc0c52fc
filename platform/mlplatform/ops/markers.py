"""Whether what a run recorded about a table is about the table that is there now.

A run records what it computed up to which time, and the next one goes on from there. That holds for the table it was
recorded for, told by Delta's id: one that was dropped, deleted from the disk, made again, restored or replaced since
holds something else, and is computed whole.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage_runs import ENDED_WELL, StageRun
from mlplatform.protocols.tables import TableInfo

TABLES = "tables"
NOTES = "notes"

# Records from before ids were recorded are held against the time when the table was made, by another machine's clock.
_SKEW = timedelta(minutes=1)
# A record with typed details, or as plain data.
Record = StageRun[Any] | dict[str, Any]


def keep(context: StageContext, result: StageResult[Any], name: ObjectName) -> None:
    """Record which table a stage brought up to date, and at which version it is."""
    info = context.ws.tables.describe(name)
    result.outputs[str(name)] = info.version
    if isinstance(result.details, Details):
        result.details.tables = {**result.details.tables, name.name: info.id}
    else:
        result.details.setdefault(TABLES, {})[name.name] = info.id


def note(result: StageResult[Any], text: str) -> None:
    """Say something aloud: in the run's record, in what `run` prints, and in `status`."""
    if isinstance(result.details, Details):
        result.details.note(text)
    else:
        result.details.setdefault(NOTES, []).append(text)


def last(context: StageContext, stage: str, name: ObjectName) -> dict[str, Any] | None:
    """Return the newest record of a stage that brought a table up to date; None: there is none."""
    rows = context.log.rows(stage)
    return next(
        (row for row in reversed(rows) if row["status"] in ENDED_WELL and str(name) in row["outputs"]),
        None,
    )


def lost(context: StageContext, stage: str, name: ObjectName, info: TableInfo | None = None) -> bool:
    """Tell whether a table that a stage had brought up to date is gone, or another one lies in its place.

    Args:
        context: The run.
        stage: The stage.
        name: The table.
        info: What is known about the table, where that was asked before.
    """
    row = last(context, stage, name)
    if row is None:
        return False
    if info is None:
        if not context.ws.tables.exists(name):
            return True
        info = context.ws.tables.describe(name)
    version = row["outputs"][str(name)]
    return not is_of(row, name, info) or (version != info.version and context.ws.tables.replaced_since(name, version))


def is_of(record: Record, name: ObjectName, info: TableInfo) -> bool:
    """Tell whether a record is about the table that is there: by its id, or of old records by when it was made."""
    tables = record.details.tables if isinstance(record, StageRun) else record["details"].get(TABLES, {})
    recorded = tables.get(name.name)
    return recorded == info.id if recorded else was_there(record, info)


def was_there(record: Record, info: TableInfo) -> bool:
    """Tell whether a table had been made when a record without ids was written; what is not known counts as yes."""
    if isinstance(record, StageRun):
        ended: datetime = record.started_at + timedelta(seconds=record.seconds)
    else:
        ended = record["started_at"] + timedelta(seconds=record["seconds"])
    return info.created_at is None or info.created_at <= ended + _SKEW


def all_lost(context: StageContext, stages: tuple[str, ...]) -> list[str]:
    """Return the names of the tables that stages had brought up to date and that are gone, or are other ones."""
    names = [
        (run.stage, name)
        for stage in stages
        for run in context.log.runs(stage)
        if run.ended_well
        for name in sorted(run.result.outputs)
    ]
    return [name for stage, name in dict.fromkeys(names) if lost(context, stage, ObjectName.parse(name))]
