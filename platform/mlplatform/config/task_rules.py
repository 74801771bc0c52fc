"""Which settings go with which task: what is missing for it, and what means nothing to it."""

from __future__ import annotations

from typing import Any, Protocol

from mlplatform.errors import did_you_mean
from mlplatform.task import RANKING_METRICS, Task

FEWEST_CLASSES, MOST_CLASSES, LONGEST_CLASS = 3, 40, 100


def class_name(value: object) -> object:
    """Return a class as its text: a whole number may stand for one.

    Raises:
        ValueError: If it is neither text nor a whole number.
    """
    if isinstance(value, bool):
        text = str(value).lower()
        raise ValueError(f"{text} is no class: YAML takes yes, no, on and off for it; use quotes")  # noqa: TRY004
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no class: write a text in quotes, or a whole number")  # noqa: TRY004
    if not value.strip() or value != value.strip() or not value.isprintable() or len(value) > LONGEST_CLASS:
        raise ValueError(
            f"{value[:LONGEST_CLASS]!r} is no class: printable text without spaces around it, at most {LONGEST_CLASS} "
            "characters"
        )
    return value


class TaskSettings(Protocol):
    """What is looked at of a use case's settings, which check themselves by this module."""

    label: Any
    gate: Any
    training: Any
    recalibration: Any

    @property
    def kind_of_task(self) -> Task:
        """What is predicted, and what follows from it."""
        ...


def check(settings: TaskSettings) -> None:
    """Refuse settings that do not go with the task.

    Raises:
        ValueError: Naming the first of them.
    """
    _what_is_predicted(settings)
    _what_means_nothing(settings)
    _metrics(settings)
    _guards(settings)


def _what_is_predicted(settings: TaskSettings) -> None:
    task, classes = settings.kind_of_task, settings.label.classes
    if task.predicts_quantile and task.level is None:
        raise ValueError("label.quantile is missing: which quantile is predicted? Write 0.9, say, under label")
    if not task.is_multiclass:
        return
    if not classes:
        raise ValueError("label.classes is missing: which classes are there? Write [bronze, silver, gold], say")
    if len(classes) < FEWEST_CLASSES:
        raise ValueError(
            f"label.classes names {len(classes)} class(es), {FEWEST_CLASSES} are the least: of two, the task is "
            "classification, whose label is 1 or 0"
        )
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"label.classes names {len(classes)} classes, {MOST_CLASSES} are the most")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ValueError(f"label.classes names {', '.join(twice)} twice; 1 and '1' are the same class")


def _what_means_nothing(settings: TaskSettings) -> None:
    task, gate, label = settings.kind_of_task, settings.gate, settings.label
    binary, probabilities = task.is_binary, task.predicts_probabilities
    for name, is_set, its in (
        ("label.quantile", label.quantile is not None, task.predicts_quantile),
        ("label.classes", bool(label.classes), task.is_multiclass),
        ("gate.max_coverage_gap", gate.max_coverage_gap is not None, task.predicts_quantile),
        (
            "gate.max_calibration_ratio",
            gate.max_calibration_ratio is not None,
            task.predicts_counts or task.is_multiclass,
        ),
        ("gate.min_calibration_slope", gate.min_calibration_slope is not None, not task.is_multiclass),
        ("gate.max_calibration_slope", gate.max_calibration_slope is not None, not task.is_multiclass),
    ):
        if is_set and not its:
            raise ValueError(f"{name} is set, and means nothing for {task.noun}")
    if label.event_above is not None and not task.predicts_amounts:
        raise ValueError("label.event_above is for regressions: a classification's label is its event.")
    if settings.training.calibrate != "none" and not probabilities:
        raise ValueError(f"training.calibrate is for classifications: {task.noun} predicts no probabilities.")
    if settings.recalibration.when != "by_hand" and not binary:
        why = "has no odds of one event to move" if probabilities else "predicts no probabilities"
        raise ValueError(f"recalibration.when is for classifications: {task.noun} {why}.")


def _metrics(settings: TaskSettings) -> None:
    task, training = settings.kind_of_task, settings.training
    if "metric" not in training.model_fields_set:
        training = training.model_copy(update={"metric": task.metrics[0]})
        object.__setattr__(settings, "training", training)
    if training.metric not in task.metrics:
        raise ValueError(
            f"training.metric {training.metric!r} is no metric of {task.noun}. "
            f"{did_you_mean(training.metric, task.metrics)}"
        )


def _guards(settings: TaskSettings) -> None:
    task, guards = settings.kind_of_task, settings.gate.guards
    names = [guard.name for guard in guards]
    if len(set(names)) != len(names):
        raise ValueError(f"gate.guards holds the same guard twice: {', '.join(names)}")
    for guard in guards:
        if guard.event_above is not None and not task.predicts_amounts:
            raise ValueError("gate.guards: event_above is for regressions; a classification's label is an event")
        # Of an event that is made of an amount the prediction is no probability: only its order can be judged.
        metrics = task.metrics if guard.event_above is None else RANKING_METRICS
        if guard.metric not in metrics:
            hint = did_you_mean(guard.metric, metrics)
            raise ValueError(f"gate.guards: {guard.metric!r} is no metric that fits here. {hint}")
