"""Quartz cron expressions, which Databricks' schedules are written in: checked here, before a deployment meets them."""

from __future__ import annotations

import re

from mlplatform.errors import UsageError, shortened

EXAMPLE = "0 30 5 * * ?"
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 1, 7, _DAYS),
    ("year", 1970, 2099, ()),
)
_LEAST = len(_FIELDS) - 1  # the year may be left out
_DAY_OF_MONTH, _DAY_OF_WEEK = 3, 5
_DIGITS = 4
_LAST_DAY = re.compile(r"L|LW|L-([1-9]|[12][0-9]|30)|([1-9]|[12][0-9]|3[01])W")
_NTH_DAY = re.compile(r"L|(?P<day>[1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])")


def check(expression: str) -> str:
    """Return a Quartz cron expression if it is one.

    Six fields (second, minute, hour, day of month, month, day of week) and perhaps a seventh, the year. Exactly one of
    the two days is `?`, as Quartz wants it.

    Raises:
        UsageError: Naming the field that is wrong.

    Examples:
        >>> check("0 30 5 ? * MON-FRI")
        '0 30 5 ? * MON-FRI'
    """
    fields = expression.split()
    if not _LEAST <= len(fields) <= len(_FIELDS):
        raise UsageError(
            f"{shortened(expression)} has {len(fields)} fields; a Quartz cron expression has 6 or 7.",
            hint=f"second minute hour day-of-month month day-of-week [year], as in '{EXAMPLE}'.",
        )
    if (fields[_DAY_OF_MONTH] == "?") == (fields[_DAY_OF_WEEK] == "?"):
        raise UsageError(
            f"{shortened(expression)}: exactly one of day of month and day of week must be '?'.",
            hint=f"Write '?' for the one that does not matter, as in '{EXAMPLE}'.",
        )
    for number, field in enumerate(fields):
        name = _FIELDS[number][0]
        if not all(_part(part, number) for part in field.upper().split(",")):
            raise UsageError(f"{shortened(expression)}: {shortened(field)} is no {name}.", hint=f"As in '{EXAMPLE}'.")
    return expression


def _part(part: str, number: int) -> bool:
    _, low, high, names = _FIELDS[number]
    if part == "?":
        return number in (_DAY_OF_MONTH, _DAY_OF_WEEK)
    if number == _DAY_OF_MONTH and _LAST_DAY.fullmatch(part):
        return True
    if number == _DAY_OF_WEEK and _NTH_DAY.fullmatch(part):
        return True
    span, slash, step = part.partition("/")
    if slash and not (_is_number(step) and 1 <= int(step) <= high):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    ends = [first, last] if dash else [first]
    return all(_value(end, low, high, names) for end in ends)


def _value(text: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    return text in names or (_is_number(text) and low <= int(text) <= high)


def _is_number(text: str) -> bool:
    """Quartz reads ASCII digits only, and none of its numbers is longer than a year."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS
