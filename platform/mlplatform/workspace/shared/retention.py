"""How long Delta keeps what a table no longer needs, as its properties say it (`interval 30 days`)."""

from __future__ import annotations

from datetime import timedelta

_UNITS = {"week", "day", "hour", "minute", "second", "millisecond", "microsecond"}


def interval(days: int) -> str:
    """Return a number of days as Delta reads it.

    >>> interval(30)
    'interval 30 days'
    """
    return f"interval {days} days"


def at_least(value: str, days: int) -> bool:
    """Tell whether an interval is as long as some days; one that cannot be read counts as longer than any.

    Examples:
        >>> at_least("interval 1 week", 7), at_least("interval 1 week", 8)
        (True, False)
    """
    length = _length(value)
    return length is None or length >= timedelta(days=days)


def _length(value: str) -> timedelta | None:
    """Return an interval such as `interval 1 week 12 hours`; None where it is written in another way."""
    words = value.lower().split()
    if words[:1] == ["interval"]:
        words = words[1:]
    if not words or len(words) % 2:
        return None
    total = timedelta()
    for number, word in zip(words[::2], words[1::2], strict=True):
        unit = word.removesuffix("s")
        if unit not in _UNITS:
            return None
        try:
            total += timedelta(**{f"{unit}s": float(number)})
        except (ValueError, OverflowError):
            return None
    return total
