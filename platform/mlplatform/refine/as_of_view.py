"""The workspace as it was known at `as_of`: what a use case's own code reads from, so that it cannot see the future."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import narwhals as nw

from mlplatform.errors import TableError, did_you_mean
from mlplatform.ingest.provenance import AVAILABLE_AT, MOST_FILES
from mlplatform.naming import quote
from mlplatform.refine.silver import BATCH, CORRECTED_AT, DELIVERY, SilverTable, record_keys

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession, WindowSpec

    from mlplatform.naming import Namespace, ObjectName
    from mlplatform.ops.context import StageContext
    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.tables import TableInfo
    from mlplatform.protocols.workspace import Workspace

MOST_STRETCHES = 24
"""So many times at most, history that is computed in one go takes corrections in: each costs a computation."""
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)
_NTH = "__nth"


@dataclass(frozen=True)
class Stretch:
    """A stretch of time, and the workspace as rows stamped within it may see it.

    Attributes:
        start: Its first moment; None: the beginning.
        end: Its last moment.
        view: The workspace, with the corrections that were known at the start of the stretch, and no later ones.
    """

    start: datetime | None
    end: datetime
    view: WorkspaceAsOf

    @property
    def is_empty(self) -> bool:
        """Whether it holds no moment: where a correction became known at the very first one."""
        return self.start is not None and self.end < self.start


def computed_stretches(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return the stretches that are computed: those that hold a moment, and the last in any case.

    Where the range ends before it begins, as after an adoption of later rows, all are empty: the last gives the
    columns, and no row.
    """
    return [*(stretch for stretch in stretches[:-1] if not stretch.is_empty), stretches[-1]]


@dataclass(frozen=True)
class ViewedTable:
    """All rows of a table that is read as of a time.

    Attributes:
        rows: The rows.
        columns: Its columns.
        known_at: Its timeseries column.
        keys: What identifies a record: a table that keeps corrections may hold several rows of it.
    """

    rows: DataFrame
    columns: Sequence[str]
    known_at: str | None
    keys: Sequence[str]


