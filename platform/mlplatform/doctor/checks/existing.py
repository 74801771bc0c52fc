"""Whether the tables that runs wrote are there, and are the ones that runs wrote."""

from __future__ import annotations

from collections.abc import Iterator

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.naming import ObjectName
from mlplatform.ops import markers, records
from mlplatform.scoring import lost_predictions
from mlplatform.scoring.predictions import PREDICTIONS

CHECK = "tables that runs wrote"
COMPUTED = ("ingest", "refine", "features")


def look(subject: Subject) -> Iterator[Finding]:
    """Look for tables that are gone, or that others lie in the place of."""
    context, ws = subject.context, subject.ws
    run = f"mlplatform repair {subject.name}, or the next run: computed whole"
    lost = lost_tables(subject)
    for name in lost:
        there = ws.tables.exists(name)
        found = "another table lies in its place, or earlier rows of it." if there else "it is gone."
        yield Finding(CHECK, str(name), "problem", found, run)
    for full in missing_records(subject):
        way_out = f"Restore it from a backup; or mlplatform repair {subject.name}: made anew, empty"
        yield Finding(CHECK, str(full), "problem", "it is gone, and what it had recorded with it.", way_out)
        lost.append(full)
    gone = lost_predictions.find(context)
    if gone:
        rows = sum(item.rows for item in gone)
        yield Finding(
            CHECK,
            str(context.namespace.gold(PREDICTIONS)),
            "problem",
            f"{rows} prediction(s) of {len(gone)} scoring(s) on record are gone.",
            f"mlplatform repair {subject.name}, or the next run: made again by the versions that made them",
        )
    if not lost and not gone:
        yield Finding(CHECK, "", "ok", "All are there, and are those that are on record.")


def missing_records(subject: Subject) -> list[ObjectName]:
    """Return the platform's own tables that do not exist."""
    names = (table.full_name(subject.use_case.namespace) for table in records.TABLES)
    return [name for name in names if not subject.ws.tables.exists(name)]


def lost_tables(subject: Subject) -> list[ObjectName]:
    """Return the computed tables that are gone or other ones than on record."""
    return [name for stage in COMPUTED for name in subject.written(stage) if markers.lost(subject.context, stage, name)]
