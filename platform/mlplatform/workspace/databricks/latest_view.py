"""The SQL of a view that shows the newest row of each key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from mlplatform.naming import ObjectName, quote
from mlplatform.workspace.databricks.table_metadata import literal

_PLACE = "_mlplatform_place"


def statement(
    name: ObjectName,
    of: ObjectName,
    schema: pa.Schema,
    keys: Sequence[str],
    order_by: Sequence[str],
    where: Mapping[str, str],
    description: str,
) -> str:
    """Return the statement that creates or replaces the view.

    Args:
        name: The view's name.
        of: The table.
        schema: The table's columns.
        keys: Columns whose values are shown once.
        order_by: Columns that say which row is the newest.
        where: Column -> text that it must equal.
        description: The view's comment.
    """
    columns = ", ".join(quote(column) for column in schema.names)
    partition = ", ".join(quote(key) for key in keys)
    order = ", ".join(f"{quote(column)} DESC NULLS LAST" for column in order_by)
    condition = " AND ".join(f"{quote(column)} = {literal(text)}" for column, text in where.items()) or "true"
    comment = f" COMMENT {literal(description)}" if description else ""
    return (
        f"CREATE OR REPLACE VIEW {name.sql}{comment} AS SELECT {columns} FROM ("
        f"SELECT {columns}, row_number() OVER (PARTITION BY {partition} ORDER BY {order}) AS {_PLACE} "
        f"FROM {of.sql} WHERE {condition}) WHERE {_PLACE} = 1"
    )
