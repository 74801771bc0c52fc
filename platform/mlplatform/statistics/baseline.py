"""The trivial baseline beside a model: what one who knows nothing but the training labels would have said.

The median of the training labels where the absolute error counts, of a quantile their own one, else their mean, which
for a binary label is the base rate; of several classes how frequent each was. A model that is surely worse than that in
production is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mlplatform.statistics import class_metrics, count_metrics, metrics, quantile_metrics
from mlplatform.statistics.bootstrap import paired_difference
from mlplatform.statistics.intervals import LEVEL, delong, losses
from mlplatform.statistics.metric import Metric, Vector
from mlplatform.task import Task, task_of

GAIN = "gain_over_baseline"
"""Name of the metric: how much better than the baseline a model is in the primary metric; above zero is better."""
LEAST_OF_CLASS = 50
"""Fewer rows of either class than this say nothing: without an event the base rate is beaten by anything near zero."""
_NONE = "the difference between the model and the baseline has no interval on these rows"
_LEARNT = frozenset({"rows", "mean", "median", "absolute", "squared"})
_LEVEL = "level"
_SHARE = "share"
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
        why: Why it is not; empty where it is.
    """

    baseline: float
    gain: float
    low: float | None = None
    high: float | None = None
    p_worse: float | None = None
    why: str = ""


def learn(labels: Vector, task: Task | str = "regression") -> dict[str, float]:
    """Return what the baseline knows of training labels, and how far off it is on them.

    Args:
        labels: Shape (rows,).
        task: What is predicted, or its name.

    Examples:
        >>> learn(np.array([0.0, 0.0, 3.0]))
        {'rows': 3.0, 'mean': 1.0, 'median': 0.0, 'absolute': 1.0, 'squared': 2.0}
    """
    task = task_of(task)
    if task.is_multiclass:
        shares = class_metrics.shares(labels, len(task.classes))
        found = zip(task.classes, shares.tolist(), strict=True)
        return {"rows": float(labels.size), **{class_metrics.named(_SHARE, name): share for name, share in found}}
    mean, median = float(labels.mean()), float(np.median(labels))
    learned = {
        "rows": float(labels.size),
        "mean": mean,
        "median": median,
        "absolute": float(np.abs(labels - median).mean()),
        "squared": float(((labels - mean) ** 2).mean()),
    }
    if task.level is not None:
        lowest = lowest_quantile(labels, task.level)
        pinball = float(quantile_metrics.pinball_losses(task.level, labels, np.full(labels.size, lowest)).mean())
        learned |= {_LEVEL: task.level, "quantile": lowest, quantile_metrics.PINBALL: pinball}
    if task.predicts_counts:
        learned[count_metrics.DEVIANCE] = float(count_metrics.deviances(labels, np.full(labels.size, mean)).mean())
    return learned


def lowest_quantile(labels: Vector, level: float) -> float:
    """Return the smallest label that at least a share of `level` lies at or below: no constant has less pinball loss.

    Examples:
        >>> lowest_quantile(np.array([1.0, 2.0, 3.0, 4.0]), 0.75)
        3.0
    """
    return float(np.quantile(labels, level, method="inverted_cdf"))


def complete(learned: Mapping[str, float] | None, task: Task | str = "regression") -> bool:
    """Whether all is there that `learn` gives: another version of the library, or level, may have kept something else.

    Args:
        learned: What was kept.
        task: What is predicted, or its name.
    """
    if learned is None:
        return False
    task = task_of(task)
    if task.is_multiclass:
        # What training did not know of yet has no share, and is none of what is missing.
        return "rows" in learned and any(class_metrics.named(_SHARE, name) in learned for name in task.classes)
    expected = set(_LEARNT)
    if task.predicts_counts:
        expected.add(count_metrics.DEVIANCE)
    return learned.keys() >= expected and (task.level is None or learned.get(_LEVEL) == task.level)


def metric(name: str) -> str:
    """Return under which name the baseline's metric is on record beside the model's, as `baseline_mae`."""
    return f"baseline_{name}"


