"""Views of the local workspace: what they show is kept beside the tables, and computed whenever they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.errors import TableError, did_you_mean
from mlplatform.naming import quote
from mlplatform.workspace.local import duck

if TYPE_CHECKING:
    from deltalake import DeltaTable

FILE = "_view.json"


@dataclass(frozen=True)
class LatestView:
    """The newest row of each key of a table; see `mlplatform.protocols.workspace.Tables.create_latest_view`."""

    of: str
    keys: list[str]
    order_by: list[str]
    where: dict[str, str]
    description: str = ""

    def check(self, schema: pa.Schema, name: str) -> None:
        """Refuse a view of columns that the table does not have.

        Raises:
            TableError: Naming the column, with similar names.
        """
        for column in (*self.keys, *self.order_by, *self.where):
            if column not in schema.names:
                hint = did_you_mean(column, schema.names)
                raise TableError(f"View {name}: {self.of} has no column {column}.", hint=hint)

    def rows(self, table: DeltaTable, scratch: Path) -> pa.Table:
        """Compute the view on the opened version of its table, out of core."""
        schema = duck.arrow_schema(table)
        self.check(schema, self.of)
        keys = ", ".join(quote(key, "duckdb") for key in self.keys)
        order = ", ".join(f"{quote(column, 'duckdb')} DESC" for column in self.order_by)
        where = " AND ".join(f"{quote(column, 'duckdb')} = ?" for column in self.where) or "true"
        columns = ", ".join(quote(column, "duckdb") for column in schema.names)
        with duck.connect(scratch) as connection:
            duck.scan(connection, "t", table)
            newest = connection.sql(
                f"SELECT {columns} FROM t WHERE {where} "
                f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1",
                params=list(self.where.values()) or None,
            )
            rows: pa.Table = newest.to_arrow_table()
            return rows.cast(schema)


def save(folder: Path, view: LatestView) -> None:
    """Keep a view; one of the same name is replaced at once."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{FILE}.{os.getpid()}"
    part.write_text(json.dumps(asdict(view), indent=2), encoding="utf-8")
    part.replace(folder / FILE)


def load(folder: Path) -> LatestView | None:
    """Return the view kept in a folder, or None when there is none."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return LatestView(**json.loads(text))


def select(rows: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """Return the columns asked for; None: all."""
    return rows if columns is None else rows.select(list(columns))
