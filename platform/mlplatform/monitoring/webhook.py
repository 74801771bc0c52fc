"""Posting an alert to a webhook: JSON as Slack or Teams take it, retries with growing waits, a timeout."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any

from mlplatform.config.alerts import WebhookSettings
from mlplatform.ops.records import AlertRecord

_TOO_MANY = 429
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Delivery:
    """How a delivery ended.

    Attributes:
        delivered: The endpoint answered 2xx.
        attempts: Tries made.
        detail: What the last try gave; never holds the URL.
    """

    delivered: bool
    attempts: int
    detail: str


def payload(alert: AlertRecord, env: str, style: str) -> dict[str, Any]:
    """Return the JSON of an alert.

    Args:
        alert: As it is on record.
        env: The environment, named in the title.
        style: `slack` (an incoming webhook: text and blocks) or `teams` (a workflow: an adaptive card).

    Examples:
        >>> from datetime import UTC, datetime
        >>> day = datetime(2024, 1, 1, tzinfo=UTC)
        >>> alert = AlertRecord(alert_id="a", use_case="churn", as_of=day, kind="drift", event="raised", message="m",
        ...                     severity="warning", runbook="r.md", channels="webhook", raised_at=day)
        >>> payload(alert, "dev", "slack")["text"]
        '[warning] churn (dev) at 2024-01-01: drift raised'
    """
    title = f"[{alert.severity}] {alert.use_case} ({env}) at {alert.as_of:%Y-%m-%d}: {alert.kind} {alert.event}"
    foot = f"Runbook: {alert.runbook} | alert {alert.alert_id}"
    if style == "teams":
        lines = [
            {"type": "TextBlock", "text": title, "weight": "bolder", "wrap": True},
            {"type": "TextBlock", "text": alert.message, "wrap": True},
            {"type": "TextBlock", "text": foot, "isSubtle": True, "wrap": True},
        ]
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": lines,
        }
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        return {"type": "message", "attachments": [attachment]}
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": title[:150]}},
        {"type": "section", "text": {"type": "plain_text", "text": alert.message[:3000]}},
        {"type": "context", "elements": [{"type": "plain_text", "text": foot}]},
    ]
    return {"text": title, "blocks": blocks}


def post(
    url: str, body: Mapping[str, Any], settings: WebhookSettings, *, wait: Callable[[float], None] = time.sleep
) -> Delivery:
    """Post JSON; an answer of 429 or 5xx, a timeout or a broken connection is tried again.

    Redirects are not followed: the URL is a secret, and where it leads to is not ours to choose.

    Args:
        url: Where to; http or https.
        body: What to send.
        settings: Attempts, timeout, first wait (doubled each time).
        wait: Sleeps; a test's own.
    """
    if not url.lower().startswith(("http://", "https://")):
        return Delivery(delivered=False, attempts=0, detail="the secret holds no http(s) URL")
    data = json.dumps(body).encode()
    opener = urllib.request.build_opener(_NoRedirect)
    detail, attempt = "", 0
    for attempt in range(1, settings.attempts + 1):
        if attempt > 1:
            wait(settings.backoff_seconds * 2 ** (attempt - 2))
        try:
            request = urllib.request.Request(  # noqa: S310  (the scheme was looked at)
                url, data=data, headers={"Content-Type": "application/json"}, method="POST"
            )
            with opener.open(request, timeout=settings.timeout_seconds) as answer:
                return Delivery(delivered=True, attempts=attempt, detail=f"HTTP {answer.status}")
        except urllib.error.HTTPError as error:
            detail = f"HTTP {error.code}"
            error.close()
            if error.code != _TOO_MANY and error.code < _SERVER_ERROR:
                break  # ours to mend, not theirs: the same again would be refused again
        except (OSError, ValueError) as error:
            # Names the kind of failure only: some messages repeat the URL.
            reason = getattr(error, "reason", error)
            detail = type(reason).__name__ if isinstance(reason, BaseException) else "connection failed"
        except Exception as error:  # noqa: BLE001  (http.client has errors of its own; none may stop the pipeline)
            detail = type(error).__name__
    return Delivery(delivered=False, attempts=attempt, detail=detail)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow nothing: the answer is then an `HTTPError` with its code."""
        del req, fp, code, msg, headers, newurl
