"""Predictions: each row that was due was scored once, and the table holds what scorings have on record."""

from __future__ import annotations

from collections.abc import Iterator

import narwhals as nw

from mlplatform.as_of import argument
from mlplatform.doctor.finding import Finding
from mlplatform.doctor.subject import Subject
from mlplatform.errors import TableError
from mlplatform.naming import CHAMPION, ObjectName
from mlplatform.ops.stage_runs import StageRun
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.refine.spine import SPINE
from mlplatform.scoring import lost_predictions
from mlplatform.scoring.details import ScoreDetails, ScoringKey
from mlplatform.scoring.predictions import DECIDED, PREDICTIONS
from mlplatform.scoring.scorer import population
from mlplatform.scoring.watermark import STAGE

CHECK = "predictions: each due row once"
RECORDED = "predictions: as on record"


def look(subject: Subject) -> Iterator[Finding]:
    """Look at the predictions as a whole, then at those of each scoring."""
    table = subject.context.namespace.gold(PREDICTIONS)
    if not subject.holds(STAGE, table):
        return
    yield from _once(subject, table)
    yield _due(subject, table)
    yield _recorded(subject, table)


def _once(subject: Subject, table: ObjectName) -> Iterator[Finding]:
    spine, frames = subject.use_case.label_spine(), subject.ws.frames
    keys = list(spine.primary_keys)
    of_champions, acted_on = [("alias", "=", CHAMPION)], [(DECIDED, "=", True)]
    looked_at: list[tuple[list[str], list[Filter], str]] = [
        ([*keys, "model_version"], [], "row(s) were predicted more than once by one version"),
        (keys, of_champions, "row(s) were predicted by champions more than once"),
    ]
    if DECIDED in subject.ws.tables.describe(table).schema.names:
        looked_at.append((keys, acted_on, "row(s) have more than one prediction that is acted on"))
    for columns, filters, what in looked_at:
        rows = frames.read(table, columns=columns, filters=filters)
        several = rows.group_by(columns).agg(nw.len().alias("__rows")).filter(nw.col("__rows") > 1)
        if count := frames.count(several):
            found = f"{count} {what}."
            yield Finding(CHECK, str(table), "problem", found, "Nothing removes predictions, which were acted on.")


def _due(subject: Subject, table: ObjectName) -> Finding:
    """Tell whether the rows of the spine that were due by the newest scoring have a champion's prediction."""
    run = _newest(subject)
    if run is None or run.details.complete_since is None:
        return Finding(CHECK, str(table), "cannot say", "no complete scoring is on record.")
    start, until = run.details.complete_since, run.as_of
    spine, frames = subject.use_case.label_spine(), subject.ws.frames
    time, keys = spine.prediction_time, list(spine.primary_keys)
    rows = _spine(subject, run, [(time, ">", start), (time, "<=", until)])
    if rows is None:
        return Finding(CHECK, str(table), "cannot say", "the spine that the newest scoring read can not be read now.")
    scored = frames.read(
        table, columns=keys, filters=[("alias", "=", CHAMPION), (time, ">", start), (time, "<=", until)]
    )
    with population(subject.score.scorer, frames, rows.join(scored, on=keys, how="anti")) as chosen:
        missing = frames.count(chosen)
    due = frames.count(rows)
    if missing:
        way_out = f"mlplatform score {subject.name} --as-of {argument(until)} --since {argument(start)}"
        found = f"{missing} of {due} row(s) due by {argument(until)} have no champion's prediction."
        return Finding(CHECK, str(table), "problem", found, way_out)
    return Finding(CHECK, str(table), "ok", f"{due} row(s) due by {argument(until)}, each scored once or not to be.")


def _newest(subject: Subject) -> StageRun[ScoreDetails] | None:
    runs = subject.context.log.runs_of(STAGE, ScoreDetails)
    complete = [run for run in runs if run.ended_well and run.details.complete_since is not None]
    return max(complete, key=lambda run: run.as_of, default=None)


def _spine(subject: Subject, run: StageRun[ScoreDetails], filters: list[Filter]) -> Frame | None:
    """Return the rows of the spine that a scoring read; None where that version cannot be read any more."""
    name = subject.context.namespace.gold(SPINE)
    version = run.result.inputs.get(str(name))
    tables = subject.ws.tables
    if version is None or not tables.exists(name) or tables.replaced_since(name, version):
        return None
    try:
        return subject.ws.frames.read(name, version=version, filters=filters)
    except TableError:
        return None


def _recorded(subject: Subject, table: ObjectName) -> Finding:
    scorings = lost_predictions.on_record(subject.context)
    present = lost_predictions.present(subject.context, scorings) if scorings else {}
    unexplained = {run.run_id for run in subject.context.log.runs_of(STAGE, ScoreDetails) if run.details.restored}
    recorded: dict[ScoringKey, int] = {}
    for item in scorings:
        recorded[item.key] = recorded.get(item.key, 0) + item.rows
    fewer = {key: rows - present.get(key, 0) for key, rows in recorded.items() if present.get(key, 0) < rows}
    more = sum(present.get(key, 0) > rows for key, rows in recorded.items() if key.run_id not in unexplained)
    if fewer:
        first = min(fewer)
        found = (
            f"{sum(fewer.values())} prediction(s) of {len(fewer)} scoring(s) on record are not in the table, the first "
            f"as of {argument(first.as_of)}."
        )
        way_out = f"Were they not deleted on purpose: mlplatform repair {subject.name}"
        return Finding(RECORDED, str(table), "problem", found, way_out)
    if more:
        found = f"{more} scoring(s) have more predictions than on record, as of runs that were killed before their end."
        return Finding(RECORDED, str(table), "cannot say", found)
    total = sum(recorded.values())
    return Finding(RECORDED, str(table), "ok", f"{total} prediction(s) of {len(recorded)} scoring(s).")
