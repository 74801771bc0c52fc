"""Predictions that the record of runs has and the table has no more: made again by whom they were made, or said.

A prediction was acted on, so it is never invented anew: what a recorded scoring had scored is scored again by the
version that scored it, as of the time it was scored at. Where that version is gone, the rows stay without a prediction,
and the run says so, until somebody asks for other ones with `score --since`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlplatform.as_of import Duration, argument, parse_as_of
from mlplatform.errors import PlatformError
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops import markers, stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.refine.spine import SPINE
from mlplatform.scoring.scorer import PREDICTIONS

STAGE = "score"
Key = tuple[datetime, str, int, str]


@dataclass(frozen=True)
class Scoring:
    """A scoring on record.

    Attributes:
        as_of: Its time.
        alias: As which the version scored.
        version: The version.
        rows: How many predictions it made.
        start: Prediction times after this were its own.
        since: From where it was asked to score; None: from the scoring before.
        record: The run's record.
    """

    as_of: datetime
    alias: str
    version: int
    rows: int
    start: datetime
    since: datetime | None
    record: dict[str, Any]

    @property
    def key(self) -> Key:
        """What its predictions are known by in the table."""
        return self.as_of, self.alias, self.version, self.record["run_id"]

    def spine_version(self, context: StageContext) -> int | None:
        """Return the version of the spine that was read; None where the spine is another table now."""
        name = context.namespace.gold(SPINE)
        version = self.record["inputs"].get(str(name))
        there = version is not None and markers.is_of(self.record, name, context.ws.tables.describe(name))
        return int(version) if there else None


def find(context: StageContext) -> list[Scoring]:
    """Return the scorings on record up to `as_of` whose predictions are gone with their table; oldest first."""
    tables, name = context.ws.tables, context.namespace.gold(PREDICTIONS)
    made = _on_record(context)
    if not made:
        return []
    there = tables.describe(name) if tables.exists(name) else None
    if there is None:
        return list({item.key: item for item in made}.values())
    whole = not markers.lost(context, STAGE, name, there)
    of_this = [row for row in _records(context) if whole and markers.is_of(row, name, there)]
    ids = {id(row) for row in of_this}
    settled = {
        (parse_as_of(as_of), alias, version, run_id)
        for row in of_this
        for as_of, alias, version, run_id in row["details"].get("restored", {}).get("scorings", [])
    }
    doubtful = [item for item in made if id(item.record) not in ids and item.key not in settled]
    doubtful = [item for item in doubtful if not _asked_for_since(item, of_this)]
    if not doubtful:
        return []
    columns = ["as_of", "alias", "model_version", "run_id"]
    groups = tables.to_arrow(name, columns=columns).group_by(columns).aggregate([([], "count_all")]).to_pylist()
    present = {tuple(row[column] for column in columns): row["count_all"] for row in groups}
    # A table that was put back may hold the first chunks of a scoring.
    return list({item.key: item for item in doubtful if present.get(item.key, 0) < item.rows}.values())


def restore(
    context: StageContext, found: list[Scoring], rescore: Callable[[Scoring], int], result: StageResult[Any]
) -> list[tuple[datetime, datetime]]:
    """Make predictions that are gone again, and say so.

    Args:
        context: The run.
        found: The scorings, oldest first.
        rescore: Makes a scoring's predictions again; returns how many.
        result: Takes what was done, and the notes.

    Returns:
        Stretches of prediction times (start excluded, end included) whose predictions cannot be made again.
    """
    again: list[Scoring] = []
    failed: list[dict[str, Any]] = []
    lacking: list[tuple[datetime, datetime]] = []
    rows = 0
    for item in found:
        try:
            rows += rescore(item)
            again.append(item)
        except PlatformError as error:
            what = {"as_of": item.as_of.isoformat(), "alias": item.alias, "model_version": item.version}
            failed.append({**what, "rows": item.rows, "why": error.message})
            if item.alias == CHAMPION:
                lacking.append((item.start, item.as_of))
    recorded = sum(item.rows for item in found)
    result.details["restored"] = {
        "rows": rows,
        "recorded": recorded,
        "scorings": [[item.as_of.isoformat(), *item.key[1:]] for item in again],
        "failed": failed,
    }
    name = f"gold_{PREDICTIONS}"
    text = (
        f"{name} was gone, or another table lay in its place: {recorded} row(s) of {len(found)} scoring(s) are on "
        f"record in runs, {rows} were made again by the versions that had made them, as of their times."
    )
    if failed:
        text += f" {sum(item['rows'] for item in failed)} could not be: {failed[0]['why']}"
    if lacking:
        first = min(start for start, _ in lacking)
        text += (
            " Nobody else's predictions were put in their place; to have the champion's: mlplatform score "
            f"{context.use_case.name} --as-of {argument(context.as_of)} --since {argument(first)}"
        )
    markers.note(result, text)
    return lacking


def _on_record(context: StageContext) -> list[Scoring]:
    every = Duration.parse(context.use_case.settings.scoring.every)
    found: list[Scoring] = []
    before: datetime | None = None
    for row in sorted(_records(context), key=lambda row: parse_as_of(row["as_of"])):
        details, as_of = row["details"], parse_as_of(row["as_of"])
        since = parse_as_of(details["since"]) if details.get("since") else None
        start = since or before or every.before(as_of)
        shadow = details.get("shadow") or {}
        parts = (
            (details.get("alias"), details.get("model_version"), row["rows_out"]),
            (CHALLENGER, shadow.get("model_version"), shadow.get("rows")),
        )
        for alias, version, rows in parts:
            if alias and version is not None and rows:
                found.append(Scoring(as_of, alias, int(version), int(rows), start, since, row))
        if since is None and details.get("alias") == CHAMPION:
            before = as_of
    return found


def _records(context: StageContext) -> list[dict[str, Any]]:
    return [
        row
        for row in context.log.rows(STAGE)
        if row["status"] in (stage_runs.DONE, stage_runs.SKIPPED) and parse_as_of(row["as_of"]) <= context.as_of
    ]


def _asked_for_since(item: Scoring, rows: list[dict[str, Any]]) -> bool:
    """Tell whether others' predictions were asked for in the place of a champion's."""
    return item.alias == CHAMPION and any(
        parse_as_of(row["details"]["since"]) <= item.start and item.as_of <= parse_as_of(row["as_of"])
        for row in rows
        if row["details"].get("since")
    )
