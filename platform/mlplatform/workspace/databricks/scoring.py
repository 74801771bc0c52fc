"""Batch scoring by the real client: refused before it is asked where we would, and mended after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_classes import ClassPlaces
from mlplatform.features.scoring import ScoringPlan
from mlplatform.features.training_set import PREDICTION
from mlplatform.protocols.lineage import AS_VALUES_SUGGEST
from mlplatform.types import spark_type
from mlplatform.workspace.databricks.feature_engineering import asked
from mlplatform.workspace.databricks.feature_frames import SparkFrame, column, select
from mlplatform.workspace.databricks.matches import with_matches
from mlplatform.workspace.databricks.model_inputs import handing_over
from mlplatform.workspace.databricks.training_set import refuse_dots, refuse_lost_rows, refuse_null_times

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column, DataFrame

_GIVEN = "__given_"
_CLASSES = 2


def score(
    plan: ScoringPlan,
    frame: SparkFrame,
    client: Any,
    model_uri: str,
    arguments: Mapping[str, Any],
    *,
    checked: bool = False,
    failing: Callable[[int], int] | None = None,
) -> DataFrame:
    """Return the scored rows in `plan.schema`, not yet computed.

    Args:
        plan: How the frame is scored.
        frame: The rows to score.
        client: The real client.
        model_uri: The model, at the version whose files were checked.
        arguments: Further arguments of the client's `score_batch`.
        checked: The rows come from a frame that was scored before: they are not looked at again.
        failing: On how many rows of a batch the model may fail: they get NaN, of several classes null, and the others
            their predictions; None: on none. Of a `double`, and of several classes only.

    Raises:
        FeatureStoreError: If rows have no time, values do not fit the types that the model was fitted on, or the client
            refuses.
    """
    lookups = plan.lookups
    casts = {name: kind for name, kind in plan.casts.items() if name in frame.schema.names}
    if not checked:
        refuse_dots(frame, lookups)
        refuse_null_times(frame, lookups)
        _refuse_misfits(frame, casts)
    df = frame.df
    matches: dict[str, str] = {}
    with asked(f"Scoring with {model_uri}"):
        if plan.matched:
            df, matches = with_matches(client, df, plan)
            refuse_lost_rows(frame, lookups, df)
        for name, kind in casts.items():
            df = df.withColumn(f"{_GIVEN}{name}", column(name)).withColumn(name, column(name).cast(spark_type(kind)))
        if plan.rule != AS_VALUES_SUGGEST:
            kinds = {name: plan.casts.get(name, lookups.schema.field(name).type) for name in plan.inputs}
            number = pa.types.is_floating(plan.prediction) or plan.classes is not None
            client = handing_over(client, kinds, failing=failing if number else None)
        scored = client.score_batch(model_uri=model_uri, df=df, result_type=_asked_type(plan.prediction), **arguments)
        if not plan.matched:
            refuse_lost_rows(frame, lookups, scored.drop(PREDICTION))
        scored = scored.withColumn(
            PREDICTION, _taken(plan.prediction) if plan.classes is None else _of_classes(plan.classes)
        )
        return select(scored, plan.schema, {name: f"{_GIVEN}{name}" for name in casts} | matches)


def _refuse_misfits(frame: SparkFrame, casts: Mapping[str, pa.DataType]) -> None:
    """Refuse values that the cast to the type that the model was fitted on would change."""
    lossy = {
        name: kind
        for name, kind in casts.items()
        if not pa.types.is_floating(kind) or pa.types.is_integer(frame.schema.field(name).type)
    }
    if not lossy:
        return
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    misfits = {}
    for name, kind in lossy.items():
        given = spark_type(frame.schema.field(name).type)
        back = column(name).try_cast(spark_type(kind)).try_cast(given)
        misfits[name] = ~F.coalesce(back.eqNullSafe(column(name)), F.lit(False))
    rows, counts = frame.count(misfits)
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


def _of_classes(classes: ClassPlaces) -> Column:
    """Return the probabilities of the wanted classes, as `features.probabilities` gives them at home."""
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    given, width = F.col(PREDICTION), classes.known
    refused = F.raise_error(
        F.concat(
            F.lit("The model gave "),
            F.size(given).cast("string"),
            F.lit(f" values a row, and it has {width} classes."),
        )
    ).cast("array<double>")
    # By get, which is null and no error where a list is too short: engines compute what no row needs.
    wanted = F.array(*(F.lit(0.0) if place is None else F.get(given, F.lit(place)) for place in classes.of_wanted))
    unknown = F.exists(given, lambda value: value.isNull() | F.isnan(value) | (F.abs(value) == float("inf")))
    # A row that the model failed on has one value, NaN.
    failed = given.isNull() | F.coalesce(unknown, F.lit(False))
    return F.when(failed, F.lit(None)).when(F.size(given) == width, wanted).otherwise(refused)