class WorkspaceAsOf:
    """Reads tables of one use case, with only the rows known at a time, each table pinned at one Delta version.

    See the glossary: docs/glossary.md

    Attributes:
        as_of: The time.
        inputs: Table -> Delta version of everything read so far, for the run's record.
        taken_in_late: How many times of corrections are no beginning of a stretch: they are taken in with a later one.

    Examples:
        >>> from datetime import UTC
        >>> from mlplatform.naming import Namespace
        >>> def read_at_new_year(ws, table):
        ...     view = WorkspaceAsOf(
        ...         ws, Namespace("dev", "credit_risk"), datetime(2020, 1, 1, tzinfo=UTC), allowed=("silver_loans",)
        ...     )
        ...     return view.read(table)
        >>> read_at_new_year(None, "silver_loan")
        Traceback (most recent call last):
        mlplatform.errors.TableError: silver_loan is read, but not declared as an input.
        Hint: Add it to 'inputs'. Did you mean silver_loans?
    """

    def __init__(
        self,
        ws: Workspace,
        namespace: Namespace,
        as_of: datetime,
        *,
        allowed: Collection[str] | None = None,
        landed_only: bool = True,
        takes_in_alike: bool = False,
    ) -> None:
        """Look at a workspace as of a time.

        Args:
            ws: The workspace.
            namespace: The use case's.
            as_of: Rows known later are left out.
            allowed: Bare names of the tables that may be read; default all.
            landed_only: Also leave out what had not landed by then although it was known. The leak check looks at
                known-at alone: a drop that comes late is not a leak.
            takes_in_alike: Where there are more corrections than stretches, take them in at the same times whatever
                `as_of` is. Checks compare what is computed as of several.
        """
        self._ws = ws
        self._namespace = namespace
        self._allowed = allowed
        self._landed_by = as_of if landed_only else None
        # Corrections that became known later do not count; None: those known by `as_of` do.
        self._corrected_by: datetime | None = None
        # When corrections after the first moment are taken in, where that is not at all of their times.
        self._begins: Sequence[datetime] = ()
        self._first = _BEGINNING
        self._takes_in_alike = takes_in_alike
        self._with_earlier = False
        self.as_of = as_of
        self.inputs: dict[str, int] = {}
        self.taken_in_late = 0
        self._infos: dict[str, TableInfo] = {}

    @property
    def spark(self) -> SparkSession:
        """The Spark session."""
        return self._ws.spark

    def read(self, table: type[SilverTable] | str) -> DataFrame:
        """Return the rows of a silver or gold table that were known.

        Of a silver table that keeps corrections there is one row for each key, the newest that was known; its column
        `_corrected_at` says since when it holds, and is null where nothing was corrected.

        Args:
            table: A silver table's class, or a bare name, as in `silver_loans`.

        Raises:
            TableError: If the table does not exist, or is not among the declared inputs.
        """
        bare = table if isinstance(table, str) else f"silver_{table.name}"
        if self._allowed is not None and bare not in self._allowed:
            raise TableError(
                f"{bare} is read, but not declared as an input.",
                hint=f"Add it to 'inputs'. {did_you_mean(bare, self._allowed)}",
            )
        viewed = self._viewed(bare, table)
        frame = self._known(viewed, newest=not self._with_earlier)
        return frame.drop(*(column for column in (BATCH,) if column in viewed.columns))

    def deliveries(self, table: type[SilverTable]) -> DataFrame:
        """Return all deliveries that were known of the records of a silver table that keeps corrections.

        Each has the known-at time of its record's first delivery, and says in `_corrected_at` since when it holds.

        Args:
            table: The table's class, one that may be read.
        """
        return self._known(self._viewed(f"silver_{table.name}", table), newest=False)

    def with_earlier_deliveries(self) -> WorkspaceAsOf:
        """Return the view with all deliveries of each record that were known: also of what a correction took away."""
        view = copy.copy(self)  # pins of tables are shared
        view._with_earlier = True  # noqa: SLF001  (it is one of this class)
        return view

    def keeps_corrections(self, inputs: Sequence[str]) -> bool:
        """Tell whether one of some tables keeps corrections.

        Args:
            inputs: Bare names of the tables.
        """
        return any(self._keeps_corrections(bare) for bare in inputs)

    def _viewed(self, bare: str, table: type[SilverTable] | str) -> ViewedTable:
        """Return all rows of a table; where it lost its key, with that of its class.

        Raises:
            TableError: If nothing says what identifies a record: all would be taken for deliveries of one.
        """
        viewed = self._rows(bare)
        if viewed.keys or CORRECTED_AT not in viewed.columns:
            return viewed
        if isinstance(table, str):
            raise TableError(
                f"{bare} keeps corrections, and has no primary key: nothing says which rows are about one record.",
                hint="A run of the stage refine adds the key again; or read the table by its class, as in "
                "ws.read(Loans).",
            )
        return replace(viewed, keys=table.primary_keys)

    def _known(self, viewed: ViewedTable, *, newest: bool) -> DataFrame:
        """Return the rows of a table that were known.

        Args:
            viewed: The table.
            newest: Of a record that was corrected only the newest delivery, and not all of them.
        """
        from pyspark.sql import functions as F  # noqa: N812

        frame, known_at = viewed.rows, viewed.known_at
        if AVAILABLE_AT in viewed.columns and self._landed_by is not None:
            frame = frame.where(F.col(AVAILABLE_AT) <= F.lit(self._landed_by))
        if CORRECTED_AT in viewed.columns:
            frame = self._with_corrections(frame, viewed, newest=newest)
        if known_at in viewed.columns:
            frame = frame.where(F.col(str(known_at)) <= F.lit(self.as_of))
        return frame

    def _with_corrections(self, frame: DataFrame, viewed: ViewedTable, *, newest: bool) -> DataFrame:
        """Return deliveries with the time of the first of their record, and since when they are taken in."""
        from pyspark.sql import functions as F  # noqa: N812

        corrected_at, known_at, keys = F.col(CORRECTED_AT), viewed.known_at, list(viewed.keys)
        frame = frame.where(corrected_at.isNull() | (corrected_at <= F.lit(self._corrected_by or self.as_of)))
        # Only what was corrected is put in order; of the rest, nearly all, the engine leaves out files by time.
        corrected = frame.where(corrected_at.isNotNull()).select(*(F.col(quote(key)) for key in keys))
        alone = frame.join(corrected, on=keys, how="left_anti")
        several = frame.join(corrected, on=keys, how="left_semi")
        if known_at in viewed.columns and known_at not in keys:
            # A record is about the time that its first delivery said: with that, it is in the spine.
            several = several.withColumn(str(known_at), F.first(str(known_at)).over(_in_order(keys)))
        several = several.withColumn(CORRECTED_AT, self._taken_in(corrected_at))
        if newest:
            several = _newest(several, keys)
        return alone.unionByName(several).select(*(F.col(quote(name)) for name in viewed.columns))

    def _taken_in(self, corrected_at: SparkColumn) -> SparkColumn:
        """Return when a correction is taken in: of more than there are stretches, at the next that begins one.

        A row that says of itself that it holds since then lies in that stretch. Stamped earlier, it would lie in none.
        """
        from pyspark.sql import functions as F  # noqa: N812

        taken_in = corrected_at
        for moment in sorted(self._begins, reverse=True):
            taken_in = F.when(corrected_at <= F.lit(moment), F.lit(moment)).otherwise(taken_in)
        return (
            F.when(corrected_at <= F.lit(self._first), corrected_at).otherwise(taken_in) if self._begins else taken_in
        )

    def stretches(self, inputs: Sequence[str], since: datetime | None) -> list[Stretch]:
        """Return the stretches of [since, the view's time] in which the same corrections were known.

        A row stamped before a correction was known must not see it. So what is computed from tables with corrections is
        computed stretch by stretch. Without corrections in that time there is one, seen as this view sees it.

        Args:
            inputs: Bare names of the tables that are read.
            since: The first moment; None: the beginning.
        """
        tables = [bare for bare in inputs if self._keeps_corrections(bare)]
        if not tables:
            return [Stretch(since, self.as_of, self)]
        first = since or _BEGINNING
        moments = self._corrections(tables, None if self._takes_in_alike else (first, self.as_of))
        chosen = begins = _spread(moments)
        before = first - _INSTANT if first > _BEGINNING else _BEGINNING
        view = self
        if len(begins) < len(moments):
            self.taken_in_late = len(moments) - len(begins)
            if self._takes_in_alike:
                before = max((moment for moment in begins if moment < first), default=_BEGINNING)
            view = copy.copy(self)  # pins of tables are shared
            view._begins, view._first = begins, _BEGINNING if self._takes_in_alike else before  # noqa: SLF001
        chosen = [moment for moment in begins if first <= moment <= self.as_of]
        starts: list[datetime | None] = [since, *chosen]
        ends = [*(moment - _INSTANT for moment in chosen), self.as_of]
        known = [before, *chosen]
        return [
            Stretch(start, end, view._as_of(end, corrected_by))  # noqa: SLF001
            for start, end, corrected_by in zip(starts, ends, known, strict=True)
        ]

    def _as_of(self, as_of: datetime, corrected_by: datetime) -> WorkspaceAsOf:
        """Return the view as of an earlier time, with what has landed since of what was known then."""
        view = copy.copy(self)  # pins of tables are shared
        view.as_of, view._corrected_by = as_of, corrected_by  # noqa: SLF001  (it is one of this class)
        return view

    def _info(self, bare: str) -> TableInfo:
        if bare not in self._infos:
            self._infos[bare] = self._ws.tables.describe(self._namespace.table(bare))
        return self._infos[bare]

    def _rows(self, bare: str) -> ViewedTable:
        """Return all rows of a table, pinned at one version."""
        name, info = self._namespace.table(bare), self._info(bare)
        version = self.inputs.setdefault(str(name), info.version)
        rows = self._ws.tables.read(name, version=version)
        return ViewedTable(rows, info.schema.names, info.timeseries_column, record_keys(info.primary_keys))

    def _keeps_corrections(self, bare: str) -> bool:
        return CORRECTED_AT in self._info(bare).schema.names

    def _times_of_corrections(self, bare: str) -> Frame:
        name = self._namespace.table(bare)
        version = self.inputs.get(str(name), self._info(bare).version)
        return self._ws.frames.read(name, version=version, columns=[CORRECTED_AT])

    def _corrections(self, tables: Sequence[str], within: tuple[datetime, datetime] | None = None) -> list[datetime]:
        """Return when corrections in tables became known, each time once, in order."""
        times = nw.concat([self._times_of_corrections(bare) for bare in tables], how="vertical")
        moment = nw.col(CORRECTED_AT)
        times = times.filter(~moment.is_null())
        if within is not None:
            times = times.filter((moment >= within[0]) & (moment <= within[1]))
        what = f"the times of corrections in {', '.join(tables)}"
        found = self._ws.frames.collect(times.unique(), at_most=MOST_FILES, what=what)
        moments: list[Any] = found[CORRECTED_AT].to_pylist()
        return sorted(moments)


