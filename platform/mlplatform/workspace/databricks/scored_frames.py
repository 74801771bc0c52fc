"""What comes with a prediction, computed by Spark: the feature tables that held no row, and the reason codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.features.by_halves import all_of_them
from mlplatform.features.reasons import inputs_of, replacement
from mlplatform.features.scoring import ScoringPlan, bare_name, plan_scoring
from mlplatform.features.training_set import PREDICTION
from mlplatform.protocols.feature_client import REASON_CODES, UNMATCHED, ReasonCodes
from mlplatform.types import spark_type
from mlplatform.workspace.databricks import scoring
from mlplatform.workspace.databricks.feature_frames import SparkFrame, column
from mlplatform.workspace.shared.feature_frames import frame_schema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_KEY = "__key_"
_PLACE = "__place"
_PREDICTED = "__predicted"
_REPLACED = "the rows with reference values"


@dataclass(frozen=True)
class ScoreAgain:
    """How rows are scored once more.

    Attributes:
        client: The real client.
        model_uri: The model, at the version whose files were checked.
        arguments: Further arguments of the client's `score_batch`.
    """

    client: Any
    model_uri: str
    arguments: Mapping[str, Any]


def with_unmatched(scored: DataFrame, plan: ScoringPlan, keys: Sequence[str]) -> DataFrame:
    """Return keys, prediction, and the feature tables that held no row.

    Args:
        scored: The scored rows, in `plan.schema`.
        plan: How they were scored.
        keys: The columns of the frame that are kept.
    """
    return scored.select(*map(column, keys), column(PREDICTION), _unmatched(plan).alias(UNMATCHED))


def with_reasons(
    scored: DataFrame,
    plan: ScoringPlan,
    keys: Sequence[str],
    reasons: ReasonCodes,
    again: ScoreAgain,
) -> DataFrame:
    """Return keys, prediction, the feature tables that held no row, and reason codes; nothing is computed yet.

    Each row becomes as many as there are inputs, with another input replaced in each. All are scored once more, by the
    real client, which takes inputs that a frame has as they are, and are put together again by their keys.

    Args:
        scored: The scored rows, in `plan.schema`.
        plan: How they were scored.
        keys: The columns of the frame that are kept; unique together.
        reasons: Which reason codes are asked for.
        again: How rows are scored once more.

    Raises:
        StageError: If no reference value is of an input.
    """
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    names = inputs_of(reasons.ordinary, plan.columns)
    multiplied = scored.select("*", F.explode(F.array(*map(F.lit, range(len(names))))).alias(_PLACE))
    replaced = multiplied.select(
        *(_replaced(name, names, plan.schema.field(name).type, reasons.ordinary) for name in plan.columns),
        *(column(name).alias(f"{_KEY}{place}") for place, name in enumerate(keys)),
        column(PREDICTION).alias(_PREDICTED),
        _unmatched(plan).alias(UNMATCHED),
        column(_PLACE),
    )
    frame = SparkFrame(replaced, frame_schema(replaced, of=_REPLACED))
    all_given = plan_scoring(
        plan.spec,
        frame.schema,
        spark_type(plan.prediction),
        tables=plan.tables,
        functions={},
        rule=plan.rule,
        classes=plan.classes,
    )
    predicted = scoring.score(
        all_given, frame, again.client, again.model_uri, again.arguments, checked=True, failing=all_of_them
    )
    before, after = column(_PREDICTED), column(PREDICTION)
    if plan.classes is not None:
        # Of the class that was predicted for the row as it is, of equally probable ones the first.
        top = F.array_position(before, F.array_max(before)).cast("int") - 1
        before, after = F.get(before, top), F.get(after, top)
    difference = before - after
    # A row that the model cannot predict, as it is or with a reference value, has no reason that could be told.
    contribution = F.when(F.abs(difference) < float("inf"), difference).otherwise(0.0)
    # Sorted by the first field: the largest effect first, ties by the order of the inputs.
    effect = F.struct((-F.abs(contribution)).alias("order"), column(_PLACE), contribution.alias("contribution"))
    grouped = predicted.groupBy(*(column(f"{_KEY}{place}").alias(name) for place, name in enumerate(keys))).agg(
        F.first(column(_PREDICTED)).alias(PREDICTION),
        F.first(column(UNMATCHED)).alias(UNMATCHED),
        F.sort_array(F.collect_list(effect)).alias(REASON_CODES),
    )
    features = F.array(*map(F.lit, names))
    largest = F.filter(F.slice(column(REASON_CODES), 1, reasons.top), lambda item: item["contribution"] != 0)

    def reason(item: Column) -> Column:
        feature = F.element_at(features, item[_PLACE] + 1)
        return F.struct(feature.alias("feature"), item["contribution"].alias("contribution"))

    return grouped.withColumn(REASON_CODES, F.transform(largest, reason))


def _unmatched(plan: ScoringPlan) -> Column:
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if not plan.matched:
        return F.array().cast("array<string>")
    names = [F.when(~column(match), F.lit(bare_name(match))) for match in plan.matched]
    return F.filter(F.array(*names), lambda name: name.isNotNull())


def _replaced(name: str, names: Sequence[str], kind: pa.DataType, ordinary: Mapping[str, Any]) -> Column:
    """Return a column with its reference value in the row in which it is to be replaced."""
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if name not in names:
        return column(name)
    constant = F.lit(replacement(ordinary[name], kind).as_py()).cast(spark_type(kind))
    return F.when(column(_PLACE) == names.index(name), constant).otherwise(column(name)).alias(name)
