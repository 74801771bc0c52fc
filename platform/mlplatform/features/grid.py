"""A time grid: the moments, an hour or a month apart, at which a rolling feature table has rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dateutil.relativedelta import relativedelta

from mlplatform.as_of import Duration
from mlplatform.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS_IN_YEAR = 12


@dataclass(frozen=True)
class Grid:
    """Moments at equal steps from 1970-01-01 00:00 UTC, each with its number: an integer that Spark can compute with.

    Calendar steps (months, quarters, years) start on the first of a month; shorter ones count seconds.

    Examples:
        >>> grid = Grid.parse("1 month")
        >>> grid.number_at(datetime(1970, 3, 31, tzinfo=UTC))
        2
        >>> grid.moment(2).date().isoformat()
        '1970-03-01'
    """

    step: Duration

    @classmethod
    def parse(cls, text: str) -> Grid:
        """Read the step, as in `1 hour`, `1 day` or `1 month`.

        Raises:
            UsageError: If the text is no duration.
            ConfigError: If it is zero.
        """
        step = Duration.parse(text)
        if not (step.months or step.seconds):
            raise ConfigError(f"A grid of {text!r} has no step.", hint="Use a duration above zero, as in '1 day'.")
        return cls(step)

    def steps_in(self, window: str) -> int:
        """Return how many steps a window is long.

        Raises:
            ConfigError: If it is not a whole number of steps.
        """
        length = Duration.parse(window)
        per_step, total = (self.step.months, length.months) if self.step.months else (self.step.seconds, length.seconds)
        other = length.seconds if self.step.months else length.months
        if other or not total or total % per_step:
            raise ConfigError(
                f"A window of {window!r} is not a whole number of steps of {self.step}.",
                hint="Months go with months, and hours, days and weeks with one another; choose a finer grid.",
            )
        return total // per_step

    def number_at(self, moment: datetime) -> int:
        """Return the number of the last grid moment at or before a moment."""
        if self.step.months:
            return ((moment.year - _EPOCH.year) * _MONTHS_IN_YEAR + moment.month - 1) // self.step.months
        return int((moment - _EPOCH).total_seconds() // self.step.seconds)

    def moment(self, number: int) -> datetime:
        """Return the grid moment of a number."""
        return _EPOCH + relativedelta(months=number * self.step.months, seconds=number * self.step.seconds)

    def number_after(self, time: str) -> SparkColumn:
        """Return, for a timestamp column, the number of the first grid moment after it: there it counts first."""
        from pyspark.sql import functions as F  # noqa: N812

        if self.step.months:
            month = (F.year(time) - _EPOCH.year) * _MONTHS_IN_YEAR + F.month(time) - 1
            return (F.floor(month / self.step.months) + 1).cast("bigint")
        return (F.floor(F.unix_timestamp(F.col(time)) / self.step.seconds) + 1).cast("bigint")

    def moment_of(self, number: str) -> SparkColumn:
        """Return, for a column of numbers, the grid moments as timestamps."""
        from pyspark.sql import functions as F  # noqa: N812

        if self.step.months:
            months = (F.col(number) * self.step.months).cast("int")
            return F.add_months(F.lit(_EPOCH.date()), months).cast("timestamp")
        return F.timestamp_seconds(F.col(number) * self.step.seconds)
