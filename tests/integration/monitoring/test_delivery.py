"""Sending what is on record: which alerts wait, with more of them than one run takes up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlplatform.as_of import parse_as_of
from mlplatform.config.alerts import WebhookSettings
from mlplatform.monitoring import delivery
from mlplatform.monitoring.webhook import Delivery
from mlplatform.naming import Namespace
from mlplatform.ops import records
from mlplatform.ops.records import ALERTS, AlertRecord
from mlplatform.workspace.local.workspace import LocalWorkspace

NS = Namespace("dev", "tiny")
START = parse_as_of("2024-01-01")
ALERT = AlertRecord(
    alert_id="", use_case="tiny", as_of=START, kind="drift", event="raised", severity="warning", message="m",
    runbook="r.md", channels="log", raised_at=START,
)  # fmt: skip


def alerts(name: str, channels: str, days: range) -> list[AlertRecord]:
    return [
        replace(ALERT, alert_id=f"{name} {day}", channels=channels, as_of=START + timedelta(days=day)) for day in days
    ]


def test_alerts_that_are_only_logged_take_no_place_of_those_to_send(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(delivery, "_AT_ONCE", 2)
    monkeypatch.setenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK", "http://127.0.0.1:1/")
    settings = WebhookSettings(secret="alerts/webhook")
    posted: list[str] = []

    def post(url: str, body: dict[str, Any], of: WebhookSettings) -> Delivery:
        del url, of
        posted.append(str(body))
        return Delivery(delivered=True, attempts=1, detail="200")

    with LocalWorkspace.open(root=tmp_path) as ws:
        records.ensure(ws, NS)
        logged, to_send = alerts("logged", "log", range(5)), alerts("sent", "log,webhook", range(5, 8))
        ALERTS.append(ws, NS, [*logged, *to_send])
        # Two a run, the oldest first.
        assert [delivery.send_pending(ws, NS, settings, post).delivered for _ in range(3)] == [2, 1, 0]
    assert [alert.alert_id for alert, body in zip(to_send, posted, strict=True) if alert.alert_id in body] == [
        "sent 5", "sent 6", "sent 7",
    ]  # fmt: skip
