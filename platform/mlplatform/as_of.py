"""Time as an argument: reading `as_of`, calendar durations, and the steps of a simulation. Everything is UTC.

No code below the command line asks the wall clock what "now" is for data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from dateutil.relativedelta import relativedelta

from mlplatform.errors import UsageError

_UNIT = "minute|hour|day|week|month|quarter|year"
_DURATION = re.compile(rf"\s*(?:(\d+)\s*({_UNIT})s?|({_UNIT}))\s*", re.IGNORECASE | re.ASCII)
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


def parse_as_of(text: str | date | datetime) -> datetime:
    """Read a point in time; a time without a zone is UTC.

    Args:
        text: An ISO 8601 date or time, or a date/datetime object.

    Returns:
        An aware datetime in UTC.

    Raises:
        UsageError: If it is not a time.

    Examples:
        >>> parse_as_of("2006-01-01").isoformat()
        '2006-01-01T00:00:00+00:00'
    """
    if isinstance(text, datetime):
        moment = text
    elif isinstance(text, date):
        moment = datetime(text.year, text.month, text.day, tzinfo=UTC)
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise UsageError(
                f"{text!r} is not a time.", hint="Give an ISO date or time, as in 2006-01-01 or 2006-01-01T06:00:00Z."
            ) from None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise UsageError(f"{text} lies beyond the calendar in UTC.", hint="Years go from 1 to 9999.") from None


def shown(moment: datetime) -> str:
    """Return a time as people read it: the date alone at midnight, else with hours and minutes.

    Examples:
        >>> shown(parse_as_of("2013-07-01")), shown(parse_as_of("2013-07-01T06:30Z"))
        ('2013-07-01', '2013-07-01 06:30')
    """
    midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%d %H:%M}"


def argument(moment: datetime) -> str:
    """Return a moment as it is typed after an option of a command: without blanks.

    Examples:
        >>> argument(parse_as_of("2013-07-01")), argument(parse_as_of("2013-07-01T06:30"))
        ('2013-07-01', '2013-07-01T06:30:00+00:00')
    """
    text = shown(moment)
    return moment.isoformat() if " " in text or moment.microsecond else text


@dataclass(frozen=True)
class Duration:
    """A calendar duration: months (for months, quarters and years) plus seconds (for all that is shorter).

    Months are kept apart because 36 months after 31 January is a calendar question, not a number of seconds; a day that
    the target month does not have becomes its last day, as in SQL's `add_months`.

    Examples:
        >>> Duration.parse("36 months").after(parse_as_of("2003-01-31")).date().isoformat()
        '2006-01-31'
        >>> Duration.parse("2 hours").before(parse_as_of("2013-01-01T01:00")).isoformat()
        '2012-12-31T23:00:00+00:00'
        >>> str(Duration.parse("quarter")) == str(Duration.parse("3 months"))
        True
    """

    months: int = 0
    seconds: int = 0

    @classmethod
    def parse(cls, text: str | Duration) -> Duration:
        """Read `<number> <unit>`, or `<unit>` for one; units are minute, hour, day, week, month, quarter, year.

        Raises:
            UsageError: If the text is not a duration.
        """
        if isinstance(text, Duration):
            return text
        match = _DURATION.fullmatch(str(text))
        if not match:
            raise UsageError(
                f"{text!r} is not a duration.",
                hint="Write a number and a unit, as in '36 months', '1 day' or '2 hours', or a unit: 'quarter'.",
            )
        count, unit = int(match[1] or 1), (match[2] or match[3]).lower()
        return cls(months=count * _MONTHS.get(unit, 0), seconds=count * _SECONDS.get(unit, 0))

    def after(self, moment: datetime) -> datetime:
        """Return the moment this long after another."""
        return moment + relativedelta(months=self.months) + timedelta(seconds=self.seconds)

    def before(self, moment: datetime) -> datetime:
        """Return the moment this long before another."""
        return moment - timedelta(seconds=self.seconds) - relativedelta(months=self.months)

    def __str__(self) -> str:
        """Return the shortest text that reads back as the same duration (of one unit)."""
        if self.months:
            return f"{self.months} months"
        for unit in ("week", "day", "hour", "minute"):
            if self.seconds and self.seconds % _SECONDS[unit] == 0:
                return f"{self.seconds // _SECONDS[unit]} {unit}s"
        return f"{self.seconds // 60} minutes"


def interval(every: str) -> Duration:
    """Read how often something happens: `quarter`, `6 months`.

    Raises:
        UsageError: If it is not a duration, or is zero.

    Examples:
        >>> interval("quarter").months
        3
    """
    step = Duration.parse(every)
    if not (step.months or step.seconds):
        raise UsageError(f"every {every!r} does not move the time on.", hint="Use a duration above zero.")
    return step


EVERY = ("hour", "day", "week", "month", "quarter", "year")


def steps(start: datetime, end: datetime, every: str) -> Iterator[datetime]:
    """Yield the as_of times of a simulation, both ends included.

    Args:
        start: The first as_of.
        end: The last as_of, kept when a step falls on it.
        every: One of `hour`, `day`, `week`, `month`, `quarter`, `year`, or a duration such as `6 months`.

    Raises:
        UsageError: If `every` is not a duration, or the end lies before the start.

    Examples:
        >>> len(list(steps(parse_as_of("2006-01-01"), parse_as_of("2012-01-01"), "quarter")))
        25
    """
    if end < start:
        raise UsageError(f"--to {end:%Y-%m-%d} lies before --from {start:%Y-%m-%d}.", hint="Swap them.")
    step = interval(every)
    count = 0
    while True:
        # From the start each time: adding month by month would drift after a short month.
        try:
            moment = start + relativedelta(months=step.months * count) + timedelta(seconds=step.seconds * count)
        except (OverflowError, ValueError):
            return  # beyond the calendar, and so beyond the end
        if moment > end:
            return
        yield moment
        count += 1
