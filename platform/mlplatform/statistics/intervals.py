"""Intervals of realised metrics: in closed form, so that every window and slice can have them at no cost."""

from __future__ import annotations

import numpy as np

from mlplatform.statistics import metrics
from mlplatform.statistics.metric import Metric, Vector
from mlplatform.statistics.quantile_metrics import COVERAGE, coverage

Interval = tuple[float, float]
LEVEL = 0.95
NORMAL = 1.959963984540054
"""Of the two-sided 95% level."""
_DRAWS, _SEED = 200, 0


def interval(metric: Metric | str, labels: Vector, predictions: Vector, *, resample: bool = False) -> Interval | None:
    """Return the 95% interval of a metric.

    Means of per-row losses by the central limit theorem, the root of a mean by its ends' roots, the mean of a binary
    label and the coverage of a quantile after Wilson (1927), the area under the ROC curve after DeLong, DeLong and
    Clarke-Pearson (1988). What has no closed form is resampled where asked for (percentile bootstrap, Efron and
    Tibshirani, 1993; 200 draws).

    Args:
        metric: The metric, or its name; or `label_mean`, `prediction_mean`, `quantile_coverage`.
        labels: Shape (rows,).
        predictions: Shape (rows,).
        resample: Draw where there is no closed form.

    Returns:
        Low and high; None where there is none.

    Examples:
        >>> low, high = interval("mae", np.zeros(4), np.ones(4))
        >>> low, high
        (1.0, 1.0)
    """
    if labels.size < 2:  # noqa: PLR2004  (one row has no spread)
        return None
    if metric == "label_mean" and np.isin(labels, (0.0, 1.0)).all():
        return wilson(float(labels.mean()), labels.size)
    if metric == COVERAGE:
        return wilson(coverage(labels, predictions), labels.size)
    of_rows = losses(metric, labels, predictions)
    found = metrics.METRICS.get(metric) if isinstance(metric, str) else metric
    if of_rows is not None:
        middle, half = float(of_rows.mean()), NORMAL * float(of_rows.std(ddof=1)) / float(np.sqrt(of_rows.size))
        low, high = middle - half, middle + half
        return (low, high) if found is None else finished(found, low, high)
    if found is None:
        return None
    if found.name == "roc_auc":
        auc = delong(labels, predictions)
        if auc is None:
            return None
        area, half = auc[0], NORMAL * auc[1]
        return max(0.0, area - half), min(1.0, area + half)
    return _bootstrap(found, labels, predictions) if resample else None


def finished(metric: Metric, low: float, high: float) -> Interval:
    """Return the interval of a metric by that of the mean of its losses."""
    if metric.finish is float:
        return low, high
    ends = metric.finish(max(low, 0.0)), metric.finish(max(high, 0.0))
    return min(ends), max(ends)


def losses(metric: Metric | str, labels: Vector, predictions: Vector) -> Vector | None:
    """Return each row's loss of a metric that is a mean of them (of `rmse` the root of it); None where there is none.

    Args:
        metric: The metric, or its name; or `label_mean`, `prediction_mean`.
        labels: Shape (rows,).
        predictions: Shape (rows,).
    """
    if metric == "label_mean":
        return labels
    if metric == "prediction_mean":
        return predictions
    found = metrics.METRICS.get(metric) if isinstance(metric, str) else metric
    return None if found is None or found.losses is None else found.losses(labels, predictions)


def wilson(rate: float, rows: int) -> Interval:
    """Return the 95% score interval of a rate (Wilson, "Probable Inference", JASA 1927): sound for rare events too.

    Examples:
        >>> [round(end, 3) for end in wilson(0.0, 10)]
        [0.0, 0.278]
    """
    square = NORMAL**2
    center = (rate + square / (2 * rows)) / (1 + square / rows)
    half = NORMAL * float(np.sqrt(rate * (1 - rate) / rows + square / (4 * rows**2))) / (1 + square / rows)
    return max(0.0, center - half), min(1.0, center + half)


def delong(labels: Vector, predictions: Vector) -> tuple[float, float] | None:
    """Return the area under the ROC curve and its standard error; None with fewer than two rows of a class.

    By mid-ranks, which is the fast form of Sun and Xu, IEEE Signal Processing Letters 2014.

    Args:
        labels: 0 or 1, shape (rows,).
        predictions: Shape (rows,).
    """
    from scipy.stats import rankdata

    events = labels == 1
    up, down = int(events.sum()), int((~events).sum())
    if min(up, down) < 2:  # noqa: PLR2004  (one row has no spread)
        return None
    among_all = rankdata(predictions)
    above = (among_all[events] - rankdata(predictions[events])) / down
    below = 1 - (among_all[~events] - rankdata(predictions[~events])) / up
    return float(above.mean()), float(np.sqrt(above.var(ddof=1) / up + below.var(ddof=1) / down))


def _bootstrap(metric: Metric, labels: Vector, predictions: Vector) -> Interval | None:
    random = np.random.default_rng(_SEED)
    of_draw = metric.draws(labels, predictions)
    drawn = np.array(
        [
            of_draw(np.bincount(random.integers(0, labels.size, labels.size), minlength=labels.size))
            for _ in range(_DRAWS)
        ]
    )
    finite = drawn[np.isfinite(drawn)]
    if finite.size < _DRAWS / 2:
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)
