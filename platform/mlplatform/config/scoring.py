"""Settings of the scoring."""

from __future__ import annotations

from pydantic import Field

from mlplatform.config.base import Settings
from mlplatform.config.values import IntervalText


class ScoringSettings(Settings):
    """When to score."""

    every: IntervalText = Field(
        default="1 month",
        description="Interval of the scoring runs: hour, day, week, month, quarter, year, or a duration.",
    )
    shadow: bool = Field(default=True, description="Let the challenger score beside the champion, without effect.")
    canary: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of the entities for which a challenger decides that the gate let pass, but for being surely "
        "better than the champion, or for approval; 0: the champion decides for all.",
    )
