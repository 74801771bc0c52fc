"""Computing tables by their new declarations, and comparing the rows with those that they hold; writes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import narwhals as nw

from mlplatform.as_of import Duration
from mlplatform.change.changed_view import Anew, ChangedView, Computed, LandedAsDeclared, Stretch
from mlplatform.change.declared import DeclaredTable
from mlplatform.change.differences import Measured
from mlplatform.change.existing import Recorded
from mlplatform.features.compare import ColumnDifference, compare_rows
from mlplatform.features.computing import compute
from mlplatform.features.table import FeatureTable
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW, held_files
from mlplatform.ops.context import StageContext
from mlplatform.protocols.frames import Frame, Frames
from mlplatform.protocols.tables import Filter, TableInfo, Transaction
from mlplatform.refine.fates import going_on, newest
from mlplatform.refine.gold_refining import GoldTable
from mlplatform.refine.silver import BATCH, CORRECTED_AT, DELIVERY, SilverTable

if TYPE_CHECKING:
    from mlplatform.protocols.tables import FrameLike

# Sums of floats depend on the order in which an engine adds them up.
TOLERANCE = 1e-9
MOST_ROWS = 2_000_000
"""Of a feature table with more rows than this, the last window and a sample of history are computed."""
EARLIER = 3
"""How many earlier windows the sample of history is."""


@contextmanager
def rows_anew(anew: Anew, table: DeclaredTable, record: Recorded) -> Iterator[Computed]:
    """Compute a table by its new declaration, from what it was computed from.

    Silver and gold are computed whole, as refining does where their code changed. Of a feature table with more than
    `MOST_ROWS` rows the last window and some earlier ones are.

    Args:
        anew: The tables that changed before it.
        table: The declaration.
        record: What is on record of how the table was written.
    """
    started = time.perf_counter()
    part = table.part
    if isinstance(part, SilverTable):
        computing = _silver(anew.context, table, part)
    elif isinstance(part, GoldTable | FeatureTable):
        computing = _computed(anew, table, part, record)
    else:
        raise TypeError(f"{table.name} is not computed.")
    with computing as computed:
        yield replace(computed, seconds=time.perf_counter() - started)


@contextmanager
def _silver(context: StageContext, table: DeclaredTable, silver: SilverTable) -> Iterator[Computed]:
    """Read the files that a silver table holds by its new SQL."""
    tables, frames = context.ws.tables, context.ws.frames
    bronze = context.namespace.bronze(silver.source.name)
    known: list[Filter] = [(AVAILABLE_AT, "<=", context.as_of)]
    info = tables.describe(bronze)
    files = list(held_files(frames, bronze, version=info.version, filters=known))
    if tables.exists(table.name):
        marks = [Transaction(f"refine:{silver.name}:{file}") for file in files]
        refined = tables.committed(table.name, marks)
        files = [file for file, done in zip(files, refined, strict=True) if done]
    ours = tuple(name for name in silver.source().bronze_schema().names if name not in silver.source.columns)
    landed = LandedAsDeclared(
        context.ws, silver, table.name, bronze, info.version, files, tuple(info.schema.names), ours
    )
    with landed.judged() as judged:
        good = going_on(landed, judged).with_columns(nw.lit(0, nw.Int64()).alias(BATCH))
        with _as_written(context, table, good) as rows:
            yield Computed(rows, known)


@contextmanager
def _computed(anew: Anew, table: DeclaredTable, part: GoldTable | FeatureTable, record: Recorded) -> Iterator[Computed]:
    """Compute a table by its new code, from the rows that its last computation saw."""
    context, time_column = anew.context, str(table.timeseries_column)
    seen = record.as_of or context.as_of
    end = min(seen, context.as_of)
    known: list[Filter] = [(time_column, "<=", end)]
    if record.since is not None:
        known.append((time_column, ">=", record.since))

    def view(as_of: datetime) -> ChangedView:
        return ChangedView(anew, as_of, allowed=table.inputs, landed_by=seen, batches=record.batches or {})

    if isinstance(part, GoldTable):
        with _as_written(context, table, part.rows(view(end), None)) as rows:
            yield Computed(rows, known)
        return
    held, sample = _sample_of_history(context, table, known, end)
    parts_of_history: list[tuple[datetime | None, datetime]] = [*sample] or [(record.since, end)]
    with ExitStack() as stack:
        parts = [
            stack.enter_context(_as_written(context, table, compute(part, view(until), start)))
            for start, until in parts_of_history
        ]
        yield Computed(nw.concat(parts) if len(parts) > 1 else parts[0], known, tuple(sample), held)


def _sample_of_history(
    context: StageContext, table: DeclaredTable, known: list[Filter], end: datetime
) -> tuple[int, list[Stretch]]:
    """Return how many rows a large table holds, and the stretches that are looked at; of others 0 and none."""
    tables, frames, time_column = context.ws.tables, context.ws.frames, str(table.timeseries_column)
    if not tables.exists(table.name) or time_column not in tables.describe(table.name).schema.names:
        return 0, []
    times = frames.read(table.name, columns=[time_column], filters=known)
    ends = times.select(nw.len().alias("rows"), nw.col(time_column).min().alias("first"))
    (row,) = frames.collect(ends, at_most=1, what=f"the number of rows of {table.name}").to_pylist()
    if row["rows"] <= MOST_ROWS:
        return 0, []
    return row["rows"], stretches(row["first"], end, Duration.parse(context.settings.scoring.every))


def stretches(first: datetime, end: datetime, every: Duration) -> list[Stretch]:
    """Return the last window of a history and earlier ones, evenly spread; none where they would be all of it.

    Args:
        first: When the history begins.
        end: When it ends.
        every: The length of a window.
    """
    found = [(every.before(end), end)]
    for place in range(1, EARLIER + 1):
        until = first + (found[0][0] - first) * place / (EARLIER + 1)
        found.append((every.before(until), until))
    found.sort()
    apart = all(one[1] < other[0] for one, other in pairwise(found))
    return found if apart and found[0][0] > first else []


@contextmanager
def _as_written(context: StageContext, table: DeclaredTable, rows: FrameLike) -> Iterator[Frame]:
    """Compute rows once, in the declared columns and types, as a write into the table would."""
    frames = context.ws.frames
    with (
        frames.staged(rows) as once,
        frames.conformed(once.select(*table.schema.names), table.schema, str(table.name)) as frame,
    ):
        yield frame


def compared(context: StageContext, table: DeclaredTable, info: TableInfo, computed: Computed) -> Measured:
    """Compare rows computed by the new declaration with those that the table holds.

    Args:
        context: The run.
        table: The declaration.
        info: The table.
        computed: The rows.

    Raises:
        TableError: If computed rows repeat a key.
    """
    frames, rows, keys = context.ws.frames, computed.rows, list(table.primary_keys)
    usable = [item for item in computed.known if item[0] in info.schema.names]
    existing = frames.read(table.name, version=info.version, filters=usable)
    if computed.stretches:
        moment = nw.col(str(table.timeseries_column))
        existing = existing.filter(
            nw.any_horizontal(
                *((moment >= start) & (moment <= end) for start, end in computed.stretches), ignore_nulls=True
            )
        )
    if info.primary_keys != table.primary_keys:
        before, after = frames.count(existing), frames.count(rows)
        return Measured(before, after, held=computed.held, seconds=computed.seconds, compared=False)
    hidden = {BATCH, CORRECTED_AT, *DELIVERY} if isinstance(table.part, SilverTable) else set()
    deliveries = existing, rows
    if CORRECTED_AT in info.schema.names:
        existing = newest(existing, keys)
    if CORRECTED_AT in table.schema.names:
        # What holds is compared: a correction is another value of its record, and no other record.
        rows = newest(rows, keys)
    common = [name for name in table.schema.names if name in info.schema.names and name not in hidden]
    old, new = existing.select(*common), rows.select(*common)
    for name in common:
        if not info.schema.field(name).type.equals(table.schema.field(name).type):
            old, new = _alike(old, new, name)
    found = compare_rows(frames, old, new, keys, tolerance=TOLERANCE)
    columns = found.by_column()
    if not found and isinstance(table.part, SilverTable):
        earlier = _differing_deliveries(frames, *deliveries, common)
        columns |= {CORRECTED_AT: ColumnDifference(earlier)} if earlier else {}
    return Measured(
        before=found.before,
        after=found.after,
        added=found.added,
        removed=found.removed,
        columns=columns,
        renamed=_renamed(context, table, info, existing, rows),
        held=computed.held,
        seconds=computed.seconds,
    )


def _differing_deliveries(frames: Frames, old: Frame, new: Frame, common: Sequence[str]) -> int:
    """Return how many deliveries differ where all that hold now are the same: corrections that cancel each other out.

    What was computed while one of them held follows from it.
    """
    of_old, of_new = old.collect_schema(), new.collect_schema()
    is_correction = ~nw.col(CORRECTED_AT).is_null()
    both = CORRECTED_AT in of_old and CORRECTED_AT in of_new
    if not both:
        one = next((side for side in (old, new) if CORRECTED_AT in side.collect_schema()), None)
        return frames.count(one.filter(is_correction)) if one is not None else 0
    names = [FILE, ROW, CORRECTED_AT, *(name for name in common if of_old[name] == of_new[name])]
    found = compare_rows(frames, old.select(*names), new.select(*names), [FILE, ROW], tolerance=TOLERANCE)
    return found.added + found.removed + found.changed


def _alike(old: Frame, new: Frame, name: str) -> tuple[Frame, Frame]:
    """Give a column of another type one type on both sides: numbers as numbers, the rest as text."""
    kinds = [old.collect_schema()[name], new.collect_schema()[name]]
    numbers = all(kind.is_numeric() for kind in kinds)
    column = nw.col(name).cast(nw.Float64() if numbers else nw.String())
    return old.with_columns(column), new.with_columns(column)


def _renamed(
    context: StageContext, table: DeclaredTable, info: TableInfo, existing: Frame, rows: Frame
) -> dict[str, str]:
    """Return which column that is gone is in all rows what which new column of its type is: it was renamed."""
    gone = [name for name in info.schema.names if name not in table.schema.names]
    new = [name for name in table.schema.names if name not in info.schema.names]
    keys = list(table.primary_keys)
    renamed: dict[str, str] = {}
    for old_name in gone:
        for name in new:
            if name in renamed.values() or not info.schema.field(old_name).type.equals(table.schema.field(name).type):
                continue
            then = existing.select(*keys, nw.col(old_name).alias(name))
            found = compare_rows(context.ws.frames, then, rows.select(*keys, name), keys, tolerance=TOLERANCE)
            if found.before and not found:
                renamed[old_name] = name
                break
    return renamed
