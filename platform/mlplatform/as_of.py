"""Time as an argument: reading `as_of`, calendar durations, and the steps of a simulation. Everything is UTC.

No code below the command line asks the wall clock what "now" is for data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from dateutil.relativedelta import relativedelta

from mlplatform.errors import UsageError, shortened

EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Between these a pipeline can have run: what lies beyond is a slip of the keyboard, or another calendar's year."""
YEARS_AHEAD = 50
"""How far ahead of the clock a command may look: labels become known years after what was predicted, centuries not."""
LONGEST_YEARS = 1000
"""No duration is longer: years of years are no horizon, and beyond the calendar nothing can be computed."""
MOST_STEPS = 100_000
"""How many steps are taken at once: 270 years by day, 11 by hour."""
_UNIT = "minute|hour|day|week|month|quarter|year"
_LONGEST_TEXT = 100
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
                f"{shortened(text)} is not a time.",
                hint="Give an ISO date or time, as in 2006-01-01 or 2006-01-01T06:00:00Z.",
            ) from None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise UsageError(f"{text} lies beyond the calendar in UTC.", hint="Years go from 1 to 9999.") from None


def plausible(moment: datetime, *, what: str, now: datetime | None = None) -> datetime:
    """Return a time that a pipeline may be run for.

    A far one would stay on record for good, and with it every later plot and table that goes from the first to the last
    time on record.

    Args:
        moment: The time.
        what: What it was given as, for the message: `--as-of`.
        now: The wall clock, where it may be asked: then the time may not lie centuries ahead of it, either.

    Raises:
        UsageError: If nobody can have meant it.

    Examples:
        >>> plausible(parse_as_of("2006-01-01"), what="--as-of").year
        2006
        >>> plausible(parse_as_of("9999-12-31"), what="--as-of")
        Traceback (most recent call last):
        ...
        mlplatform.errors.UsageError: --as-of 9999-12-31 is not plausible: it does not lie between 1900 and 2200.
        Hint: Give a year of the Gregorian calendar, as in 2024-01-31.
    """
    hint = "Give a year of the Gregorian calendar, as in 2024-01-31."
    if not EARLIEST <= moment < LATEST:
        raise UsageError(
            f"{what} {moment.date()} is not plausible: it does not lie between {EARLIEST.year} and {LATEST.year}.",
            hint=hint,
        )
    if now is not None and moment > now + relativedelta(years=YEARS_AHEAD):
        raise UsageError(
            f"{what} {moment.date()} is not plausible: it lies more than {YEARS_AHEAD} years after today.", hint=hint
        )
    return moment


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
            UsageError: If the text is not a duration, or is longer than a thousand years.
        """
        if isinstance(text, Duration):
            return text
        match = _DURATION.fullmatch(str(text)) if len(str(text)) <= _LONGEST_TEXT else None
        if not match:
            raise UsageError(
                f"{shortened(text)} is not a duration.",
                hint="Write a number and a unit, as in '36 months', '1 day' or '2 hours', or a unit: 'quarter'.",
            )
        count, unit = int(match[1] or 1), (match[2] or match[3]).lower()
        months, seconds = count * _MONTHS.get(unit, 0), count * _SECONDS.get(unit, 0)
        if months > LONGEST_YEARS * 12 or seconds > LONGEST_YEARS * 366 * _SECONDS["day"]:
            raise UsageError(
                f"{shortened(text)} is longer than {LONGEST_YEARS:,} years.",
                hint="Write what is meant, as in '36 months'.",
            )
        return cls(months, seconds)

    def after(self, moment: datetime) -> datetime:
        """Return the moment this long after another.

        Raises:
            UsageError: If the calendar ends before it.
        """
        try:
            return moment + relativedelta(months=self.months) + timedelta(seconds=self.seconds)
        except (OverflowError, ValueError):
            raise self._beyond("after", moment) from None

    def before(self, moment: datetime) -> datetime:
        """Return the moment this long before another.

        Raises:
            UsageError: If the calendar begins after it.
        """
        try:
            return moment - timedelta(seconds=self.seconds) - relativedelta(months=self.months)
        except (OverflowError, ValueError):
            raise self._beyond("before", moment) from None

    def _beyond(self, side: str, moment: datetime) -> UsageError:
        return UsageError(
            f"{self} {side} {shown(moment)} lies beyond the calendar.",
            hint="Years go from 1 to 9999: a shorter duration, or another time, is meant.",
        )

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
        UsageError: If `every` is not a duration, the end lies before the start, or there are too many steps to take.

    Examples:
        >>> len(list(steps(parse_as_of("2006-01-01"), parse_as_of("2012-01-01"), "quarter")))
        25
    """
    if end < start:
        raise UsageError(f"--to {end:%Y-%m-%d} lies before --from {start:%Y-%m-%d}.", hint="Swap them.")
    step = interval(every)
    many = _how_many(start, end, step)
    if many > MOST_STEPS:
        raise UsageError(
            f"{shown(start)} to {shown(end)} are {many:,} steps of {every}; at most {MOST_STEPS:,} are taken.",
            hint="Take longer steps, or replay one part after the other: each goes on from what the one before left.",
        )
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


def _how_many(start: datetime, end: datetime, step: Duration) -> int:
    """Return how many steps there are, both ends included, without taking them; of months one more or less."""
    if step.months:
        return ((end.year - start.year) * 12 + end.month - start.month) // step.months + 1
    return int((end - start).total_seconds()) // step.seconds + 1
