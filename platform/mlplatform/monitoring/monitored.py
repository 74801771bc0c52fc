"""What the monitor recorded of itself up to a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring import alerts
from mlplatform.ops import stage_runs

STAGE = "monitor"


def up_to(rows: Iterable[Mapping[str, Any]], as_of: datetime) -> dict[datetime, Mapping[str, Any]]:
    """Return the monitor's records by `as_of`, oldest first; of several records of one the last.

    Args:
        rows: As `stage_runs.read` returns them.
        as_of: The last one.
    """
    found = {
        parse_as_of(row["as_of"]): row
        for row in rows
        if row["stage"] == STAGE and row["status"] == stage_runs.DONE and parse_as_of(row["as_of"]) <= as_of
    }
    return dict(sorted(found.items()))


def unjudged_in_a_row(rows: Iterable[Mapping[str, Any]], before: datetime) -> int:
    """Return how many of the newest windows before a time held predictions and were not judged for drift.

    Windows without any prediction, and those that could not be checked, count neither way.
    """
    count = 0
    for moment, row in reversed(up_to(rows, before).items()):
        windows = row["details"].get("windows", {})
        if moment == before or not row["rows_in"] or windows.get(alerts.MONITOR, {}).get("violated"):
            continue
        if alerts.DRIFT in windows:
            break
        count += 1
    return count
