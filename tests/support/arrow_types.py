"""Spark simple type names (`bigint`, `array<double>`) to Arrow types, and back."""

from __future__ import annotations

import re

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

_SCALARS: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": TIMESTAMP,
    "timestamp_ntz": pa.timestamp("us"),
}
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Z", "+00:00"})
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type for a Spark simple type name.

    Args:
        name: For example `"decimal(10,2)"` or `"struct<x:int,y:string>"`.

    Raises:
        ValueError: The name is not one that the cases use.
    """
    name = name.strip()
    if name in _SCALARS:
        return _SCALARS[name]
    if match := _DECIMAL.fullmatch(name):
        return pa.decimal128(int(match[1]), int(match[2]))
    outer, _, inner = name.partition("<")
    if inner.endswith(">"):
        parts = _split_top_level(inner[:-1])
        if outer == "array" and len(parts) == 1:
            return pa.list_(arrow_type(parts[0]))
        if outer == "map" and len(parts) == 2:
            return pa.map_(arrow_type(parts[0]), arrow_type(parts[1]))
        if outer == "struct":
            fields = [part.partition(":") for part in parts]
            return pa.struct([pa.field(field, arrow_type(kind)) for field, _, kind in fields])
    msg = f"Unknown Spark type name {name!r}."
    raise ValueError(msg)


def spark_name(kind: pa.DataType) -> str:  # noqa: PLR0911 - one return a kind of type reads best
    """Return the Spark simple type name of an Arrow type.

    Physical variants of one logical type (string, large_string, string_view) have one name. What no case can expect,
    such as a timestamp in another unit or zone, keeps its Arrow name, so that it shows up as a difference.
    """
    if pa.types.is_dictionary(kind):
        return spark_name(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return "binary"
    if pa.types.is_timestamp(kind):
        if kind.unit != "us":
            return str(kind)
        if kind.tz is None:
            return "timestamp_ntz"
        return "timestamp" if kind.tz in _UTC_NAMES else str(kind)
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if is_list(kind):
        return f"array<{spark_name(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{spark_name(kind.key_type)},{spark_name(kind.item_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{field.name}:{spark_name(field.type)}' for field in kind)}>"
    for name, scalar in _SCALARS.items():
        if kind == scalar:
            return name
    return str(kind)


def is_list(kind: pa.DataType) -> bool:
    """Say whether an Arrow type is any of the list types."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _split_top_level(text: str) -> list[str]:
    """Split at the commas that stand outside every bracket."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        if char in "<(":
            depth += 1
        elif char in ">)":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
