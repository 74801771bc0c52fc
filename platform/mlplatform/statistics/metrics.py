"""Metrics of predictions against known labels, with the direction that is better.

scikit-learn computes the standard ones; the expected calibration error follows Naeini, Cooper and Hauskrecht,
"Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015 (equal-width bins, weighted by their share).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.statistics import class_metrics, count_metrics, quantile_metrics
from mlplatform.statistics.metric import Metric, OfDraw, Vector, auc_of_draw, calibration_error_of_draw
from mlplatform.task import Task, task_of

__all__ = ["METRICS", "Metric", "Vector", "evaluate", "get", "of", "primary"]


def roc_auc(labels: Vector, predictions: Vector) -> float:
    """Area under the ROC curve; NaN when there is only one class.

    By the Mann-Whitney statistic on mid-ranks, which is what scikit-learn's trapezoids add up to, in one sort.

    Examples:
        >>> roc_auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.75
    """
    from scipy.stats import rankdata

    positives = int((labels == 1).sum())
    negatives = labels.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = rankdata(predictions)
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(labels: Vector, predictions: Vector) -> float:
    """Area under the precision-recall curve, as a step function; NaN without a positive."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, predictions)) if (labels == 1).any() else float("nan")


def brier(labels: Vector, predictions: Vector) -> float:
    """Mean squared difference between probability and outcome (Brier, 1950)."""
    return float(np.mean(_squared_errors(labels, predictions))) if labels.size else float("nan")


def log_loss(labels: Vector, predictions: Vector) -> float:
    """Mean negative log likelihood of a binary outcome, probabilities clipped at 1e-15."""
    return float(np.mean(_log_losses(labels, predictions))) if labels.size else float("nan")


def _log_losses(labels: Vector, predictions: Vector) -> Vector:
    clipped = np.clip(predictions, 1e-15, 1 - 1e-15)
    return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def _squared_errors(labels: Vector, predictions: Vector) -> Vector:
    return np.asarray((predictions - labels) ** 2)


def _absolute_errors(labels: Vector, predictions: Vector) -> Vector:
    return np.asarray(np.abs(labels - predictions))


def expected_calibration_error(labels: Vector, predictions: Vector, bins: int = 10) -> float:
    """Mean absolute difference between mean prediction and event rate over equal-width bins, weighted by rows.

    Examples:
        >>> round(expected_calibration_error(np.array([0.0, 1.0]), np.array([0.25, 0.75])), 6)
        0.25
    """
    if not labels.size:
        return float("nan")
    index = np.clip((predictions * bins).astype(int), 0, bins - 1)
    weight = np.bincount(index, minlength=bins)
    gap = np.abs(
        np.bincount(index, weights=predictions, minlength=bins) - np.bincount(index, weights=labels, minlength=bins)
    )
    return float(gap[weight > 0].sum() / labels.size)


def mae(labels: Vector, predictions: Vector) -> float:
    """Mean absolute error, in the label's unit."""
    return float(np.mean(_absolute_errors(labels, predictions))) if labels.size else float("nan")


def rmse(labels: Vector, predictions: Vector) -> float:
    """Root mean squared error, in the label's unit."""
    return _root(float(np.mean(_squared_errors(labels, predictions)))) if labels.size else float("nan")


def _root(mean: float) -> float:
    return float(np.sqrt(mean))


def calibration_slope(labels: Vector, predictions: Vector, *, binary: bool) -> float:
    """Slope of what happened on what was predicted: 1 is perfect, below 1 predictions are too extreme.

    For probabilities the slope of a logistic regression of the label on the prediction's log odds, fitted by Newton's
    method (Cox, "Two further applications of a model for binary regression", Biometrika 1958); else of a least squares
    line. NaN where no slope is defined: one class, or one prediction for all.

    Args:
        labels: Shape (rows,).
        predictions: Shape (rows,).
        binary: Whether labels are 0 or 1, and predictions probabilities.

    Examples:
        >>> values = np.array([1.0, 2.0, 3.0])
        >>> round(calibration_slope(2 * values, values, binary=False), 6)
        2.0
    """
    if labels.size == 0 or np.ptp(predictions) == 0 or (binary and np.ptp(labels) == 0):
        return float("nan")
    if not binary:
        centred = predictions - predictions.mean()
        return float(centred @ (labels - labels.mean()) / (centred @ centred))
    clipped = np.clip(predictions, 1e-6, 1 - 1e-6)
    odds = np.log(clipped / (1 - clipped))
    intercept, slope = float(np.log(labels.mean() / (1 - labels.mean()))), 0.0
    for _ in range(50):
        fitted = 1 / (1 + np.exp(-np.clip(intercept + slope * odds, -30, 30)))
        weight, rest = fitted * (1 - fitted), labels - fitted
        of_one, of_odds, of_both = weight.sum(), weight @ odds**2, weight @ odds
        determinant = of_one * of_odds - of_both**2
        if determinant <= 0:
            return float("nan")
        step = np.array([of_odds * rest.sum() - of_both * (rest @ odds), of_one * (rest @ odds) - of_both * rest.sum()])
        step /= determinant
        # Newton's first steps may leap: never farther than this at once.
        intercept, slope = intercept + float(np.clip(step[0], -5, 5)), slope + float(np.clip(step[1], -5, 5))
        if np.abs(step).max() < 1e-9:  # noqa: PLR2004
            return slope
    return float("nan")


