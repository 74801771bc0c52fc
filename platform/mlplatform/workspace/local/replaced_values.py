"""Which rows a table holds once rows of some values have been replaced by others; out of core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.naming import quote
from mlplatform.protocols.table_checks import raise_for_held, raise_for_unmeant
from mlplatform.workspace.local import duck

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from duckdb import DuckDBPyConnection

    from mlplatform.workspace.local.rows import RowSource


def plan_values(
    connection: DuckDBPyConnection,
    table: DeltaTable,
    source: RowSource,
    where: Mapping[str, Sequence[str]],
    keys: Sequence[str],
    name: str,
) -> tuple[int, str]:
    """Return how many rows `source` has, and the query for all rows once they took the place of those of some values.

    Args:
        connection: A DuckDB connection of this write alone; must stay open until the rows are written.
        table: The handle that the commit will go through.
        source: The rows, in the table's schema.
        where: Text column -> values of the rows that are replaced.
        keys: The key columns; the rows are put in their order.
        name: The table's name, for messages.

    Raises:
        TableError: If rows are not of those to be replaced, or have the keys of rows that stay.
    """
    source.scan(connection, "source")
    duck.scan(connection, "held", table)
    conditions = []
    for place, (column, values) in enumerate(where.items()):
        connection.register(f"values_{place}", pa.table({"value": pa.array(values, pa.string())}))
        conditions.append(f"{quote(column, 'duckdb')} IN (SELECT value FROM values_{place})")
    meant = f"coalesce({' AND '.join(conditions)}, false)"
    number, unmeant = connection.sql(f"SELECT count(*), count(*) FILTER (NOT {meant}) FROM source").fetchall()[0]
    raise_for_unmeant(name, int(unmeant), where)
    columns = ", ".join(quote(column, "duckdb") for column in duck.arrow_schema(table).names)
    stays = f"SELECT {columns} FROM held WHERE NOT {meant}"
    if keys:
        on = " AND ".join(f"t.{key} = s.{key}" for key in (quote(key, "duckdb") for key in keys))
        same = f"SELECT count(*) FROM source s WHERE EXISTS (SELECT 1 FROM ({stays}) t WHERE {on})"
        raise_for_held(name, int(connection.sql(same).fetchall()[0][0]))
    order = f" ORDER BY {', '.join(quote(key, 'duckdb') for key in keys)}" if keys else ""
    return int(number), f"SELECT {columns} FROM source UNION ALL {stays}{order}"
