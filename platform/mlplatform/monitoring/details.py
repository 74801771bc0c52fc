"""What the stage `monitor` says of itself in its record, and what it recorded up to a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, model_validator

from mlplatform.monitoring import alerts
from mlplatform.monitoring.drift import DriftMetric
from mlplatform.ops.result import Details, Moment
from mlplatform.ops.stage_runs import DONE, StageRun
from mlplatform.statistics.baseline import Compared

STAGE = "monitor"
_REALISED = "realised_"


class JudgedKind(BaseModel):
    """A kind of alert that was judged.

    Attributes:
        violated: Whether a limit was violated.
        model_version: Whom it is about; None where it is about no version.
    """

    violated: bool
    model_version: int | None = None


class LabelCounts(BaseModel):
    """How many of the predictions have a label: scored = known + waiting + never.

    Attributes:
        scored: Predictions.
        known: Their label is known.
        waiting: It may still come.
        never: It should have come.
        coverage: known / scored.
    """

    scored: int
    known: int
    waiting: int
    never: int
    coverage: float


class AlertEvent(BaseModel):
    """An event of an alert.

    Attributes:
        kind: Of what.
        severity: `warning` or `critical`.
        message: In words.
        event: `raised`, `repeated` or `recovered`.
    """

    kind: str
    severity: str
    message: str
    event: str


class SentAlerts(BaseModel):
    """Alerts that were delivered, and those that failed and stay for the next run."""

    delivered: int = 0
    failed: int = 0


class ProfilingUpdate(BaseModel):
    """What was done for data profiling.

    Attributes:
        rows: Predictions that are new, or have another label now.
        baseline_rows: Rows of the baseline, where it was renewed.
        profile: What stands of the profile, where it was seen to.
        refresh: What became of refreshing it.
    """

    rows: int
    baseline_rows: int | None = None
    profile: str | None = None
    refresh: str | None = None


class ImmatureSummary(BaseModel):
    """What is expected of the newest predictions, from dated events, long before their labels are mature.

    Attributes:
        until: Up to when rows have been observed.
        window_end: Up to which prediction time the newest vintage with predictions goes.
        rows: Its predictions.
        mean_score: What they say.
        expected_rate: The rate within the horizon, if risks stay as they are; None: not known.
        low: Lower end of its 95% interval.
        high: Its upper end.
        forecast_rate: The rate if risks go on changing as they have changed; None: too little is known.
        forecast_low: Lower end of its 95% prediction interval.
        forecast_high: Its upper end.
        events: Events by which the present's risks are known.
    """

    until: Moment
    window_end: Moment
    rows: int
    mean_score: float
    expected_rate: float | None = None
    low: float | None = None
    high: float | None = None
    forecast_rate: float | None = None
    forecast_low: float | None = None
    forecast_high: float | None = None
    events: int = 0


class BaseRate(BaseModel):
    """The base rate that the window's scores alone tell of, see `statistics.prior_shift`.

    Attributes:
        value: The rate.
        low: Lower end of its 95% interval.
        high: Its upper end.
        p_value: Of scores so far from training's without a shift.
        training: The rate of training; None: there were too few rows to hold it against that.
    """

    value: float
    low: float
    high: float
    p_value: float | None = None
    training: float | None = None


class CanaryOutcome(BaseModel):
    """What became of those for whom a challenger decided, beside those for whom the champion did.

    Attributes:
        model_version: The challenger.
        champion: The champion.
        since: Since when it decides for a share of the entities.
        until: When that ended; None: it has not.
        decided: For how many predictions it decided.
        labels: How many of their labels are known.
        labels_of_champion: How many labels of the others are known.
        gain: Of the challenger's decisions over the champion's in the primary metric; None: it cannot be told yet.
        low: Lower end of its interval, at the gate's confidence.
        high: Upper end.
        worse: Whether it is surely worse.
        why: Why it cannot be told; empty where it can.
    """

    model_version: int
    champion: int | None = None
    since: Moment
    until: Moment | None = None
    decided: int
    labels: int
    labels_of_champion: int
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    worse: bool = False
    why: str = ""


class MonitorDetails(Details):
    """What a monitoring found.

    Attributes:
        alarms: Realised performance under its floor, or worse than the trivial baseline, in words.
        worst_drift: The distance farthest from training; None where none was measured.
        estimated: The primary metric as estimated before labels.
        base_rate: The base rate that the scores alone tell of; None where they tell of none.
        disagreements: Windows, as days, whose labels (or dated events) and whose scores tell of different base rates ->
            in words.
        labels: How many predictions have a label.
        labels_known: Labels that became known in the last `performance_window`.
        realised: Metric -> its value on these. On record each is a key of its own: `realised_<metric>`.
        baseline: The model beside the trivial baseline on these.
        immature: What is expected of the newest predictions; None where events have no dates.
        profiling: What was done for data profiling; None where there is none.
        canary: What a canary came to so far; None where no challenger decided for anybody.
        unjudged_windows: How many of the newest windows were not judged for drift.
        windows: Kind -> what was judged.
        not_judged: Kind -> why it was not.
        alerts: Alerts that were raised, or last.
        recovered: Alerts that are over.
        sent: What became of sending them.
    """

    alarms: list[str] = Field(default_factory=list)
    worst_drift: DriftMetric | None = None
    estimated: float | None = None
    base_rate: BaseRate | None = None
    disagreements: dict[str, str] = Field(default_factory=dict)
    labels: LabelCounts | None = None
    labels_known: int | None = None
    realised: dict[str, float | None] = Field(default_factory=dict)
    baseline: Compared | None = None
    immature: ImmatureSummary | None = None
    profiling: ProfilingUpdate | None = None
    canary: CanaryOutcome | None = None
    unjudged_windows: int = 0
    windows: dict[str, JudgedKind] = Field(default_factory=dict)
    not_judged: dict[str, str] = Field(default_factory=dict)
    alerts: list[AlertEvent] = Field(default_factory=list)
    recovered: list[AlertEvent] = Field(default_factory=list)
    sent: SentAlerts = Field(default_factory=SentAlerts)

    @model_validator(mode="before")
    @classmethod
    def _gather_realised(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        flat = {key.removeprefix(_REALISED): data[key] for key in data if key.startswith(_REALISED)}
        return {**data, "realised": flat} if flat else data

    def to_json(self) -> dict[str, Any]:
        """Return what was set, as plain data, with a key of its own for each realised metric."""
        plain = super().to_json()
        realised = plain.pop("realised", {})
        return plain | {f"{_REALISED}{metric}": value for metric, value in realised.items()}

    @property
    def unchecked(self) -> bool:
        """Whether a check could not be made."""
        own = self.windows.get(alerts.MONITOR)
        return own is not None and own.violated


MonitorRun = StageRun[MonitorDetails]


def up_to(runs: Iterable[MonitorRun], as_of: datetime) -> dict[datetime, MonitorRun]:
    """Return the monitor's runs by `as_of`, oldest first; of several runs of one time the last.

    Args:
        runs: Of the stage `monitor`, oldest first.
        as_of: The last one.
    """
    newest = {run.as_of: run for run in runs if run.status == DONE and run.as_of <= as_of}
    return dict(sorted(newest.items()))


def unjudged_in_a_row(runs: Iterable[MonitorRun], before: datetime) -> int:
    """Return how many of the newest windows before a time held predictions and were not judged for drift.

    Windows without any prediction, and those that could not be checked, count neither way.
    """
    count = 0
    for moment, run in reversed(up_to(runs, before).items()):
        if moment == before or not run.result.rows_in or run.details.unchecked:
            continue
        if alerts.DRIFT in run.details.windows:
            break
        count += 1
    return count
