"""Settings of the monitoring, and of the decision to retrain."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mlplatform.config.alerts import AlertSettings
from mlplatform.config.base import Settings
from mlplatform.config.values import MOST, CronText, DurationText, PositiveText

AlarmKind = Literal["drift", "prediction_drift", "calibration", "immature_calibration", "immature_performance"]
ALARM_KINDS: tuple[AlarmKind, ...] = (
    "drift",
    "prediction_drift",
    "calibration",
    "immature_calibration",
    "immature_performance",
)


class MonitoringSettings(Settings):
    """Limits of the monitor, and when to retrain."""

    max_psi: float = Field(
        default=0.25, gt=0, description="Population stability index above which a column has drifted."
    )
    max_js: float | None = Field(
        default=None, gt=0, le=1, description="Jensen-Shannon distance above which a column has drifted."
    )
    max_ks: float | None = Field(
        default=None, gt=0, le=1, description="Kolmogorov-Smirnov distance above which a number has drifted."
    )
    max_null_increase: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Rise of a column's null share over the training data's that counts as drift. Where it is set, the "
        "gate rejects a challenger with such a feature, too; by default it rejects only features that are all null.",
    )
    max_out_of_range: float = Field(
        default=0.05, gt=0, le=1, description="Share of values outside of training's range that counts."
    )
    max_new_categories: float = Field(
        default=0.05, gt=0, le=1, description="Share of categories unseen in training that counts."
    )
    false_alarm_rate: float = Field(
        default=0.01, gt=0, lt=1, description="Probability that a window without any change is flagged as drifted."
    )
    max_feature_age: DurationText | None = Field(
        default=None, description="Age of a feature table's newest row above which its features are stale."
    )
    min_match_rate: float | None = Field(
        default=None, ge=0, le=1, description="Share of scored rows that must be found in each feature table."
    )
    window: PositiveText | None = Field(
        default=None,
        description="Length of the windows of prediction times that are compared, as long as the runs lie apart; "
        "default: scoring.every.",
    )
    min_rows: int = Field(default=100, ge=1, le=MOST, description="Windows with fewer rows are recorded, not judged.")
    max_rows: int = Field(
        default=200_000,
        ge=1000,
        le=MOST,
        description="So many rows are taken into memory at most. What can be added up is computed on all rows, the "
        "rest on a sample of so many, drawn by a hash of the keys; the record says so.",
    )
    unjudged_windows: int = Field(
        default=3, ge=1, le=MOST, description="So many windows in a row that were not judged raise an alert."
    )
    performance_floor: float | None = Field(
        default=None,
        description="Realised primary metric under which to retrain; default: gate.floor. null: no floor.",
    )
    max_calibration_ratio: float = Field(
        default=1.5, gt=1, description="Observed over predicted mean (or its inverse) that raises an alert."
    )
    max_coverage_gap: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Quantile: a share of labels at or below the prediction that is farther from label.quantile than "
        "this raises an alert.",
    )
    performance_window: PositiveText = Field(
        default="12 months",
        description="Length of the stretch whose newly known labels are judged together; of dated events, from which "
        "the risks of the present are taken.",
    )
    label_grace: DurationText = Field(
        default="7 days", description="How long after its horizon a label may still come before it counts as never."
    )
    retrain_every: DurationText = Field(default="12 months", description="The schedule: retrain when this has passed.")
    cooldown: DurationText = Field(
        default="6 months", description="No retraining on alarm within this time of the last."
    )
    retrain_on: tuple[AlarmKind, ...] = Field(
        default=ALARM_KINDS, description="Kinds of violated windows that lead to a retraining."
    )
    violated_windows: int = Field(
        default=2,
        ge=1,
        le=MOST,
        description="k: so many of the last `of_windows` judged windows, the newest among them.",
    )
    of_windows: int = Field(default=3, ge=1, le=1000, description="n: see `violated_windows`.")
    max_model_age: DurationText | None = Field(
        default=None, description="Retrain when the champion was trained longer ago than this."
    )
    profile_schedule: CronText | None = Field(
        default="0 0 4 ? * SUN",
        description="Databricks: when the data profile is refreshed by itself (Quartz cron, in jobs.timezone); each "
        "monitoring refreshes it, too. null: only then.",
    )
    alerts: AlertSettings = AlertSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_rows < self.min_rows:
            raise ValueError(
                f"max_rows ({self.max_rows}) is below min_rows ({self.min_rows}): nothing would be judged."
            )
        if self.violated_windows > self.of_windows:
            raise ValueError(
                f"violated_windows ({self.violated_windows}) cannot be more than of_windows ({self.of_windows})."
            )
        return self
