"""What the monitor and the runs recorded: drift, realised performance, alerts, stages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mlplatform.monitoring import alerts, base_rate
from mlplatform.monitoring.details import MonitorDetails
from mlplatform.monitoring.drift import TRAINING
from mlplatform.monitoring.performance_metrics import CALIBRATION_RATIO
from mlplatform.naming import CHAMPION
from mlplatform.ops.records import AlertRecord, DriftRecord, PerformanceRecord, StageRecord
from mlplatform.ops.stage_runs import DONE
from mlplatform.protocols.tables import Filter
from mlplatform.statistics import baseline
from mlplatform.statistics.class_metrics import kind_of

CRITICAL = "critical"
DRIFT_SHOWN: list[Filter] = [("baseline", "=", TRAINING), ("metric", "in", ["psi", "missing"])]
"""Of the distances on record, those that the report shows."""
# Stages that every row passes once: their counts may be added up over the runs.
_ADDED_UP = ("ingest", "refine", "features", "score")
# A training takes all rows known by then again: only its newest count says something.
_NEWEST = ("train",)
_SMALLEST = 1e-9


@dataclass(frozen=True)
class DriftFacts:
    """The population stability index of one column at one step.

    Attributes:
        as_of: The step.
        column: The column.
        value: The index; None where the window lacked the column.
        limit: What it was held against; None where it was not judged.
        violated: Whether it lies beyond.
        unjudged: Why it was not judged; empty where it was.
    """

    as_of: datetime
    column: str
    value: float | None
    limit: float | None
    violated: bool
    unjudged: str = ""


@dataclass(frozen=True)
class Realised:
    """One realised metric at one step.

    Attributes:
        value: Its value.
        limit: What it was held against; None where it was not judged.
        violated: Whether it lies beyond.
        low: Lower end of its 95% interval.
        high: Its upper end.
        unjudged: Why it was not judged although there is a limit; empty where it was.
    """

    value: float | None
    limit: float | None
    violated: bool
    low: float | None = None
    high: float | None = None
    unjudged: str = ""


@dataclass(frozen=True)
class Performance:
    """Realised performance at one step, on the labels that became known in the window that ends there.

    Attributes:
        as_of: The step.
        window_start: Start of the window.
        rows: Labels in it.
        coverage: Share of all predictions so far whose label is known.
        metrics: Metric -> value, limit, verdict.
    """

    as_of: datetime
    window_start: datetime
    rows: int
    coverage: float
    metrics: Mapping[str, Realised]

    def value(self, metric: str) -> float | None:
        """Return a metric's value; None where it was not measured or not defined."""
        realised = self.metrics.get(metric)
        return realised.value if realised else None

    def ratio(self) -> tuple[str, Realised, float] | None:
        """Return the ratio of observed to predicted; of several classes that of one.

        Of those that are beyond their limit, or else of all, the farthest from 1.

        Returns:
            Its class, empty where there is none; what was realised, and its value.
        """
        found = [
            (name.partition("[")[2][:-1], item, item.value)
            for name, item in self.metrics.items()
            if kind_of(name) == CALIBRATION_RATIO and item.value is not None
        ]
        return max(found, key=lambda it: (it[1].violated, abs(math.log(max(it[2], _SMALLEST)))), default=None)


@dataclass(frozen=True)
class WindowFacts:
    """One window of predictions: what was estimated before labels, and what came of it.

    Attributes:
        start: Prediction times after this.
        end: Prediction times up to this.
        scored: Predictions.
        coverage: Share of them whose label is known.
        estimated: The primary metric before labels; None where there is no estimate.
        realised: The primary metric on the labels known last; None where it is not known or not defined.
        low: Lower end of its 95% interval.
        high: Its upper end.
        note: What the estimate is blind to, or why there is none.
        baseline: The primary metric of the trivial baseline on the same labels.
        base_rate: The rate of events among the labels known last.
        by_scores: The base rate that the scores alone tell of.
        by_scores_low: Lower end of its 95% interval.
        by_scores_high: Its upper end.
        disagreement: What is said where labels and scores tell of different rates; empty where they may agree.
    """

    start: datetime
    end: datetime
    scored: int | None = None
    coverage: float = 0.0
    estimated: float | None = None
    realised: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    baseline: float | None = None
    base_rate: float | None = None
    by_scores: float | None = None
    by_scores_low: float | None = None
    by_scores_high: float | None = None
    disagreement: str = ""


