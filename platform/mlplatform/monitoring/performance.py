"""Realised performance: predictions joined with the labels that have become known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlplatform.config import UseCaseSettings
from mlplatform.models import metrics
from mlplatform.models.metrics import Vector

CALIBRATION_RATIO = "calibration_ratio"


@dataclass(frozen=True)
class PerformanceMetric:
    """One realised metric; `value` is None where it is not defined (no row, one class)."""

    metric: str
    value: float | None
    limit: float | None
    violated: bool


def realised(labels: Vector, predictions: Vector, settings: UseCaseSettings) -> list[PerformanceMetric]:
    """Measure predictions against the labels that became known.

    Args:
        labels: Shape (rows,).
        predictions: Shape (rows,).
        settings: The limits.

    Returns:
        All metrics of the task, and for probabilities the ratio of observed to predicted mean. With fewer rows than
        `monitoring.min_rows` nothing violates.
    """
    limits = settings.monitoring
    judged = labels.size >= limits.min_rows
    found = []
    for name, value in metrics.evaluate(
        settings.task, labels, predictions, event_above=settings.label.event_above
    ).items():
        limit, violated = None, False
        if name == settings.training.metric and limits.performance_floor is not None:
            limit = limits.performance_floor
            violated = judged and bool(np.isfinite(value)) and metrics.get(name).gain(value, limit) < 0
        found.append(PerformanceMetric(name, value if np.isfinite(value) else None, limit, violated))
    if settings.task == "classification":
        found.append(_calibration_ratio(labels, predictions, limits.max_calibration_ratio, judged=judged))
    return found


def _calibration_ratio(labels: Vector, predictions: Vector, limit: float, *, judged: bool) -> PerformanceMetric:
    expected = float(predictions.mean()) if predictions.size else 0.0
    if expected <= 0:
        return PerformanceMetric(CALIBRATION_RATIO, None, limit, violated=False)
    ratio = float(labels.mean()) / expected
    # The number of events is a sum of independent ones with these probabilities: three standard deviations are noise.
    noise = 3 * float(np.sqrt(np.sum(predictions * (1 - predictions)))) / float(predictions.sum())
    off = ratio > limit or ratio < 1 / limit
    return PerformanceMetric(CALIBRATION_RATIO, ratio, limit, violated=judged and off and abs(ratio - 1) > noise)
