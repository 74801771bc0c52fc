"""Making a Delta table wider on Databricks: all by statements about its columns, without writing a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.widening import type_name
from mlplatform.workspace.databricks import delta
from mlplatform.workspace.databricks.spark_frames import spark_name
from mlplatform.workspace.databricks.table_metadata import (
    NAME_MAPPING,
    column_sql,
    needs_mapping,
    replace_primary_key,
)

if TYPE_CHECKING:
    from mlplatform.protocols.tables import TableInfo, Widening
    from mlplatform.workspace.databricks.unity import Unity

# Databricks, "Type widening" (delta/type-widening): runtime 15.4 LTS and above read and write such a table.
_TYPE_WIDENING = "'delta.enableTypeWidening' = 'true'"


def widen(
    unity: Unity,
    name: ObjectName,
    info: TableInfo,
    lacking: Callable[[TableInfo], Widening],
    again: Callable[[], TableInfo],
) -> Widening:
    """Make a table as wide as a declaration, also while another run does the same; return what it lacked.

    Where a statement is refused, because another run has added the column meanwhile, what is left is done.

    Args:
        unity: The connection.
        name: The table.
        info: What is known about it.
        lacking: Returns what a table lacks.
        again: Reads anew what is known about it.

    Raises:
        TableError: If it cannot be changed so here, or this is not allowed.
        UnavailableError: If other writers kept winning.
    """
    change = left = lacking(info)
    while left:
        try:
            apply(unity, name, info.schema, left, info.timeseries_column)
        except TableError:
            before, info = _steps(left), again()
            left = lacking(info)
            if _steps(left) >= before:
                raise
        else:
            break
    return change


def apply(unity: Unity, name: ObjectName, schema: pa.Schema, change: Widening, timeseries: str | None) -> None:
    """Make a table wider.

    Args:
        unity: The connection.
        name: The table.
        schema: Its columns.
        change: What it lacks.
        timeseries: Its timeseries column.

    Raises:
        TableError: If it cannot be changed so here, or this is not allowed.
        UnavailableError: If other writers kept winning.
    """
    if change.retyped:
        _alter(unity, name, f"SET TBLPROPERTIES ({_TYPE_WIDENING})", f"Letting {name} take wider types")
    for field in change.retyped:
        _retype(unity, name, schema.field(field.name), field)
    for column in change.relaxed:
        doing = f"Letting nulls into column {column} of {name}"
        _alter(unity, name, f"ALTER COLUMN {quote(column)} DROP NOT NULL", doing)
    add_columns(unity, name, change.added)
    if change.keys:
        replace_primary_key(unity, name, change.keys, timeseries)


def add_columns(unity: Unity, name: ObjectName, fields: Sequence[pa.Field[Any]]) -> None:
    """Add columns, which may be null, with their comments."""
    doing = f"Adding columns to {name}"
    if needs_mapping(fields):
        _alter(unity, name, f"SET TBLPROPERTIES ({NAME_MAPPING})", doing)
    if fields:
        _alter(unity, name, f"ADD COLUMNS ({', '.join(map(column_sql, fields))})", doing)


def _steps(change: Widening) -> int:
    return len(change.added) + len(change.retyped) + len(change.relaxed) + bool(change.keys)


def _retype(unity: Unity, name: ObjectName, existing: pa.Field[Any], field: pa.Field[Any]) -> None:
    before, after = type_name(existing.type), type_name(field.type)
    doing = f"Widening column {field.name} of {name} from {before} to {after}"
    try:
        _alter(unity, name, f"ALTER COLUMN {quote(field.name)} TYPE {spark_name(field.type)}", doing)
    except TableError as error:
        raise TableError(
            error.message,
            hint=error.hint
            or f"Types are widened from runtime 15.4 LTS on. Declare it {before}; or give the new column another name: "
            f"it is computed beside {field.name}, which then may go from the declaration and keeps its values.",
        ) from error


def _alter(unity: Unity, name: ObjectName, clause: str, doing: str) -> None:
    delta.retrying_conflicts(doing, lambda: unity.spark.sql(f"ALTER TABLE {name.sql} {clause}"))
