"""From which known-at time on a table's inputs changed since it was last computed: the `since` of `compute`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import narwhals as nw
from pydantic import BaseModel

from mlplatform.code_digest import has_changed
from mlplatform.ingest.provenance import AVAILABLE_AT
from mlplatform.naming import ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, Moment
from mlplatform.ops.stage_runs import StageRun
from mlplatform.protocols.tables import Filter, TableInfo
from mlplatform.refine.silver import BATCH, CORRECTED_AT


class ComputedMarker(BaseModel):
    """What a table was computed from.

    Attributes:
        as_of: Up to which time.
        batches: Input -> the newest batch of it that was seen.
        code: Digest of the code and settings that computed it.
        inputs: Input -> Delta's id of it; records of early versions have none.
        since: Rows known before this stayed as they were; None: any may have changed, or nobody recorded it.
    """

    as_of: Moment
    batches: dict[str, int]
    code: str
    inputs: dict[str, str] = {}
    since: Moment | None = None


class ComputedDetails(Details):
    """Details of a stage that computes tables from silver.

    Attributes:
        computed: Bare name of each computed table -> what it was computed from.
    """

    internal: ClassVar[frozenset[str]] = Details.internal | {"computed"}

    computed: Mapping[str, ComputedMarker] = {}

    def keep_computed(self, table: ObjectName, marker: ComputedMarker) -> None:
        """Record what a table was computed from."""
        self.computed = {**self.computed, table.name: marker}


@dataclass(frozen=True)
class Freshness:
    """What changed for one computed table.

    Attributes:
        since: Nothing known before this changed; None: compute everything.
        unchanged: True if nothing is to be computed.
        marker: What to record once the table is written.
        lost: True when it had been computed, and is gone, or is another table than the one that was computed.
    """

    since: datetime | None
    unchanged: bool
    marker: ComputedMarker
    lost: bool = False


def check(
    context: StageContext, stage: str, table: ObjectName, inputs: Sequence[str], digest: str, *, anew: bool = False
) -> Freshness:
    """Compare a table's inputs with what they were when the stage last computed it.

    A row counts as new if it came in a later batch, became known, or became available, since. What was known before the
    earliest of them cannot have changed a row stamped earlier, as long as the table does not leak (see the leak check).
    A correction counts from the time when it could be known: rows stamped earlier stay as they were known then.
    An input of which no row is left that was seen then was refined again whole, and so the table is computed whole.

    Args:
        context: The running stage's.
        stage: The stage's name.
        table: The computed table.
        inputs: Bare names of the silver tables it is computed from.
        digest: Of the code and settings that compute it: when they change, everything is computed again.
        anew: Everything is computed again, whatever the digest says.
    """
    batches: dict[str, int] = {}
    ids: dict[str, str] = {}
    run = markers.last(context, stage, table, ComputedDetails)
    lost = markers.lost(context, stage, table)
    # A marker belongs to the table that it was written for.
    last = run.details.computed.get(table.name) if run is not None and not lost else None
    earliest: list[datetime] = []
    for name in inputs:
        full_name = context.namespace.table(name)
        info = context.ws.tables.describe(full_name)
        ids[name] = info.id
        if run is not None and last is not None and not _same_input(run, last, info, name):
            last = None  # batches of another table are numbered anew
        known_at = info.timeseries_column
        if known_at is None or BATCH not in info.schema.names:
            # Not a silver table: nothing tells what is new in it.
            last = None
            continue
        if last is not None:
            seen = last.batches.get(name, -1)
            new = _new_rows(context, full_name, info, seen, last.as_of)
            if new.none_seen:
                last = None
            else:
                batches[name] = new.batch
                if new.earliest is not None:
                    earliest.append(new.earliest)
        if last is None:
            filters = _known(context, known_at)
            batches[name] = context.ws.tables.largest(full_name, BATCH, filters=filters) or 0
    marker = ComputedMarker(as_of=context.as_of, batches=batches, code=digest, inputs=ids)
    if last is None or anew or has_changed(last.code, digest):
        return Freshness(since=None, unchanged=False, marker=marker, lost=lost)
    if context.as_of <= last.as_of and not earliest:
        # All that was known by now has been computed; the later marker stays the one to compare with.
        later = last.model_copy(update={"inputs": ids, "code": digest, "since": last.as_of})
        return Freshness(since=last.as_of, unchanged=True, marker=later)
    since = min([last.as_of, *earliest])
    return Freshness(since=since, unchanged=False, marker=marker.model_copy(update={"since": since}))


@dataclass(frozen=True)
class _NewRows:
    """What is new in an input.

    Attributes:
        batch: The newest batch that is known, or was seen.
        earliest: From when the first of the new rows holds; None without any.
        none_seen: True where the table holds none of the batches that were seen any more, or where the first new row
            was known too long ago for a time of Python.
    """

    batch: int
    earliest: datetime | None
    none_seen: bool


# Workspace -> what was found in a version of a table, which never changes: gold and feature tables that read the same
# table ask the same of it, one after the other.
_FOUND: WeakKeyDictionary[Any, dict[tuple[object, ...], _NewRows]] = WeakKeyDictionary()
_MOST_FOUND = 200


def _new_rows(context: StageContext, silver: ObjectName, info: TableInfo, seen: int, computed: datetime) -> _NewRows:
    """Return what is new in a silver table; looked for once."""
    found = _FOUND.setdefault(context.ws, {})
    asked = (str(silver), info.id, info.version, seen, computed, context.as_of)
    if asked not in found:
        new = _look_for_new_rows(context, silver, info, seen, computed)
        if len(found) >= _MOST_FOUND:
            found.clear()
        found[asked] = new
    return found[asked]


def _look_for_new_rows(
    context: StageContext, silver: ObjectName, info: TableInfo, seen: int, computed: datetime
) -> _NewRows:
    """Look for what is new in a silver table.

    Args:
        context: The run.
        silver: The table.
        info: What is known about it.
        seen: The newest batch that was seen.
        computed: The time up to which was computed.
    """
    known_at, frames = str(info.timeseries_column), context.ws.frames
    corrected = CORRECTED_AT in info.schema.names
    rows = frames.read(
        silver,
        version=info.version,
        columns=[known_at, BATCH, *([CORRECTED_AT] if corrected else [])],
        filters=_known(context, known_at),
        any_of=[(BATCH, ">", seen), (known_at, ">", computed), (AVAILABLE_AT, ">", computed)],
    )
    holds_from = nw.col(known_at)
    if corrected:
        holds_from = nw.when(nw.col(CORRECTED_AT).is_null()).then(holds_from).otherwise(nw.col(CORRECTED_AT))
    rows = rows.select(holds_from.alias("earliest"), nw.col(BATCH).alias("batch"))
    found = rows.select(nw.col("earliest").min(), nw.col("batch").max())
    row = frames.collect(found, at_most=1, what=f"what is new in {silver}")
    batch = max(seen, row.column("batch")[0].as_py() or 0)
    try:
        earliest = row.column("earliest")[0].as_py()
    except (OverflowError, ValueError):
        # A time that Python does not know, as of the year 0: what was known since is everything.
        return _NewRows(batch, None, none_seen=True)
    none_seen = False
    if seen > 0:
        # One row that was seen is enough, whenever it was known.
        before = frames.read(silver, version=info.version, columns=[BATCH], filters=[(BATCH, "<=", seen)]).head(1)
        none_seen = not frames.collect(before, at_most=1, what=f"what was seen of {silver}").num_rows
    return _NewRows(batch, earliest, none_seen)


def _known(context: StageContext, known_at: str) -> list[Filter]:
    return [(known_at, "<=", context.as_of), (AVAILABLE_AT, "<=", context.as_of)]


def _same_input(run: StageRun[ComputedDetails], marker: ComputedMarker, info: TableInfo, name: str) -> bool:
    """Tell whether an input is the table that a marker was written for."""
    recorded = marker.inputs.get(name)
    return recorded == info.id if recorded else markers.was_there(run, info)
