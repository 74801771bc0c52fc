"""Metrics of predictions against known labels, with the direction that is better.

scikit-learn computes the standard ones; the expected calibration error follows Naeini, Cooper and Hauskrecht,
"Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015 (equal-width bins, weighted by their share).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlplatform.config import CLASSIFICATION_METRICS, REGRESSION_METRICS
from mlplatform.errors import ConfigError, did_you_mean

Vector = npt.NDArray[np.float64]
OfDraw = Callable[[npt.NDArray[np.int64]], float]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: Its name, as in scikit-learn where it has one.
        compute: Takes labels and predictions, each of shape (rows,), and returns the value.
        greater_is_better: Its direction.
        fast_draws: A faster way to do what `draws` does, where there is one.
    """

    name: str
    compute: Callable[[Vector, Vector], float]
    greater_is_better: bool
    fast_draws: Callable[[Vector, Vector], OfDraw] | None = None

    def draws(self, labels: Vector, predictions: Vector) -> OfDraw:
        """Return a function of how often each row was drawn, shape (rows,), that gives the metric of that draw."""
        if self.fast_draws is not None:
            return self.fast_draws(labels, predictions)
        return lambda counts: self.compute(np.repeat(labels, counts), np.repeat(predictions, counts))

    def gain(self, challenger: float, champion: float) -> float:
        """Return how much better the challenger is; above zero is better, whatever the direction."""
        return challenger - champion if self.greater_is_better else champion - challenger


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
    return float(np.mean((predictions - labels) ** 2)) if labels.size else float("nan")


def log_loss(labels: Vector, predictions: Vector) -> float:
    """Mean negative log likelihood of a binary outcome, probabilities clipped at 1e-15."""
    clipped = np.clip(predictions, 1e-15, 1 - 1e-15)
    return (
        float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped))) if labels.size else float("nan")
    )


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
    return float(np.mean(np.abs(labels - predictions))) if labels.size else float("nan")


def rmse(labels: Vector, predictions: Vector) -> float:
    """Root mean squared error, in the label's unit."""
    return float(np.sqrt(np.mean((labels - predictions) ** 2))) if labels.size else float("nan")


def _auc_of_draw(labels: Vector, predictions: Vector) -> OfDraw:
    # Sorted once: a draw only changes how much each distinct prediction weighs.
    _, group = np.unique(predictions, return_inverse=True)
    positive = labels == 1
    of_positive, of_negative, groups = group[positive], group[~positive], int(group.max(initial=-1)) + 1

    def value(counts: npt.NDArray[np.int64]) -> float:
        up = np.bincount(of_positive, weights=counts[positive], minlength=groups)
        down = np.bincount(of_negative, weights=counts[~positive], minlength=groups)
        pairs = up.sum() * down.sum()
        return float((up * (np.cumsum(down) - down / 2)).sum() / pairs) if pairs else float("nan")

    return value


METRICS = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", roc_auc, greater_is_better=True, fast_draws=_auc_of_draw),
        Metric("average_precision", average_precision, greater_is_better=True),
        Metric("brier", brier, greater_is_better=False),
        Metric("log_loss", log_loss, greater_is_better=False),
        Metric("expected_calibration_error", expected_calibration_error, greater_is_better=False),
        Metric("mae", mae, greater_is_better=False),
        Metric("rmse", rmse, greater_is_better=False),
    )
}
BY_TASK = {"classification": CLASSIFICATION_METRICS, "regression": REGRESSION_METRICS}


def get(name: str) -> Metric:
    """Return a metric by name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in METRICS:
        raise ConfigError(f"There is no metric {name!r}.", hint=did_you_mean(name, METRICS))
    return METRICS[name]


def evaluate(task: str, labels: Vector, predictions: Vector, *, event_above: float | None = None) -> dict[str, float]:
    """Return all metrics of a task, with the means of labels and predictions.

    Args:
        task: `classification` or `regression`.
        labels: Shape (rows,).
        predictions: Shape (rows,): the probability of the positive class, or the predicted value.
        event_above: Regression: a label above this is an event; adds `event_roc_auc`, how well the predicted values
            rank events above the others.

    Examples:
        >>> found = evaluate("regression", np.array([0.0, 30.0]), np.array([5.0, 20.0]), event_above=15.0)
        >>> found["mae"], found["event_roc_auc"]
        (7.5, 1.0)
    """
    values = {name: METRICS[name].compute(labels, predictions) for name in BY_TASK[task]}
    if event_above is not None:
        values["event_roc_auc"] = roc_auc((labels > event_above).astype(np.float64), predictions)
    values["label_mean"] = float(labels.mean()) if labels.size else float("nan")
    values["prediction_mean"] = float(predictions.mean()) if predictions.size else float("nan")
    return values
