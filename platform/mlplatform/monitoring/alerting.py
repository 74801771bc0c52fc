"""The alerting part of monitoring: findings become events on record, and what is on record is sent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from mlplatform.monitoring import alerts, outbox
from mlplatform.monitoring.alerts import Alert, Finding
from mlplatform.monitoring.outbox import Sent
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import ALERTS
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.tables import Transaction

LOG = logging.getLogger(__name__)


def record(context: StageContext, findings: Sequence[Finding]) -> list[Alert]:
    """Write the events that findings lead to, each exactly once, and log those that are told.

    Returns:
        The events, those included that had been written before.
    """
    use_case, tables, name = context.use_case, context.ws.tables, context.namespace.ops("alerts")
    settings = use_case.settings.monitoring.alerts
    monitor = use_case.monitor(use_case.settings)
    rows = tables.to_arrow(name, filters=[("use_case", "=", use_case.name), ("as_of", "<", context.as_of)]).to_pylist()
    made = alerts.events(
        findings,
        alerts.open_kinds(rows, context.as_of),
        {finding.kind: monitor.severity(finding.kind) for finding in findings},
        use_case=use_case.name,
        as_of=context.as_of,
        runbook=settings.runbook,
    )
    once = [Transaction(f"alert:{alert.alert_id}") for alert in made]
    there = tables.committed(name, once)
    new = [(alert, mark) for alert, mark, done in zip(made, once, there, strict=True) if not done]
    if new:
        common = {
            "use_case": use_case.name,
            "as_of": context.as_of,
            "channels": "log,webhook" if settings.webhook else "log",
            "raised_at": utc_now(),
        }
        frame = pa.Table.from_pylist([{**common, **asdict(alert)} for alert, _ in new], schema=ALERTS.schema)
        tables.append(name, frame, transactions=[mark for _, mark in new])
    for alert, _ in new:
        if alert.event in alerts.TOLD:
            level = logging.INFO if alert.event == "recovered" else logging.WARNING
            LOG.log(level, "%s %s %s at %s: %s (%s)", alert.severity, alert.kind, alert.event,
                    f"{context.as_of:%Y-%m-%d}", alert.message, alert.runbook)  # fmt: skip
    return made


def send(context: StageContext) -> Sent:
    """Send what is on record and was not delivered; never raises for what the other side does."""
    return outbox.send_pending(context.ws, context.namespace, context.use_case.settings.monitoring.alerts.webhook)
