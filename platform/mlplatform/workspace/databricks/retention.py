"""How long a table keeps its old files and log: what its properties are to say, beside what somebody else set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

FILES, LOG = "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"
# Longer than whatever reads a version may take: VACUUM and the log's clean-up round to whole days.
MARGIN_DAYS = 2
_UNITS = {"week", "day", "hour", "minute", "second", "millisecond", "microsecond"}


def interval(days: int) -> str:
    """Return a number of days as Delta reads it.

    >>> interval(30)
    'interval 30 days'
    """
    return f"interval {days} days"


def own(key: str) -> str:
    """Return the property that remembers what this library set a retention to.

    >>> own(FILES)
    'mlplatform.deletedFileRetentionDuration'
    """
    return key.replace("delta.", "mlplatform.", 1)


def floor(key: str) -> str:
    """Return the property that remembers what a retention was before this library stretched it."""
    return f"{own(key)}.before"


def days_wanted(keep_days: int, age: timedelta | None) -> int:
    """Return for how many days a table is to keep what it no longer needs.

    The retention is compared with a file's age when VACUUM runs, and predictive optimization runs VACUUM on days of
    its own, while maintenance may come seldom: the margin lasts until `keep_days` after this maintenance.

    Args:
        keep_days: How long a version can be read after it was the newest.
        age: For how long the oldest version that is kept has not been the newest; None where nothing older is kept.

    >>> days_wanted(30, None)
    30
    >>> days_wanted(30, timedelta(days=99, hours=1))
    132
    """
    return keep_days if age is None else age // timedelta(days=1) + 1 + MARGIN_DAYS + keep_days


def changes(current: Mapping[str, str], days: int) -> dict[str, str]:
    """Return which properties of a table are to be set, so that files and log are kept for some days.

    A retention is lowered only where it is what this library set it to, and never below what it was before: whoever
    else set a longer one has a reason of their own.

    Args:
        current: The table's properties.
        days: How long is wanted.
    """
    wanted: dict[str, str] = {}
    for key in (FILES, LOG):
        value, before = current.get(key), current.get(floor(key))
        if value is not None and value != current.get(own(key)):
            if _at_least(value, days):
                continue
            before = value
        chosen = before if before is not None and _at_least(before, days) else interval(days)
        wanted |= {key: chosen, own(key): chosen}
        if before is not None:
            wanted[floor(key)] = before
    return {key: value for key, value in wanted.items() if current.get(key) != value}


def _at_least(value: str, days: int) -> bool:
    """Tell whether an interval is as long as some days; one that cannot be read counts as longer than any."""
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