def best_constant(name: str, labels: Vector, task: Task) -> Vector:
    """Return what is best said of all rows, where the metric of this name is what counts.

    Args:
        name: The metric.
        labels: Shape (rows,).
        task: What is predicted.

    Returns:
        One number, shape (); of several classes each one's share of the labels, shape (classes,).
    """
    if task.is_multiclass:
        return class_metrics.shares(labels, len(task.classes))
    return says(learn(labels, task), name, task)


def for_all(said: Vector, rows: int) -> Vector:
    """Return what is said of each row as predictions of so many rows: shape (rows,), or (rows, classes)."""
    return np.broadcast_to(said, (rows, *said.shape)).copy()


def kind_of_constant(name: str) -> str:
    """Return what of labels is said of all rows where the metric of this name counts: `median`, `quantile`, `mean`."""
    if name == "mae":
        return "median"
    return "quantile" if name in (quantile_metrics.PINBALL, quantile_metrics.GAP) else "mean"


def says(learned: Mapping[str, float], name: str, task: Task | str = "regression") -> Vector:
    """Return what the baseline predicts for every row, where the metric of this name is what counts.

    Args:
        learned: As `learn` gives it.
        name: The metric.
        task: What is predicted, or its name.

    Returns:
        Shape (), or (classes,): the frequencies by the rule of succession of Laplace, so that a class that training did
        not know is no impossible one.
    """
    task = task_of(task)
    if not task.is_multiclass:
        return np.asarray(learned[kind_of_constant(name)], dtype=np.float64)
    rows = learned["rows"]
    counts = rows * np.array([learned.get(class_metrics.named(_SHARE, of_class), 0.0) for of_class in task.classes])
    return np.asarray((counts + 1) / (rows + counts.size), dtype=np.float64)


def usual_loss(learned: Mapping[str, float], name: str, task: Task | str = "regression") -> float | None:
    """Return the mean loss of a row that the baseline had on the training labels; None where a metric has none.

    Args:
        learned: As `learn` gives it.
        name: The metric.
        task: What is predicted, or its name.
    """
    task = task_of(task)
    if task.is_multiclass:
        return _usual_of_classes(learned, name, task)
    if name == "mae":
        return learned["absolute"]
    if name in ("rmse", "brier"):
        return learned["squared"]
    if name == "log_loss":
        rate = min(max(learned["mean"], 1e-15), 1 - 1e-15)
        return float(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))
    return learned.get(name)


def _usual_of_classes(learned: Mapping[str, float], name: str, task: Task) -> float | None:
    metric, said = metrics.get(name, task), says(learned, name, task)
    if metric.losses is None:
        return None
    # The loss of a row of each class, by how frequent it was.
    of_class = metric.losses(np.arange(said.size, dtype=np.float64), for_all(said, said.size))
    frequent = np.array([learned.get(class_metrics.named(_SHARE, of_class), 0.0) for of_class in task.classes])
    return float(frequent @ of_class)


