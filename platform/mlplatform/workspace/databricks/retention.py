"""How long a table keeps its old files and log: what its properties are to say, beside what somebody else set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from mlplatform.workspace.shared.retention import at_least, interval

FILES, LOG = "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"
# Longer than whatever reads a version may take: VACUUM and the log's clean-up round to whole days.
MARGIN_DAYS = 2


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
            if at_least(value, days):
                continue
            before = value
        chosen = before if before is not None and at_least(before, days) else interval(days)
        wanted |= {key: chosen, own(key): chosen}
        if before is not None:
            wanted[floor(key)] = before
    return {key: value for key, value in wanted.items() if current.get(key) != value}
