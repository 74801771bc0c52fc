"""Predictions of several classes as the table holds them, a list of probabilities, and as a column of each.

`prediction` is the most probable class, `probabilities` a list in the order of `label.classes`. Where anything is
computed, each class's probability is a column, and a label the number of its class. Of other tasks `prediction` is a
number, and all of this leaves it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.errors import StageError
from mlplatform.features.probabilities import PROBABILITIES, probability_of
from mlplatform.features.scoring import PROBABILITIES_TYPE
from mlplatform.features.training_set import PREDICTION
from mlplatform.protocols.frames import Frame
from mlplatform.refine.class_labels import class_text
from mlplatform.statistics import class_metrics, class_totals
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task

_COMMENT = "Of each class, in the order of label.classes; then: "


def prediction_fields(task: Task) -> list[pa.Field[Any]]:
    """Return the columns of `gold_predictions` that hold a prediction."""
    if not task.is_multiclass:
        return [pa.field(PREDICTION, pa.float64(), nullable=False)]
    comment = f"{_COMMENT}{json.dumps(list(task.classes), ensure_ascii=False)}"
    return [
        pa.field(PREDICTION, pa.string(), nullable=False, metadata={"comment": "The most probable class"}),
        pa.field(PROBABILITIES, PROBABILITIES_TYPE, nullable=False, metadata={"comment": comment}),
    ]


def check_order(schema: pa.Schema, task: Task) -> None:
    """Refuse classes in another order than that of the probabilities that a table holds.

    Args:
        schema: Of the table.
        task: What is predicted.

    Raises:
        StageError: If the classes that it was made with are not the first of today's, or it is of another task.
    """
    held = PROBABILITIES in schema.names
    if held != task.is_multiclass:
        raise StageError(
            f"The predictions on record are of {'several classes' if held else 'a single number'}, and the task is "
            f"{task.name}.",
            hint="A use case keeps its task: make another one for another task.",
        )
    if not held:
        return
    comment = (schema.field(PROBABILITIES).metadata or {}).get(b"comment", b"").decode()
    if not comment.startswith(_COMMENT):
        return
    then = json.loads(comment.removeprefix(_COMMENT))
    if list(task.classes[: len(then)]) != then:
        raise StageError(
            f"The probabilities on record are of the classes {', '.join(then)}, in that order; label.classes begins "
            f"otherwise: {', '.join(task.classes)}.",
            hint="Keep the order of label.classes; new classes come at the end.",
        )


def stored_columns(task: Task) -> list[str]:
    """Return the names of the columns that hold a prediction."""
    return [field.name for field in prediction_fields(task)]


def number_columns(task: Task) -> list[str]:
    """Return the names of the columns of numbers: `prediction`, or the probability of each class."""
    if not task.is_multiclass:
        return [PREDICTION]
    return [f"_probability_{place}" for place in range(len(task.classes))]


def number_names(task: Task) -> dict[str, str]:
    """Return the columns of numbers -> as what they are on record: `prediction`, or `probabilities[class]`."""
    if not task.is_multiclass:
        return {PREDICTION: PREDICTION}
    return dict(zip(number_columns(task), (probability_of(name) for name in task.classes), strict=True))


def with_numbers(frame: Frame, task: Task) -> Frame:
    """Return stored predictions with the columns of numbers; of several classes the list of them is gone.

    A class that was added later has a probability of 0 in what was predicted before.

    Args:
        frame: With the stored columns.
        task: What is predicted.
    """
    if not task.is_multiclass:
        return frame
    return _spread(frame, PROBABILITIES, task).drop(PROBABILITIES)


def _spread(frame: Frame, column: str, task: Task) -> Frame:
    given = nw.col(column)
    # A place beyond the end of a list is an error on some engines.
    columns = [
        nw.when(given.list.len() > place).then(given.list.get(place)).otherwise(nw.lit(0.0)).alias(name)
        for place, name in enumerate(number_columns(task))
    ]
    return frame.with_columns(*columns)


def as_stored(scored: Frame, task: Task) -> Frame:
    """Return what `ws.fe.score_frame` gave as the table holds it.

    Args:
        scored: `prediction` is a number, or a list of probabilities.
        task: What is predicted.
    """
    if not task.is_multiclass:
        return scored
    columns = number_columns(task)
    spread = _spread(scored.rename({PREDICTION: PROBABILITIES}), PROBABILITIES, task)
    return spread.with_columns(class_of(columns, task.classes).alias(PREDICTION)).drop(*columns)


def class_of(columns: Sequence[str], classes: Sequence[str]) -> nw.Expr:
    """Return the name of the most probable class, of equally probable ones the first, as an expression.

    Args:
        columns: The columns of the probabilities.
        classes: Their names, in the same order.
    """
    return class_text(class_totals.predicted(columns), classes)


def is_predicted(task: Task) -> nw.Expr:
    """Return the condition that a scored row has a prediction; it is never null."""
    if task.is_multiclass:
        return ~nw.col(PREDICTION).is_null()
    return nw.when(nw.col(PREDICTION).is_finite()).then(nw.lit(True)).otherwise(nw.lit(False))


def numbers(rows: pa.Table, task: Task) -> Vector:
    """Return the predictions of rows that have the columns of numbers: shape (rows,), or (rows, classes).

    Args:
        rows: The rows; where they have `prediction`, too, it is held against the probabilities.
        task: What is predicted.

    Raises:
        StageError: If a class is not the most probable one: then the order of the classes was changed.
    """
    vectors = [np.asarray(rows.column(name).to_numpy(), dtype=np.float64) for name in number_columns(task)]
    if not task.is_multiclass:
        return vectors[0]
    matrix = np.column_stack(vectors)
    if PREDICTION in rows.column_names and len(matrix):
        names = np.asarray(task.classes, dtype=object)[class_metrics.predicted(matrix)]
        told = np.asarray(rows.column(PREDICTION).to_pylist(), dtype=object)
        wrong = np.flatnonzero(names != told)
        if wrong.size:
            raise StageError(
                f"{wrong.size} of {len(matrix)} predictions on record are not the most probable class by the order of "
                f"label.classes: {told[wrong[0]]} was predicted, {names[wrong[0]]} has the largest number.",
                hint="Take back what was changed in the order of label.classes; new classes come at the end.",
            )
    return matrix
