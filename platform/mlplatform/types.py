"""The types of columns: Spark's name (`bigint`, `array<double>`), Arrow's type, and what the platform asks of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import pyarrow as pa

from mlplatform.errors import FeatureStoreError, did_you_mean

TIMESTAMP = pa.timestamp("us", tz="UTC")

SortOrder = list[tuple[str, Literal["ascending", "descending"]]]
"""Columns to sort by, as `pyarrow.Table.sort_by` takes them."""


@dataclass(frozen=True)
class SparkType:
    """What the platform asks of one of Spark's types; a new question is a new field here, and no list elsewhere.

    Attributes:
        arrow: The Arrow type that stands for it.
        signature: MLflow's name of it in a model's signature; None: MLflow has none, and it cannot come with a request.
        annotation: The Python type that declares it in a feature function's signature; None: it is spelled out.
        declared: A use case may declare a column of this type.
        takes_default: A feature of this type may have a default value.
    """

    arrow: pa.DataType
    signature: str | None
    annotation: type | None = None
    declared: bool = True
    takes_default: bool = True


TYPES: Mapping[str, SparkType] = {
    "string": SparkType(pa.string(), "string", str),
    "boolean": SparkType(pa.bool_(), "boolean", bool),
    # The feature engineering client on Databricks knows no tinyint.
    "tinyint": SparkType(pa.int8(), None, declared=False, takes_default=False),
    "smallint": SparkType(pa.int16(), "integer"),
    "int": SparkType(pa.int32(), "integer"),
    "bigint": SparkType(pa.int64(), "long", int),
    "float": SparkType(pa.float32(), "float"),
    "double": SparkType(pa.float64(), "double", float),
    "date": SparkType(pa.date32(), "datetime", date, takes_default=False),
    "timestamp": SparkType(TIMESTAMP, "datetime", datetime, takes_default=False),
    "binary": SparkType(pa.binary(), "binary", declared=False, takes_default=False),
}
"""The scalar types by Spark's name. Beside them stand `decimal(p,s)`, arrays, maps and structs."""
DECIMAL = "decimal(10,2)"
"""An example of a decimal, for messages; MLflow has no such type, and it takes no default."""

