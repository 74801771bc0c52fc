"""Alerts: what the checks found, told once while it lasts, and again when it is over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

DRIFT = "drift"
PREDICTION_DRIFT = "prediction_drift"
WINDOW_SHIFT = "window_shift"
STALE_FEATURES = "stale_features"
UNMATCHED_FEATURES = "unmatched_features"
ESTIMATED_PERFORMANCE = "estimated_performance"
PERFORMANCE = "performance"
CALIBRATION = "calibration"
WORSE_THAN_BASELINE = "worse_than_baseline"
NOT_JUDGED = "not_judged"
MONITOR = "monitor"
KINDS = (
    DRIFT,
    PREDICTION_DRIFT,
    WINDOW_SHIFT,
    STALE_FEATURES,
    UNMATCHED_FEATURES,
    ESTIMATED_PERFORMANCE,
    PERFORMANCE,
    CALIBRATION,
    WORSE_THAN_BASELINE,
    NOT_JUDGED,
    MONITOR,
)
"""Every kind of alert; each has its page in the runbook."""

CHECKS = tuple(kind for kind in KINDS if kind not in (NOT_JUDGED, MONITOR))
"""Kinds that say something of data or model; the others are about the monitoring itself."""

State = Literal["ok", "violated", "unknown"]
Event = Literal["raised", "repeated", "recovered"]
TOLD = ("raised", "recovered")
"""Events that are sent; `repeated` is on record only."""


@dataclass(frozen=True)
class Finding:
    """What one check says at one time.

    Attributes:
        kind: One of `KINDS`.
        state: `violated`, `ok`, or `unknown` where there was nothing to judge: neither well nor ill.
        message: What was found, with its numbers; of what is unknown, why it was not judged.
        model_version: Whom it is about; None where it is about no version.
    """

    kind: str
    state: State
    message: str = ""
    model_version: int | None = None


def too_few(rows: int, needed: int, what: str = "row") -> str:
    """Say why something was not judged.

    Examples:
        >>> too_few(4706, 5000)
        '4,706 rows, needs 5,000'
    """
    return f"{rows:,} {what}{'' if rows == 1 else 's'}, needs {needed:,}"


@dataclass(frozen=True)
class Alert:
    """One event of an alert.

    Attributes:
        alert_id: The same for the same event, however often it is made.
        kind: One of `KINDS`.
        event: `raised`, `repeated` while it lasts, `recovered`.
        severity: `warning` or `critical`.
        message: What was found.
        model_version: Whom it is about.
        runbook: Where to read what to do.
    """

    alert_id: str
    kind: str
    event: Event
    severity: str
    message: str
    model_version: int | None
    runbook: str


def open_kinds(rows: Iterable[Mapping[str, Any]], before: datetime) -> dict[str, Mapping[str, Any]]:
    """Return the alerts that are open: kind -> newest row, of those whose newest event is no recovery.

    Args:
        rows: Of `ops.alerts`.
        before: Only what was raised at an earlier `as_of` counts, so that a run again finds what the first one found.
    """
    newest: dict[str, Mapping[str, Any]] = {}
    for row in sorted((row for row in rows if row["as_of"] < before), key=lambda row: row["as_of"]):
        newest[row["kind"]] = row
    return {kind: row for kind, row in newest.items() if row["event"] != "recovered"}


def events(
    findings: Sequence[Finding],
    opened: Mapping[str, Mapping[str, Any]],
    severities: Mapping[str, str],
    *,
    use_case: str,
    as_of: datetime,
    runbook: str,
) -> list[Alert]:
    """Return the events that findings lead to.

    What is violated and not open yet is raised; what is open stays so, without telling anybody again, unless it is
    found to be well: then it has recovered. What could not be judged (`unknown`) changes nothing.

    Args:
        findings: One a kind.
        opened: As `open_kinds` gives them.
        severities: Kind -> severity.
        use_case: Whose.
        as_of: When.
        runbook: Folder or URL of the runbook's pages.
    """
    found = []
    for finding in findings:
        there = opened.get(finding.kind)
        if finding.state == "violated":
            event: Event = "repeated" if there else "raised"
            message, version = finding.message, finding.model_version
        elif finding.state == "ok" and there:
            event = "recovered"
            message = f"well again; open since {there['as_of']:%Y-%m-%d} or before: {there['message']}"
            version = there["model_version"]
        else:
            continue
        identity = f"{use_case}|{finding.kind}|{event}|{as_of.isoformat()}"
        found.append(
            Alert(
                alert_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                kind=finding.kind,
                event=event,
                severity=severities[finding.kind],
                message=message,
                model_version=version,
                runbook=f"{runbook.rstrip('/')}/{finding.kind}.md",
            )
        )
    return found
