"""What gold says of several classes: what was predicted as what, how far each probability holds, and shares by step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.naming import CHAMPION, Namespace
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.class_labels import class_number
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, LabelSpine
from mlplatform.scoring.class_columns import number_columns, numbers, stored_columns, with_numbers
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.statistics import class_metrics
from mlplatform.statistics.class_metrics import OfClass
from mlplatform.statistics.intervals import wilson
from mlplatform.statistics.metric import Vector
from mlplatform.task import Task

_LABEL = "_label"
_BINS = 10
_MOST_STEPS = 100_000


@dataclass(frozen=True)
class ClassBin:
    """One bin of a class's reliability curve: rows whose probability of it lies in the same tenth.

    Attributes:
        rows: Rows in it.
        predicted: Their mean probability.
        observed: The share of them whose label is the class.
        low: Lower end of its 95% interval.
        high: Upper end.
    """

    rows: int
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassStep:
    """The classes at one step.

    Attributes:
        as_of: The step.
        rows: Rows scored.
        predicted: Mean probability of each class among them, shape (classes,).
        known: How many of them have a known label.
        observed: Share of each class among those, shape (classes,); None where none is known.
    """

    as_of: datetime
    rows: int
    predicted: tuple[float, ...]
    known: int = 0
    observed: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ClassOutcomes:
    """What gold says of several classes.

    Attributes:
        classes: What is said of each; empty without known labels.
        table: Rows of each class (first axis) that were predicted as each (second).
        reliability: Class -> its bins.
        steps: One for each step at which the champion scored rows, oldest first.
        rows: Predictions with a label that the above was counted on.
        sampled: Of how many these are a sample; 0: they are all.
    """

    classes: tuple[OfClass, ...] = ()
    table: tuple[tuple[int, ...], ...] = ()
    reliability: tuple[tuple[ClassBin, ...], ...] = ()
    steps: tuple[ClassStep, ...] = ()
    rows: int = 0
    sampled: int = 0


def read_class_outcomes(
    ws: Workspace, namespace: Namespace, spine: LabelSpine, task: Task, until: datetime | None, most: int
) -> ClassOutcomes | None:
    """Read the champions' predictions of several classes with the labels that are known.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its label spine.
        task: What is predicted.
        until: Labels known later are not looked at; None looks at all.
        most: How many rows are taken into memory; of more a sample.

    Returns:
        None where the task has no classes, or nothing was predicted yet.
    """
    name = namespace.gold(PREDICTIONS)
    if not task.is_multiclass or not ws.tables.exists(name):
        return None
    keys, columns = list(spine.primary_keys), number_columns(task)
    stored = ws.frames.read(
        name, columns=[*keys, *stored_columns(task), "as_of", "model_version"], filters=[("alias", "=", CHAMPION)]
    )
    predictions = with_numbers(stored, task)
    steps = _scored(ws, predictions, columns)
    if not steps or not ws.tables.exists(namespace.gold(LABELS)):
        return ClassOutcomes(steps=tuple(steps)) if steps else None
    # Scored twice: the first prediction is the one that was acted on.
    first = predictions.unique(subset=keys, keep="first", order_by=["as_of", "model_version"])
    filters: list[Filter] = [(LABEL_KNOWN_AT, "<=", until)] if until is not None else []
    labels = ws.frames.read(namespace.gold(LABELS), columns=[*keys, spine.label], filters=filters)
    known = labels.select(*keys, class_number(spine.label, task.classes).alias(_LABEL))
    joined = first.join(known.filter(~nw.col(_LABEL).is_null()), on=keys, how="inner")
    labelled = joined.select(*keys, *columns, "as_of", _LABEL)
    turned_out = _turned_out(ws, labelled, task)
    steps = [_with_outcome(step, turned_out.get(step.as_of)) for step in steps]
    total = sum(int(counts.sum()) for counts in turned_out.values())
    if not total:
        return ClassOutcomes(steps=tuple(steps))
    drawn = labelled if total <= most else ws.frames.sample(labelled, keys=keys, at_most=most, seed=0)
    rows = ws.frames.collect(drawn, at_most=most, what="predictions whose label is known")
    return _counted(rows, task, tuple(steps), total)


def _scored(ws: Workspace, predictions: Frame, columns: list[str]) -> list[ClassStep]:
    sums = [nw.col(column).sum() for column in columns]
    counted = predictions.group_by("as_of").agg(nw.len().alias("rows"), *sums)
    found = ws.frames.collect(counted, at_most=_MOST_STEPS, what="predictions by step").sort_by("as_of")
    return [
        ClassStep(row["as_of"], row["rows"], tuple(row[column] / row["rows"] for column in columns))
        for row in found.to_pylist()
    ]


def _turned_out(ws: Workspace, labelled: Frame, task: Task) -> dict[datetime, Vector]:
    counted = labelled.group_by("as_of", _LABEL).agg(nw.len().alias("rows"))
    found: dict[datetime, Vector] = {}
    at_most = _MOST_STEPS * len(task.classes)
    for row in ws.frames.collect(counted, at_most=at_most, what="labels by step and class").to_pylist():
        found.setdefault(row["as_of"], np.zeros(len(task.classes)))[int(row[_LABEL])] = row["rows"]
    return found


def _with_outcome(step: ClassStep, counts: Vector | None) -> ClassStep:
    if counts is None:
        return step
    shares: tuple[float, ...] = tuple((counts / counts.sum()).tolist())
    return ClassStep(step.as_of, step.rows, step.predicted, int(counts.sum()), shares)


def _counted(rows: pa.Table, task: Task, steps: tuple[ClassStep, ...], total: int) -> ClassOutcomes:
    labels = np.asarray(rows.column(_LABEL).to_numpy(), dtype=np.float64)
    probabilities = numbers(rows, task)
    table = class_metrics.confusion(labels, probabilities)
    return ClassOutcomes(
        classes=tuple(class_metrics.of_each(task.classes, labels, probabilities)),
        table=tuple(tuple(int(cell) for cell in line) for line in table.tolist()),
        reliability=tuple(reliability(probabilities[:, place], labels == place) for place in range(len(task.classes))),
        steps=steps,
        rows=rows.num_rows,
        sampled=total if total > rows.num_rows else 0,
    )


def reliability(probabilities: Vector, came: Any) -> tuple[ClassBin, ...]:
    """Return how often a class came, by tenths of its probability; empty tenths left out.

    Args:
        probabilities: Of the class, shape (rows,).
        came: Whether it came, shape (rows,).

    Examples:
        >>> [(bin.rows, bin.observed) for bin in reliability(np.array([0.05, 0.95, 0.92]), np.array([0, 1, 1]))]
        [(1, 0.0), (2, 1.0)]
    """
    index = np.clip((probabilities * _BINS).astype(int), 0, _BINS - 1)
    bins = []
    for place in np.unique(index):
        mine = index == place
        rows, observed = int(mine.sum()), float(np.mean(np.asarray(came)[mine]))
        bins.append(ClassBin(rows, float(probabilities[mine].mean()), observed, *wilson(observed, rows)))
    return tuple(bins)
