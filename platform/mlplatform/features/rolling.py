"""A feature table of sums over trailing windows: the history of a key, row by row at the steps of a time grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from mlplatform.columns import Column
from mlplatform.derived_attributes import derived
from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.features.grid import Grid
from mlplatform.features.table import FeatureTable
from mlplatform.refine.as_of_view import WorkspaceAsOf
from mlplatform.refine.inputs import tables_read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NUMBER, _HERE, _FIRST, _END = "__number", "__here", "__first", "__end"


def _key_columns(table: type[RollingFeatureTable]) -> tuple[Column, ...]:
    read = [silver for silver in tables_read(table, ("events",)).values() if silver is not None]
    declared = {column.name: column for silver in reversed(read) for column in silver.columns}
    for key in table.keys:
        if key not in declared:
            raise ConfigError(
                f"{table.__name__}: the key {key} is no column of the silver tables that it reads by their class "
                f"({', '.join(silver.__name__ for silver in read) or 'none'}).",
                hint=f"Declare {table.__name__}.key_columns, or read the table as in ws.read(Loans).",
            )
    time = f"Begin of a step of {table.grid}: what was known before is counted"
    return (
        *(replace(declared[key], nullable=False, sql=None) for key in table.keys),
        Column(table.timeseries_column, "timestamp", time, nullable=False),
    )


def _columns(table: type[RollingFeatureTable]) -> tuple[Column, ...]:
    sums = [
        replace(measure, name=f"{measure.name}_{suffix}", comment=f"{measure.comment} {_within(window)}")
        for suffix, window in _windows(table).items()
        for measure in table.measures
        if isinstance(measure, Column)
    ]
    return (*table.key_columns, *sums, *_values(table))


def _values(table: type[RollingFeatureTable]) -> Iterator[Column]:
    """Yield `values`, those of each window and then the others, with all that stands in braces filled in."""
    windows = _windows(table)
    first, *_, last = [*windows, *windows]
    names = {"table": table.name, "first": first, "last": last}
    for suffix, window in windows.items():
        for column in table.values:
            if "{window}" in column.name:
                yield _filled(table, column, names | {"window": suffix, "within": _within(window)})
    for column in table.values:
        if "{window}" not in column.name:
            yield _filled(table, column, names)


def _filled(table: type[RollingFeatureTable], column: Column, names: Mapping[str, str]) -> Column:
    try:
        name, comment, sql = (text and text.format(**names) for text in (column.name, column.comment, column.sql))
    except (KeyError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{table.__name__}.values: {column.name} has something else than a name in braces: {error}.",
            hint=f"In braces may stand {', '.join(names)}.",
        ) from error
    return replace(column, name=name or "", comment=comment or "", sql=sql)


def _windows(table: type[RollingFeatureTable]) -> Mapping[str, str | None]:
    """Return the length of each window by its suffix."""
    if isinstance(table.windows, Mapping):
        return table.windows
    windows: dict[str, str | None] = {}
    for window in table.windows:
        suffix = _suffix(window)
        if suffix in windows:
            raise ConfigError(
                f"{table.__name__}: two windows end with {suffix}.", hint='Give suffixes: {"short": "1 day", ...}.'
            )
        windows[suffix] = window
    return windows


def _suffix(window: str | None) -> str:
    """Return what a window's columns end with: `3h`, `15min`, `ever`."""
    if window is None:
        return "ever"
    count, _, unit = window.strip().partition(" ")
    return f"{count}{'min' if unit.startswith('min') else unit[:1]}"


def _within(window: str | None) -> str:
    return f"within {window}" if window else "so far"


