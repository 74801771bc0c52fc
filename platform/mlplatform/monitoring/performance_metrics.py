"""Realised performance: predictions joined with the labels that have become known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import class_performance
from mlplatform.monitoring.alerts import too_few
from mlplatform.statistics import estimate, metrics
from mlplatform.statistics.class_totals import AnyTotals
from mlplatform.statistics.intervals import Interval, interval, wilson
from mlplatform.statistics.metric import Metric, Vector
from mlplatform.statistics.quantile_metrics import COVERAGE as QUANTILE_COVERAGE
from mlplatform.statistics.totals import AREAS, BINS, Totals, rescaled
from mlplatform.task import Task

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
        p_value: Of a value so far from its limit by chance; None where nothing is tested.
    """

    metric: str
    value: float | None
    limit: float | None
    violated: bool
    low: float | None = None
    high: float | None = None
    estimate: float | None = None
    note: str | None = None
    p_value: float | None = None


def realised(
    labels: Vector,
    predictions: Vector,
    settings: UseCaseSettings,
    *,
    judge: bool = True,
    estimates: Mapping[str, float] | None = None,
    whole: AnyTotals | None = None,
) -> list[PerformanceMetric]:
    """Measure predictions against the labels that became known.

    Args:
        labels: Shape (rows,).
        predictions: Shape (rows,), of several classes (rows, classes).
        settings: The limits.
        judge: Hold the values against the limits; else they are only recorded.
        estimates: What was estimated for the same predictions, by metric.
        whole: Where labels and predictions are a sample: the totals of all rows.

    Returns:
        All metrics of the task; for probabilities and counts the ratio of observed to predicted mean (of several
        classes that of each), for a quantile the share of labels at or below it. With fewer rows than
        `monitoring.min_rows` nothing is judged.
    """
    limits, rows = settings.monitoring, whole.rows if whole is not None else int(labels.size)
    judged = judge and rows >= limits.min_rows
    why = not_judged(rows, settings) if judge and not judged else None
    results = []
    task, primary_metric = settings.kind_of_task, metrics.primary(settings)
    measured = metrics.evaluate(task, labels, predictions, event_above=settings.label.event_above)
    known = {metric.name: metric for metric in metrics.of(task)}
    of_classes = class_performance.classes_of(task, labels, predictions, whole)
    shares = class_performance.intervals(of_classes)
    for name, of_rows in measured.items():
        primary = name == primary_metric.name
        value, note = _of_all(name, of_rows, whole, labels.size)
        if name == QUANTILE_COVERAGE:
            results.append(_coverage(value, rows, task.level, limits.max_coverage_gap if judged else None, why))
            continue
        limit, violated = None, False
        if primary and limits.performance_floor is not None:
            if judged and not np.isfinite(value):
                note = said(f"not judged: {undefined(name)}", note)  # neither well nor ill
            else:
                limit, note = limits.performance_floor if judged else None, said(why, note)
            violated = limit is not None and not primary_metric.gain(value, limit) >= 0
        ends = shares.get(name)
        if ends is None and np.isfinite(value):
            ends = _ends(known.get(name, name), value, labels, predictions, whole, primary)
        low, high = ends or (None, None)
        results.append(PerformanceMetric(name, _finite(value), limit, violated, low, high, note=note))
    for ratio in class_performance.ratios(of_classes, limits.max_calibration_ratio if judged else None):
        low, high = ratio.ends
        results.append(PerformanceMetric(ratio.name, ratio.value, ratio.limit, ratio.violated, low, high, note=why))
    if task.totals_are_held:
        limit = limits.max_calibration_ratio if judged else None
        results.append(replace(_calibration_ratio(task, labels, predictions, limit, whole), note=why))
    return [replace(item, estimate=(estimates or {}).get(item.metric)) for item in results]


def undefined(name: str) -> str:
    """Say that a metric has no value on rows that were enough."""
    return f"{name} is not defined on these rows"


def said(*notes: str | None) -> str | None:
    """Return notes as one; None where none says anything."""
    return "; ".join(note for note in notes if note) or None


def _of_all(name: str, of_rows: float, whole: AnyTotals | None, rows: int) -> tuple[float, str | None]:
    """Return a metric over all rows, and what is to be said of how it was computed."""
    if whole is None:
        return of_rows, None
    value = whole.value(name)
    if value is None:
        return of_rows, f"on a sample of {rows:,} of {whole.rows:,} rows (monitoring.max_rows)"
    if name in AREAS and isinstance(whole, Totals):
        return value, f"from {BINS:,} bins of scores: off by at most {whole.area_error:.1e}"
    return value, None


def _ends(
    metric: Metric | str, value: float, labels: Vector, predictions: Vector, whole: AnyTotals | None, primary: bool
) -> Interval | None:
    if whole is None:
        return interval(metric, labels, predictions, resample=primary)
    known = whole.interval(metric if isinstance(metric, str) else metric.name)
    if known is None and primary:
        return rescaled(metric, value, labels, predictions, whole.rows)
    return known