def _average_precision_of_draw(labels: Vector, predictions: Vector) -> OfDraw:
    order = np.argsort(-predictions, kind="stable")
    positive = (labels[order] == 1).astype(np.int64)
    # Rows of one prediction enter together: precision is taken at the last of them.
    last = np.append(np.flatnonzero(np.diff(predictions[order])), max(order.size - 1, 0))

    def value(counts: npt.NDArray[np.int64]) -> float:
        drawn = counts[order]
        found, taken = np.cumsum(drawn * positive)[last], np.cumsum(drawn)[last]
        if not found.size or found[-1] == 0:
            return float("nan")
        precision = found / np.maximum(taken, 1)
        return float(np.diff(found, prepend=0) @ precision / found[-1])

    return value


METRICS = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", roc_auc, greater_is_better=True, fast_draws=auc_of_draw, within_classes=True),
        Metric(
            "average_precision",
            average_precision,
            greater_is_better=True,
            fast_draws=_average_precision_of_draw,
            within_classes=True,
        ),
        Metric("brier", brier, greater_is_better=False, losses=_squared_errors),
        Metric("log_loss", log_loss, greater_is_better=False, losses=_log_losses),
        Metric(
            "expected_calibration_error",
            expected_calibration_error,
            greater_is_better=False,
            fast_draws=calibration_error_of_draw,
        ),
        Metric("mae", mae, greater_is_better=False, losses=_absolute_errors),
        Metric("rmse", rmse, greater_is_better=False, losses=_squared_errors, finish=_root),
        *count_metrics.METRICS.values(),
    )
}
"""By name: those that are the same whatever else a use case says."""


def get(name: str, task: Task | None = None) -> Metric:
    """Return a metric by name.

    Args:
        name: Its name.
        task: Of the use case; a quantile's metrics are those of its level, and several classes have their own.

    Raises:
        ConfigError: If there is none of that name.
    """
    known: Mapping[str, Metric] = METRICS
    if task is not None and task.level is not None:
        known = METRICS | quantile_metrics.of_level(task.level)
    elif task is not None and task.is_multiclass:
        known = class_metrics.METRICS
    if name not in known:
        raise ConfigError(f"There is no metric {name!r}.", hint=did_you_mean(name, known))
    return known[name]


def of(task: Task) -> list[Metric]:
    """Return the metrics of a task."""
    return [get(name, task) for name in task.metrics]


def primary(settings: UseCaseSettings) -> Metric:
    """Return a use case's primary metric."""
    return get(settings.training.metric, settings.kind_of_task)


def evaluate(
    task: Task | str, labels: Vector, predictions: Vector, *, event_above: float | None = None
) -> dict[str, float]:
    """Return all metrics of a task, with the means of labels and predictions, or what else tells of their level.

    That is the coverage of a quantile, and of each class its recall, precision, share and mean probability.

    Args:
        task: The task, or its name.
        labels: Shape (rows,).
        predictions: Shape (rows,): the probability of the positive class, or the predicted value; of several classes
            shape (rows, classes).
        event_above: Of amounts: a label above this is an event; adds `event_roc_auc`, how well the predicted values
            rank events above the others.

    Examples:
        >>> found = evaluate("regression", np.array([0.0, 30.0]), np.array([5.0, 20.0]), event_above=15.0)
        >>> found["mae"], found["event_roc_auc"]
        (7.5, 1.0)
    """
    task = task_of(task)
    if task.is_multiclass and not np.isfinite(predictions).all():
        raise ValueError("Predictions hold NaN or infinity.")
    values = {metric.name: metric.compute(labels, predictions) for metric in of(task)}
    if task.is_multiclass:
        for found in class_metrics.of_each(task.classes, labels, predictions):
            values |= found.values()
        return values
    if event_above is not None:
        values["event_roc_auc"] = roc_auc((labels > event_above).astype(np.float64), predictions)
    if task.level is not None:
        values[quantile_metrics.COVERAGE] = quantile_metrics.coverage(labels, predictions)
    values["label_mean"] = float(labels.mean()) if labels.size else float("nan")
    values["prediction_mean"] = float(predictions.mean()) if predictions.size else float("nan")
    return values
