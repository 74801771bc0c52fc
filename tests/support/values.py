"""Values between the JSON of the case files, Python and Arrow; and the canonical form in which rows are compared.

The canonical form of a value IS its JSON form, with two repairs that make equal values look equal: the zero of a
floating type has no sign, and the entries of a map are sorted by key.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
from typing import Any

import pyarrow as pa

from tests.support.arrow_types import arrow_type, is_list

_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def table_from_json(schema: list[dict[str, str]], rows: list[list[Any]]) -> pa.Table:
    """Build an Arrow table from `schema` (name and Spark type name a column) and rows of JSON values."""
    fields = [pa.field(column["name"], arrow_type(column["type"])) for column in schema]
    columns = [
        pa.array([from_json(row[position], field.type) for row in rows], type=field.type)
        for position, field in enumerate(fields)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def canonical_rows(table: pa.Table) -> list[list[Any]]:
    """Return the rows of a table as JSON values, sorted by their canonical text."""
    columns = [[to_json(value, column.type) for value in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)] if columns else []
    return sorted(rows, key=row_text)


def row_text(row: list[Any]) -> str:
    """Return one row as the text by which rows are sorted and counted."""
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def from_json(value: Any, kind: pa.DataType) -> Any:  # noqa: PLR0911 - one return a kind of type reads best
    """Turn a JSON value into the Python value that Arrow takes for `kind`."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return _SPECIAL_FLOATS[value] if isinstance(value, str) else float(value)
    if pa.types.is_decimal(kind):
        return decimal.Decimal(value)
    if pa.types.is_timestamp(kind):
        return dt.datetime.fromisoformat(value)
    if pa.types.is_date(kind):
        return dt.date.fromisoformat(value)
    if pa.types.is_binary(kind):
        return base64.b64decode(value)
    if is_list(kind):
        return [from_json(item, kind.value_type) for item in value]
    if pa.types.is_map(kind):
        return [(from_json(key, kind.key_type), from_json(item, kind.item_type)) for key, item in value]
    if pa.types.is_struct(kind):
        return {field.name: from_json(value[field.name], field.type) for field in kind}
    return value


def to_json(value: Any, kind: pa.DataType) -> Any:  # noqa: PLR0911 - one return a type reads best
    """Turn a Python value, as `to_pylist` gives it, into its canonical JSON value."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return _float_to_json(value)
    if pa.types.is_decimal(kind):
        return f"{value:.{kind.scale}f}"
    if pa.types.is_timestamp(kind):
        return _timestamp_to_json(value)
    if pa.types.is_date(kind):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if is_list(kind):
        return [to_json(item, kind.value_type) for item in value]
    if pa.types.is_map(kind):
        entries = [[to_json(key, kind.key_type), to_json(item, kind.item_type)] for key, item in value]
        return sorted(entries, key=row_text)
    if pa.types.is_struct(kind):
        return {field.name: to_json(value[field.name], field.type) for field in kind}
    return value


def _float_to_json(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return 0.0 if value == 0 else float(value)


def _timestamp_to_json(value: dt.datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return value.isoformat(timespec="microseconds") + "Z"
