"""Sending what is on record: alerts are written first, then sent; what failed is tried again in the next run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from mlplatform.config.alerts import WebhookSettings
from mlplatform.errors import PlatformError
from mlplatform.monitoring import webhook
from mlplatform.monitoring.alerts import TOLD
from mlplatform.monitoring.webhook import Delivery
from mlplatform.naming import Namespace
from mlplatform.ops.records import ALERT_DELIVERIES, ALERTS, AlertRecord, DeliveryRecord
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.workspace import Workspace

LOG = logging.getLogger(__name__)
WEBHOOK = "webhook"
_AT_ONCE = 1000
_DELIVERED, _FAILED, _GIVEN_UP = "delivered", "failed", "given up"


@dataclass(frozen=True)
class Sent:
    """What a sending did: alerts delivered, and those that failed and stay for the next run."""

    delivered: int = 0
    failed: int = 0


def send_pending(
    ws: Workspace,
    namespace: Namespace,
    settings: WebhookSettings | None,
    post: Callable[[str, dict[str, Any], WebhookSettings], Delivery] = webhook.post,
) -> Sent:
    """Send the alerts on record that were meant for the webhook and have not been delivered.

    Never raises for what the endpoint or the secret does: a failure is recorded, logged, and tried again. At least
    once: killed between sending and recording, an alert is sent again, under the same `alert_id`.

    Args:
        ws: The workspace.
        namespace: The use case's.
        settings: The webhook; None: nothing is sent.
        post: Posts one body; a test's own.
    """
    if settings is None:
        return Sent()
    with ws.lock(f"alerts {namespace.catalog}.{namespace.use_case}"):
        waiting, failures = _waiting(ws, namespace)
        if not waiting:
            return Sent()
        try:
            url = ws.secrets.get(*settings.secret.split("/", 1))
        except PlatformError as error:
            url, problem = "", error.message
        sent = Sent()
        down: Delivery | None = None if url else Delivery(delivered=False, attempts=0, detail=problem)
        for alert in waiting:
            # After one failure the others are not tried: an endpoint that is down costs one timeout, not one an alert.
            done = down or post(url, webhook.payload(alert, ws.env, settings.format), settings)
            if not done.delivered:
                down = down or Delivery(delivered=False, attempts=0, detail=f"not tried after: {done.detail}")
            _record(ws, namespace, alert.alert_id, done, failures[alert.alert_id] + 1 >= settings.give_up_after)
            sent = Sent(sent.delivered + done.delivered, sent.failed + (not done.delivered))
    if sent.failed:
        LOG.warning(
            "%d alert(s) of %s could not be sent (%s); they are tried again in the next run.",
            sent.failed, namespace.use_case, down.detail if down else "",
        )  # fmt: skip
    return sent


def _waiting(ws: Workspace, namespace: Namespace) -> tuple[list[AlertRecord], Counter[str]]:
    """Return the alerts that are to be sent, and how many tries of each failed."""
    # By channel before any bound: alerts that are only logged are never over, and would take the others' places.
    to_send = nw.col("channels").str.contains(WEBHOOK, literal=True)
    told = ALERTS.frame(ws, namespace, [("event", "in", TOLD)]).filter(to_send)
    tries = ALERT_DELIVERIES.frame(ws, namespace)
    over = tries.filter(nw.col("status") != _FAILED).select("alert_id")
    # However many alerts there have been: only those that are not over come here.
    rows = ws.frames.collect(
        told.join(over, on=["alert_id"], how="anti").sort("as_of", "kind").head(_AT_ONCE),
        at_most=_AT_ONCE,
        what="alerts that wait to be sent",
    )
    waiting = sorted(ALERTS.records(rows), key=lambda alert: (alert.as_of, alert.kind))
    if not waiting:
        return [], Counter()
    failed = [("status", "=", _FAILED), ("alert_id", "in", [alert.alert_id for alert in waiting])]
    return waiting, Counter(attempt.alert_id for attempt in ALERT_DELIVERIES.read(ws, namespace, failed))


def _record(ws: Workspace, namespace: Namespace, alert_id: str, done: Delivery, last: bool) -> None:
    attempt = DeliveryRecord(
        alert_id=alert_id,
        use_case=namespace.use_case,
        channel=WEBHOOK,
        attempted_at=utc_now(),
        status=_DELIVERED if done.delivered else _GIVEN_UP if last else _FAILED,
        attempts=done.attempts,
        detail=done.detail,
    )
    ALERT_DELIVERIES.append(ws, namespace, [attempt])
