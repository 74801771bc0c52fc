"""Giving a model its columns by the one rule (`features.model_frame`), where Spark makes the pandas frame.

Spark lets the values of a batch decide between `int64` and `Int64`, `bool` and `object`, on the executors, where
nothing of ours need be installed. So the columns become `double` while they are still Spark's.
"""

from __future__ import annotations

import copy
import functools
import operator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_frame import LARGEST, handed_over, is_inexact, out_of_range, too_large
from mlplatform.types import spark_type
from mlplatform.workspace.databricks.failing_rows import predicting_what_it_can
from mlplatform.workspace.databricks.feature_frames import column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyspark.sql import Column

    _Wrong = Callable[[Column, pa.DataType], Column | None]

_EARLIEST, _LATEST = "1677-09-22T00:00:00Z", "2262-04-11T00:00:00Z"


def handing_over(client: Any, kinds: Mapping[str, pa.DataType], *, failing: Callable[[int], int] | None = None) -> Any:
    """Return a copy of the real client that gives a model its columns as `for_model` makes them.

    The client looks everything up, fills defaults in, and then calls a function of MLflow's with the model's columns:
    that call is the one place where they are all there, and still in their own types everywhere else.

    Args:
        client: The real client.
        kinds: The model's inputs and their types, in order.
        failing: On how many rows of a batch the model may fail: they get NaN, and the others their predictions; None:
            on none. Only in the environment of the executors: in one that MLflow builds, each half would start a
            server.

    Raises:
        FeatureStoreError: If the client is built in another way than the one we know.
    """
    changed, copied = copy.copy(client), client
    try:
        changed._training_scoring_client = copied = copy.copy(client._training_scoring_client)  # noqa: SLF001
        copied._spark_client = spark_client = copy.copy(copied._spark_client)  # noqa: SLF001
        make_udf = spark_client.get_predict_udf
    except AttributeError as error:
        raise FeatureStoreError(
            f"The feature engineering client is built in a way that we do not know: {error}",
            hint="Install the version that the extra `databricks` names.",
        ) from error

    def get_predict_udf(*arguments: Any, **named: Any) -> Callable[..., Column]:
        from pyspark.sql import functions as F  # noqa: N812  (its usual name)

        predict = make_udf(*arguments, **named)
        if failing and named.get("env_manager") in (None, "local") and named.get("prebuilt_env_uri") is None:
            predict = predicting_what_it_can(predict, failing)
        inputs = [for_model(name, kind, column(name)).alias(name) for name, kind in kinds.items()]
        return lambda *_: predict(F.struct(*inputs))

    spark_client.get_predict_udf = get_predict_udf
    return changed


def for_model(name: str, kind: pa.DataType, given: Column) -> Column:
    """Return a column as a model is given it.

    Args:
        name: The column's name, for messages.
        kind: Its type.
        given: The column.

    Returns:
        The column in the type that `handed_over` says; Spark raises our error where a value does not go into it.
    """
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if handed_over(kind).equals(kind):
        return given
    refusals = F.lit(None).cast("string")
    for error, wrong in (
        (too_large(name, kind), _any(given, kind, _is_too_large)),
        (out_of_range(name), _any(given, kind, _is_out_of_range)),
    ):
        if wrong is not None:
            refusals = F.when(wrong, F.lit(str(error))).otherwise(refusals)
    target = _spark_name(kind)
    return F.when(refusals.isNotNull(), F.raise_error(refusals).cast(target)).otherwise(given.cast(target))


def _spark_name(kind: pa.DataType) -> str:
    # A timestamp stays one: Spark takes its zone away itself.
    if pa.types.is_timestamp(kind):
        return spark_type(kind)
    if pa.types.is_list(kind):
        return f"array<{_spark_name(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{_spark_name(kind.key_type)},{_spark_name(kind.item_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'`{field.name}`:{_spark_name(field.type)}' for field in kind)}>"
    return spark_type(handed_over(kind))


def _any(given: Column, kind: pa.DataType, wrong: _Wrong) -> Column | None:
    """Return the condition that a value, or one within it, is wrong; None where none can be."""
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if pa.types.is_list(kind):
        return _within(given, kind.value_type, wrong)
    if pa.types.is_map(kind):
        parts = [
            _within(F.map_keys(given), kind.key_type, wrong),
            _within(F.map_values(given), kind.item_type, wrong),
        ]
    elif pa.types.is_struct(kind):
        parts = [_any(given.getField(field.name), field.type, wrong) for field in kind]
    else:
        return wrong(given, kind)
    conditions = [part for part in parts if part is not None]
    return functools.reduce(operator.or_, conditions) if conditions else None


def _within(values: Column, kind: pa.DataType, wrong: _Wrong) -> Column | None:
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if _any(F.lit(None), kind, wrong) is None:
        return None

    def is_wrong(value: Column) -> Column:
        condition = _any(value, kind, wrong)
        assert condition is not None
        return F.coalesce(condition, F.lit(False))

    return F.coalesce(F.exists(values, is_wrong), F.lit(False))


def _is_too_large(given: Column, kind: pa.DataType) -> Column | None:
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if not is_inexact(kind):
        return None
    return F.coalesce((given > F.lit(LARGEST)) | (given < F.lit(-LARGEST)), F.lit(False))


def _is_out_of_range(given: Column, kind: pa.DataType) -> Column | None:
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if not pa.types.is_timestamp(kind):
        return None
    early, late = F.lit(_EARLIEST).cast("timestamp"), F.lit(_LATEST).cast("timestamp")
    return F.coalesce((given < early) | (given >= late), F.lit(False))
