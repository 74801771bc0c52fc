"""Batch scoring over Arrow: look up what the frame lacks, predict batch by batch, and keep no more than a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_frame import model_frame
from mlplatform.features.scoring import input_types, match_names, without_left_out
from mlplatform.features.training_set import PREDICTION, Join, Plan, check_score_frame, make_plan
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import RULE
from mlplatform.types import arrow_type, normal_type, spark_type
from mlplatform.workspace.local import duck, lookup_engine

if TYPE_CHECKING:
    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.tables import TableInfo

Predict = Callable[[Any], Any]
_TABLE = 2  # dimensions


class BatchScoring:
    """One frame to be scored by one model.

    Attributes:
        schema: The output: the frame's columns, the included columns that it lacks in spec order, `prediction`.
        plan: What is looked up and computed.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        frame: pa.Table,
        result_type: str,
        *,
        tables: Mapping[str, TableInfo],
        functions: Mapping[str, FunctionInfo],
        matches: bool = False,
        rule: int = RULE,
    ) -> None:
        """Plan the scoring, and refuse what cannot be scored.

        Args:
            spec: The model's feature spec.
            frame: The rows to score.
            result_type: Spark type of the prediction.
            tables: What is known about the feature tables.
            functions: The registered functions.
            matches: Add the columns that say which lookups found a row.
            rule: How the model's columns become pandas, see `features.model_frame`.

        Raises:
            FeatureStoreError: As `check_score_frame` and `make_plan`; or if `result_type` is no type.
        """
        check_score_frame(spec, frame.column_names)
        self._frame = frame
        self._rule = rule
        self._kind = arrow_type(result_type)
        self._inputs = spec.included
        self.plan: Plan = make_plan(spec, frame.schema, wanted=self._inputs, tables=tables, functions=functions)
        added = [name for name in self._inputs if name not in frame.column_names]
        self._casts = input_types(spec, self.plan.schema)
        self._matched: list[str] = []
        if matches:
            self.plan, self._matched = _with_matches(self.plan, tables)
        self._columns = [*frame.column_names, *added, *self._matched]
        fields = [
            pa.field(name, pa.bool_()) if name in self._matched else self.plan.schema.field(name)
            for name in self._columns
        ]
        self.schema = pa.schema([*fields, pa.field(PREDICTION, self._kind)])

    def run(
        self, predict: Predict, sources: lookup_engine.Sources, *, batch_rows: int = duck.BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield the scored rows, as many as the frame has, in its order.

        Args:
            predict: The model.
            sources: What is looked up in.
            batch_rows: Rows that the model is given at once, at most.

        Raises:
            FeatureStoreError: If the model fails, or gives something that is no `result_type`.
        """
        batches = lookup_engine.run(self.plan, self._frame, self._columns, sources, batch_rows=batch_rows)
        for batch in batches:
            if batch.num_rows:
                prediction = self._predict(predict, batch)
                columns = [
                    pc.is_valid(column) if name in self._matched else column
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                ]
                yield pa.RecordBatch.from_arrays([*columns, prediction], schema=self.schema)

    def _predict(self, predict: Predict, batch: pa.RecordBatch) -> pa.Array[Any]:
        columns = []
        for name in self._inputs:
            column = batch.column(name)
            columns.append(_cast(column, self._casts[name], name) if name in self._casts else column)
        given = model_frame(pa.RecordBatch.from_arrays(columns, names=list(self._inputs)), self._rule)
        try:
            with without_left_out():
                result = predict(given)
        except Exception as error:
            raise FeatureStoreError(
                f"The model failed on a batch of {batch.num_rows} row(s) with {type(error).__name__}: {error}",
                hint=f"It was given the columns {', '.join(self._inputs)}.",
            ) from error
        return as_column(result, self._kind, batch.num_rows)


def _with_matches(plan: Plan, tables: Mapping[str, TableInfo]) -> tuple[Plan, list[str]]:
    """Let each join bring the table's first key along: it is null exactly where no row was found."""
    names = match_names(plan)
    waiting = iter(names)
    fields, stages = list(plan.schema), []
    for stage in plan.stages:
        steps: list[Join] = []
        for step in stage:
            if isinstance(step, Join):
                name, key = next(waiting), step.keys[0][1]
                fields.append(pa.field(name, normal_type(tables[step.table].schema.field(key).type)))
                steps.append(replace(step, outputs=(*step.outputs, (key, name))))
        stages.append(tuple(steps) or stage)
    return Plan(stages=tuple(stages), defaults=plan.defaults, schema=pa.schema(fields)), names


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


def _cast(column: pa.Array[Any], kind: pa.DataType, name: str) -> pa.Array[Any]:
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise FeatureStoreError(
            f"Column {name!r} of the frame to score does not fit {spark_type(kind)}, "
            f"which the model was fitted on: {error}",
            hint="Cast it before scoring.",
        ) from None
