"""What a declaration may change about a table that exists: the rules of `Tables.widen`, the same in every home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError, TableError
from mlplatform.protocols.table_checks import check_distinct
from mlplatform.protocols.tables import TableInfo, Widening
from mlplatform.types import spark_type

# What Delta can widen without changing a value (docs.delta.io/delta-type-widening), but for a date to a time without a
# zone: that is another table feature, which Delta does not switch on by itself. Here are the digits before a decimal's
# point that hold every integer of a type.
_DIGITS = {pa.int8(): 10, pa.int16(): 10, pa.int32(): 10, pa.int64(): 20}
# How names of the platform's own columns begin.
_OURS = "_"
_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())


def widening(
    existing: TableInfo, schema: pa.Schema, primary_keys: Sequence[str], timeseries_column: str | None
) -> Widening:
    """Return what a table lacks to be as wide as a declaration.

    Args:
        existing: The table.
        schema: The columns that are declared; keys are not null.
        primary_keys: The keys that are declared.
        timeseries_column: The timeseries column that is declared.

    Raises:
        TableError: If the declaration is no wider one, with what it says, what the table has, and the way out.
    """
    keys = _longer_keys(existing, primary_keys, timeseries_column)
    added, retyped, relaxed = [], [], []
    for field in schema:
        if field.name not in existing.schema.names:
            added.append(_new(existing, field))
            continue
        column = existing.schema.field(field.name)
        if not same_type(column.type, field.type):
            _check_wider(existing, column, field)
            retyped.append(field)
        if field.nullable and not column.nullable:
            relaxed.append(field.name)
        if column.nullable and not field.nullable:
            raise TableError(
                f"{existing.name}: column {field.name} is declared not null; in the table it may be null, and rows may "
                "hold nulls.",
                hint="Declare it nullable; in a silver table an expectation keeps rows without it out.",
            )
    # Engines take names that differ only in capitals for the same.
    check_distinct([*existing.schema.names, *(field.name for field in added)], existing.name)
    unwritten = [_unwritten(existing, column) for column in existing.schema if column.name not in schema.names]
    return Widening(tuple(added), tuple(retyped), tuple(relaxed), tuple(unwritten), keys)


def widened_schema(schema: pa.Schema, change: Widening) -> pa.Schema:
    """Return a table's schema after a widening: its columns in their order, then the new ones.

    Args:
        schema: The table's schema.
        change: What is to change.
    """
    types = {field.name: field.type for field in change.retyped}
    columns = [
        field.with_type(types.get(field.name, field.type)).with_nullable(field.nullable or field.name in change.relaxed)
        for field in schema
    ]
    return pa.schema([*columns, *change.added])


def same_type(one: pa.DataType, other: pa.DataType) -> bool:
    """Tell whether two Arrow types are one logical type."""
    return one.equals(other) or type_name(one) == type_name(other)


def is_wider(declared: pa.DataType, than: pa.DataType) -> bool:
    """Tell whether a type holds every value of another one exactly, and Delta can put it in its place.

    Args:
        declared: The type that is declared.
        than: The type that the table's column has.

    Examples:
        >>> is_wider(pa.int64(), than=pa.int32()), is_wider(pa.float64(), than=pa.int64())
        (True, False)
        >>> money = pa.decimal128(12, 2)
        >>> is_wider(pa.decimal128(14, 2), than=money), is_wider(pa.decimal128(12, 4), than=money)
        (True, False)
    """
    if pa.types.is_decimal(declared):
        if pa.types.is_decimal(than):
            more, finer = declared.precision - than.precision, declared.scale - than.scale
            return bool((more or finer) and more >= finer >= 0)
        return than in _DIGITS and declared.precision - declared.scale >= _DIGITS[than]
    if than in _INTEGERS:
        if declared in _INTEGERS:
            return _INTEGERS.index(declared) > _INTEGERS.index(than)
        return bool(pa.types.is_float64(declared)) and than != pa.int64()
    return bool(pa.types.is_float32(than) and pa.types.is_float64(declared))


def type_name(kind: pa.DataType) -> str:
    """Return how a type is declared: Spark's name of it, or Arrow's where Spark has none."""
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return "timestamp_ntz"
    try:
        return spark_type(kind)
    except FeatureStoreError:
        return str(kind)


def _longer_keys(existing: TableInfo, primary_keys: Sequence[str], timeseries_column: str | None) -> tuple[str, ...]:
    """Return the keys that a table is to have, where it is to have more; else none.

    What tells deliveries of one record apart may become a part of the keys, and stays one: no row is concerned.
    """
    declared, held = tuple(primary_keys), existing.primary_keys
    same_time = existing.timeseries_column == timeseries_column
    if same_time and held == declared:
        return ()
    common = min(len(held), len(declared))
    behind = held[common:] or declared[common:]
    are_ours = all(key.startswith(_OURS) and key in existing.schema.names for key in behind)
    if common and same_time and held[:common] == declared[:common] and are_ours:
        return declared if len(declared) > common else ()
    raise TableError(
        f"{existing.name}: the keys of a table do not change.\n"
        f"  declared:  {_keys(declared, timeseries_column)}\n"
        f"  the table: {_keys(held, existing.timeseries_column)}",
        hint="Declare the keys that the table has, or give what has other keys a name of its own: it becomes a "
        "table beside this one, which keeps its rows.",
    )


def _keys(primary_keys: Sequence[str], timeseries_column: str | None) -> str:
    return f"keys {', '.join(primary_keys) or 'none'}; timeseries column {timeseries_column or 'none'}"


def _new(existing: TableInfo, field: pa.Field[Any]) -> pa.Field[Any]:
    if not field.nullable:
        raise TableError(
            f"{existing.name}: the new column {field.name} ({type_name(field.type)}) is declared not null, and rows of "
            "the table have no value for it.",
            hint="Declare it nullable.",
        )
    return field


def _check_wider(existing: TableInfo, column: pa.Field[Any], field: pa.Field[Any]) -> None:
    if is_wider(field.type, column.type):
        if column.name not in existing.primary_keys:
            return
        why = "a key's type does not change"
    else:
        why = "it does not hold every value of the other, or Delta cannot put it in its place"
    raise TableError(
        f"{existing.name}: column {field.name} is declared {type_name(field.type)}, and is {type_name(column.type)} in "
        f"the table: {why}.",
        hint=f"Declare it {type_name(column.type)}"
        + (
            ", or give what has another key a name of its own: it becomes a table beside this one."
            if column.name in existing.primary_keys
            else f"; or give the new column another name: it is computed beside {field.name}, which then may go from "
            "the declaration and keeps its values."
        ),
    )


def _unwritten(existing: TableInfo, column: pa.Field[Any]) -> str:
    if not column.nullable:
        raise TableError(
            f"{existing.name}: column {column.name} ({type_name(column.type)}) is no longer declared; in the table it "
            "may not be null, and new rows would have no value for it.",
            hint="Declare it again, nullable, and run once (or mlplatform setup); after that it may go from the "
            "declaration, and keeps its values.",
        )
    return column.name
