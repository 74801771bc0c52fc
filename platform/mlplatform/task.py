"""What a use case predicts, and what follows from it: every room asks here, and compares no names of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mlplatform.errors import ConfigError, did_you_mean

TaskName: TypeAlias = Literal["classification", "multiclass", "regression", "quantile", "counts"]
"""How `config.yml` names a task."""
RANKING_METRICS = ("roc_auc", "average_precision")
"""Metrics that look at the order of predictions only: of an event that is made of an amount, these can be told."""


@dataclass(frozen=True)
class Task:
    """A kind of prediction.

    Attributes:
        name: As in `config.yml`.
        noun: As a sentence names it.
        metrics: Its metrics; the first one is the primary metric, unless `training.metric` names another.
        predicts: What a prediction is: the `probability` of an event, whose labels are 0 and 1; the probability of each
            of several `classes`, whose labels name one of them; an `amount`, in the label's unit; a `quantile`, which a
            share of the labels stays at or below; an expected `count`, whose labels are whole numbers from 0 on.
        profiled_as: What Databricks' data profiling takes the predictions for.
        level: Of a quantile: which one, in (0, 1). None: it is no quantile, or the settings are not known.
        classes: Of several classes: their names, in the order of the probabilities. Empty: there are none, or the
            settings are not known. Within the platform a label is its class's place, from 0 on.

    Examples:
        >>> task_of("classification").predicts_probabilities, task_of("counts").smallest_prediction
        (True, 0.0)
    """

    name: TaskName
    noun: str
    metrics: tuple[str, ...]
    predicts: Literal["probability", "classes", "amount", "quantile", "count"]
    profiled_as: Literal["classification", "regression"] = "regression"
    level: float | None = None
    classes: tuple[str, ...] = ()

    @property
    def is_binary(self) -> bool:
        """Whether labels are 0 or 1, and a prediction is the probability of 1."""
        return self.predicts == "probability"

    @property
    def predicts_probabilities(self) -> bool:
        """Whether the model gives probabilities."""
        return self.is_binary or self.is_multiclass

    @property
    def is_multiclass(self) -> bool:
        """Whether labels name one of several classes, and the model gives the probability of each."""
        return self.predicts == "classes"

    @property
    def method(self) -> str:
        """The method of an estimator that gives what is predicted."""
        return "predict_proba" if self.predicts_probabilities else "predict"

    @property
    def predicts_amounts(self) -> bool:
        """Whether a prediction is in the label's unit."""
        return not self.predicts_probabilities

    @property
    def predicts_counts(self) -> bool:
        """Whether labels are counted, and a prediction is the expected count."""
        return self.predicts == "count"

    @property
    def predicts_quantile(self) -> bool:
        """Whether a prediction is one that a share of the labels stays at or below."""
        return self.predicts == "quantile"

    @property
    def totals_are_held(self) -> bool:
        """Whether predictions add up to what is observed, so that the ratio of both is watched."""
        return self.is_binary or self.predicts_counts

    @property
    def level_is_watched(self) -> bool:
        """Whether monitoring says when predictions are too high or too low on the whole (alert `calibration`)."""
        return self.totals_are_held or self.predicts_quantile or self.is_multiclass

    @property
    def smallest_prediction(self) -> float | None:
        """Below it a prediction is none; None: there is no such limit."""
        return 0.0 if self.predicts_counts else None


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        # Profiled as a regression: the prediction is a probability, which would never equal a class. The mean squared
        # error of a probability is the Brier score.
        Task(
            "classification",
            "a classification",
            ("roc_auc", "average_precision", "brier", "log_loss", "expected_calibration_error"),
            predicts="probability",
        ),
        # Profiled as a classification: the prediction is a class.
        Task(
            "multiclass",
            "a classification of several classes",
            ("log_loss", "accuracy", "macro_f1", "macro_roc_auc", "brier", "expected_calibration_error"),
            predicts="classes",
            profiled_as="classification",
        ),
        Task("regression", "a regression", ("mae", "rmse"), predicts="amount"),
        Task("quantile", "a quantile", ("pinball_loss", "coverage_gap"), predicts="quantile"),
        Task("counts", "a count", ("poisson_deviance", "d2", "mae"), predicts="count"),
    )
}
"""By name."""


def task_of(task: Task | str) -> Task:
    """Return a task by its name.

    Args:
        task: Its name; a task is returned as it is.

    Raises:
        ConfigError: If there is none of that name.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ConfigError(f"There is no task {task!r}.", hint=did_you_mean(task, TASKS))
    return TASKS[task]
