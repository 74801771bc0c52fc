"""Batch scoring over Arrow: look up what the frame lacks, predict batch by batch, and keep no more than a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlplatform.errors import FeatureStoreError
from mlplatform.features.defaults import fill
from mlplatform.features.model_frame import model_frame
from mlplatform.features.probabilities import in_wanted_order, matrix
from mlplatform.features.reasons import REASONS, Vector, reason_codes
from mlplatform.features.scoring import UNMATCHED_TABLES, ScoringPlan, without_left_out
from mlplatform.features.training_set import PREDICTION
from mlplatform.protocols.feature_client import REASON_CODES, UNMATCHED, ReasonCodes
from mlplatform.types import spark_type
from mlplatform.workspace.local import duck, lookup_engine
from mlplatform.workspace.local.lookup_sources import Sources
from mlplatform.workspace.local.matches import unmatched, with_matches
from mlplatform.workspace.local.parquet_rows import ParquetRows
from mlplatform.workspace.shared.scoring import ScoredFrame

Predict = Callable[[Any], Any]
_TABLE = 2  # dimensions
_MOST_VALUES = 16_000_000
"""Of one batch, or 128 MB of numbers; the model makes some copies of them."""


def rows_at_once(columns: int, wanted: int | None = None) -> int:
    """Return how many rows of so many columns a model is given at once.

    Args:
        columns: How many there are.
        wanted: At most so many; None: what memory takes.

    Examples:
        >>> [rows_at_once(columns) for columns in (20, 1000, 10_000)]
        [122880, 16000, 1600]
    """
    return max(min(wanted or duck.BATCH_ROWS, duck.BATCH_ROWS, _MOST_VALUES // max(columns, 1)), 1)


def score(
    plan: ScoringPlan,
    frame: pa.Table | ParquetRows,
    predict: Predict,
    sources: Sources,
    *,
    batch_rows: int = duck.BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the scored rows in `plan.schema`, as many as the frame has, in its order.

    Args:
        plan: How the frame is scored.
        frame: The rows to score.
        predict: The model.
        sources: What is looked up in.
        batch_rows: Rows that the model is given at once, at most.

    Raises:
        FeatureStoreError: If the model fails, or gives something that is no `result_type`.
    """
    columns = [*plan.columns, *plan.matched]
    for batch in lookup_engine.run(with_matches(plan), frame, columns, sources, batch_rows=batch_rows):
        if batch.num_rows:
            prediction = _prediction(plan, predict, batch)
            arrays = [
                pc.is_valid(column) if name in plan.matched else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays([*arrays, prediction], schema=plan.schema)


def score_into(
    file: Path, plan: ScoringPlan, batches: Iterator[pa.RecordBatch], predict: Predict, wanted: ScoredFrame
) -> int:
    """Write scored rows into a Parquet file, a batch at a time; return how many.

    Args:
        file: The file.
        plan: How they are scored.
        batches: The scored rows, as `score` gives them.
        predict: The model, to predict rows again that have a reference value in the place of their own; may give NaN.
        wanted: What is kept of the rows.
    """
    keys, reasons = wanted.keys, wanted.reasons
    fields = [plan.schema.field(name) for name in (*keys, PREDICTION)] + [pa.field(UNMATCHED, UNMATCHED_TABLES)]
    schema = pa.schema([*fields, pa.field(REASON_CODES, REASONS)] if reasons else fields)
    rows = 0
    with pq.ParquetWriter(file, schema, compression="lz4") as writer:
        for batch in batches:
            columns = [*(batch.column(name) for name in (*keys, PREDICTION)), unmatched(batch, plan.matched)]
            if reasons:
                columns.append(_reasons(plan, predict, batch, reasons))
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            rows += batch.num_rows
            wanted.done(rows)
    return rows


def _reasons(plan: ScoringPlan, predict: Predict, scored: pa.RecordBatch, reasons: ReasonCodes) -> pa.Array[Any]:
    def numbers(predicted: pa.Array[Any]) -> Vector:
        if plan.classes is not None:
            return matrix(predicted, len(plan.classes.of_wanted))
        return np.asarray(predicted.to_numpy(zero_copy_only=False), dtype=np.float64)

    def score_again(rows: pa.Table) -> Vector:
        (batch,) = rows.combine_chunks().to_batches()
        return numbers(_prediction(plan, predict, _filled(plan, batch)))

    predictions = numbers(scored.column(PREDICTION))
    rows = pa.Table.from_batches([scored]).select(plan.columns)
    known = np.isfinite(predictions if predictions.ndim == 1 else predictions[:, 0])
    if known.all():
        return reason_codes(score_again, rows, predictions, reasons.ordinary, reasons.top)
    # A row that the model fails on has no reasons, and would most often fail again with each of its inputs replaced.
    places = np.cumsum(known) - 1
    given = reason_codes(score_again, rows.filter(pa.array(known)), predictions[known], reasons.ordinary, reasons.top)
    return given.take(pa.array(places, pa.int64(), mask=~known))


def _filled(plan: ScoringPlan, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows with the defaults in the place of nulls, which a reference value may be."""
    defaults = plan.lookups.defaults
    columns = [
        fill(column, defaults[name]) if name in defaults else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _prediction(plan: ScoringPlan, predict: Predict, batch: pa.RecordBatch) -> pa.Array[Any]:
    columns = [_cast(batch.column(name), plan.casts, name) for name in plan.inputs]
    given = model_frame(pa.RecordBatch.from_arrays(columns, names=plan.inputs), plan.rule)
    try:
        with without_left_out():
            result = predict(given)
    except Exception as error:
        raise FeatureStoreError(
            f"The model failed on a batch of {batch.num_rows} row(s) with {type(error).__name__}: {error}",
            hint=f"It was given the columns {', '.join(plan.inputs)}.",
        ) from error
    if plan.classes is not None:
        return in_wanted_order(result, plan, batch.num_rows)
    return as_column(result, plan.prediction, batch.num_rows)


def as_column(result: Any, kind: pa.DataType, rows: int) -> pa.Array[Any]:
    """Return a model's output as one Arrow column.

    One number a row, or one column, is taken as it is. Of two columns, the probabilities of the two classes, a scalar
    `result_type` takes the last: the positive class. More columns need `array<double>`, which keeps all of them.

    Args:
        result: An array, series, frame or list of the model.
        kind: The Arrow type of `result_type`.
        rows: How many rows were given.

    Raises:
        FeatureStoreError: If the number of rows or columns, or the type, does not fit.
    """
    values = result.to_numpy() if hasattr(result, "to_numpy") else np.asarray(result)
    if values.ndim == 0 or len(values) != rows:
        raise FeatureStoreError(
            f"The model gave {values.size if values.ndim == 0 else len(values)} prediction(s) for {rows} row(s).",
            hint="A model scores each row.",
        )
    try:
        if values.ndim == _TABLE and pa.types.is_list(kind):
            width = values.shape[1]
            flat = pa.array(np.ascontiguousarray(values).reshape(-1)).cast(kind.value_type)
            offsets = pa.array(
                np.arange(0, (rows + 1) * width, width, dtype=np.int32) if width else np.zeros(rows + 1, np.int32),
                pa.int32(),
            )
            return pa.ListArray.from_arrays(offsets, flat, type=kind)
        if values.ndim == _TABLE and values.shape[1] in (1, 2):
            values = values[:, -1]
        if values.ndim != 1:
            raise FeatureStoreError(
                f"The model gave {values.shape[1:]} values a row; result_type {spark_type(kind)} holds one.",
                hint="Use result_type='array<double>'.",
            )
        return _scalars(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, FeatureStoreError):
            raise
        raise FeatureStoreError(
            f"The model's predictions ({values.dtype}) are no {spark_type(kind)}: {error}",
            hint="Choose the result_type that the model gives.",
        ) from None


def _scalars(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array[Any]:
    if values.dtype == object or pa.types.is_list(kind):
        return pa.array(values.tolist(), type=kind)
    column: pa.Array[Any] = pa.array(values)
    return column if column.type.equals(kind) else column.cast(kind)


def _cast(column: pa.Array[Any], casts: Mapping[str, pa.DataType], name: str) -> pa.Array[Any]:
    kind = casts.get(name)
    if kind is None:
        return column
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise FeatureStoreError(
            f"Column {name!r} of the frame to score does not fit {spark_type(kind)}, "
            f"which the model was fitted on: {error}",
            hint="Cast it before scoring.",
        ) from None
