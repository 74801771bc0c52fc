"""Settings of the recalibration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlplatform.config.base import Settings
from mlplatform.config.values import MOST, DurationText, PositiveText


class RecalibrationSettings(Settings):
    """How a champion's probabilities are moved to what outcomes say, without training it again."""

    when: Literal["by_hand", "on_alarm"] = Field(
        default="by_hand",
        description="on_alarm: where alarms of calibration are all that asks for a retraining, the champion is "
        "recalibrated instead. by_hand: only `mlplatform recalibrate` does it.",
    )
    basis: Literal["realised", "immature"] = Field(
        default="realised",
        description="By what: realised labels, or rates that labels which are not mature yet tell of.",
    )
    method: Literal["auto", "odds", "isotonic"] = Field(
        default="auto",
        description="odds: level, and slope where enough is known; isotonic: a rising curve, which takes 1,000 "
        "outcomes of the rarer class; auto: a curve only where it is better on rows that it was not fitted to.",
    )
    window: PositiveText | None = Field(
        default=None,
        description="Outcomes that became known within this time count; default: monitoring.performance_window.",
    )
    holdout: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Share of the entities that nothing is learned from: the gate judges by them.",
    )
    min_events: int = Field(
        default=20, ge=2, le=MOST, description="Outcomes of either class to learn from, below which nothing is moved."
    )
    max_loss: float = Field(
        default=0.005,
        ge=0,
        description="What a curve, which makes ties, may cost in the primary metric; moved odds keep the ranking.",
    )
    cooldown: DurationText = Field(
        default="3 months", description="No recalibration on alarm within this time of the last."
    )
