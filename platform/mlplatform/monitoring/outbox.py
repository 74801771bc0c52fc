"""Sending what is on record: alerts are written first, then sent; what failed is tried again in the next run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from mlplatform.config.settings import WebhookSettings
from mlplatform.errors import PlatformError
from mlplatform.monitoring import webhook
from mlplatform.monitoring.alerts import TOLD
from mlplatform.monitoring.webhook import Delivery
from mlplatform.naming import Namespace
from mlplatform.ops.records import ALERT_DELIVERIES
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace

LOG = logging.getLogger(__name__)
WEBHOOK = "webhook"
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
        for row in waiting:
            # After one failure the others are not tried: an endpoint that is down costs one timeout, not one an alert.
            done = down or post(url, webhook.payload(row, ws.env, settings.format), settings)
            if not done.delivered:
                down = down or Delivery(delivered=False, attempts=0, detail=f"not tried after: {done.detail}")
            _record(ws, namespace, row["alert_id"], done, failures[row["alert_id"]] + 1 >= settings.give_up_after)
            sent = Sent(sent.delivered + done.delivered, sent.failed + (not done.delivered))
    if sent.failed:
        LOG.warning(
            "%d alert(s) of %s could not be sent (%s); they are tried again in the next run.",
            sent.failed, namespace.use_case, down.detail if down else "",
        )  # fmt: skip
    return sent


def _waiting(ws: Workspace, namespace: Namespace) -> tuple[list[dict[str, Any]], Counter[str]]:
    mine: list[Filter] = [("use_case", "=", namespace.use_case)]
    tried = ws.tables.to_arrow(namespace.ops("alert_deliveries"), filters=mine).to_pylist()
    over = {row["alert_id"] for row in tried if row["status"] != _FAILED}
    rows = ws.tables.to_arrow(namespace.ops("alerts"), filters=mine).to_pylist()
    waiting = [
        row
        for row in rows
        if row["event"] in TOLD and WEBHOOK in row["channels"].split(",") and row["alert_id"] not in over
    ]
    waiting.sort(key=lambda row: (row["as_of"], row["kind"]))
    return waiting, Counter(row["alert_id"] for row in tried if row["status"] == _FAILED)


def _record(ws: Workspace, namespace: Namespace, alert_id: str, done: Delivery, last: bool) -> None:
    row = {
        "alert_id": alert_id,
        "use_case": namespace.use_case,
        "channel": WEBHOOK,
        "attempted_at": datetime.now(UTC),
        "status": _DELIVERED if done.delivered else _GIVEN_UP if last else _FAILED,
        "attempts": done.attempts,
        "detail": done.detail,
    }
    ws.tables.append(namespace.ops("alert_deliveries"), pa.Table.from_pylist([row], schema=ALERT_DELIVERIES.schema))
