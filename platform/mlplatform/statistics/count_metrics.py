"""Metrics of predicted counts: the deviance of a Poisson distribution, and the share of it that is explained.

A prediction is the expected count. One of 0 is taken for `SMALLEST`: right where the label is 0, and very wrong where
it is not, as a probability of 0 is for the log loss.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlplatform.statistics.metric import Metric, OfDraw, Vector, mean_of

DEVIANCE, EXPLAINED = "poisson_deviance", "d2"
SMALLEST = 1e-15
"""A predicted count below this, which has no logarithm, is taken for it."""


def deviances(labels: Vector, predictions: Vector) -> Vector:
    """Return each row's deviance: twice what the log likelihood lacks to that of the label itself.

    McCullagh and Nelder, "Generalized Linear Models", 1989, chapter 2.3; as scikit-learn's `mean_poisson_deviance`,
    which refuses predictions of 0.

    Args:
        labels: Counts, shape (rows,).
        predictions: Expected counts, shape (rows,).

    Examples:
        >>> deviances(np.array([0.0, 2.0]), np.array([1.0, 2.0])).tolist()
        [2.0, 0.0]
    """
    from scipy.special import xlogy

    expected = np.maximum(predictions, SMALLEST)
    return np.asarray(2 * (xlogy(labels, labels / expected) - labels + expected))


def explained(labels: Vector, predictions: Vector) -> float:
    """Return the share of the deviance that predictions explain, 1 at best, below 0 where the mean does better.

    1 minus the deviance over that of the labels' own mean (Hastie, Tibshirani and Wainwright, "Statistical Learning
    with Sparsity", 2015, equation 3.11); as scikit-learn's `d2_tweedie_score` with power 1. NaN where all labels are
    alike.

    Examples:
        >>> explained(np.array([0.0, 2.0]), np.array([1.0, 1.0]))
        0.0
    """
    return _explained_of_draw(labels, predictions)(np.ones(labels.size, dtype=np.int64))


def _explained_of_draw(labels: Vector, predictions: Vector) -> OfDraw:
    from scipy.special import xlogy

    of_row, own = deviances(labels, predictions), xlogy(labels, labels)

    def value(counts: npt.NDArray[np.int64]) -> float:
        rows = int(counts.sum())
        if not rows:
            return float("nan")
        drawn, mean = counts * own, float((counts * labels).sum() / rows)
        return share_explained(float((counts * of_row).sum() / rows), float(drawn.sum() / rows), mean)

    return value


def share_explained(deviance: float, own: float, mean: float) -> float:
    """Return the share explained from means over rows.

    Args:
        deviance: Mean deviance of the predictions.
        own: Mean of label times its logarithm.
        mean: Mean label.

    Returns:
        NaN where the labels' mean leaves nothing to explain.
    """
    of_mean = 2 * (own - mean * float(np.log(mean))) if mean > 0 else 0.0
    # What rounding leaves of nothing is nothing.
    return 1 - deviance / of_mean if of_mean > 1e-12 * max(1.0, abs(own)) else float("nan")


def _ratio_of_draw(labels: Vector, predictions: Vector) -> OfDraw:
    def value(counts: npt.NDArray[np.int64]) -> float:
        expected = float((counts * predictions).sum())
        return float((counts * labels).sum()) / expected if expected > 0 else float("nan")

    return value


def ratio(labels: Vector, predictions: Vector) -> float:
    """Return observed over predicted sum; NaN where nothing is predicted.

    Examples:
        >>> ratio(np.array([0.0, 3.0]), np.array([1.0, 1.0]))
        1.5
    """
    return _ratio_of_draw(labels, predictions)(np.ones(labels.size, dtype=np.int64))


RATIO = Metric("calibration_ratio", ratio, greater_is_better=True, fast_draws=_ratio_of_draw)
"""Neither more nor less is better, but 1."""
METRICS = {
    metric.name: metric
    for metric in (
        mean_of(DEVIANCE, deviances),
        Metric(EXPLAINED, explained, greater_is_better=True, fast_draws=_explained_of_draw),
    )
}
"""By name."""
