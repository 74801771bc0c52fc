"""What happened, step by step: one row for each `as_of`, read from the platform's own tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mlplatform.gate.details import GateDetails
from mlplatform.monitoring.details import MonitorDetails
from mlplatform.monitoring.drift import DriftMetric
from mlplatform.monitoring.retrain import RetrainDetails
from mlplatform.naming import Namespace
from mlplatform.ops import stage_runs
from mlplatform.ops.record_table import MOST_RECORDS
from mlplatform.ops.records import STAGE_RUNS, StageRecord
from mlplatform.ops.result import D
from mlplatform.protocols.workspace import Workspace
from mlplatform.scoring.details import ScoreDetails
from mlplatform.statistics.class_metrics import ACCURACY


@dataclass(frozen=True)
class TimelineStep:
    """One `as_of` of a use case.

    Attributes:
        as_of: The time.
        scored: Rows scored.
        mean_score: Their mean prediction, of several classes the mean of the largest probability; None when nothing was
            scored.
        expected: The rate that dated events let expect of the newest predictions; None: nothing is known.
        label_mean: Mean of the labels that became known in the last stretch, of several classes the share of those that
            were predicted; None: not yet known.
        labels_known: How many those were.
        champion: Version that scored; None without a champion.
        metric: Realised primary metric on those labels.
        worst_drift: `column psi` of the column farthest from the reference.
        alerts: Kinds of alerts raised.
        decision: What gate and retraining decided, in words.
    """

    as_of: datetime
    scored: int
    mean_score: float | None
    label_mean: float | None
    labels_known: int
    champion: int | None
    metric: float | None
    worst_drift: str
    alerts: tuple[str, ...]
    decision: str
    expected: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the step as plain data."""
        return {**asdict(self), "as_of": self.as_of.isoformat(), "alerts": list(self.alerts)}


def read(ws: Workspace, namespace: Namespace, metric: str) -> list[TimelineStep]:
    """Return the steps of a use case, oldest first; those of its newest `MOST_RECORDS` records, where it has more.

    Args:
        ws: The workspace.
        namespace: The use case's.
        metric: Its primary metric.
    """
    return steps(STAGE_RUNS.newest(ws, namespace, MOST_RECORDS), metric)


def steps(recorded: Iterable[StageRecord], metric: str) -> list[TimelineStep]:
    """Return the steps that recorded stages make up, oldest first.

    Args:
        recorded: Of `ops.stage_runs`, oldest first.
        metric: The use case's primary metric.
    """
    by_time: dict[datetime, list[StageRecord]] = {}
    for record in stage_runs.of_the_cycle(recorded):
        if record.status in stage_runs.ENDED_WELL:
            by_time.setdefault(record.as_of, []).append(record)
    return [_step(moment, records, metric) for moment, records in sorted(by_time.items())]


def _step(moment: datetime, records: list[StageRecord], metric: str) -> TimelineStep:
    score = _details(records, "score", ScoreDetails, key="model_version")
    monitor = _details(records, "monitor", MonitorDetails)
    return TimelineStep(
        as_of=moment,
        # A stage run again appends nothing: what was scored is the sum over its runs.
        scored=sum(record.rows_out or 0 for record in records if record.stage == "score"),
        mean_score=score.mean_prediction,
        label_mean=monitor.realised.get("label_mean", monitor.realised.get(ACCURACY)),
        labels_known=monitor.labels_known or 0,
        champion=score.model_version,
        metric=monitor.realised.get(metric),
        worst_drift=_drift(monitor.worst_drift),
        alerts=tuple(dict.fromkeys(alert.kind for alert in monitor.alerts)),
        decision=_decision(records),
        expected=_expected(moment, monitor),
    )


def _expected(moment: datetime, monitor: MonitorDetails) -> float | None:
    """Return what is expected of the rows that were predicted in the window up to the step."""
    found = monitor.immature
    return found.expected_rate if found is not None and found.window_end == moment else None


def _decision(records: list[StageRecord]) -> str:
    words = []
    retrain = _details(records, "retrain", RetrainDetails)
    if retrain.due:
        words.append(f"retrain ({', '.join(_kinds(retrain.reasons))})")
    gate = _details(records, "gate", GateDetails, key="outcome")
    if gate.outcome:
        words.append(f"v{gate.challenger} {gate.outcome}")
        if gate.outcome != "promoted":
            words.append(gate.reason)
    return ": ".join(words)


def _kinds(reasons: list[str]) -> list[str]:
    return list(dict.fromkeys(reason.partition(":")[0] for reason in reasons))


def _drift(worst: DriftMetric | None) -> str:
    if worst is None:
        return ""
    text = f"{worst.column} {worst.value:.2f}" if worst.value is not None else f"{worst.column} is missing"
    return text if worst.judged else f"{text} (not judged)"


def _details(records: list[StageRecord], stage: str, details: type[D], key: str | None = None) -> D:
    """Return the details of a stage's last record that says something; empty ones where none does."""
    for record in reversed(records):
        if record.stage == stage and record.details and (key is None or key in record.details):
            return stage_runs.as_run(record, details).details
    return details()
