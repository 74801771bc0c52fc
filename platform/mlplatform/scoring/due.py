"""Which rows are due for a scoring, and which became due before the first one and have no prediction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import narwhals as nw

from mlplatform.as_of import argument, shown
from mlplatform.naming import CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.protocols.frames import Frame
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine
from mlplatform.scoring.details import ScoreDetails, UnscoredBefore
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.scoring.range import Range
from mlplatform.scoring.scorer import BatchScorer, population

Stretch = tuple[datetime, datetime]
"""Prediction times, the start excluded, the end included."""


def due_rows(
    context: StageContext, spine: LabelSpine, within: Range, *, spine_version: int, lacking: Sequence[Stretch] = ()
) -> Frame:
    """Return the spine rows that are to be scored at `as_of`; nothing is computed yet.

    These are the rows whose prediction time lies in (previous as_of, as_of], and earlier ones that landed too late for
    the scoring they belonged to: every row that no champion had predicted before this `as_of`. A challenger in the
    shadow scores the same rows.

    What is read are the rows of a range of prediction times, and the keys of their predictions. After a scoring that is
    on record, the range begins with the first row that refining added or changed since (see `watermark`): a scoring
    costs what refining cost that brought its rows. A row that landed a year late costs the keys of a year, once; none
    is left out for its age.

    Args:
        context: The run.
        spine: The label spine.
        within: The prediction times that are looked at.
        spine_version: The version of the spine to read.
        lacking: Stretches of prediction times whose predictions are gone and not to be replaced by other ones.
    """
    frames, time, keys = context.ws.frames, spine.prediction_time, list(spine.primary_keys)
    rows = frames.read(context.namespace.gold(SPINE), version=spine_version, filters=within.filters(time))
    scored_before = frames.read(
        context.namespace.gold(PREDICTIONS),
        columns=keys,
        filters=[("as_of", "<", context.as_of), ("alias", "=", CHAMPION), *within.filters(time)],
    )
    rows = rows.join(scored_before, on=keys, how="anti")
    for after, until in lacking:
        rows = rows.filter((nw.col(time) <= after) | (nw.col(time) > until))
    return rows


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
    frames, namespace = context.ws.frames, context.namespace
    time, keys = spine.prediction_time, list(spine.primary_keys)
    until_then = (time, "<=", until)
    scored = frames.read(namespace.gold(PREDICTIONS), columns=keys, filters=[("alias", "=", CHAMPION), until_then])
    labelled = frames.read(
        namespace.gold(LABELS), columns=keys, filters=[(LABEL_KNOWN_AT, "<=", context.as_of), until_then]
    ).with_columns(nw.lit(1).alias("__labelled"))
    rows = frames.read(namespace.gold(SPINE), filters=[until_then])
    with population(scorer, frames, rows) as chosen:
        left = chosen.select(*keys).join(scored, on=keys, how="anti").join(labelled, on=keys, how="left")
        waiting = left.with_columns(
            nw.when(nw.col("__labelled").is_null()).then(nw.col(time)).alias("__waiting_at")
        ).select(nw.len().alias("rows"), nw.col("__waiting_at").count().alias("waiting"), nw.col("__waiting_at").min())
        (counted,) = frames.collect(
            waiting, at_most=1, what="how many rows were due before the first scoring"
        ).to_pylist()
    details.unscored_before = UnscoredBefore(until=until, rows=counted["rows"], without_label=counted["waiting"])
    if counted["waiting"]:
        day = (counted["__waiting_at"] - timedelta(days=1)).date()
        details.note(
            f"{counted['waiting']} row(s) due up to {shown(until)}, before the first scoring, have no prediction, and "
            "their labels are not known yet. To score them, as of their own times: mlplatform score "
            f"{context.name} --as-of {argument(context.as_of)} --since {day}"
        )
