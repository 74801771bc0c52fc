"""The probabilities of several classes as they come from scoring: a list for each row, null where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import FeatureStoreError
from mlplatform.features.scoring import PROBABILITIES_TYPE, ScoringPlan
from mlplatform.features.training_set import PREDICTION
from mlplatform.statistics import class_metrics
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task

PROBABILITIES = "probabilities"
"""Name of their column in `gold_predictions`."""
_TABLE = 2  # dimensions


def probability_of(name: str) -> str:
    """Return under which name the probability of a class is profiled, as `probabilities[gold]`."""
    return f"{PROBABILITIES}[{name}]"


def is_of_prediction(column: str) -> bool:
    """Tell whether a profiled column is of the prediction: itself, or the probability of a class.

    Examples:
        >>> is_of_prediction("prediction"), is_of_prediction("probabilities[gold]"), is_of_prediction("area")
        (True, True, False)
    """
    return column == PREDICTION or column.startswith(f"{PROBABILITIES}[")


def in_wanted_order(result: Any, plan: ScoringPlan, rows: int) -> pa.Array[Any]:
    """Return a model's output as lists, in the order of the wanted classes; null where a number is not finite.

    Args:
        result: An array or a frame of the model; one number a row, NaN, where it failed on all.
        plan: Says which of its columns are wanted.
        rows: How many rows were given.

    Raises:
        FeatureStoreError: If the number of rows or columns does not fit.
    """
    classes = plan.classes
    assert classes is not None, "the plan is of a model of several classes"
    values = np.asarray(result.to_numpy() if hasattr(result, "to_numpy") else result, dtype=np.float64)
    if values.ndim == 1 and values.size == rows and np.isnan(values).all():
        return pa.nulls(rows, PROBABILITIES_TYPE)
    if values.ndim != _TABLE or values.shape != (rows, classes.known):
        raise FeatureStoreError(
            f"The model gave an array of shape {values.shape} for {rows} row(s) and {classes.known} classes.",
            hint="A model of several classes gives a probability of each.",
        )
    wanted = np.zeros((rows, len(classes.of_wanted)))
    for place, column in enumerate(classes.of_wanted):
        if column is not None:
            wanted[:, place] = values[:, column]
    return lists(wanted, ~np.isfinite(values).all(axis=1))


def lists(matrix: Vector, missing: Any) -> pa.Array[Any]:
    """Return rows of a matrix as lists.

    Args:
        matrix: Shape (rows, classes).
        missing: Which rows are null, shape (rows,).
    """
    rows, width = matrix.shape
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    offsets = pa.array(np.arange(0, (rows + 1) * width, width, dtype=np.int32), pa.int32())
    whole: pa.Array[Any] = pa.ListArray.from_arrays(offsets, flat, type=PROBABILITIES_TYPE)
    if not missing.any():
        return whole
    places: pa.Int64Array = pa.array(np.arange(rows), pa.int64(), mask=missing)
    return whole.take(places)


def matrix(column: pa.Array[Any] | pa.ChunkedArray[Any], width: int) -> Vector:
    """Return lists as a matrix, shape (rows, width); NaN where a list is null.

    Args:
        column: Lists of numbers.
        width: How many each has.

    Raises:
        FeatureStoreError: If one has another number.

    Examples:
        >>> matrix(pa.array([[0.25, 0.75], None]), 2).tolist()
        [[0.25, 0.75], [nan, nan]]
    """
    whole = pa.chunked_array(column.chunks if isinstance(column, pa.ChunkedArray) else [column], type=column.type)
    lengths = np.asarray(pc.list_value_length(whole).fill_null(-1).to_numpy())
    found = np.full((lengths.size, width), np.nan)
    known = lengths >= 0
    wrong = np.flatnonzero(known & (lengths != width))
    if wrong.size:
        raise FeatureStoreError(
            f"{wrong.size} rows have other than {width} probabilities; the first of them has {lengths[wrong[0]]}.",
            hint="label.classes names the classes that predictions on record are of, in their order.",
        )
    found[known] = np.asarray(pc.list_flatten(whole).to_numpy(), dtype=np.float64).reshape(-1, width)
    return found


def profiled(predictions: Vector, task: Task, missing: npt.NDArray[np.bool_] | None = None) -> pa.Table:
    """Return predictions as they are profiled: a number, or the class and the probability of each.

    Args:
        predictions: Shape (rows,), of several classes (rows, classes).
        task: What is predicted.
        missing: Which rows have no prediction, and are null, shape (rows,); None: none.
    """
    if not task.is_multiclass:
        return pa.table({PREDICTION: pa.array(predictions, mask=missing)})
    names = np.asarray(task.classes, dtype=object)[class_metrics.predicted(predictions)]
    of_class = {
        probability_of(name): pa.array(predictions[:, place], mask=missing) for place, name in enumerate(task.classes)
    }
    return pa.table({PREDICTION: pa.array(names, pa.string(), mask=missing), **of_class})
