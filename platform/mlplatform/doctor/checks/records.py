"""The record of runs: each run once, and no later versions or more rows on record than the tables have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.ingest.stage import NAME as INGEST
from mlplatform.naming import ObjectName
from mlplatform.ops.records import STAGE_RUNS, StageRecord
from mlplatform.ops.stage_runs import ENDED_WELL
from mlplatform.protocols.tables import TableInfo

CHECK = "records: as the tables"


def look(subject: Subject) -> Iterator[Finding]:
    """Look at the record of runs."""
    table = str(STAGE_RUNS.full_name(subject.use_case.namespace))
    records = subject.context.log.records()
    times = Counter((record.run_id, record.stage, record.started_at) for record in records)
    twice = sum(count > 1 for count in times.values())
    found = list(_versions(subject, records))
    if twice:
        text = f"{twice} stage(s) are on record more than once, as after runs at once in earlier versions."
        found.append(Finding(CHECK, table, "problem", text, f"mlplatform repair {subject.name}"))
    found.append(_rows(subject, table))
    if all(item.state != "problem" for item in found):
        text = f"{len(records)} stage(s) on record, none of a later version than its tables have."
        found.append(Finding(CHECK, table, "ok", text))
    yield from found


def _versions(subject: Subject, records: list[StageRecord]) -> Iterator[Finding]:
    """Find tables that were at a later version once than they are now."""
    newest: dict[str, int] = {}
    infos: dict[str, TableInfo] = {}
    tables = subject.ws.tables
    for record in records:
        for name, version in record.outputs.items():
            if name not in infos:
                if not tables.exists(name):
                    continue
                infos[name] = tables.describe(name)
            # Of the table that is there now: its id is on record, too.
            if record.details.get("tables", {}).get(ObjectName.parse(name).name) == infos[name].id:
                newest[name] = max(newest.get(name, 0), version)
    for name, version in newest.items():
        if version > infos[name].version:
            text = f"version {version} is on record, and the newest is {infos[name].version}: commits of it are gone."
            yield Finding(CHECK, name, "problem", text, f"mlplatform repair {subject.name}")


def _rows(subject: Subject, table: str) -> Finding:
    """Hold the rows that ingestions have on record against those of the bronze tables."""
    frames, names = subject.ws.frames, subject.context.namespace
    log = subject.context.log
    if not log.is_whole(INGEST):
        return Finding(CHECK, table, "cannot say", "so many runs are on record that their rows are not summed up.")
    records = [record for record in log.records(INGEST) if record.status in ENDED_WELL]
    recorded = sum(record.rows_out or 0 for record in records)
    held = sum(
        frames.count(frames.read(bronze))
        for bronze in (names.bronze(source.name) for source in subject.use_case.sources)
        if subject.ws.tables.exists(bronze)
    )
    text = f"{recorded} row(s) were ingested by the record, {held} are in bronze"
    if recorded == held:
        return Finding(CHECK, table, "ok", f"{text}.")
    why = (
        "as after a run that was killed before its record"
        if recorded < held
        else ("as after tables that were ingested again, or runs at the same time in earlier versions")
    )
    return Finding(CHECK, table, "cannot say", f"{text}, {why}. Rows are proven from the tables alone.")
