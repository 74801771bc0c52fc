"""Alerts: what the checks found, told once while it lasts, and again when it is over."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlplatform.ops.context import StageContext
from mlplatform.ops.records import ALERTS, AlertRecord
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.tables import Transaction

LOG = logging.getLogger(__name__)
RAISED, REPEATED, RECOVERED = "raised", "repeated", "recovered"
_MOST_KINDS = 1000
TOLD = (RAISED, RECOVERED)
"""Events that are sent; `repeated` is on record only."""

DRIFT = "drift"
PREDICTION_DRIFT = "prediction_drift"
WINDOW_SHIFT = "window_shift"
STALE_FEATURES = "stale_features"
UNMATCHED_FEATURES = "unmatched_features"
ESTIMATED_PERFORMANCE = "estimated_performance"
PERFORMANCE = "performance"
CALIBRATION = "calibration"
WORSE_THAN_BASELINE = "worse_than_baseline"
IMMATURE_CALIBRATION = "immature_calibration"
IMMATURE_PERFORMANCE = "immature_performance"
CANARY = "canary"
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
    IMMATURE_CALIBRATION,
    IMMATURE_PERFORMANCE,
    CANARY,
    NOT_JUDGED,
    MONITOR,
)
"""Every kind of alert; each has its page in the runbook."""

CHECKS = tuple(kind for kind in KINDS if kind not in (NOT_JUDGED, MONITOR))
"""Kinds that say something of data or model; the others are about the monitoring itself."""

State = Literal["ok", "violated", "unknown"]


@dataclass(frozen=True)
class Verdict:
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


def record(context: StageContext, verdicts: Sequence[Verdict], severity: Callable[[str], str]) -> list[AlertRecord]:
    """Write the events that verdicts lead to, each exactly once, and log those that are told.

    Args:
        context: The run.
        verdicts: One per kind.
        severity: Says how urgent an alert of a kind is.

    Returns:
        The events, those included that had been written before.
    """
    settings, name = context.settings.monitoring.alerts, ALERTS.full_name(context.namespace)
    earlier = _newest_of_each_kind(context)
    alerts = events(
        verdicts,
        open_kinds(earlier, context.as_of),
        {verdict.kind: severity(verdict.kind) for verdict in verdicts},
        use_case=context.name,
        as_of=context.as_of,
        runbook=settings.runbook,
        channels="log,webhook" if settings.webhook else "log",
        raised_at=utc_now(),
    )
    marks = [Transaction(f"alert:{alert.alert_id}") for alert in alerts]
    written = context.ws.tables.committed(name, marks)
    new = [(alert, mark) for alert, mark, done in zip(alerts, marks, written, strict=True) if not done]
    if new:
        ALERTS.append(
            context.ws, context.namespace, [alert for alert, _ in new], transactions=[mark for _, mark in new]
        )
    for alert, _ in new:
        if alert.event in TOLD:
            level = logging.INFO if alert.event == RECOVERED else logging.WARNING
            LOG.log(level, "%s %s %s at %s: %s (%s)", alert.severity, alert.kind, alert.event,
                    f"{context.as_of:%Y-%m-%d}", alert.message, alert.runbook)  # fmt: skip
    return alerts


def _newest_of_each_kind(context: StageContext) -> list[AlertRecord]:
    """Return the newest event of each kind from before `as_of`; of as long a record as there is."""
    if not context.ws.tables.exists(ALERTS.full_name(context.namespace)):
        return []
    frame = ALERTS.frame(context.ws, context.namespace, [("as_of", "<", context.as_of)])
    newest = frame.unique(subset=["kind"], keep="last", order_by=["as_of", "raised_at"])
    return ALERTS.records(context.ws.frames.collect(newest, at_most=_MOST_KINDS, what="the newest event of each alert"))


def open_kinds(alerts: Iterable[AlertRecord], before: datetime) -> dict[str, AlertRecord]:
    """Return the alerts that are open: kind -> newest event, of those whose newest event is no recovery.

    Args:
        alerts: Events on record.
        before: Only what was raised at an earlier `as_of` counts, so that a run again finds what the first one found.
    """
    earlier = sorted((alert for alert in alerts if alert.as_of < before), key=lambda alert: alert.as_of)
    newest = {alert.kind: alert for alert in earlier}
    return {kind: alert for kind, alert in newest.items() if alert.event != RECOVERED}


def events(
    verdicts: Sequence[Verdict],
    opened: Mapping[str, AlertRecord],
    severities: Mapping[str, str],
    *,
    use_case: str,
    as_of: datetime,
    runbook: str,
    channels: str,
    raised_at: datetime,
) -> list[AlertRecord]:
    """Return the events that verdicts lead to.

    What is violated and not open yet is raised; what is open stays so, without telling anybody again, unless it is
    found to be well: then it has recovered. What could not be judged (`unknown`) changes nothing.

    Args:
        verdicts: One per kind.
        opened: As `open_kinds` gives them.
        severities: Kind -> severity.
        use_case: Whose.
        as_of: When.
        runbook: Folder or URL of the runbook's pages.
        channels: Where they are to be told.
        raised_at: By the wall clock.
    """
    alerts = []
    for verdict in verdicts:
        before = opened.get(verdict.kind)
        if verdict.state == "violated":
            event = REPEATED if before else RAISED
            message, version = verdict.message, verdict.model_version
        elif verdict.state == "ok" and before:
            event = RECOVERED
            message = f"well again; open since {before.as_of:%Y-%m-%d} or before: {before.message}"
            version = before.model_version
        else:
            continue
        # The same for the same event, however often it is found.
        identity = f"{use_case}|{verdict.kind}|{event}|{as_of.isoformat()}"
        alerts.append(
            AlertRecord(
                alert_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                use_case=use_case,
                as_of=as_of,
                kind=verdict.kind,
                event=event,
                severity=severities[verdict.kind],
                message=message,
                model_version=version,
                runbook=f"{runbook.rstrip('/')}/{verdict.kind}.md",
                channels=channels,
                raised_at=raised_at,
            )
        )
    return alerts
