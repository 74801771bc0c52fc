"""Realised performance: predictions joined with the labels that have become known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring.alerts import too_few
from mlplatform.statistics import estimate, metrics
from mlplatform.statistics.intervals import interval
from mlplatform.statistics.metrics import Vector

CALIBRATION_RATIO = "calibration_ratio"
COVERAGE = "coverage"


@dataclass(frozen=True)
class PerformanceMetric:
    """One metric of a window.

    Attributes:
        metric: Its name.
        value: None where it is not defined (no row, one class) or not available.
        limit: From the settings; None: recorded, not judged: there were too few rows, as `note` says, or none is set.
        violated: True when the value lies beyond the limit.
        low: Lower end of the 95% interval; None where there is none.
        high: Its upper end.
        estimate: What had been estimated for the window before its labels were known.
        note: Why there is no value, why it was not judged, or what an estimate is blind to.
    """

    metric: str
    value: float | None
    limit: float | None
    violated: bool
    low: float | None = None
    high: float | None = None
    estimate: float | None = None
    note: str | None = None


def realised(
    labels: Vector,
    predictions: Vector,
    settings: UseCaseSettings,
    *,
    judge: bool = True,
    estimates: Mapping[str, float] | None = None,
) -> list[PerformanceMetric]:
    """Measure predictions against the labels that became known.

    Args:
        labels: Shape (rows,).
        predictions: Shape (rows,).
        settings: The limits.
        judge: Hold the values against the limits; else they are only recorded.
        estimates: What was estimated for the same predictions, by metric.

    Returns:
        All metrics of the task, and for probabilities the ratio of observed to predicted mean. With fewer rows than
        `monitoring.min_rows` nothing is judged.
    """
    limits = settings.monitoring
    judged = judge and labels.size >= limits.min_rows
    why = not_judged(labels.size, settings) if judge and not judged else None
    results = []
    measured = metrics.evaluate(settings.task, labels, predictions, event_above=settings.label.event_above)
    for name, value in measured.items():
        primary = name == settings.training.metric
        limit, violated, note = None, False, None
        if primary and limits.performance_floor is not None:
            limit, note = limits.performance_floor if judged else None, why
            violated = limit is not None and bool(np.isfinite(value)) and metrics.get(name).gain(value, limit) < 0
        ends = interval(name, labels, predictions, resample=primary) if np.isfinite(value) else None
        low, high = ends or (None, None)
        results.append(PerformanceMetric(name, _finite(value), limit, violated, low, high, note=note))
    if settings.task == "classification":
        limit = limits.max_calibration_ratio if judged else None
        results.append(replace(_calibration_ratio(labels, predictions, limit), note=why))
    return [replace(item, estimate=(estimates or {}).get(item.metric)) for item in results]


def estimated(
    predictions: Vector, calibration: Mapping[str, float] | None, settings: UseCaseSettings
) -> list[PerformanceMetric]:
    """Estimate the metrics of predictions whose labels are not known yet.

    Args:
        predictions: Shape (rows,).
        calibration: What the reference profile holds.
        settings: Task and limits.

    Returns:
        The expected metrics of a classifier, each with its blind spot in `note`; else the primary metric without a
        value, and why there is none. The primary metric is held against `monitoring.performance_floor`.
    """
    primary, limits = settings.training.metric, settings.monitoring
    if settings.task != "classification" or calibration is None:
        why = estimate.NO_CALIBRATION if settings.task == "classification" else estimate.NOT_FOR_REGRESSION
        return [PerformanceMetric(primary, None, None, violated=False, note=why)]
    results = []
    expected = estimate.expected_metrics(predictions, estimate.calibrated(predictions, calibration))
    for name, value in expected.items():
        limit, note = None, estimate.BLIND_SPOT
        if name == primary and limits.performance_floor is not None:
            if predictions.size >= limits.min_rows:
                limit = limits.performance_floor
            else:
                note = f"{note}; {not_judged(predictions.size, settings)}"
        violated = limit is not None and bool(np.isfinite(value)) and metrics.get(name).gain(value, limit) < 0
        results.append(PerformanceMetric(name, _finite(value), limit, violated, note=note))
    return results


def not_judged(rows: int, settings: UseCaseSettings) -> str:
    """Say that there are too few rows to be held against the limits."""
    return f"not judged: {too_few(rows, settings.monitoring.min_rows)}"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _calibration_ratio(labels: Vector, predictions: Vector, limit: float | None) -> PerformanceMetric:
    expected = float(predictions.mean()) if predictions.size else 0.0
    if expected <= 0:
        return PerformanceMetric(CALIBRATION_RATIO, None, limit, violated=False)
    ratio = float(labels.mean()) / expected
    # The number of events is a sum of independent ones with these probabilities: three standard deviations are noise.
    noise = 3 * float(np.sqrt(np.sum(predictions * (1 - predictions)))) / float(predictions.sum())
    off = limit is not None and (ratio > limit or ratio < 1 / limit)
    ends = interval("label_mean", labels, predictions)
    low, high = (ends[0] / expected, ends[1] / expected) if ends else (None, None)
    return PerformanceMetric(CALIBRATION_RATIO, ratio, limit, off and abs(ratio - 1) > noise, low, high)
