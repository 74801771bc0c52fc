"""What a use case predicts, and what follows from it: every room asks here, and compares no names of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mlplatform.errors import ConfigError, did_you_mean

TaskName: TypeAlias = Literal["classification", "regression"]
"""How `config.yml` names a task."""
RANKING_METRICS = ("roc_auc", "average_precision")
"""Metrics that look at the order of predictions only: of an event that is made of an amount, these can be told."""


@dataclass(frozen=True)
class Task:
    """A kind of prediction.

    Attributes:
        name: As in `config.yml`.
        noun: As a sentence names it.
        metrics: Its metrics; one of them is `training.metric`.
        labels: What labels are: `events` (0 or 1) or `amounts`.
        method: The method of an estimator that gives what is predicted.
        profiled_as: What Databricks' data profiling takes the predictions for.

    Examples:
        >>> task_of("classification").predicts_probabilities, task_of("regression").predicts_probabilities
        (True, False)
    """

    name: TaskName
    noun: str
    metrics: tuple[str, ...]
    labels: Literal["events", "amounts"]
    method: Literal["predict_proba", "predict"]
    profiled_as: Literal["classification", "regression"] = "regression"

    @property
    def is_binary(self) -> bool:
        """Whether labels are 0 or 1, and a prediction is the probability of 1."""
        return self.labels == "events"

    @property
    def predicts_probabilities(self) -> bool:
        """Whether the model gives probabilities."""
        return self.method == "predict_proba"

    @property
    def predicts_amounts(self) -> bool:
        """Whether a prediction is in the label's unit."""
        return self.labels == "amounts"

    @property
    def may_have_events(self) -> bool:
        """Whether an event can be made of the label by a threshold (`label.event_above`)."""
        return self.predicts_amounts


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        # Profiled as a regression: the prediction is a probability, which would never equal a class. The mean squared
        # error of a probability is the Brier score.
        Task(
            "classification",
            "a classification",
            ("roc_auc", "average_precision", "brier", "log_loss", "expected_calibration_error"),
            labels="events",
            method="predict_proba",
        ),
        Task("regression", "a regression", ("mae", "rmse"), labels="amounts", method="predict"),
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