_SYNONYMS = {"bool": "boolean", "byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}
_VARIANTS: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_date64, pa.date32()),
)
_MOST_DIGITS = 38
_NTZ = "timestamp_ntz"
_PAIR = 2
_NAMES = {item.arrow: name for name, item in TYPES.items()}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_NESTED = re.compile(r"(array|map|struct)\s*<(.*)>", re.DOTALL)
_NTZ_HINT = (
    "Give it the zone UTC: Spark cast('timestamp'), Arrow pa.timestamp('us', 'UTC'), pandas .dt.tz_localize('UTC')."
)


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a Spark simple type name.

    Args:
        name: As in `bigint`, `decimal(10,2)`, `struct<x:int,y:array<string>>`; `integer`, `long`, `short`, `byte` and
            `bool` are understood too.

    Raises:
        FeatureStoreError: If it is no type, or one that features cannot have (`timestamp_ntz`).

    Examples:
        >>> arrow_type("array<decimal(10,2)>")
        ListType(list<element: decimal128(10, 2)>)
    """
    text = name.strip()
    lowered = text.lower()
    if scalar := TYPES.get(_SYNONYMS.get(lowered, lowered)):
        return scalar.arrow
    if match := _DECIMAL.fullmatch(lowered):
        precision, scale = int(match[1]), int(match[2])
        if 1 <= precision <= _MOST_DIGITS and scale <= precision:
            return pa.decimal128(precision, scale)
    if (nested := _NESTED.fullmatch(text)) and (kind := _nested(nested[1].lower(), _split(nested[2]))) is not None:
        return kind
    if lowered == _NTZ:
        raise FeatureStoreError("A TIMESTAMP without time zone (timestamp_ntz) is not supported.", hint=_NTZ_HINT)
    raise FeatureStoreError(
        f"{name!r} is not a type.", hint=did_you_mean(lowered, [*TYPES, *_SYNONYMS, DECIMAL, "array<int>"])
    )


def declared_type(name: str) -> pa.DataType:
    """Return the Arrow type of a column that a use case declares: a scalar, or a decimal.

    Args:
        name: Spark's name of the type, as `arrow_type` understands it.

    Raises:
        FeatureStoreError: If it is no type, or none that a column may be declared with; all that may are listed.

    Examples:
        >>> declared_type("decimal(12,2)"), declared_type("short")
        (Decimal128Type(decimal128(12, 2)), DataType(int16))
    """
    allowed = [kind for kind, item in TYPES.items() if item.declared]
    message = f"{name!r} is no type of a declared column, which are: {', '.join(allowed)} and decimal(precision,scale)."
    try:
        kind = arrow_type(name)
    except FeatureStoreError as error:
        lowered = name.strip().lower()
        digits = f"Precision is 1 to {_MOST_DIGITS} digits, scale at most the precision, as in {DECIMAL}."
        near = did_you_mean(lowered, [*allowed, "short", "integer", "long", DECIMAL])
        hint = error.hint if lowered == _NTZ else digits if lowered.startswith("decimal") else near
        raise FeatureStoreError(message, hint=hint) from None
    if not pa.types.is_decimal(kind) and spark_type(kind) not in allowed:
        hint = "Encode it as text: base64(...)."
        if pa.types.is_nested(kind):
            hint = "Take its parts apart in the table's SQL, a column for each."
        elif pa.types.is_integer(kind):
            hint = "Declare it smallint: the feature engineering client knows no tinyint."
        raise FeatureStoreError(message, hint=hint)
    return kind


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a type holds numbers: whole ones, floats or decimals (booleans are none)."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def spark_type(kind: pa.DataType) -> str:
    """Return the Spark simple type name of an Arrow type; physical variants of one logical type have one name.

    Raises:
        FeatureStoreError: If Spark has no such type.

    Examples:
        >>> spark_type(pa.map_(pa.large_string(), pa.int32()))
        'map<string,int>'
    """
    normal = normal_type(kind)
    if normal in _NAMES:
        return _NAMES[normal]
    if pa.types.is_decimal(normal):
        return f"decimal({normal.precision},{normal.scale})"
    if pa.types.is_list(normal):
        return f"array<{spark_type(normal.value_type)}>"
    if pa.types.is_map(normal):
        return f"map<{spark_type(normal.key_type)},{spark_type(normal.item_type)}>"
    assert isinstance(normal, pa.StructType)
    return f"struct<{','.join(f'{field.name}:{spark_type(field.type)}' for field in normal)}>"


def normal_type(kind: pa.DataType) -> pa.DataType:
    """Return the one Arrow type that stands for a logical type: UTC microseconds, plain strings and lists.

    Raises:
        FeatureStoreError: If it is a timestamp without zone, or a type that Spark does not have.

    Examples:
        >>> normal_type(pa.timestamp("ns", "Europe/Berlin"))
        TimestampType(timestamp[us, tz=UTC])
    """
    if kind in _NAMES:
        return kind
    for is_variant, normal in _VARIANTS:
        if is_variant(kind):
            return normal
    if pa.types.is_dictionary(kind):
        return normal_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            raise FeatureStoreError(f"A timestamp without time zone ({kind}) is not supported.", hint=_NTZ_HINT)
        return TIMESTAMP
    if pa.types.is_decimal(kind) and 0 <= kind.scale <= kind.precision <= _MOST_DIGITS:
        return pa.decimal128(kind.precision, kind.scale)
    return _normal_nested(kind)


def _normal_nested(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_map(kind):
        return pa.map_(normal_type(kind.key_type), normal_type(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", normal_type(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, normal_type(field.type)) for field in kind])
    raise FeatureStoreError(f"Spark has no type for Arrow's {kind}.", hint="Cast the column before handing it over.")


def normal_schema(schema: pa.Schema, *, of: str) -> pa.Schema:
    """Return a schema in normal types.

    Args:
        schema: The schema.
        of: What it belongs to, for messages.

    Raises:
        FeatureStoreError: If two columns have one name, or a column's type cannot be used; the column is named.
    """
    names: list[str] = schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise FeatureStoreError(
            f"{of} has more than one column named {', '.join(map(repr, repeated))}.", hint="Rename or drop them."
        )
    fields = []
    for field in schema:
        if pa.types.is_null(field.type):
            raise FeatureStoreError(
                f"Column {field.name!r} of {of} has no type: all its values are null.", hint="Cast it to a type."
            )
        try:
            fields.append(pa.field(field.name, normal_type(field.type), field.nullable))
        except FeatureStoreError as error:
            raise FeatureStoreError(f"Column {field.name!r} of {of}: {error.message}", hint=error.hint) from None
    return pa.schema(fields)


def normal_table(table: pa.Table, *, of: str) -> pa.Table:
    """Return a table in normal types, without copying what is normal already.

    Args:
        table: The table.
        of: What it is, for messages.

    Raises:
        FeatureStoreError: As `normal_schema`; or if nanoseconds would be lost.
    """
    schema = normal_schema(table.schema, of=of)
    if table.schema.equals(schema):
        return table
    columns = []
    for field in schema:
        column = table.column(field.name)
        try:
            columns.append(column if column.type.equals(field.type) else column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise FeatureStoreError(
                f"Column {field.name!r} of {of} does not fit {spark_type(field.type)}: {error}",
                hint="Timestamps hold microseconds; round what is finer.",
            ) from None
    return pa.Table.from_arrays(columns, schema=schema)


def _nested(outer: str, parts: list[str]) -> pa.DataType | None:
    if outer == "array" and len(parts) == 1:
        return pa.list_(pa.field("element", arrow_type(parts[0])))
    if outer == "map" and len(parts) == _PAIR:
        return pa.map_(arrow_type(parts[0]), arrow_type(parts[1]))
    if outer == "struct":
        fields = [part.partition(":") for part in parts]
        if all(name and kind for name, _, kind in fields):
            return pa.struct([pa.field(name.strip().strip("`"), arrow_type(kind)) for name, _, kind in fields])
    return None


def _split(text: str) -> list[str]:
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
