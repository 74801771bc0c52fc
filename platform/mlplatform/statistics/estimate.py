"""Performance before labels: what the model's own probabilities say about it.

Confidence-based performance estimation (CBPE), as described, and taken further for shifted inputs, in Bialek, Kivimaki,
Kuberski and Perrakis, "Estimating Model Performance Under Covariate Shift Without Labels", NeurIPS 2025 (arXiv
2401.08348): each row counts as an event by its calibrated probability and as none by the rest, and a metric's expected
value follows. It holds as long as a score means what it meant on the holdout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlplatform.statistics import class_metrics
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task

BLIND_SPOT = (
    "assumes that a score still means what it meant on the holdout: a shift of the base rate (the same inputs, other "
    "outcomes) does not show in it"
)
NO_CALIBRATION = "not available: the model version was registered without a calibration"
_TEMPERATURE, _COOLEST, _HOTTEST = "temperature", 0.05, 20.0
_LEAST_EVENTS = 2


def not_for(task: Task) -> str:
    """Say why there is no estimate for a task."""
    return f"not available: the estimate needs class probabilities, {task.noun} gives none"


def fit_calibration(labels: Vector, predictions: Vector) -> dict[str, float] | None:
    """Fit a logistic calibration on a holdout, which the model has not seen.

    The method of Platt, "Probabilistic Outputs for Support Vector Machines", 1999, on the log odds: two numbers, which
    a few dozen events are enough for (an isotonic curve needs about a thousand).

    Args:
        labels: 0 or 1, shape (rows,).
        predictions: Probabilities, shape (rows,).

    Returns:
        `slope` and `intercept` of the calibrated log odds, and `slope_error`, the slope's standard error (none where
        all predictions are alike); None with fewer than two events or non-events.
    """
    from sklearn.linear_model import LogisticRegression

    events = int(labels.sum())
    if min(events, labels.size - events) < _LEAST_EVENTS:
        return None
    # Platt's own targets, pulled in from 0 and 1 by a prior count, come close to this slight penalty.
    odds = _log_odds(predictions)
    fitted = LogisticRegression(C=1e3).fit(odds[:, None], labels)
    found = {"slope": float(fitted.coef_[0, 0]), "intercept": float(fitted.intercept_[0])}
    rates = calibrated(predictions, found)
    weights = rates * (1 - rates)
    information = float(weights @ (odds - weights @ odds / max(float(weights.sum()), 1e-300)) ** 2)
    return found | {"slope_error": information**-0.5} if information > 0 else found


def calibrated(predictions: Vector, calibration: Mapping[str, float]) -> Vector:
    """Return calibrated probabilities, shape (rows,).

    Examples:
        >>> calibrated(np.array([0.5]), {"slope": 1.0, "intercept": 0.0}).tolist()
        [0.5]
    """
    odds = calibration["slope"] * _log_odds(predictions) + calibration["intercept"]
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -700, 700))), dtype=np.float64)


def expected_metrics(predictions: Vector, probabilities: Vector) -> dict[str, float]:
    """Return the expected value of each metric that has one in closed form.

    Args:
        predictions: What the model said, shape (rows,).
        probabilities: Calibrated probability of the event, shape (rows,).

    Returns:
        `roc_auc`, `average_precision`, `brier`, `log_loss`, `label_mean`; NaN where not defined. Empty without rows.

    Examples:
        >>> sure = np.array([0.0, 0.0, 1.0])
        >>> expected_metrics(np.array([0.1, 0.8, 0.7]), sure)["roc_auc"]
        0.5
    """
    if not predictions.size:
        return {}
    clipped = np.clip(predictions, 1e-15, 1 - 1e-15)
    loss = -(probabilities * np.log(clipped) + (1 - probabilities) * np.log(1 - clipped))
    squared = probabilities * (1 - predictions) ** 2 + (1 - probabilities) * predictions**2
    return {
        "roc_auc": _expected_auc(predictions, probabilities),
        "average_precision": _expected_precision(predictions, probabilities),
        "brier": float(squared.mean()),
        "log_loss": float(loss.mean()),
        "label_mean": float(probabilities.mean()),
    }


def fit_temperature(labels: Vector, probabilities: Vector) -> dict[str, float] | None:
    """Fit one number to the probabilities of several classes, on a holdout that the model has not seen.

    Temperature scaling, after Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017:
    the logarithms of all probabilities are divided by it. It moves no class before another one.

    Args:
        labels: Places of classes, shape (rows,).
        probabilities: Shape (rows, classes).

    Returns:
        `temperature`: above 1 where the model is too sure. None with fewer than two rows.
    """
    from scipy.optimize import minimize_scalar

    if labels.size < _LEAST_EVENTS:
        return None

    def loss(logarithm: float) -> float:
        made = scaled(probabilities, {_TEMPERATURE: float(np.exp(logarithm))})
        return float(class_metrics.log_losses(labels, made).mean())

    ends = (float(np.log(_COOLEST)), float(np.log(_HOTTEST)))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-4})
    return {_TEMPERATURE: float(np.exp(found.x))}


def scaled(probabilities: Vector, calibration: Mapping[str, float]) -> Vector:
    """Return calibrated probabilities of several classes, shape (rows, classes).

    Examples:
        >>> scaled(np.array([[0.8, 0.1, 0.1]]), {"temperature": 1.0}).round(6).tolist()
        [[0.8, 0.1, 0.1]]
    """
    logits = np.log(np.clip(probabilities, class_metrics.SMALLEST, 1.0)) / calibration[_TEMPERATURE]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def expected_of_classes(classes: Sequence[str], predictions: Vector, probabilities: Vector) -> dict[str, float]:
    """Return the expected value of each metric of several classes that has one in closed form.

    Args:
        classes: Their names, in order.
        predictions: What the model said, shape (rows, classes).
        probabilities: Calibrated, shape (rows, classes).

    Returns:
        `log_loss`, `accuracy`, `brier`, and `label_share` of each class. Empty without rows.

    Examples:
        >>> made = np.array([[0.6, 0.3, 0.1]])
        >>> round(expected_of_classes("abc", made, made)["accuracy"], 6)
        0.6
    """
    if not len(predictions):
        return {}
    clipped = np.clip(predictions, class_metrics.SMALLEST, 1 - class_metrics.SMALLEST)
    top = probabilities[np.arange(len(predictions)), class_metrics.predicted(predictions)]
    squared = (predictions**2).sum(axis=1) - 2 * (predictions * probabilities).sum(axis=1) + 1
    means = zip(classes, probabilities.mean(axis=0).tolist(), strict=True)
    return {
        class_metrics.LOG_LOSS: float(-(probabilities * np.log(clipped)).sum(axis=1).mean()),
        class_metrics.ACCURACY: float(top.mean()),
        class_metrics.BRIER: float(squared.mean()),
        **{class_metrics.named(class_metrics.SHARE, name): mean for name, mean in means},
    }


def _expected_auc(predictions: Vector, events: Vector) -> float:
    """Expected share of (event, non-event) pairs in the right order; ties count half, a row is no pair with itself."""
    _, group = np.unique(predictions, return_inverse=True)
    up, down = np.bincount(group, weights=events), np.bincount(group, weights=1 - events)
    with_itself = float(np.sum(events * (1 - events)))
    pairs = float(up.sum() * down.sum()) - with_itself
    if pairs <= 0:
        return float("nan")
    right = float((up * (np.cumsum(down) - down / 2)).sum()) - with_itself / 2
    return right / pairs


def _expected_precision(predictions: Vector, events: Vector) -> float:
    total = float(events.sum())
    if total <= 0:
        return float("nan")
    values, group = np.unique(-predictions, return_inverse=True)
    hits, rows = np.bincount(group, weights=events, minlength=values.size), np.bincount(group, minlength=values.size)
    return float(np.sum(hits / total * np.cumsum(hits) / np.cumsum(rows)))


def _log_odds(probabilities: Vector) -> Vector:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)
