"""Settings of the alerts: where they are sent, and how often it is tried."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mlplatform.config.base import Settings
from mlplatform.config.values import MOST

SECRET_REFERENCE = "secret-reference"  # nosec B105  # noqa: S105  (the format's name in the JSON schema)


def _secret_reference(text: str) -> str:
    scope, slash, key = text.partition("/")
    if not (slash and scope and key) or "://" in text or "/" in key:
        # The value is not repeated: it may be the very URL that must not be shown.
        raise ValueError("is no secret reference: write scope/key, never the URL itself")
    return text


class WebhookSettings(Settings):
    """Where alerts are posted. The URL is a secret: only its reference stands here."""

    secret: Annotated[str, AfterValidator(_secret_reference)] = Field(
        description="Reference `scope/key` of the secret that holds the URL.",
        json_schema_extra={"format": SECRET_REFERENCE, "pattern": r"^[^/:]+/[^/]+$"},  # editors flag a URL
    )
    format: Literal["slack", "teams"] = Field(default="slack", description="Shape of the JSON that is posted.")
    timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="For connecting and for each answer.")
    attempts: int = Field(default=3, ge=1, le=10, description="Tries in one run; what fails is tried in the next.")
    backoff_seconds: float = Field(default=0.5, ge=0, le=60, description="Wait before the second try; then doubled.")
    give_up_after: int = Field(
        default=20, ge=1, le=MOST, description="Runs in which an alert is tried before it is given up."
    )


class AlertSettings(Settings):
    """How alerts are sent, beside the log and the table of alerts."""

    webhook: WebhookSettings | None = None
    runbook: str = Field(default="docs/runbook", description="Folder or URL of the runbook; `/<kind>.md` is added.")
