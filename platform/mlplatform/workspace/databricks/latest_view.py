"""The SQL of a view that shows the newest row of each key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.tables import Where
from mlplatform.workspace.databricks.literals import literal

_PLACE = "_mlplatform_place"


@dataclass(frozen=True)
class View:
    """The statement that creates or replaces a view, and the comment that it will have."""

    statement: str
    comment: str


def declare(
    name: ObjectName,
    of: ObjectName,
    schema: pa.Schema,
    keys: Sequence[str],
    order_by: Sequence[str],
    where: Sequence[Where],
    description: str,
) -> View:
    """Return how the view is created.

    Args:
        name: The view's name.
        of: The table.
        schema: The table's columns.
        keys: Columns whose values are shown once.
        order_by: Columns that say which row is the newest.
        where: Conditions, of which one must hold, if there are such.
        description: The view's comment.
    """
    columns = ", ".join(quote(column) for column in schema.names)
    partition = ", ".join(quote(key) for key in keys)
    order = ", ".join(f"{quote(column)} DESC NULLS LAST" for column in order_by)
    condition = " OR ".join(_condition(item) for item in where) or "true"
    query = (
        f"SELECT {columns} FROM (SELECT {columns}, row_number() OVER (PARTITION BY {partition} ORDER BY {order}) "
        f"AS {_PLACE} FROM {of.sql} WHERE {condition}) WHERE {_PLACE} = 1"
    )
    comment = _comment(query, description)
    return View(f"CREATE OR REPLACE VIEW {name.sql} COMMENT {literal(comment)} AS {query}", comment)


def _condition(where: Where) -> str:
    parts = []
    for column, value in where.items():
        if isinstance(value, str):
            parts.append(f"{quote(column)} = {literal(value)}")
        else:
            parts.append(f"{quote(column)} IS NULL" if value is None else f"{quote(column)} = {str(value).lower()}")
    return f"({' AND '.join(parts) or 'true'})"


def _comment(query: str, description: str) -> str:
    """Return the view's comment: with a digest of what it shows, by which the same view is known again."""
    return f"{description} [{hashlib.sha256(query.encode()).hexdigest()[:12]}]".strip()
