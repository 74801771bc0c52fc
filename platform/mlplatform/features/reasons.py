"""Reason codes: which inputs moved a row's prediction away from that of an ordinary row.

Each input in turn is replaced by a reference value (training's median or most frequent category), and the difference
that this makes to the prediction is the input's contribution: prediction differences as in Robnik-Sikonja and
Kononenko, "Explaining Classifications For Individual Instances", IEEE TKDE 2008, with one reference value in place of
the average over all values. Inputs that act only together share nothing and may each get the whole; correlated ones may
each get none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlplatform.errors import StageError

REASON = pa.struct([pa.field("feature", pa.string()), pa.field("contribution", pa.float64())])
REASONS = pa.list_(pa.field("element", REASON))
Vector = npt.NDArray[np.float64]
_ROWS_AT_ONCE = 400_000


def reason_codes(
    score: Callable[[pa.Table], Vector], scored: pa.Table, predictions: Vector, ordinary: Mapping[str, Any], top: int
) -> pa.Array[Any]:
    """Return the contributions that moved each row's prediction most.

    Args:
        score: Predicts rows that hold every input; keeps their order.
        scored: The rows with all their inputs, as they were scored.
        predictions: What was predicted for them, shape (rows,); of several classes shape (rows, classes).
        ordinary: Input -> reference value; other columns are left as they are.
        top: Reasons per row, at most; the largest first, those without any effect left out.

    Returns:
        Type `REASONS`: a contribution above zero raised the prediction; of several classes the probability of the
        class that was predicted.

    Raises:
        StageError: If `ordinary` names no column of the rows.
    """
    names = inputs_of(ordinary, scored.column_names)
    step = max(1, _ROWS_AT_ONCE // len(names))
    parts = [
        _block(score, scored.slice(start, step), predictions[start : start + step], names, ordinary, top)
        for start in range(0, scored.num_rows, step)
    ]
    return pa.concat_arrays(parts) if parts else pa.array([], REASONS)


def _block(
    score: Callable[[pa.Table], Vector],
    rows: pa.Table,
    predictions: Vector,
    names: list[str],
    ordinary: Mapping[str, Any],
    top: int,
) -> pa.Array[Any]:
    # All replacements in one frame: a model is loaded once, and predicts many rows faster than few rows often.
    changed = pa.concat_tables([_replaced(rows, name, ordinary[name]) for name in names])
    without = score(changed)
    if predictions.ndim > 1:
        # Of the class that was predicted for the row as it is, of equally probable ones the first.
        likeliest = predictions.argmax(axis=1)
        without = without[np.arange(len(without)), np.tile(likeliest, len(names))]
        predictions = predictions[np.arange(rows.num_rows), likeliest]
    contributions = (predictions[None, :] - without.reshape(len(names), rows.num_rows)).T
    # A row that the model cannot predict, as it is or with a reference value, has no reason that could be told.
    contributions = np.where(np.isfinite(contributions), contributions, 0.0)
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :top]
    values = np.take_along_axis(contributions, order, axis=1)
    kept = values != 0
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    features = pa.array(np.asarray(names, dtype=object)[order[kept]], pa.string())
    flat = pa.StructArray.from_arrays([features, pa.array(values[kept])], fields=list(REASON))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=REASONS)


def inputs_of(ordinary: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    """Return the inputs that reasons are given by, in the order in which ties are decided.

    Args:
        ordinary: Input -> reference value.
        columns: The columns of the scored rows.

    Raises:
        StageError: If none of the inputs is among the columns.
    """
    present = set(columns)
    names = [name for name in ordinary if name in present]
    if not names:
        raise StageError("There is no input to give reasons by.", hint="Does the reference profile fit the model?")
    return names


def replacement(value: Any, kind: pa.DataType) -> pa.Scalar[Any]:
    """Return a reference value in the type of the column that it replaces.

    Examples:
        >>> replacement(1.6, pa.int64()), replacement(None, pa.string())
        (<pyarrow.Int64Scalar: 2>, <pyarrow.StringScalar: None>)
    """
    if value is None:
        return pa.scalar(None, kind)
    whole = pa.types.is_integer(kind) and isinstance(value, float)
    constant: pa.Scalar[Any] = pa.scalar(round(value) if whole else value).cast(kind)
    return constant


def _replaced(rows: pa.Table, name: str, value: Any) -> pa.Table:
    place = rows.column_names.index(name)
    kind = rows.schema.field(name).type
    constant: pa.Array[Any] = pa.repeat(replacement(value, kind), rows.num_rows)  # type: ignore[call-overload]
    return rows.set_column(place, pa.field(name, kind), constant)