def compare(
    metric: Metric | str,
    labels: Vector,
    predictions: Vector,
    baseline: Vector,
    *,
    usual: float | None = None,
    clusters: Clusters | None = None,
) -> Compared | None:
    """Compare a model with the baseline on the same rows.

    Differences of losses by Student's distribution, corrected for their skewness after Hall, "On the Removal of
    Skewness by Transformation", Journal of the Royal Statistical Society B 1992. Of rows that belong together, by the
    sums of each cluster. The area under the ROC curve against a half, which every constant has, after DeLong. What has
    no closed form, and this where rows are clustered, by the standard error of the paired bootstrap.

    What a model is worth may lie in few rows, on which the baseline is far off (the very late, the rare event): a
    window that happens to hold fewer of them than training did makes every model look bad. Where it does, the model is
    given what it would have gained on the missing ones: the baseline's loss serves as a control variate, one-sided.

    Args:
        metric: The metric, or its name.
        labels: Shape (rows,).
        predictions: The model's, shape (rows,), or (rows, classes).
        baseline: The baseline's, in the same shape.
        usual: Mean loss of a row that the baseline had on the training labels; None: nothing is given.
        clusters: Number of each row's cluster, from 0 on without gaps; None: each row by itself.

    Returns:
        None where the metric is not defined on the rows.
    """
    primary = metrics.get(metric) if isinstance(metric, str) else metric
    value, other = (primary.compute(labels, made) for made in (predictions, baseline))
    gain = primary.gain(value, other)
    if not np.isfinite(gain):
        return None
    mine, theirs = losses(primary, labels, predictions), losses(primary, labels, baseline)
    if mine is not None and theirs is not None:
        # The root's difference is that of the squares over the sum of the roots.
        unit = (value + other or 1.0) if primary.name == "rmse" else 1.0
        missing = _missing(theirs - mine, theirs, usual) / unit
        # And what these few rows add to the spread, which they make as much as the mean.
        wider = max(1.0, usual / float(theirs.mean())) if usual is not None and theirs.any() else 1.0
        return _of_differences(other, gain, _units(theirs - mine, clusters) / unit, missing, wider)
    constant = baseline.ndim == 1 and bool(np.ptp(baseline) == 0)
    if primary.name == "roc_auc" and constant and clusters is None:
        interval = delong(labels, predictions)
        return (
            _with_interval(other, gain, interval[1], _fewest(labels)) if interval else Compared(other, gain, why=_NONE)
        )
    try:
        drawn = paired_difference(
            primary, labels, predictions, baseline, stratify=primary.within_classes and clusters is None,
            confidence=LEVEL, draws=_DRAWS, seed=_SEED, clusters=clusters,
        )  # fmt: skip
    except (ValueError, ArithmeticError):
        return Compared(other, gain, why=_NONE)  # too few clusters, or a class that a draw lacks
    return _with_interval(other, gain, drawn.standard_error, drawn.units)


def _units(differences: Vector, clusters: Clusters | None) -> Vector:
    """Return what is independent of each other, with the differences' mean: the rows, or the clusters."""
    if clusters is None:
        return differences
    mean = differences.mean()
    sums = np.bincount(clusters, weights=differences - mean)
    return np.asarray(mean + sums * sums.size / differences.size)


def _missing(differences: Vector, losses: Vector, usual: float | None) -> float:
    """Return what a model would gain on rows that a window lacks, by what it gains where the baseline is far off."""
    variance = float(losses.var())
    lack = 0.0 if usual is None else max(0.0, usual - float(losses.mean()))
    if not lack or not variance:
        return 0.0
    slope = float(((differences - differences.mean()) @ (losses - losses.mean())) / losses.size / variance)
    return max(0.0, slope) * lack


def _of_differences(baseline: float, gain: float, units: Vector, missing: float, wider: float) -> Compared:
    from scipy.stats import t

    many = units.size
    if many < 2:  # noqa: PLR2004  (one unit has no spread)
        return Compared(baseline, gain, why=_NONE)
    mean, spread = float(units.mean()), float(units.std(ddof=1))
    interval = _with_interval(baseline, gain, spread / float(np.sqrt(many)), many)
    if spread == 0 or interval.p_worse is None:
        return interval
    skew = float(np.mean(((units - mean) / spread) ** 3))
    size = (mean + missing) / (spread * wider)
    corrected = size + skew * size**2 / 3 + skew**2 * size**3 / 27 + skew / (6 * many)
    return replace(interval, p_worse=float(t.cdf(corrected * np.sqrt(many), many - 1)))


def _with_interval(baseline: float, gain: float, error: float, units: int) -> Compared:
    from scipy.stats import t

    if units < 2:  # noqa: PLR2004  (one unit has no spread)
        return Compared(baseline, gain, why=_NONE)
    if error == 0:
        return Compared(baseline, gain, gain, gain, 0.0 if gain < 0 else 1.0)
    half = float(t.ppf((1 + LEVEL) / 2, units - 1)) * error
    return Compared(baseline, gain, gain - half, gain + half, float(t.cdf(gain / error, units - 1)))


def _fewest(labels: Vector) -> int:
    events = int((labels == 1).sum())
    return min(events, labels.size - events)
