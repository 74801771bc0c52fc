"""Which rows are due for a scoring, and which became due before the first one and have no prediction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration, argument, shown
from mlplatform.joins import without_keys_of
from mlplatform.naming import CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine
from mlplatform.scoring.details import ScoreDetails, UnscoredBefore
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.scoring.scorer import BatchScorer

Stretch = tuple[datetime, datetime]
"""Prediction times, the start excluded, the end included."""


def due_rows(
    context: StageContext,
    spine: LabelSpine,
    start: datetime,
    *,
    spine_version: int | None = None,
    lacking: Sequence[Stretch] = (),
) -> tuple[pa.Table, int]:
    """Return the spine rows that are to be scored at `as_of`, and the spine's Delta version.

    These are the rows whose prediction time lies in (previous as_of, as_of], and earlier ones that landed too late for
    the scoring they belonged to: every row since `start` that no champion had predicted before this `as_of`. A
    challenger in the shadow scores the same rows.

    Args:
        context: The run.
        spine: The label spine.
        start: Prediction times after this.
        spine_version: Read this version of the spine; None: the newest.
        lacking: Stretches of prediction times whose predictions are gone and not to be replaced by other ones.
    """
    tables = context.ws.tables
    name, time, keys = context.namespace.gold(SPINE), spine.prediction_time, list(spine.primary_keys)
    version = tables.version(name) if spine_version is None else spine_version
    rows = tables.to_arrow(
        name, at_most=10**9, version=version, filters=[(time, ">", start), (time, "<=", context.as_of)]
    )
    scored_before = tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        at_most=10**9,
        columns=keys,
        filters=[("as_of", "<", context.as_of), ("alias", "=", CHAMPION), (time, ">", start)],
    )
    if scored_before.num_rows:
        rows = without_keys_of(rows, scored_before, keys)
    for after, until in lacking:
        times = rows.column(time)
        rows = rows.filter(pc.or_(pc.less_equal(times, pa.scalar(after)), pc.greater(times, pa.scalar(until))))
    # In a fixed order, so that a scoring run again has the same chunks.
    return rows.sort_by(spine.order), version


def first_window_start(context: StageContext) -> datetime:
    """Return where scoring began: one scoring interval before the first scoring, which may be this one."""
    first = first_scoring(context) or context.as_of
    return Duration.parse(context.settings.scoring.every).before(first)


def first_scoring(context: StageContext) -> datetime | None:
    """Return the first `as_of` before this one that has predictions; None where there is none."""
    predictions = context.namespace.gold(PREDICTIONS)
    earlier = context.ws.tables.to_arrow(
        predictions, at_most=10**9, columns=["as_of"], filters=[("as_of", "<", context.as_of)]
    )
    first: datetime | None = pc.min(earlier.column("as_of")).as_py()
    return first


def count_unscored(
    context: StageContext, spine: LabelSpine, scorer: BatchScorer, until: datetime, details: ScoreDetails
) -> None:
    """Count the rows due up to where scoring began that have no prediction; recorded, and said where it matters.

    A row whose label is known by now needs no prediction any more; the others are what `score --since` is for.

    Args:
        context: The run.
        spine: The label spine.
        scorer: Whom to score.
        until: Where scoring began.
        details: Takes the counts, and the note.
    """
    tables, namespace = context.ws.tables, context.namespace
    time, keys = spine.prediction_time, list(spine.primary_keys)
    rows = tables.to_arrow(namespace.gold(SPINE), at_most=10**9, filters=[(time, "<=", until)])
    rows = scorer.population(rows).select(keys)
    scored = tables.to_arrow(
        namespace.gold(PREDICTIONS),
        at_most=10**9,
        columns=keys,
        filters=[("alias", "=", CHAMPION), (time, "<=", until)],
    )
    labelled = tables.to_arrow(
        namespace.gold(LABELS),
        at_most=10**9,
        columns=keys,
        filters=[(LABEL_KNOWN_AT, "<=", context.as_of), (time, "<=", until)],
    )
    left = without_keys_of(rows, scored, keys)
    waiting = without_keys_of(left, labelled, keys)
    details.unscored_before = UnscoredBefore(until=until, rows=left.num_rows, without_label=waiting.num_rows)
    if waiting.num_rows:
        day = (pc.min(waiting.column(time)).as_py() - timedelta(days=1)).date()
        details.note(
            f"{waiting.num_rows} row(s) due up to {shown(until)}, before the first scoring, have no prediction, and "
            "their labels are not known yet. To score them, as of their own times: mlplatform score "
            f"{context.name} --as-of {argument(context.as_of)} --since {day}"
        )
