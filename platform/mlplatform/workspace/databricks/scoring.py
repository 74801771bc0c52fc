"""Batch scoring by the real client: refused before it is asked where we would, and mended after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.scoring import input_types
from mlplatform.features.training_set import PREDICTION, Plan, check_score_frame, make_plan
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import AS_VALUES_SUGGEST, RULE
from mlplatform.types import arrow_type, spark_type
from mlplatform.workspace.databricks.feature_engineering import asked
from mlplatform.workspace.databricks.feature_frames import SparkFrame, column, select
from mlplatform.workspace.databricks.matches import with_matches
from mlplatform.workspace.databricks.model_inputs import handing_over
from mlplatform.workspace.databricks.training_set import refuse_dots, refuse_lost_rows, refuse_null_times

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.tables import TableInfo

_GIVEN = "__given_"
_CLASSES = 2


@dataclass(frozen=True)
class Scored:
    """What scoring gave: the rows, not yet computed, and their columns."""

    df: DataFrame
    schema: pa.Schema


class BatchScoring:
    """One frame to be scored by one model."""

    def __init__(
        self,
        spec: FeatureSpec,
        frame: SparkFrame,
        result_type: str,
        *,
        tables: Mapping[str, TableInfo],
        functions: Mapping[str, FunctionInfo],
        rule: int = RULE,
    ) -> None:
        """Plan the scoring, and refuse what cannot be scored.

        Args:
            spec: The model's feature spec.
            frame: The rows to score.
            result_type: Spark type of the prediction.
            tables: What is known about the feature tables.
            functions: The registered functions.
            rule: How the model's columns become pandas, see `features.model_frame`.

        Raises:
            FeatureStoreError: As `check_score_frame` and `make_plan`; if `result_type` is no type; or if values do not
                fit the types that the model was fitted on.
        """
        check_score_frame(spec, frame.schema.names)
        self._spec = spec
        self._frame = frame
        self._tables = tables
        self._kind = arrow_type(result_type)
        self._plan: Plan = make_plan(spec, frame.schema, wanted=spec.included, tables=tables, functions=functions)
        refuse_dots(frame, self._plan)
        given = input_types(spec, self._plan.schema)
        self._casts = {name: kind for name, kind in given.items() if name in frame.schema.names}
        self._rule = rule
        self._kinds = {name: given.get(name, self._plan.schema.field(name).type) for name in spec.included}

    def run(self, client: Any, model_uri: str, *, matches: bool, arguments: Mapping[str, Any]) -> Scored:
        """Score the rows.

        Args:
            client: The real client.
            model_uri: The model, at the version whose files were checked.
            matches: Add the columns that say which lookups found a row.
            arguments: Further arguments of the client's `score_batch`.

        Raises:
            FeatureStoreError: If rows have no time, or the client refuses.
        """
        refuse_null_times(self._frame, self._plan)
        self._refuse_misfits()
        df = self._frame.df
        found: dict[str, str] = {}
        with asked(f"Scoring with {model_uri}"):
            if matches:
                df, found = with_matches(client, df, self._spec, self._plan, self._tables)
                refuse_lost_rows(self._frame, self._plan, df)
            for name, kind in self._casts.items():
                df = df.withColumn(f"{_GIVEN}{name}", column(name)).withColumn(
                    name, column(name).cast(spark_type(kind))
                )
            if self._rule != AS_VALUES_SUGGEST:
                client = handing_over(client, self._kinds)
            scored = client.score_batch(model_uri=model_uri, df=df, result_type=_asked_type(self._kind), **arguments)
            if not matches:
                refuse_lost_rows(self._frame, self._plan, scored.drop(PREDICTION))
            scored = scored.withColumn(PREDICTION, _taken(self._kind))
            schema = self._schema(list(found))
            sources = {name: f"{_GIVEN}{name}" for name in self._casts} | found
            return Scored(select(scored, schema, sources), schema)

    def _schema(self, matched: list[str]) -> pa.Schema:
        there = self._frame.schema.names
        names = [*there, *(name for name in self._spec.included if name not in there)]
        return pa.schema(
            [
                *(self._plan.schema.field(name).with_nullable(True) for name in names),
                *(pa.field(name, pa.bool_()) for name in matched),
                pa.field(PREDICTION, self._kind),
            ]
        )

    def _refuse_misfits(self) -> None:
        """Refuse values that the cast to the type that the model was fitted on would change."""
        lossy = {name: kind for name, kind in self._casts.items() if not pa.types.is_floating(kind)}
        lossy |= {
            name: kind
            for name, kind in self._casts.items()
            if pa.types.is_floating(kind) and pa.types.is_integer(self._frame.schema.field(name).type)
        }
        if not lossy:
            return
        from pyspark.sql import functions as F  # noqa: N812  (its usual name)

        misfits = {}
        for name, kind in lossy.items():
            there = spark_type(self._frame.schema.field(name).type)
            back = column(name).try_cast(spark_type(kind)).try_cast(there)
            misfits[name] = ~F.coalesce(back.eqNullSafe(column(name)), F.lit(False))
        rows, counts = self._frame.count(misfits)
        for name, count in counts.items():
            if count:
                raise FeatureStoreError(
                    f"Column {name!r} of the frame to score does not fit {spark_type(lossy[name])}, which the model "
                    f"was fitted on, in {count} of {rows} row(s).",
                    hint="Cast it before scoring.",
                )


def _asked_type(kind: pa.DataType) -> str:
    """Return the result type to ask the client for: of a scalar it would take the first of two classes, we the last."""
    if pa.types.is_list(kind):
        return spark_type(kind)
    if pa.types.is_boolean(kind):
        return "array<boolean>"
    if pa.types.is_integer(kind):
        return "array<bigint>"
    return "array<double>" if pa.types.is_floating(kind) else "array<string>"


def _taken(kind: pa.DataType) -> Column:
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    given = F.col(PREDICTION)
    if pa.types.is_list(kind):
        return given
    refused = F.raise_error(
        F.concat(
            F.lit("The model gave "),
            F.size(given).cast("string"),
            F.lit(f" values a row; result_type {spark_type(kind)} holds one. Use result_type='array<double>'."),
        )
    )
    last = F.element_at(given, -1).cast(spark_type(kind))
    return F.when(given.isNull(), F.lit(None)).when(F.size(given) <= _CLASSES, last).otherwise(refused)
