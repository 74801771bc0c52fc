"""The trivial baseline beside a model: what one who knows nothing but the training labels would have said.

The median of the training labels where the absolute error counts, else their mean, which for a binary label is the base
rate. A model that is surely worse than that in production is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlplatform.models import metrics
from mlplatform.models.bootstrap import paired_difference
from mlplatform.models.metrics import Vector
from mlplatform.monitoring.intervals import LEVEL, delong, losses

GAIN = "gain_over_baseline"
"""Name of the metric: how much better than the baseline a model is in the primary metric; above zero is better."""
LEAST_OF_CLASS = 20
"""Fewer rows of either class than this say nothing: without an event the base rate is beaten by anything near zero."""
_DRAWS, _SEED = 400, 0
Clusters = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Compared:
    """A model beside the baseline, on the same rows.

    Attributes:
        baseline: The baseline's metric.
        gain: How much better the model is; below zero it is worse.
        low: Lower end of the gain's 95% interval; None where there is none.
        high: Its upper end.
        p_worse: Probability of so small a gain if the model were as good as the baseline; None where it is not known.
    """

    baseline: float
    gain: float
    low: float | None = None
    high: float | None = None
    p_worse: float | None = None


def learn(labels: Vector) -> dict[str, float]:
    """Return what the baseline knows of training labels, shape (rows,).

    Examples:
        >>> learn(np.array([0.0, 0.0, 3.0]))
        {'rows': 3.0, 'mean': 1.0, 'median': 0.0}
    """
    return {"rows": float(labels.size), "mean": float(labels.mean()), "median": float(np.median(labels))}


def metric(name: str) -> str:
    """Return under which name the baseline's metric is on record beside the model's, as `baseline_mae`."""
    return f"baseline_{name}"


def says(learned: Mapping[str, float], name: str) -> float:
    """Return what the baseline predicts for every row, where the metric of this name is what counts."""
    return learned["median" if name == "mae" else "mean"]


def compare(
    name: str, labels: Vector, predictions: Vector, baseline: Vector, *, clusters: Clusters | None = None
) -> Compared | None:
    """Compare a model with the baseline on the same rows.

    Differences of losses by the central limit theorem, with Student's distribution; of rows that belong together, by
    the sums of each cluster. The area under the ROC curve against a half, which every constant has, after DeLong. What
    has no closed form, and this where rows are clustered, by the standard error of the paired bootstrap.

    Args:
        name: The metric.
        labels: Shape (rows,).
        predictions: The model's, shape (rows,).
        baseline: The baseline's, shape (rows,).
        clusters: Number of each row's cluster, from 0 on without gaps; None: each row by itself.

    Returns:
        None where the metric is not defined on the rows.
    """
    primary = metrics.get(name)
    value, other = (primary.compute(labels, made) for made in (predictions, baseline))
    gain = primary.gain(value, other)
    if not np.isfinite(gain):
        return None
    mine, theirs = losses(name, labels, predictions), losses(name, labels, baseline)
    if mine is not None and theirs is not None:
        # The root's difference is that of the squares over the sum of the roots.
        unit = value + other if name == "rmse" else 1.0
        error, units = _standard_error(theirs - mine, clusters)
        return _with_interval(other, gain, error / unit if unit else 0.0, units)
    constant = bool(np.ptp(baseline) == 0)
    if name == "roc_auc" and constant and clusters is None:
        found = delong(labels, predictions)
        return _with_interval(other, gain, found[1], labels.size) if found else Compared(other, gain)
    try:
        drawn = paired_difference(
            primary, labels, predictions, baseline, stratify=clusters is None, confidence=LEVEL, draws=_DRAWS,
            seed=_SEED, clusters=clusters,
        )  # fmt: skip
    except (ValueError, ArithmeticError):
        return Compared(other, gain)  # too few clusters, or a class that a draw lacks: no interval, and no verdict
    return _with_interval(other, gain, drawn.standard_error, drawn.units)


def _standard_error(differences: Vector, clusters: Clusters | None) -> tuple[float, int]:
    rows = differences.size
    if clusters is None:
        return (float(differences.std(ddof=1) / np.sqrt(rows)), rows) if rows > 1 else (0.0, rows)
    sums = np.bincount(clusters, weights=differences - differences.mean())
    units = sums.size
    return (float(np.sqrt(units / (units - 1) * (sums @ sums)) / rows), units) if units > 1 else (0.0, units)


def _with_interval(baseline: float, gain: float, error: float, units: int) -> Compared:
    from scipy.stats import t

    if units < 2:  # noqa: PLR2004  (one unit has no spread)
        return Compared(baseline, gain)
    if error == 0:
        return Compared(baseline, gain, gain, gain, 0.0 if gain < 0 else 1.0)
    half = float(t.ppf((1 + LEVEL) / 2, units - 1)) * error
    return Compared(baseline, gain, gain - half, gain + half, float(t.cdf(gain / error, units - 1)))
