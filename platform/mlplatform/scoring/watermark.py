"""What earlier scorings have looked at, so that a scoring looks only at what is new.

A scoring is complete when every row that the spine held, from where scoring began up to the scoring's time, has been
looked at: by it, or by those before it. What it need not look at again follows from two records: its own, and that of
the refining that changed the spine since, which says from which prediction time on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import narwhals as nw

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import StageRecord
from mlplatform.ops.stage_runs import ENDED_WELL, as_run
from mlplatform.refine.details import RefineDetails
from mlplatform.refine.gold_refining import NAME as REFINE
from mlplatform.refine.spine import SPINE
from mlplatform.scoring.details import ScoreDetails
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.scoring.range import Range

STAGE = "score"
_COMPLETE = "complete_since"
# Of the clocks of machines that refine at the same time.
_SKEW = timedelta(minutes=1)


def beginning(context: StageContext) -> datetime | None:
    """Return where scoring began: the prediction time after which rows became due; None: it has not begun."""
    starts = {record.details[_COMPLETE] for record in _complete(context)}
    return min(map(parse_as_of, starts)) if starts else first_window_start(context)


def first_window_start(context: StageContext) -> datetime | None:
    """Return one scoring interval before the first scoring earlier than this that has predictions; None: there is none.

    It looks at all predictions: `beginning` asks the record first.
    """
    frames, name = context.ws.frames, context.namespace.gold(PREDICTIONS)
    earlier = frames.read(name, columns=["as_of"], filters=[("as_of", "<", context.as_of)])
    rows = frames.collect(earlier.select(nw.col("as_of").min()), at_most=1, what="when the first scoring was")
    first: datetime | None = rows.column("as_of")[0].as_py()
    return None if first is None else Duration.parse(context.settings.scoring.every).before(first)


def new_range(context: StageContext, start: datetime, population_code: str, *, lost: bool = False) -> Range:
    """Return the prediction times in which a row may be due that no scoring has looked at.

    Args:
        context: The run.
        start: Where scoring began.
        population_code: Digest of the code that says whom to score: by other code, all is looked at again.
        lost: Whether predictions were found to be gone: the record is no proof then, and all is looked at again.
    """
    everything = Range(start, context.as_of)
    if lost:
        return everything
    names = (context.namespace.gold(SPINE), context.namespace.gold(PREDICTIONS))
    # Of the tables that exist now: another spine has other rows, and another table of predictions lacks some.
    ids = {name.name: context.ws.tables.describe(name).id for name in names}
    complete = [
        record
        for record in _complete(context)
        if parse_as_of(record.details[_COMPLETE]) == start
        and record.details.get("population_code") == population_code
        and ids.items() <= record.details.get("tables", {}).items()
    ]
    if not complete:
        return everything
    last = max(complete, key=lambda record: record.as_of)
    changed = _changed_from(context, as_run(last, ScoreDetails).details.refinings)
    if changed is None or changed <= start:
        return everything
    return Range(changed, context.as_of, True) if changed <= last.as_of else Range(last.as_of, context.as_of)


def refinings(context: StageContext) -> tuple[str, ...]:
    """Return the refinings that ended last, as they are on record by now: the next scoring asks which came after."""
    records = _refined(context)
    newest = max((_ended(record) for record in records), default=None)
    return () if newest is None else tuple(_identity(item) for item in records if _ended(item) >= newest - _SKEW)


def _changed_from(context: StageContext, seen: Sequence[str]) -> datetime | None:
    """Return from which prediction time on the spine changed after some refinings; None: from the first.

    Without a change it is the end of time. Of a long record only the newest rows are read: where those that came after
    may be older than these, nothing is known about them.
    """
    records, table = _refined(context), context.namespace.gold(SPINE).name
    known = [_ended(record) for record in records if _identity(record) in seen]
    if not known and (seen or not context.log.is_whole(REFINE)):
        return None
    earliest = datetime.max.replace(tzinfo=context.as_of.tzinfo)
    for record in records:
        if _identity(record) in seen or (known and _ended(record) < max(known) - _SKEW):
            continue
        marker = as_run(record, RefineDetails).details.computed.get(table)
        if marker is None or marker.since is None:
            return None
        earliest = min(earliest, marker.since)
    return earliest


def _complete(context: StageContext) -> list[StageRecord]:
    """Return the champion's complete scorings before this one, as they are on record.

    Records are many, and looked at as they are: to read each with its types takes longer than a small scoring.
    """
    return [
        record
        for record in context.log.records(STAGE)
        if record.status in ENDED_WELL and record.as_of < context.as_of and record.details.get(_COMPLETE)
    ]


def _refined(context: StageContext) -> list[StageRecord]:
    return [record for record in context.log.records(REFINE) if record.status in ENDED_WELL]


def _identity(record: StageRecord) -> str:
    """Return what a refining is known by: one run, as of a notebook's cycle, may refine several times."""
    return f"{record.run_id}@{record.started_at.isoformat()}"


def _ended(record: StageRecord) -> datetime:
    return record.started_at + timedelta(seconds=record.seconds)