def _in_order(keys: Sequence[str], *, newest_first: bool = False) -> WindowSpec:
    """Return the deliveries of each record in the order in which they could be known."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    order = [F.col(column).desc() if newest_first else F.col(column) for column in DELIVERY]
    return Window.partitionBy(*(F.col(quote(key)) for key in keys)).orderBy(*order)


def _newest(frame: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Return of each record the newest delivery."""
    from pyspark.sql import functions as F  # noqa: N812

    numbered = frame.withColumn(_NTH, F.row_number().over(_in_order(keys, newest_first=True)))
    return numbered.where(F.col(_NTH) == 1).drop(_NTH)


def _spread(moments: Sequence[datetime]) -> list[datetime]:
    """Return so many of the moments as stretches may begin with, the last among them, evenly spread."""
    if len(moments) < MOST_STRETCHES:
        return list(moments)
    most = MOST_STRETCHES - 1
    return [moments[(place + 1) * len(moments) // most - 1] for place in range(most)]


def late_note(table: ObjectName, view: WorkspaceAsOf) -> Iterator[str]:
    """Yield what a run says where corrections were taken in later than they were known."""
    if view.taken_in_late:
        yield (
            f"{table.name}: what it is computed from was corrected at more than {MOST_STRETCHES - 1} times. Those of "
            f"{view.taken_in_late} of them were taken in with a later one."
        )


def view_at(context: StageContext, allowed: Collection[str] | None = None) -> WorkspaceAsOf:
    """Return the workspace as known at a run's `as_of`.

    Args:
        context: The run.
        allowed: The tables that may be read; None: all.
    """
    # Started now: an author's code may call a function of Spark before it reads a table, and that needs a session.
    _ = context.ws.spark
    return WorkspaceAsOf(context.ws, context.namespace, context.as_of, allowed=allowed)
