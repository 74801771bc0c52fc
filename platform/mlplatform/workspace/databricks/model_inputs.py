"""Giving a model its columns by the one rule (`features.model_frame`), where Spark makes the pandas frame.

Spark lets the values of a batch decide between `int64` and `Int64`, `bool` and `object`, on the executors, where
nothing of ours need be installed. So the columns are looked up first, become `double` while they are still Spark's,
and the real client takes them as they are.
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.features.model_frame import LARGEST, handed_over, is_inexact, out_of_range, too_large
from mlplatform.features.types import spark_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column

    _Wrong = Callable[[Column, pa.DataType], Column | None]

_EARLIEST, _LATEST = "1677-09-22T00:00:00Z", "2262-04-11T00:00:00Z"


def changes(kind: pa.DataType) -> bool:
    """Tell whether a column of a type is to be changed or looked at before Spark hands it to a model."""
    return not handed_over(kind).equals(kind)


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

    refusals = F.lit(None).cast("string")
    for error, wrong in (
        (too_large(name, kind), _any(given, kind, _is_too_large)),
        (out_of_range(name), _any(given, kind, _is_out_of_range)),
    ):
        if wrong is not None:
            refusals = F.when(wrong, F.lit(str(error))).otherwise(refusals)
    wanted = _spark_name(kind)
    return F.when(refusals.isNotNull(), F.raise_error(refusals).cast(wanted)).otherwise(given.cast(wanted))


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
    found = [part for part in parts if part is not None]
    return functools.reduce(operator.or_, found) if found else None


def _within(values: Column, kind: pa.DataType, wrong: _Wrong) -> Column | None:
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    if _any(F.lit(None), kind, wrong) is None:
        return None

    def is_wrong(value: Column) -> Column:
        found = _any(value, kind, wrong)
        assert found is not None
        return F.coalesce(found, F.lit(False))

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
