"""A feature table of sums over trailing windows: the history of a key, row by row at the steps of a time grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from mlplatform.features.grid import Grid
from mlplatform.features.table import FeatureTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.refine.as_of_view import WorkspaceAsOf

_NUMBER = "_number"
_HERE = "_here"


class RollingFeatureTable(FeatureTable):
    """Base class of feature tables that say what happened to a key over the last hours, days or months.

    A row at grid moment t sums the events known in [t - window, t), for each window. A key has a row at every grid
    moment from its first event on, for as long as a window holds an event of it, and one more that says that all are
    empty: so the latest row at a time tells the truth about that time, to the width of the grid. A row depends on
    nothing but events of its windows, which is what lets a computation from `since` on give the same rows as one of
    everything. Sum integers where you can: sums of floats depend on the order in which an engine adds them up.

    Attributes:
        grid: The grid's step, as in `1 hour` or `1 month`.
        windows: Length of each window by its suffix, in whole steps; None is everything so far. As in
            `{"3h": "3 hours", "ever": None}`.
        measures: Columns of `events` to sum; the sums come as `<measure>_<suffix>`.
    """

    grid: ClassVar[str]
    windows: ClassVar[Mapping[str, str | None]]
    measures: ClassVar[tuple[str, ...]]

    @abstractmethod
    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """Return what is summed: the keys, the timeseries column (when each event was known), and the measures.

        Events with a null key are left out.

        Args:
            ws: The workspace as known at `as_of`.
        """

    @abstractmethod
    def features(self, sums: DataFrame) -> DataFrame:
        """Return the declared columns.

        Args:
            sums: Keys, timeseries column, and `<measure>_<suffix>` for every measure and window, never null.
        """

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """Sum the events over the windows at every grid moment in [since, as_of].

        Raises:
            ConfigError: If a window is not a whole number of the grid's steps.
        """
        from pyspark.sql import functions as F  # noqa: N812

        grid = Grid.parse(self.grid)
        bounded = [grid.steps_in(window) for window in self.windows.values() if window is not None]
        # How many steps on an event is felt; None: for ever.
        reach = max(bounded) if len(bounded) == len(self.windows) else None
        last = grid.number_at(as_of)
        events = self.events(ws).dropna(subset=list(self.keys))
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
            .agg(*(F.sum(measure).alias(measure) for measure in self.measures), F.count("*").alias(_HERE))
        )
        sums = self._sums(self._every_step(by_step, reach, last), grid, reach)
        if first_wanted is not None:
            sums = sums.where(F.col(_NUMBER) >= first_wanted)
        return self.features(sums.withColumn(self.timeseries_column, grid.moment_of(_NUMBER)).drop(_NUMBER))

    def _every_step(self, by_step: DataFrame, reach: int | None, last: int) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        end = F.lit(last) if reach is None else F.least(F.max(_NUMBER) + reach, F.lit(last))
        span = by_step.groupBy(*self.keys).agg(F.min(_NUMBER).alias("_first"), end.cast("bigint").alias("_end"))
        steps = span.select(*self.keys, F.explode(F.sequence("_first", "_end")).alias(_NUMBER))
        filled = steps.join(by_step, on=[*self.keys, _NUMBER], how="left")
        return filled.na.fill(0, subset=[*self.measures, _HERE])

    def _sums(self, filled: DataFrame, grid: Grid, reach: int | None) -> DataFrame:
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        by_time = Window.partitionBy(*self.keys).orderBy(_NUMBER)
        sums = []
        for suffix, window in self.windows.items():
            start = Window.unboundedPreceding if window is None else 1 - grid.steps_in(window)
            frame = by_time.rowsBetween(start, Window.currentRow)
            sums += [F.sum(measure).over(frame).alias(f"{measure}_{suffix}") for measure in self.measures]
        if reach is None:
            return filled.select(*self.keys, _NUMBER, *sums)
        # A key that was silent for longer than its longest window has rows before and after, and none between.
        felt = F.sum(_HERE).over(by_time.rowsBetween(-reach, Window.currentRow)).alias(_HERE)
        return filled.select(*self.keys, _NUMBER, *sums, felt).where(F.col(_HERE) > 0).drop(_HERE)
