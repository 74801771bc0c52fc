"""Whether what a run recorded about a table is about the table that exists now.

A run records what it computed up to which time, and the next one goes on from there. That holds for the table it was
recorded for, told by Delta's id: one that was dropped, deleted from the disk, made again, restored or replaced since
holds something else, and is computed whole.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from mlplatform.naming import ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import D, Details, StageResult
from mlplatform.ops.stage_runs import ENDED_WELL, StageRun, as_run
from mlplatform.protocols.tables import TableInfo

# Records from before ids were recorded are held against the time when the table was made, by another machine's clock.
_SKEW = timedelta(minutes=1)


def keep(context: StageContext, result: StageResult[Any], name: ObjectName) -> None:
    """Record which table a stage brought up to date, and at which version it is."""
    info = context.ws.tables.describe(name)
    result.outputs[str(name)] = info.version
    result.details.tables = {**result.details.tables, name.name: info.id}


def last(context: StageContext, stage: str, name: ObjectName, details: type[D]) -> StageRun[D] | None:
    """Return the newest record of a stage that brought a table up to date; None: it never did.

    Args:
        context: The run.
        stage: The stage.
        name: The table.
        details: The type of the stage's details.
    """
    for record in reversed(context.log.records(stage)):
        if record.status in ENDED_WELL and str(name) in record.outputs:
            return as_run(record, details)
    return None


def lost(context: StageContext, stage: str, name: ObjectName, info: TableInfo | None = None) -> bool:
    """Tell whether a table that a stage had brought up to date is gone, or another one lies in its place.

    Args:
        context: The run.
        stage: The stage.
        name: The table.
        info: What is known about the table, where that was asked before.
    """
    run = last(context, stage, name, Details)
    if run is None:
        return False
    if info is None:
        if not context.ws.tables.exists(name):
            return True
        info = context.ws.tables.describe(name)
    version = run.result.outputs[str(name)]
    return not is_of(run, name, info) or (version != info.version and context.ws.tables.replaced_since(name, version))


def is_of(run: StageRun[Any], name: ObjectName, info: TableInfo) -> bool:
    """Tell whether a record is about the table that exists: by its id, or of old records by when it was made."""
    recorded = run.details.tables.get(name.name)
    return recorded == info.id if recorded else was_there(run, info)


def was_there(run: StageRun[Any], info: TableInfo) -> bool:
    """Tell whether a table had been made when a record without ids was written; what is not known counts as yes."""
    ended: datetime = run.started_at + timedelta(seconds=run.seconds)
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
