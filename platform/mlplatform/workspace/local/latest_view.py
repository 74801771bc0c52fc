"""Views of the local workspace: what they show is kept beside the tables, and computed whenever they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.errors import TableError, did_you_mean
from mlplatform.naming import quote
from mlplatform.workspace.local import duck, whole_file

if TYPE_CHECKING:
    import duckdb

FILE = "_view.json"


@dataclass(frozen=True)
class LatestView:
    """The newest row of each key of a table; see `mlplatform.protocols.tables.Tables.create_latest_view`."""

    of: str
    keys: list[str]
    order_by: list[str]
    where: list[dict[str, str | bool | None]]
    description: str = ""

    def check(self, schema: pa.Schema, name: str) -> None:
        """Refuse a view of columns that the table does not have.

        Raises:
            TableError: Naming the column, with similar names.
        """
        for column in (*self.keys, *self.order_by, *(column for condition in self.where for column in condition)):
            if column not in schema.names:
                hint = did_you_mean(column, schema.names)
                raise TableError(f"View {name}: {self.of} has no column {column}.", hint=hint)

    def relation(self, rows: duckdb.DuckDBPyRelation, schema: pa.Schema, name: str) -> duckdb.DuckDBPyRelation:
        """Return the view on its table's rows.

        Args:
            rows: The table's rows.
            schema: Their columns.
            name: The view's name, for messages.
        """
        self.check(schema, name)
        keys = ", ".join(quote(key, "duckdb") for key in self.keys)
        order = ", ".join(f"{quote(column, 'duckdb')} DESC" for column in self.order_by)
        chosen = rows.filter(" OR ".join(_condition(condition) for condition in self.where) or "true")
        place = "__place"
        numbered = chosen.project(f"*, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS {place}")
        columns = ", ".join(quote(column, "duckdb") for column in schema.names)
        return numbered.filter(f"{place} = 1").project(columns)


def _condition(where: Mapping[str, str | bool | None]) -> str:
    parts = []
    for column, value in where.items():
        name = quote(column, "duckdb")
        if isinstance(value, str):
            parts.append(f"{name} = {duck.literal(value)}")
        else:
            parts.append(f"{name} IS NULL" if value is None else f"{name} = {str(value).lower()}")
    return f"({' AND '.join(parts) or 'true'})"


def save(folder: Path, view: LatestView) -> None:
    """Keep a view; one of the same name is replaced at once."""
    folder.mkdir(parents=True, exist_ok=True)
    whole_file.write(folder / FILE, json.dumps(asdict(view), indent=2))


def load(folder: Path) -> LatestView | None:
    """Return the view kept in a folder, or None when there is none."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        content = json.loads(text)
        if isinstance(content["where"], dict):  # as release 0.1.0 kept it: one condition, or none
            content["where"] = [content["where"]] if content["where"] else []
        return LatestView(**content)
    except (ValueError, TypeError, KeyError):
        raise TableError(
            f"{folder / FILE} does not hold the definition of a view any more.",
            hint="Delete the file: the next scoring keeps the view again.",
        ) from None
