"""Settings of the champion/challenger gate: what a challenger is judged by."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mlplatform.config.base import Settings
from mlplatform.config.values import MOST, MOST_DRAWS, DurationText


class GuardSettings(Settings):
    """A second metric, in which a challenger may not be worse.

    For a regression, `event_above` makes a binary event of the label, which the prediction is to rank: the AUC of the
    predicted minutes against "more than 15 minutes late", say.
    """

    metric: str
    event_above: float | None = Field(
        default=None, description="Regression only: judge the prediction as a score of the event label > this."
    )
    max_loss: float | None = Field(
        default=None,
        ge=0,
        description="The champion's lead is surely below this (lower end of the gain's interval above minus this).",
    )
    floor: float | None = Field(default=None, description="The challenger must reach this, champion or not.")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max_loss is None and self.floor is None:
            raise ValueError(f"the guard {self.metric} limits nothing: set max_loss or floor")
        return self

    @property
    def name(self) -> str:
        """Its name among the checks, such as `guard_roc_auc_above_15`."""
        event = "" if self.event_above is None else f"_above_{self.event_above:g}"
        return f"guard_{self.metric}{event}"


class SliceSettings(Settings):
    """Parts of the frame in which a challenger may not be surely worse than the champion."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Spine columns or looked-up features; numbers of many values are cut at quartiles."
    )
    min_rows: int = Field(default=100, ge=2, le=MOST, description="Slices of fewer rows are not judged.")
    min_positives: int = Field(
        default=20,
        ge=1,
        le=MOST,
        description="Nor those with fewer rows of either class; multiclass: outside of the most frequent one.",
    )
    max_loss: float = Field(default=0.0, ge=0, description="A loss in the primary metric up to this is accepted.")


class FeatureLimits(Settings):
    """What the challenger's looked-up features must be like on the frame."""

    max_null_increase: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Old name of monitoring.max_null_increase.",
        json_schema_extra={"deprecated": True},
    )
    max_age: DurationText | None = Field(
        default=None, description="Age of the newest row of each feature table with a time, at as_of."
    )


class GateSettings(Settings):
    """Limits of the champion/challenger gate."""

    min_rows: int = Field(
        default=500, ge=1, le=MOST, description="Rows of the frozen label frame below which nothing is decided."
    )
    min_positives: int = Field(
        default=50, ge=1, le=MOST, description="Rows of each class below which nothing is decided."
    )
    max_rows: int = Field(
        default=200_000,
        ge=100,
        le=MOST,
        description="Of more labelled rows than this, decide on a sample of so many, drawn by a hash of keys and seed.",
    )
    floor: float = Field(description="The primary metric must reach this.")
    margin: float = Field(
        default=0.0,
        ge=0,
        description="0: the challenger must be surely better than the champion; above: surely not worse than by this.",
    )
    confidence: float = Field(default=0.9, gt=0.5, lt=1, description="Two-sided level of the bootstrap interval.")
    error_per: Literal["decision", "year"] = Field(
        default="year",
        description="What the error of the comparison with the champion, (1 - confidence) / 2, is for: each decision, "
        "or all decisions about a model within a year together, of which each then spends a part.",
    )
    draws: int = Field(default=500, ge=100, le=MOST_DRAWS, description="Bootstrap resamples.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of all that is drawn: the same gives the same.")
    cluster_by: tuple[str, ...] = Field(
        default=(), description="Resample whole clusters of rows that agree in these columns, such as the entity's key."
    )
    baseline_by: tuple[str, ...] = Field(
        default=(),
        description="Spine columns by which the trivial baseline takes the training labels' mean (median for mae).",
    )
    max_calibration_error: float | None = Field(
        default=None, gt=0, description="Limit of the expected calibration error."
    )
    max_brier: float | None = Field(default=None, gt=0, description="Limit of the Brier score.")
    max_coverage_gap: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Quantile: how far the share of labels at or below the prediction may be from label.quantile.",
    )
    max_calibration_ratio: float | None = Field(
        default=None,
        gt=1,
        description="Counts, and each class of several: what observed over predicted sum, or its inverse, may be.",
    )
    min_calibration_slope: float | None = Field(default=None, description="Least calibration slope; 1 is perfect.")
    max_calibration_slope: float | None = Field(default=None, description="Largest calibration slope.")
    guards: tuple[GuardSettings, ...] = ()
    slices: SliceSettings | None = None
    features: FeatureLimits = FeatureLimits()
    signature: Literal["compatible", "any"] = Field(
        default="compatible", description="Whether the challenger must take the rows that the champion takes."
    )
    max_seconds_per_1000_rows: float | None = Field(
        default=None, gt=0, description="Limit of the time to score 1,000 rows, lookups included."
    )
    approval: Literal["auto", "manual"] = Field(
        default="auto", description="manual: a promotion waits for the version's tag Approval_Check=Approved."
    )
