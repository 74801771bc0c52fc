"""Tables as they are declared: created where they are missing, widened where the declaration has become wider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from mlplatform.naming import ObjectName
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter, Widening
from mlplatform.protocols.widening import type_name
from mlplatform.protocols.workspace import Workspace


def declare(
    ws: Workspace,
    name: ObjectName,
    schema: pa.Schema,
    *,
    primary_keys: Sequence[str] = (),
    timeseries_column: str | None = None,
    description: str = "",
) -> Widening:
    """Create a table, or make the one that exists as wide as its declaration; return what was changed about it.

    Args:
        ws: The workspace.
        name: The table.
        schema: Its columns.
        primary_keys: Its keys.
        timeseries_column: The column that says when a row was known.
        description: Its comment, where it is created.

    Raises:
        TableError: If a table exists that cannot be made like it, see `Tables.widen`.
    """
    if ws.tables.exists(name):
        return ws.tables.widen(name, schema, primary_keys=primary_keys, timeseries_column=timeseries_column)
    ws.tables.create(
        name, schema, primary_keys=primary_keys, timeseries_column=timeseries_column, description=description
    )
    return Widening()


def to_compute(change: Widening) -> bool:
    """Tell whether rows that exist lack what a declaration adds: then they are computed anew."""
    return bool(change.added or change.retyped)


def sentences(name: ObjectName, change: Widening) -> Iterator[str]:
    """Yield what was changed about a table, and what of it is no longer written, as sentences for a stage's notes."""
    if change.added:
        yield f"{name.name} has {_columns(change.added)} from now on."
    for field in change.retyped:
        yield f"{name.name}: column {field.name} is {type_name(field.type)} from now on."
    if change.relaxed:
        yield f"{name.name}: {', '.join(change.relaxed)} may be null from now on."
    if change.unwritten:
        several = len(change.unwritten) > 1
        yield (
            f"{name.name}: column{'s' if several else ''} {', '.join(change.unwritten)} "
            f"{'are' if several else 'is'} no longer declared: existing rows keep what they hold, new rows read null."
        )


def with_unwritten(
    ws: Workspace,
    name: ObjectName,
    rows: Frame,
    keys: Sequence[str],
    change: Widening,
    filters: Sequence[Filter] = (),
) -> Frame:
    """Return rows that are to replace a table's, with what those hold in columns that are no longer declared.

    Args:
        ws: The workspace.
        name: The table.
        rows: The rows; null in such a column where the table does not hold their key.
        keys: Columns that tell rows apart; never null.
        change: What the declaration says of the table.
        filters: Conditions that all rows meet that are replaced.
    """
    if not change.unwritten:
        return rows
    held = ws.frames.read(name, columns=[*keys, *change.unwritten], filters=filters)
    # Code may still give such a column: what the table holds of it stays.
    rows = rows.drop([column for column in change.unwritten if column in rows.collect_schema().names()])
    return rows.join(held, on=list(keys), how="left")


def _columns(fields: Sequence[pa.Field[Any]]) -> str:
    listed = ", ".join(f"{field.name} ({type_name(field.type)})" for field in fields)
    return f"the new column {listed}" if len(fields) == 1 else f"the new columns {listed}"
