"""Default values of features: kept as text in the feature spec, typed by the feature's column."""

from __future__ import annotations

import math
from typing import Any, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import FeatureStoreError
from mlplatform.types import TYPES, spark_type

ColumnT = TypeVar("ColumnT", bound="pa.Array[Any] | pa.ChunkedArray[Any]")

_ALLOWED = [name for name, item in TYPES.items() if item.takes_default]


def default_text(value: Any) -> str | None:
    """Return a default as the feature spec holds it; None for none (None and '' are ignored, as the real client does).

    Examples:
        >>> default_text(True), default_text(0), default_text("")
        ('True', '0', None)
    """
    return None if value is None or value == "" else str(value)


def default_scalar(text: str, kind: pa.DataType, *, of: str) -> pa.Scalar[Any]:
    """Return the typed default.

    Args:
        text: The default as text.
        kind: The feature's type.
        of: The feature's output name, for messages.

    Raises:
        FeatureStoreError: If features of this type take no default, or the text is none of its values, or not finite.

    Examples:
        >>> default_scalar("-1", pa.int64(), of="loans_12m").as_py()
        -1
    """
    if spark_type(kind) not in _ALLOWED:
        raise FeatureStoreError(
            f"Feature {of!r} is {spark_type(kind)}, which takes no default.",
            hint=f"Defaults are for {', '.join(_ALLOWED)}.",
        )
    try:
        if pa.types.is_boolean(kind):
            return pa.scalar({"true": True, "false": False}[text.lower()], kind)
        if pa.types.is_string(kind):
            return pa.scalar(text, kind)
        if pa.types.is_integer(kind):
            return pa.scalar(int(text), kind)
        return pa.scalar(_finite(float(text)), kind)
    except (KeyError, ValueError, OverflowError, pa.ArrowInvalid):
        raise FeatureStoreError(
            f"The default {text!r} of feature {of!r} is no {spark_type(kind)}.", hint="Give a value of that type."
        ) from None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def fill(column: ColumnT, default: pa.Scalar[Any]) -> ColumnT:
    """Replace nulls, and NaN too, as the real client's fill does.

    Examples:
        >>> fill(pa.array([1.5, None, float("nan")]), pa.scalar(0.0)).to_pylist()
        [1.5, 0.0, 0.0]
    """
    filled = pc.fill_null(column, default) if column.null_count else column
    if pa.types.is_floating(column.type):
        filled = pc.if_else(pc.is_nan(filled), default, filled)
    # What is computed of a column is one: pyarrow's stubs say that it may be a scalar.
    return cast("ColumnT", filled)