@dataclass(frozen=True)
class Flow:
    """Rows through one stage.

    Attributes:
        stage: Its name.
        rows_in: Rows that came in; None where the stage does not count them.
        rows_out: Rows that went on.
        rows_quarantined: Rows set aside.
        newest_only: True when only the newest run is counted, because each takes the same rows again.
    """

    stage: str
    rows_in: int | None
    rows_out: int | None
    rows_quarantined: int | None
    newest_only: bool


@dataclass(frozen=True)
class Timing:
    """How long a stage took each time it was done, oldest first."""

    stage: str
    seconds: tuple[float, ...]


def drift_of(
    records: Iterable[DriftRecord], monitored: Mapping[datetime, MonitorDetails] | None = None
) -> tuple[DriftFacts, ...]:
    """Return the population stability indexes against training, by step and column.

    Args:
        records: Of `ops.drift_metrics`.
        monitored: What the monitor recorded of itself at each step.
    """
    mine = [record for record in records if record.baseline == TRAINING and record.metric in ("psi", "missing")]
    violated = {record.as_of for record in mine if record.violated}
    drift = []
    for record in mine:
        why = ""
        # A missing column has no limit, and violates wherever it is judged.
        without_limit = record.limit is None and not (record.metric == "missing" and record.violated)
        if without_limit or (record.as_of not in violated and _unjudged(monitored, record.as_of, alerts.DRIFT)):
            why = _unjudged(monitored, record.as_of, alerts.DRIFT) or f"{record.rows:,} rows"
        drift.append(DriftFacts(record.as_of, record.column, record.value, record.limit, record.violated, why))
    return tuple(sorted(drift, key=lambda item: (item.as_of, item.column)))


def _unjudged(monitored: Mapping[datetime, MonitorDetails] | None, moment: datetime, kind: str) -> str:
    """Return why a kind of check was not judged at a step; empty where it was, or nothing is known of it."""
    details = (monitored or {}).get(moment)
    if details is None or kind in details.windows:
        return ""
    # Before the reason was recorded, what was not judged was left out of the windows.
    return details.not_judged.get(kind) or ("too few rows" if "windows" in details.model_fields_set else "")


def performance_of(
    records: Iterable[PerformanceRecord], monitored: Mapping[datetime, MonitorDetails] | None = None
) -> tuple[Performance, ...]:
    """Return realised performance of all versions together, one entry for each step, oldest first.

    Args:
        records: Of `ops.performance_metrics`.
        monitored: What the monitor recorded of itself at each step.
    """
    steps: dict[datetime, list[PerformanceRecord]] = {}
    for record in records:
        of_all = record.model_version is None and not record.slice
        if record.basis == "recent" and record.alias == CHAMPION and of_all:
            steps.setdefault(record.as_of, []).append(record)
    return tuple(
        Performance(
            as_of=as_of,
            window_start=mine[0].window_start,
            rows=mine[0].rows,
            coverage=mine[0].coverage,
            metrics={record.metric: _realised(record, (monitored or {}).get(as_of)) for record in mine},
        )
        for as_of, mine in sorted(steps.items())
    )


_NOT_JUDGED = "not judged: "