class RollingFeatureTable(FeatureTable):
    """Base class of feature tables that say what happened to a key over the last hours, days or months.

    See the glossary: docs/glossary.md

    A row at grid moment t sums the events known in [t - window, t), for each window. A key has a row at every grid
    moment from its first event on, for as long as a window holds an event of it, and one more that says that all are
    empty: so the latest row at a time tells the truth about that time, to the width of the grid. A row depends on
    nothing but events of its windows, which is what lets a computation from `since` on give the same rows as one of
    everything. An event that a correction took away counts as one of nothing. Sum integers where you can: sums of
    floats depend on the order in which an engine adds them up.

    Attributes:
        grid: The grid's step, as in `1 hour` or `1 month`.
        windows: Length of each window, in whole steps; None is everything so far. What the columns of a window end with
            is derived (`3h` of `3 hours`, `ever`), or given: `{"year": "12 months", "ever": None}`.
        measures: Columns of `events` to sum; the sums come as `<measure>_<suffix>`. One given as a `Column` is a
            feature as it stands, of that type and meaning; one given by its name is only there for `values`.
        values: What else is a feature: columns whose `sql` computes with the sums. `{window}` in a column stands for a
            window's suffix, so that there is one such column for each; `{within}` says how long that is, `{table}` is
            the table's name, `{first}` and `{last}` are the suffixes of the first and the last window.
        key_columns: Declarations of the keys and the timeseries column; unless declared, the keys are as in the silver
            tables that are read by their class.
        columns: Derived from all of these, unless declared.

    Examples:
        >>> class OriginFeatures(RollingFeatureTable):
        ...     keys = ("origin",)
        ...     grid = "1 hour"
        ...     windows = ("3 hours", "1 day")
        ...     measures = (Column("legs", "bigint", "Legs that arrived"), "late")
        ...     values = (Column("share_{window}", "double", "Late {within}", sql="late_{window} / legs_{window}"),)
        ...     key_columns = (Column("origin", "string", "Airport"), Column("known_at", "timestamp", "Hour"))
        >>> [column.name for column in OriginFeatures.columns]
        ['origin', 'known_at', 'legs_3h', 'legs_1d', 'share_3h', 'share_1d']
        >>> OriginFeatures.columns[-1].comment, OriginFeatures.columns[-1].sql
        ('Late within 1 day', 'late_1d / legs_1d')
    """

    timeseries_column: ClassVar[str] = "known_at"
    grid: ClassVar[str]
    windows: ClassVar[Mapping[str, str | None] | Sequence[str | None]]
    measures: ClassVar[tuple[str | Column, ...]]
    values: ClassVar[tuple[Column, ...]] = ()
    key_columns: ClassVar[tuple[Column, ...]] = derived(_key_columns)
    columns: ClassVar[tuple[Column, ...]] = derived(_columns)

    @abstractmethod
    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """Return what is summed: the keys, the timeseries column (when each event was known), and the measures.

        Events with a null key are left out.

        Args:
            ws: The workspace as known at `as_of`.
        """

    def features(self, sums: DataFrame) -> DataFrame:
        """Return the table's columns; override it for what SQL over one row's sums cannot say.

        Args:
            sums: Keys, timeseries column, and `<measure>_<suffix>` for every measure and window, never null.

        Raises:
            ConfigError: If a column is neither a sum nor has its SQL.
        """
        from pyspark.sql import functions as F  # noqa: N812

        sql = {column.name: column.sql for column in (*self.columns, *_values(type(self))) if column.sql}
        names = {*self.primary_keys, *self._sum_names()}
        for column in self.columns:
            if column.name not in names and column.name not in sql:
                raise ConfigError(
                    f"{type(self).__name__}: the column {column.name} is no sum over a window, and has no sql.",
                    hint=f"Give it in values, or override features(). {did_you_mean(column.name, names)}",
                )
        return sums.select(
            *(
                F.expr(sql[column.name]).cast(column.type).alias(column.name) if column.name in sql else column.name
                for column in self.columns
            )
        )

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """Sum the events over the windows at every grid moment in [since, as_of].

        Raises:
            ConfigError: If a window is not a whole number of the grid's steps.
        """
        from pyspark.sql import functions as F  # noqa: N812

        grid = Grid.parse(self.grid)
        windows = _windows(type(self))
        bounded = [grid.steps_in(window) for window in windows.values() if window is not None]
        # How many steps on an event is felt; None: for ever.
        reach = max(bounded) if len(bounded) == len(windows) else None
        last = grid.number_at(as_of)
        events = self._events(ws).dropna(subset=list(self.keys))
        first_wanted = None
        if since is not None:
            first_wanted = grid.number_at(since)
            if reach is not None:
                oldest = grid.moment(first_wanted - reach - 1)
                events = events.where(F.col(self.timeseries_column) >= F.lit(oldest))
        by_step = (
            events.withColumn(_NUMBER, grid.number_after(self.timeseries_column))
            .where(F.col(_NUMBER) <= last)  # the step that is running is not over yet
            .groupBy(*self.keys, _NUMBER)
            .agg(*(F.sum(name).alias(name) for name in self._measure_names()), F.count("*").alias(_HERE))
        )
        sums = self._sums(self._every_step(by_step, reach, last), grid, reach)
        if first_wanted is not None:
            sums = sums.where(F.col(_NUMBER) >= first_wanted)
        return self.features(sums.withColumn(self.timeseries_column, grid.moment_of(_NUMBER)).drop(_NUMBER))

    def _events(self, ws: WorkspaceAsOf) -> DataFrame:
        """Return the events; where they may be corrected, beside those that held earlier, with nothing to sum.

        A key from which a correction takes an event then has rows that say so, in place of the sums with it.
        """
        from pyspark.sql import functions as F  # noqa: N812

        events = self.events(ws)
        # A test of the author's may give a workspace of its own, which knows of no corrections.
        if not isinstance(ws, WorkspaceAsOf) or not ws.keeps_corrections(self.inputs):
            return events
        kinds, names = dict(events.dtypes), [*self.keys, self.timeseries_column]
        nothing = [F.lit(0).cast(kinds[name]).alias(name) for name in self._measure_names()]
        earlier = self.events(ws.with_earlier_deliveries()).select(*names, *nothing)
        return events.select(*names, *self._measure_names()).unionByName(earlier)

    def _measure_names(self) -> list[str]:
        return [measure if isinstance(measure, str) else measure.name for measure in self.measures]

    def _sum_names(self) -> list[str]:
        return [f"{name}_{suffix}" for suffix in _windows(type(self)) for name in self._measure_names()]

    def _every_step(self, by_step: DataFrame, reach: int | None, last: int) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        end = F.lit(last) if reach is None else F.least(F.max(_NUMBER) + reach, F.lit(last))
        span = by_step.groupBy(*self.keys).agg(F.min(_NUMBER).alias(_FIRST), end.cast("bigint").alias(_END))
        steps = span.select(*self.keys, F.explode(F.sequence(_FIRST, _END)).alias(_NUMBER))
        filled = steps.join(by_step, on=[*self.keys, _NUMBER], how="left")
        return filled.na.fill(0, subset=[*self._measure_names(), _HERE])

    def _sums(self, filled: DataFrame, grid: Grid, reach: int | None) -> DataFrame:
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        by_time = Window.partitionBy(*self.keys).orderBy(_NUMBER)
        sums = []
        for suffix, window in _windows(type(self)).items():
            start = Window.unboundedPreceding if window is None else 1 - grid.steps_in(window)
            frame = by_time.rowsBetween(start, Window.currentRow)
            sums += [F.sum(name).over(frame).alias(f"{name}_{suffix}") for name in self._measure_names()]
        if reach is None:
            return filled.select(*self.keys, _NUMBER, *sums)
        # A key that was silent for longer than its longest window has rows before and after, and none between.
        felt = F.sum(_HERE).over(by_time.rowsBetween(-reach, Window.currentRow)).alias(_HERE)
        return filled.select(*self.keys, _NUMBER, *sums, felt).where(F.col(_HERE) > 0).drop(_HERE)
