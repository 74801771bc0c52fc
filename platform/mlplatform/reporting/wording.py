"""How the report speaks of a task's predictions and of what turned out."""

from __future__ import annotations

from dataclasses import dataclass

from mlplatform.statistics.class_metrics import ACCURACY
from mlplatform.statistics.quantile_metrics import COVERAGE
from mlplatform.task import Task


@dataclass(frozen=True)
class Wording:
    """The words of a task.

    Attributes:
        title: Of the plot of predictions and outcomes over time.
        score: What is predicted, on the mean.
        observed: What turned out, on the mean.
        metric: Under which name that is on record.
        what: `rate`, `mean` or `share`.
        cases: What is counted, expected and observed.
        is_rate: Whether predictions and outcomes are shares.
        of_decile: What is predicted, on the mean of rows of about equal predictions.
        baseline: What the trivial baseline knows.
    """

    title: str
    score: str
    observed: str
    metric: str
    what: str
    cases: str
    is_rate: bool
    of_decile: str = "Mean prediction"
    baseline: str = "the median or mean of the training labels"


def wording(task: Task) -> Wording:
    """Return the words of a task.

    Of several classes what is predicted is, in a word, the probability of the class that was predicted, and what turned
    out is whether it was right.
    """
    if task.is_multiclass:
        title = "Probability of the predicted class, and how often it was right"
        score, frequencies = "Mean top probability", "how frequent each class was among the training labels"
        return Wording(
            title,
            score,
            "Share right",
            ACCURACY,
            "share",
            "Right",
            is_rate=True,
            of_decile=score,
            baseline=frequencies,
        )
    if task.is_binary:
        title = "Mean score and observed rate"
        return Wording(title, "Mean score", "Observed rate", "label_mean", "rate", "Events", is_rate=True)
    if task.predicts_quantile:
        title = f"Coverage of the quantile {task.level or 0.0:g}"
        return Wording(title, "Mean prediction", "Labels at or below", COVERAGE, "share", "Labels", is_rate=False)
    title = "Mean prediction and observed mean"
    return Wording(title, "Mean prediction", "Observed mean", "label_mean", "mean", "Counts", is_rate=False)