def estimated(
    predictions: Vector,
    calibration: Mapping[str, float] | None,
    settings: UseCaseSettings,
    *,
    rows: int | None = None,
) -> list[PerformanceMetric]:
    """Estimate the metrics of predictions whose labels are not known yet.

    Args:
        predictions: Shape (rows,), of several classes (rows, classes).
        calibration: What the reference profile holds.
        settings: Task and limits.
        rows: Where the predictions are a sample: how many all are.

    Returns:
        The expected metrics of a classifier, each with its blind spot in `note`; else the primary metric without a
        value, and why there is none. The primary metric is held against `monitoring.performance_floor`.
    """
    primary, limits, task = settings.training.metric, settings.monitoring, settings.kind_of_task
    if not task.predicts_probabilities or calibration is None:
        why = estimate.NO_CALIBRATION if task.predicts_probabilities else estimate.not_for(task)
        return [PerformanceMetric(primary, None, None, violated=False, note=why)]
    results = []
    if task.is_multiclass:
        scaled = estimate.scaled(predictions, calibration)
        expected = estimate.expected_of_classes(task.classes, predictions, scaled)
        if primary not in expected:
            why = f"not available: {primary} has no expected value in closed form; log_loss, accuracy and brier have"
            results.append(PerformanceMetric(primary, None, None, violated=False, note=why))
    else:
        expected = estimate.expected_metrics(predictions, estimate.calibrated(predictions, calibration))
    count = len(predictions)
    for name, value in expected.items():
        limit, note = None, estimate.BLIND_SPOT
        if rows is not None and rows > count:
            note = f"{note}; on a sample of {count:,} of {rows:,} rows (monitoring.max_rows)"
        if name == primary and limits.performance_floor is not None:
            if count >= limits.min_rows:
                limit = limits.performance_floor
            else:
                note = f"{note}; {not_judged(count, settings)}"
        violated = (
            limit is not None and bool(np.isfinite(value)) and not metrics.get(name, task).gain(value, limit) >= 0
        )
        results.append(PerformanceMetric(name, _finite(value), limit, violated, note=note))
    return results


def not_judged(rows: int, settings: UseCaseSettings) -> str:
    """Say that there are too few rows to be held against the limits."""
    return f"not judged: {too_few(rows, settings.monitoring.min_rows)}"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _coverage(value: float, rows: int, level: float | None, limit: float | None, why: str | None) -> PerformanceMetric:
    """Return the coverage of a quantile: off where it is farther from the level than allowed, and chance is no reason.

    Args:
        value: The coverage.
        rows: Of so many.
        level: What it is to be.
        limit: The gap that is allowed; None: it is not judged.
        why: Why it is not.
    """
    assert level is not None, "the settings of a quantile name its level"
    if not np.isfinite(value):
        return PerformanceMetric(QUANTILE_COVERAGE, None, None, violated=False, note=why)
    gap, noise = abs(value - level), 3 * float(np.sqrt(level * (1 - level) / rows))
    violated = limit is not None and not gap <= max(limit, noise)
    low, high = wilson(value, rows)
    note = said(why, f"of the quantile {level:g}")
    return PerformanceMetric(QUANTILE_COVERAGE, value, limit, violated, low, high, note=note)


def _calibration_ratio(
    task: Task, labels: Vector, predictions: Vector, limit: float | None, whole: AnyTotals | None
) -> PerformanceMetric:
    if isinstance(whole, Totals):
        expected, observed, rows = whole.mean("prediction_mean"), whole.mean("label_mean"), whole.rows
        variance = whole.sums["brier" if task.predicts_counts else "noise"]
    else:
        rows = int(labels.size)
        expected = float(predictions.mean()) if rows else 0.0
        observed = float(labels.mean()) if rows else 0.0
        # Counts vary more than a Poisson distribution says, as a rule: by how much, they show themselves.
        spread = (labels - predictions) ** 2 if task.predicts_counts else predictions * (1 - predictions)
        variance = float(np.sum(spread))
    ratio = observed / expected if 0 < expected < float("inf") else float("nan")
    if not np.isfinite(ratio):
        return PerformanceMetric(CALIBRATION_RATIO, None, None, violated=False)
    # The total is a sum of independent ones with these means: three of its standard deviations are noise.
    noise = 3 * float(np.sqrt(variance)) / (expected * rows)
    off = limit is not None and not 1 / limit <= ratio <= limit
    ends = whole.interval("label_mean") if whole is not None else interval("label_mean", labels, predictions)
    low, high = (ends[0] / expected, ends[1] / expected) if ends else (None, None)
    return PerformanceMetric(CALIBRATION_RATIO, ratio, limit, off and not abs(ratio - 1) <= noise, low, high)
