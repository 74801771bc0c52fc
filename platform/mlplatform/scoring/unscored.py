"""Rows that became due before the first scoring: no champion predicts them by itself, and a run says how many."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow.compute as pc

from mlplatform.as_of import argument, shown
from mlplatform.naming import CHAMPION
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE
from mlplatform.scoring.scorer import PREDICTIONS


def look(context: StageContext, until: datetime, result: StageResult[Any], *, first: bool) -> None:
    """Count the rows due up to where scoring began that have no prediction; recorded, and said where it matters.

    A row whose label is known by now needs no prediction any more; the others are what `score --since` is for.

    Args:
        context: The run.
        until: Where scoring began.
        result: Takes the counts, and the note.
        first: Whether to look at all: later scorings change nothing about it.
    """
    if not first:
        return
    spine, tables, namespace = context.use_case.label_spine(), context.ws.tables, context.namespace
    time, keys = spine.prediction_time, list(spine.primary_keys)
    rows = tables.to_arrow(namespace.gold(SPINE), filters=[(time, "<=", until)])
    rows = context.use_case.scorer().population(rows).select(keys)
    scored = tables.to_arrow(
        namespace.gold(PREDICTIONS), columns=keys, filters=[("alias", "=", CHAMPION), (time, "<=", until)]
    )
    known = tables.to_arrow(
        namespace.gold(LABELS), columns=keys, filters=[(LABEL_KNOWN_AT, "<=", context.as_of), (time, "<=", until)]
    )
    left = rows.join(scored, keys=keys, join_type="left anti")
    waiting = left.join(known, keys=keys, join_type="left anti")
    result.details["unscored_before"] = {
        "until": until.isoformat(),
        "rows": left.num_rows,
        "without_label": waiting.num_rows,
    }
    if waiting.num_rows:
        day = (pc.min(waiting.column(time)).as_py() - timedelta(days=1)).date()
        markers.note(
            result,
            f"{waiting.num_rows} row(s) due up to {shown(until)}, before the first scoring, have no prediction, and "
            "their labels are not known yet. To score them, as of their own times: mlplatform score "
            f"{context.use_case.name} --as-of {argument(context.as_of)} --since {day}",
        )