def _realised(record: PerformanceRecord, details: MonitorDetails | None) -> Realised:
    note, limit = record.note or "", record.limit
    why = note.removeprefix(_NOT_JUDGED) if note.startswith(_NOT_JUDGED) else ""
    recorded = details.model_fields_set if details is not None else frozenset()
    if limit is not None and details is not None and "windows" in recorded and "not_judged" not in recorded:
        # Recorded before the table said so itself: what was not judged was left out of the windows.
        kind = alerts.CALIBRATION if record.metric == CALIBRATION_RATIO else alerts.PERFORMANCE
        why = "" if kind in details.windows else "too few labels"
    return Realised(record.value, limit, record.violated, record.low, record.high, why)


def windows_of(records: Iterable[PerformanceRecord], metric: str) -> tuple[WindowFacts, ...]:
    """Return the windows of predictions, oldest first, each as it was measured last.

    Args:
        records: Of `ops.performance_metrics`.
        metric: The primary metric.
    """
    windows: dict[tuple[datetime, datetime], WindowFacts] = {}
    bases = ("estimated", "realised", base_rate.BASIS)
    mine = [record for record in records if record.basis in bases and record.alias == CHAMPION]
    for record in sorted(mine, key=lambda record: (record.as_of, record.basis)):
        place = (record.window_start, record.window_end)
        window = windows.get(place, WindowFacts(*place))
        if record.basis == "realised":
            window = replace(window, scored=record.scored, coverage=record.coverage)
        if record.basis == base_rate.BASIS:
            rate = (record.value, record.low, record.high)
            window = replace(window, by_scores=rate[0], by_scores_low=rate[1], by_scores_high=rate[2])
        elif record.metric == base_rate.RATE:
            if record.basis == "realised":
                note = record.note or ""
                text = note if base_rate.DISAGREE in note else ""
                window = replace(window, base_rate=record.value, disagreement=text)
        elif record.metric == baseline.metric(metric):
            window = replace(window, baseline=record.value)
        elif record.metric == metric and record.basis == "estimated":
            note = (record.note or "").partition(f"; {_NOT_JUDGED}")[0]
            window = replace(window, estimated=record.value, note=note)
        elif record.metric == metric:
            window = replace(window, realised=record.value, low=record.low, high=record.high)
        windows[place] = window
    return tuple(window for _, window in sorted(windows.items()))


def newest_first(records: Iterable[AlertRecord]) -> tuple[AlertRecord, ...]:
    """Return alerts newest first, the critical ones of a step before the others."""
    by_kind = sorted(records, key=lambda alert: (alert.severity != CRITICAL, alert.kind))
    return tuple(sorted(by_kind, key=lambda alert: alert.as_of, reverse=True))


def flows_of(stages: Sequence[StageRecord]) -> tuple[Flow, ...]:
    """Return how many rows went through each stage; stages that never ran well are left out."""
    flows = []
    for name in (*_ADDED_UP, *_NEWEST):
        mine = [stage for stage in stages if stage.stage == name and stage.status == DONE]
        if not mine:
            continue
        newest_only = name in _NEWEST
        counted = mine[-1:] if newest_only else mine
        flows.append(
            Flow(
                stage=name,
                rows_in=_total(stage.rows_in for stage in counted),
                rows_out=_total(stage.rows_out for stage in counted),
                rows_quarantined=_total(stage.rows_quarantined for stage in counted),
                newest_only=newest_only,
            )
        )
    return tuple(flows)


def timings_of(stages: Sequence[StageRecord]) -> tuple[Timing, ...]:
    """Return how long each stage took; the retrain decision is left out, its time holds that of train and gate."""
    durations: dict[str, list[float]] = {}
    for stage in stages:
        if stage.status == DONE and stage.stage != "retrain":
            durations.setdefault(stage.stage, []).append(stage.seconds)
    return tuple(Timing(name, tuple(values)) for name, values in durations.items())


def _total(values: Iterable[int | None]) -> int | None:
    counts = [value for value in values if value is not None]
    return sum(counts) if counts else None
