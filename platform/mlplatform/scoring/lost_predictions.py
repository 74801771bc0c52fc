"""Predictions that the record of runs has and the table has no more: made again by whom they were made, or said.

A prediction was acted on, so it is never invented anew: what a recorded scoring had scored is scored again by the
version that scored it, as of the time it was scored at. Where that version is gone, the rows stay without a prediction,
and the run says so, until somebody asks for other ones with `score --since`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import narwhals as nw

from mlplatform.as_of import Duration, argument
from mlplatform.errors import PlatformError
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.record_table import MOST_RECORDS
from mlplatform.ops.stage_runs import ENDED_WELL, StageRun, as_run
from mlplatform.refine.spine import SPINE
from mlplatform.scoring.details import LostScoring, Restored, ScoreDetails, ScoringKey
from mlplatform.scoring.due import Stretch
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.scoring.watermark import STAGE

# One for each time, version and run: of each record of a scoring one, and one of the challenger in its shadow.
MOST_SCORINGS = 2 * MOST_RECORDS


@dataclass(frozen=True)
class Scoring:
    """A scoring on record.

    Attributes:
        key: What its predictions are known by in the table.
        rows: How many predictions it made.
        start: Prediction times after this were its own.
        since: From where it was asked to score; None: from the scoring before.
        run: The recorded run.
    """

    key: ScoringKey
    rows: int
    start: datetime
    since: datetime | None
    run: StageRun[ScoreDetails]

    @property
    def stretch(self) -> Stretch:
        """The prediction times that were its own."""
        return self.start, self.key.as_of

    def spine_version(self, context: StageContext) -> int | None:
        """Return the version of the spine that was read; None where the spine is another table now."""
        name = context.namespace.gold(SPINE)
        version = self.run.result.inputs.get(str(name))
        same = version is not None and markers.is_of(self.run, name, context.ws.tables.describe(name))
        return version if same else None


def find(context: StageContext) -> list[Scoring]:
    """Return the scorings on record up to `as_of` whose predictions are gone with their table; oldest first."""
    tables, name = context.ws.tables, context.namespace.gold(PREDICTIONS)
    info = tables.describe(name) if tables.exists(name) else None
    whole = info is not None and not markers.lost(context, STAGE, name, info)
    newest = [item for item in context.log.records(STAGE, until=context.as_of) if item.status in ENDED_WELL]
    if info is not None and whole and {item.details.get("tables", {}).get(name.name) for item in newest} <= {info.id}:
        return []  # as nearly always; neither need all records be read, nor these with their types
    runs = _runs(context)
    recorded = _scorings(context, runs)
    if info is None or not recorded:
        return list({scoring.key: scoring for scoring in recorded}.values())
    of_this = [run for run in runs if whole and markers.is_of(run, name, info)]
    of_it = {id(run) for run in of_this}
    settled = {key for run in of_this if run.details.restored for key in run.details.restored.scorings}
    doubtful = [item for item in recorded if id(item.run) not in of_it and item.key not in settled]
    doubtful = [item for item in doubtful if not _asked_for_since(item, of_this)]
    if not doubtful:
        return []
    held = present(context, doubtful)
    # A table that was put back may hold the first chunks of a scoring.
    return list({item.key: item for item in doubtful if held.get(item.key, 0) < item.rows}.values())


def on_record(context: StageContext) -> list[Scoring]:
    """Return the scorings on record up to `as_of` that made predictions, oldest first."""
    return _scorings(context, _runs(context))


def present(context: StageContext, scorings: list[Scoring]) -> dict[ScoringKey, int]:
    """Return how many predictions the table holds of scorings, and maybe of others at those times."""
    frames = context.ws.frames
    times = [item.key.as_of for item in scorings]
    rows = frames.read(
        context.namespace.gold(PREDICTIONS),
        columns=["as_of", "alias", "model_version", "run_id"],
        filters=[("as_of", ">=", min(times)), ("as_of", "<=", max(times))],
    )
    counts = rows.group_by("as_of", "alias", "model_version", "run_id").agg(nw.len().alias("rows"))
    groups = frames.collect(counts, at_most=MOST_SCORINGS, what="how many predictions each scoring has").to_pylist()
    return {
        ScoringKey(group["as_of"], group["alias"], group["model_version"], group["run_id"]): group["rows"]
        for group in groups
    }


def restore(
    context: StageContext,
    lost: list[Scoring],
    rescore: Callable[[Scoring, Sequence[Stretch]], int],
    details: ScoreDetails,
) -> list[Stretch]:
    """Make predictions that are gone again, and say so.

    Args:
        context: The run.
        lost: The scorings, oldest first.
        rescore: Makes a scoring's predictions again, but for stretches that nobody else may predict; returns how many.
        details: Takes what was done, and the notes.

    Returns:
        Stretches of prediction times whose predictions cannot be made again.
    """
    again: list[tuple[datetime, str, int, str]] = []
    failed: list[LostScoring] = []
    lacking: list[Stretch] = []
    rows = 0
    for item in lost:
        as_of, alias, version, _ = item.key
        try:
            rows += rescore(item, lacking)
            again.append(item.key)
        except PlatformError as error:
            failed.append(
                LostScoring(as_of=as_of, alias=alias, model_version=version, rows=item.rows, why=error.message)
            )
            if alias == CHAMPION:
                lacking.append(item.stretch)
    recorded = sum(item.rows for item in lost)
    details.restored = Restored(rows=rows, recorded=recorded, scorings=again, failed=failed)
    name = f"gold_{PREDICTIONS}"
    text = (
        f"{name} was gone, or another table lay in its place: {recorded} row(s) of {len(lost)} scoring(s) are on "
        f"record in runs, {rows} were made again by the versions that had made them, as of their times."
    )
    if failed:
        text += f" {sum(item.rows for item in failed)} could not be: {failed[0].why}"
    if lacking:
        first = min(start for start, _ in lacking)
        text += (
            " Nobody else's predictions were put in their place; to have the champion's: mlplatform score "
            f"{context.name} --as-of {argument(context.as_of)} --since {argument(first)}"
        )
    details.note(text)
    return lacking


def _runs(context: StageContext) -> list[StageRun[ScoreDetails]]:
    """Return all recorded scorings up to `as_of` that ended well, in the order in which they ran."""
    records = context.log.all_records(STAGE, until=context.as_of)
    return [as_run(record, ScoreDetails) for record in records if record.status in ENDED_WELL]


def _scorings(context: StageContext, runs: list[StageRun[ScoreDetails]]) -> list[Scoring]:
    every = Duration.parse(context.settings.scoring.every)
    scorings: list[Scoring] = []
    before: datetime | None = None
    for run in sorted(runs, key=lambda run: run.as_of):
        details, shadow = run.details, run.details.shadow
        start = details.since or before or every.before(run.as_of)
        parts = [(details.alias, details.model_version, run.result.rows_out)]
        canary = details.canary
        challenger = shadow or canary
        if challenger:
            scored = (shadow.rows if shadow else 0) + (canary.rows if canary else 0)
            # Where it decided for some, it is known first: what is left is the champion's.
            parts.insert(0 if canary else 1, (CHALLENGER, challenger.model_version, scored))
        for alias, version, rows in parts:
            if alias and version is not None and rows:
                key = ScoringKey(run.as_of, alias, version, run.run_id)
                scorings.append(Scoring(key, rows, start, details.since, run))
        if details.since is None and details.alias == CHAMPION:
            before = run.as_of
    return scorings


def _asked_for_since(item: Scoring, runs: list[StageRun[ScoreDetails]]) -> bool:
    """Tell whether others' predictions were asked for in the place of a champion's."""
    return item.key.alias == CHAMPION and any(
        run.details.since <= item.start and item.key.as_of <= run.as_of for run in runs if run.details.since is not None
    )
