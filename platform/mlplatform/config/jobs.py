"""Settings of the jobs that a bundle deploys for a use case."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from mlplatform.config.base import Settings
from mlplatform.config.values import CronText
from mlplatform.errors import shortened

LONGEST_MINUTES = 7 * 24 * 60
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_LONGEST_EMAIL = 254
_POLICY = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, or no name of a file at all
        raise ValueError(f"{shortened(text)} is no time zone: write UTC, or as in Europe/Berlin") from None
    return text


def _email(text: str) -> str:
    if len(text) > _LONGEST_EMAIL or not _EMAIL.fullmatch(text):
        raise ValueError(f"{shortened(text)} is no e-mail address")
    return text


def _package(text: str) -> str:
    if not _PACKAGE.fullmatch(text):
        raise ValueError(f"{shortened(text)} is no package's name: leave versions out, they come from uv.lock")
    return text


def _policy(text: str) -> str:
    if not _POLICY.fullmatch(text):
        raise ValueError(f"{shortened(text)} is no id of a usage policy, as its page in the account console shows it")
    return text


class ScheduleSettings(Settings):
    """When each job starts by itself; null: only by hand, by another job, or by the retrain decision."""

    features: CronText | None = Field(default=None, description="Ingest, refine and features.")
    train: CronText | None = Field(
        default=None, description="Train and gate; rarely wanted: the monitor's retrain decision starts it."
    )
    score: CronText | None = Field(default=None, description="Batch scoring; after the features.")
    monitor: CronText | None = Field(default=None, description="Monitoring and the retrain decision; after the scores.")
    maintenance: CronText | None = Field(
        default=None,
        description="Compaction and retention; not needed where predictive optimization is on, which is Databricks' "
        "default.",
    )
    main_pipeline: CronText | None = Field(default=None, description="All of them in order, instead of the others.")


class JobSettings(Settings):
    """The jobs of the bundle, for all targets alike: `mlplatform bundle generate` writes them."""

    schedules: ScheduleSettings = ScheduleSettings()
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        default="UTC", description="Of the schedules, such as `Europe/Berlin`."
    )
    timeout_minutes: int = Field(
        default=120, ge=1, le=LONGEST_MINUTES, description="A job that runs longer is stopped."
    )
    warn_after_minutes: int = Field(
        default=60, ge=1, le=LONGEST_MINUTES, description="A job that runs longer is notified of."
    )
    retries: int = Field(default=1, ge=0, le=5, description="How often a failed task is tried again.")
    retry_after_minutes: int = Field(default=1, ge=0, le=LONGEST_MINUTES, description="How long after the failure.")
    notify: tuple[Annotated[str, AfterValidator(_email)], ...] = Field(
        default=(),
        description="E-mail addresses told of failures and of long runs, where a target does not say otherwise; in "
        "development nobody is.",
    )
    packages: tuple[Annotated[str, AfterValidator(_package)], ...] = Field(
        default=(), description="Packages that the use case's jobs need beside the wheel; versions come from uv.lock."
    )
    budget_policy_id: Annotated[str, AfterValidator(_policy)] | None = Field(
        default=None, description="Usage policy that the jobs are billed to; null: the bundle's variable of that name."
    )
    performance_target: Literal["PERFORMANCE_OPTIMIZED", "STANDARD"] | None = Field(
        default=None,
        description="Serverless compute starts at once, or cheaper some minutes later; null: the bundle's variable.",
    )

    @model_validator(mode="after")
    def _warns_before_it_stops(self) -> Self:
        if self.warn_after_minutes >= self.timeout_minutes:
            raise ValueError(
                f"warn_after_minutes ({self.warn_after_minutes}) must be below timeout_minutes "
                f"({self.timeout_minutes}): nobody is told of a run that was stopped before."
            )
        return self
