"""Metrics of a predicted quantile: how well it lies, and how often the label stays at or below it."""

from __future__ import annotations

from functools import partial

import numpy as np

from mlplatform.statistics.metric import Metric, OfDraw, Vector, mean_of

PINBALL, GAP, COVERAGE = "pinball_loss", "coverage_gap", "quantile_coverage"


def pinball_losses(level: float, labels: Vector, predictions: Vector) -> Vector:
    """Return each row's pinball loss (Koenker and Bassett, "Regression Quantiles", Econometrica 1978).

    What a label lies above the prediction counts `level` times, what it lies below counts the rest of one: the
    expected loss is least where the prediction is the quantile of that level. In the label's unit.

    Args:
        level: The quantile's, in (0, 1).
        labels: Shape (rows,).
        predictions: Shape (rows,).

    Examples:
        >>> pinball_losses(0.9, np.array([10.0, 10.0]), np.array([8.0, 12.0])).round(3).tolist()
        [1.8, 0.2]
    """
    above = labels - predictions
    return np.asarray(np.where(above >= 0, level * above, (level - 1) * above))


def covered(labels: Vector, predictions: Vector) -> Vector:
    """Return 1 where the label is at or below the prediction, else 0; shape (rows,)."""
    return np.asarray(labels <= predictions, dtype=np.float64)


SHARE = mean_of(COVERAGE, covered, greater_is_better=True)
"""How often the label stays at or below the prediction: neither more nor less is better, but what the level says."""


def coverage(labels: Vector, predictions: Vector) -> float:
    """Return the share of labels at or below their predictions; NaN without rows.

    Examples:
        >>> coverage(np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, 3.0))
        0.75
    """
    return SHARE.compute(labels, predictions)


def of_level(level: float) -> dict[str, Metric]:
    """Return the metrics of a quantile of a level, by name.

    Args:
        level: In (0, 1).
    """

    def gap(labels: Vector, predictions: Vector) -> float:
        return abs(coverage(labels, predictions) - level)

    def gap_of_draw(labels: Vector, predictions: Vector) -> OfDraw:
        inside = covered(labels, predictions)
        return lambda counts: abs(float((counts * inside).sum() / counts.sum()) - level)

    found = (
        mean_of(PINBALL, partial(pinball_losses, level)),
        Metric(GAP, gap, greater_is_better=False, fast_draws=gap_of_draw),
    )
    return {metric.name: metric for metric in found}
