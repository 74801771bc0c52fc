"""What a metric is: how it is computed of rows, and of draws of them, and which direction is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
OfDraw = Callable[[npt.NDArray[np.int64]], float]
FastDraws = Callable[[Vector, Vector], OfDraw]
Losses = Callable[[Vector, Vector], Vector]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: Its name, as in scikit-learn where it has one.
        compute: Takes labels and predictions, each of shape (rows,), and returns the value.
        greater_is_better: Its direction.
        fast_draws: A faster way to do what `draws` does, where there is one.
        losses: Gives each row's loss, shape (rows,), where the metric is their mean; None where it is none.
        finish: What is made of the mean of the losses: nothing, or its root.
        within_classes: Whether rows are drawn within each of two classes: it has no value without one of them, and the
            share of the classes, which is chance too, does not decide who is better. Of a loss it does.

    Terms are explained in docs/glossary.md.

    Examples:
        >>> def worst_error(labels, predictions):
        ...     return float(np.abs(labels - predictions).max())
        >>> worst = Metric("worst_error", worst_error, greater_is_better=False)
        >>> worst.compute(np.array([1.0, 2.0]), np.array([1.5, 2.0]))
        0.5
        >>> worst.gain(challenger=0.5, champion=0.75)
        0.25
    """

    name: str
    compute: Callable[[Vector, Vector], float]
    greater_is_better: bool
    fast_draws: FastDraws | None = None
    losses: Losses | None = None
    finish: Callable[[float], float] = float
    within_classes: bool = False

    def draws(self, labels: Vector, predictions: Vector) -> OfDraw:
        """Return a function of how often each row was drawn, shape (rows,), that gives the metric of that draw."""
        if self.fast_draws is not None:
            return self.fast_draws(labels, predictions)
        if self.losses is not None:
            of_row, finish = self.losses(labels, predictions), self.finish
            # No dot product: BLAS would hand so short a one to threads, whose waiting costs more than the sum.
            return lambda counts: finish(float((counts * of_row).sum() / counts.sum()))
        return lambda counts: self.compute(np.repeat(labels, counts, axis=0), np.repeat(predictions, counts, axis=0))

    def gain(self, challenger: float, champion: float) -> float:
        """Return how much better the challenger is; above zero is better, whatever the direction."""
        return challenger - champion if self.greater_is_better else champion - challenger


def mean_of(
    name: str, losses: Losses, *, greater_is_better: bool = False, finish: Callable[[float], float] = float
) -> Metric:
    """Return a metric that is the mean of each row's loss; NaN without rows.

    Args:
        name: Its name.
        losses: Gives the losses, shape (rows,), of labels and predictions.
        greater_is_better: Whether they are none, but what is to be had much of.
        finish: What is made of the mean.

    Examples:
        >>> mean_of("mae", lambda labels, predictions: np.abs(labels - predictions)).compute(np.zeros(2), np.ones(2))
        1.0
    """

    def compute(labels: Vector, predictions: Vector) -> float:
        return finish(float(np.mean(losses(labels, predictions)))) if labels.size else float("nan")

    return Metric(name, compute, greater_is_better, losses=losses, finish=finish)


def auc_of_draw(labels: Vector, predictions: Vector) -> OfDraw:
    """Return a function of how often each row was drawn that gives the area under the ROC curve; NaN of one class.

    Args:
        labels: 0 or 1, shape (rows,).
        predictions: Shape (rows,).
    """
    # Sorted once: for each positive, how many of the sorted negatives lie below it, and how many below or level.
    negatives, positives = np.flatnonzero(labels != 1), np.flatnonzero(labels == 1)
    negatives = negatives[np.argsort(predictions[negatives], kind="stable")]
    below = np.searchsorted(predictions[negatives], predictions[positives], side="left")
    level = np.searchsorted(predictions[negatives], predictions[positives], side="right")
    seen = np.zeros(negatives.size + 1, dtype=np.int64)

    def value(counts: npt.NDArray[np.int64]) -> float:
        np.cumsum(counts[negatives], out=seen[1:])
        drawn = counts[positives]
        pairs = int(drawn.sum()) * int(seen[-1])
        return float(drawn @ (seen[below] + seen[level]) / (2 * pairs)) if pairs else float("nan")

    return value


def calibration_error_of_draw(labels: Vector, predictions: Vector, bins: int = 10) -> OfDraw:
    """Return a function of how often each row was drawn that gives the expected calibration error; NaN without rows.

    Args:
        labels: 0 or 1, shape (rows,).
        predictions: Probabilities, shape (rows,).
        bins: Of equal width.
    """
    index = np.clip((predictions * bins).astype(int), 0, bins - 1)
    gap = predictions - labels

    def value(counts: npt.NDArray[np.int64]) -> float:
        rows = int(counts.sum())
        return (
            float(np.abs(np.bincount(index, weights=gap * counts, minlength=bins)).sum() / rows)
            if rows
            else float("nan")
        )

    return value
