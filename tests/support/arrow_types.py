"""The types that cases and results name: the platform's, and what no feature may have but a case may hold."""

from __future__ import annotations

from typing import Any, TypeGuard

import pyarrow as pa

from mlplatform import types
from mlplatform.errors import FeatureStoreError
from mlplatform.types import TIMESTAMP

__all__ = ["TIMESTAMP", "arrow_type", "is_list", "spark_name"]

_WITHOUT_ZONE = "timestamp_ntz"
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Z", "+00:00"})


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type for a Spark simple type name, as in `decimal(10,2)` or `struct<x:int,y:string>`.

    Raises:
        FeatureStoreError: If it is none.
    """
    return pa.timestamp("us") if name.strip() == _WITHOUT_ZONE else types.arrow_type(name)


def spark_name(kind: pa.DataType) -> str:
    """Return the Spark simple type name of an Arrow type.

    Physical variants of one logical type (string, large_string, string_view) have one name. What no case can expect,
    such as a timestamp in another unit or zone, keeps its Arrow name, so that it shows up as a difference.
    """
    if kind == pa.timestamp("us"):
        return _WITHOUT_ZONE
    if _holds_another_time(kind):
        return str(kind)
    try:
        return types.spark_type(kind)
    except FeatureStoreError:
        return str(kind)


def is_list(kind: pa.DataType) -> TypeGuard[pa.ListType[Any]]:
    """Say whether an Arrow type is any of the list types."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _holds_another_time(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_another_time(kind.value_type)
    if pa.types.is_timestamp(kind):
        return kind.unit != "us" or kind.tz not in _UTC_NAMES
    return any(_holds_another_time(kind.field(at).type) for at in range(kind.num_fields))
