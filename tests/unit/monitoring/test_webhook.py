"""Posting to a real HTTP server that fails on demand: what is tried again, what is not, and what is never said."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.alerts import WebhookSettings
from mlplatform.monitoring.webhook import Delivery, payload, post
from mlplatform.ops.records import AlertRecord
from tests.support.hook import LATE, RESET, Hook, listening

SETTINGS = WebhookSettings(secret="alerts/webhook", timeout_seconds=0.3, attempts=3, backoff_seconds=0.5)
DAY = parse_as_of("2024-01-01")
ALERT = AlertRecord(
    alert_id="a1", use_case="churn", as_of=DAY, kind="drift", event="raised", severity="warning", message="m",
    runbook="docs/runbook/drift.md", channels="log,webhook", raised_at=DAY,
)  # fmt: skip


@pytest.fixture
def hook() -> Any:
    with listening() as made:
        yield made


def deliver(hook: Hook, *answers: int | str, waits: list[float] | None = None) -> Delivery:
    hook.answers[:] = answers
    noted: list[float] = [] if waits is None else waits
    return post(hook.url, {"text": "x"}, SETTINGS, wait=noted.append)


def test_an_alert_arrives_as_json(hook: Hook):
    assert post(hook.url, payload(ALERT, "dev", "slack"), SETTINGS) == Delivery(True, 1, "HTTP 200")
    assert hook.texts() == ["[warning] churn (dev) at 2024-01-01: drift raised"]
    assert "docs/runbook/drift.md" in str(hook.got[0]["blocks"])


def test_teams_gets_a_card():
    card = payload(ALERT, "dev", "teams")["attachments"][0]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [line["text"] for line in card["content"]["body"]][1] == "m"


@pytest.mark.parametrize("failure", [500, 503, 429, LATE, RESET])
def test_what_may_pass_is_tried_again_with_growing_waits(hook: Hook, failure: int | str):
    waits: list[float] = []
    found = deliver(hook, failure, failure, waits=waits)
    assert (found.delivered, found.attempts, waits) == (True, 3, [0.5, 1.0])


@pytest.mark.parametrize(
    ("failure", "says"), [(500, "HTTP 500"), (LATE, "TimeoutError"), (RESET, "ConnectionResetError")]
)
def test_what_does_not_pass_is_given_up_for_this_run_and_named(hook: Hook, failure: int | str, says: str):
    found = deliver(hook, *[failure] * 3)
    assert (found.delivered, found.attempts) == (False, 3)
    assert found.detail == says


@pytest.mark.parametrize("status", [400, 404, 410, 302])
def test_a_refusal_is_not_tried_again_and_a_redirect_not_followed(hook: Hook, status: int):
    assert deliver(hook, status) == Delivery(False, 1, f"HTTP {status}")
    assert len(hook.got) == 1


def test_nobody_listening_and_no_url_are_failures_that_do_not_name_the_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dead = post(f"http://127.0.0.1:{port}/secret-path", {}, SETTINGS, wait=lambda seconds: None)
    assert (dead.delivered, dead.attempts, dead.detail) == (False, 3, "ConnectionRefusedError")
    for nonsense in ("file:///etc/passwd", "secret-path", "http://[bad/secret-path"):
        found = post(nonsense, {}, SETTINGS, wait=lambda seconds: None)
        assert not found.delivered
        assert "secret-path" not in found.detail
