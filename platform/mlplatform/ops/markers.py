"""Whether what a run recorded about a table is about the table that is there now.

A run records what it computed up to which time, and the next one goes on from there. That holds for the table it was
recorded for, told by Delta's id: one that was dropped, deleted from the disk, made again, restored or replaced since
holds something else, and is computed whole.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from mlplatform.ingest.large_quarantine import LargeQuarantine
from mlplatform.naming import ObjectName
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.stage_runs import StageResult
from mlplatform.protocols.tables import TableInfo

TABLES = "tables"
"""Key of a record's details: bare name of each table that a stage brought up to date -> Delta's id of it."""
NOTES = "notes"
"""Key of a record's details: what whoever looks at the run should know, as sentences."""

_ENDED_WELL = (stage_runs.DONE, stage_runs.SKIPPED)
# Records from before ids were recorded are held against the time when the table was made, by another machine's clock.
_SKEW = timedelta(minutes=1)


def keep(context: StageContext, result: StageResult, name: ObjectName) -> None:
    """Record which table a stage brought up to date, and at which version it is."""
    info = context.ws.tables.describe(name)
    result.outputs[str(name)] = info.version
    result.details.setdefault(TABLES, {})[name.name] = info.id


def note(result: StageResult, text: str) -> None:
    """Say something aloud: in the run's record, in what `run` prints, and in `status`."""
    result.details.setdefault(NOTES, []).append(text)


def say_large(context: StageContext, found: LargeQuarantine | None, result: StageResult) -> None:
    """Say aloud, and record, that a large part of files was quarantined."""
    if found is not None:
        result.details.setdefault("large_quarantine", []).append(found.to_dict())
        note(result, found.text(context.use_case.name))


def last(context: StageContext, stage: str, name: ObjectName) -> dict[str, Any] | None:
    """Return the newest record of a stage that brought a table up to date; None: there is none."""
    rows = context.log.rows(stage)
    return next(
        (row for row in reversed(rows) if row["status"] in _ENDED_WELL and str(name) in row["outputs"]),
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


def is_of(row: dict[str, Any], name: ObjectName, info: TableInfo) -> bool:
    """Tell whether a record is about the table that is there: by its id, or of old records by when it was made."""
    recorded = row["details"].get(TABLES, {}).get(name.name)
    return recorded == info.id if recorded else was_there(row, info)


def was_there(row: dict[str, Any], info: TableInfo) -> bool:
    """Tell whether a table had been made when a record without ids was written; what is not known counts as yes."""
    ended: datetime = row["started_at"] + timedelta(seconds=row["seconds"])
    return info.created_at is None or info.created_at <= ended + _SKEW


def all_lost(context: StageContext, stages: tuple[str, ...]) -> list[str]:
    """Return the names of the tables that stages had brought up to date and that are gone, or are other ones."""
    found: dict[str, None] = {}
    for stage in stages:
        names = {name for row in context.log.rows(stage) if row["status"] in _ENDED_WELL for name in row["outputs"]}
        found |= {name: None for name in sorted(names) if lost(context, stage, ObjectName.parse(name))}
    return list(found)
