"""Computing tables by their new declarations, and comparing the rows with those that they hold; writes nothing."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import narwhals as nw

from mlplatform.as_of import Duration
from mlplatform.change.declared import DeclaredTable
from mlplatform.change.differences import Measured
from mlplatform.change.existing import Recorded
from mlplatform.features.compare import compare_rows
from mlplatform.features.computing import compute
from mlplatform.features.table import FeatureTable
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW, held_files
from mlplatform.naming import quote
from mlplatform.ops.context import StageContext
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter, TableInfo, Transaction
from mlplatform.refine.as_of_view import WorkspaceAsOf
from mlplatform.refine.fates import going_on
from mlplatform.refine.gold_refining import GoldTable
from mlplatform.refine.landed_rows import LandedRows
from mlplatform.refine.silver import BATCH, SilverTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.tables import FrameLike

# Sums of floats depend on the order in which an engine adds them up.
TOLERANCE = 1e-9
MOST_ROWS = 2_000_000
"""Of a feature table with more rows than this, the last window and a sample of history are computed."""
EARLIER = 3
"""How many earlier windows the sample of history is."""
Stretch = tuple[datetime, datetime]
"""Times, both ends included."""


@dataclass(frozen=True)
class Computed:
    """A table's rows by its new declaration, as a write would take them.

    Attributes:
        rows: The rows.
        known: Which rows of the existing table they are compared with.
        stretches: The stretches of time that were computed; empty where all were.
        held: Rows of the existing table, where not all were computed; else 0.
        seconds: How long computing took.
    """

    rows: Frame
    known: list[Filter]
    stretches: tuple[Stretch, ...] = ()
    held: int = 0
    seconds: float = 0.0


@dataclass
class Anew:
    """Tables as their new declarations give them, computed once, for those that are computed from them.

    Attributes:
        context: The run.
        rows: Bare name -> the rows.
        known_at: Bare name -> the column that says when a row was known.
        stretches: Bare name -> the stretches of time that were computed, where not all was.
    """

    context: StageContext
    rows: dict[str, Frame] = field(default_factory=dict)
    known_at: dict[str, str | None] = field(default_factory=dict)
    stretches: dict[str, tuple[Stretch, ...]] = field(default_factory=dict)
    _in_spark: dict[str, DataFrame] = field(default_factory=dict)

    def add(self, table: DeclaredTable, computed: Computed) -> None:
        """Take a table's rows over."""
        bare = table.name.name
        self.rows[bare], self.known_at[bare] = computed.rows, table.timeseries_column
        self.stretches[bare] = computed.stretches

    def in_spark(self, bare: str) -> DataFrame:
        """Return a table's rows for a use case's code."""
        if bare not in self._in_spark:
            self._in_spark[bare] = self.context.ws.frames.to_spark(self.rows[bare])
        return self._in_spark[bare]


class ChangedView(WorkspaceAsOf):
    """A workspace in which some tables hold what their new declarations give, and the others what a run saw of them."""

    def __init__(
        self, anew: Anew, as_of: datetime, *, allowed: Collection[str], landed_by: datetime, batches: Mapping[str, int]
    ) -> None:
        """Look at a workspace.

        Args:
            anew: The tables that changed.
            as_of: Rows known later are left out.
            allowed: Bare names of the tables that may be read.
            landed_by: Rows that landed later are left out.
            batches: Bare name of a silver table -> the newest of its batches that counts; default: all.
        """
        context = anew.context
        super().__init__(context.ws, context.namespace, as_of, allowed=allowed)
        self._landed_by = landed_by
        self._anew, self._batches = anew, batches

    def _rows(self, bare: str) -> tuple[DataFrame, list[str], str | None]:
        from pyspark.sql import functions as F  # noqa: N812

        if bare in self._anew.rows:
            columns = self._anew.rows[bare].collect_schema().names()
            return self._anew.in_spark(bare), columns, self._anew.known_at[bare]
        frame, columns, known_at = super()._rows(bare)
        if bare in self._batches and BATCH in columns:
            frame = frame.where(F.col(BATCH) <= F.lit(self._batches[bare]))
        return frame, columns, known_at


@dataclass(frozen=True)
class LandedAsDeclared(LandedRows):
    """Landed rows as a changed source has them: what it does not name is null, as in what lands from now on.

    Attributes:
        held: The columns that bronze holds.
        ours: Those among them that the platform adds.
    """

    held: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()

    def _landed(self) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        rows, declared = super()._landed(), self.silver.source.columns
        none = F.lit(None).cast("string")
        gone = [name for name in self.held if name not in declared and name not in self.ours]
        new = [name for name in declared if name not in self.held]
        if not gone and not new:
            return rows
        kept = (F.col(quote(name)) for name in self.held if name not in gone)
        return rows.select(*kept, *(none.alias(name) for name in (*gone, *new)))


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
        allowed = [name.name for name in table.inputs]
        return ChangedView(anew, as_of, allowed=allowed, landed_by=seen, batches=record.batches or {})

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
    hidden = {BATCH, FILE, ROW, AVAILABLE_AT} if isinstance(table.part, SilverTable) else set()
    common = [name for name in table.schema.names if name in info.schema.names and name not in hidden]
    old, new = existing.select(*common), rows.select(*common)
    for name in common:
        if not info.schema.field(name).type.equals(table.schema.field(name).type):
            old, new = _alike(old, new, name)
    found = compare_rows(frames, old, new, keys, tolerance=TOLERANCE)
    return Measured(
        before=found.before,
        after=found.after,
        added=found.added,
        removed=found.removed,
        columns=found.by_column(),
        renamed=_renamed(context, table, info, existing, rows),
        held=computed.held,
        seconds=computed.seconds,
    )


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
