"""What the stand-in knows of Unity Catalog: tables of somebody else's, and what is said about them by statements."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Column:
    """A column; its type by Spark's simple name, such as `array<double>`."""

    name: str
    type_text: str
    nullable: bool = True
    comment: str = ""


@dataclass(frozen=True)
class TableInfo:
    """What a table is.

    Attributes:
        columns: In order.
        comment: The table's.
        table_type: MANAGED, EXTERNAL or VIEW.
        properties: The table's.
        identity: Another for a table that was dropped and made again; empty where the provider cannot tell.
    """

    columns: Sequence[Column]
    comment: str = ""
    table_type: str = "MANAGED"
    properties: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""


class TableProvider(Protocol):
    """Where the tables are: JVM Spark, or a dictionary."""

    def describe(self, full_name: str) -> TableInfo | None:
        """Return a table or view, or None if there is none."""
        ...

    def list(self, catalog: str, schema: str) -> Sequence[str]:
        """Return the names, of one level, of a schema's tables and views."""
        ...

    def schemas(self, catalog: str) -> Sequence[str]:
        """Return the names, of one level, of a catalog's schemas."""
        ...


class FixedTables:
    """Tables from a dictionary by full name."""

    def __init__(self, tables: Mapping[str, TableInfo] | None = None) -> None:
        """Take the tables; the dictionary may change later."""
        self.tables: dict[str, TableInfo] = dict(tables or {})

    def describe(self, full_name: str) -> TableInfo | None:
        """Return a table, or None."""
        return self.tables.get(full_name)

    def list(self, catalog: str, schema: str) -> Sequence[str]:
        """Return a schema's tables."""
        start = f"{catalog}.{schema}."
        return sorted(name.removeprefix(start) for name in self.tables if name.startswith(start))

    def schemas(self, catalog: str) -> Sequence[str]:
        """Return a catalog's schemas."""
        return sorted({name.split(".")[1] for name in self.tables if name.startswith(f"{catalog}.")})


@dataclass(frozen=True)
class PrimaryKey:
    """A table's key: all columns, and which of them is the time."""

    columns: tuple[str, ...]
    timeseries: str | None = None
    name: str = ""


@dataclass(frozen=True)
class Function:
    """A function in Python: parameters as (name, type), the type that it returns, and its source."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str
    source: str
    comment: str = ""


@dataclass
class _Facts:
    """What statements said about one table, as long as it is the same table."""

    identity: str
    key: PrimaryKey | None = None


@dataclass
class Metastore:
    """Unity Catalog; what open-source Spark cannot hold is told to it by whoever intercepts the statements.

    Kinds of objects are those of entity tags: `catalogs`, `schemas`, `tables`, `columns`, `volumes`, `functions`,
    `models`. A table that is dropped loses its key and tags.
    """

    provider: TableProvider = field(default_factory=FixedTables)
    catalogs: set[str] = field(default_factory=lambda: {"dev", "staging", "prod"})
    functions: dict[str, Function] = field(default_factory=dict)
    requirements: dict[str, list[str]] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    own_schemas: set[str] = field(default_factory=set)
    grants: dict[tuple[str, str], dict[str, set[str]]] = field(default_factory=dict)
    _facts: dict[str, _Facts] = field(default_factory=dict)
    _tags: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    def clear(self, provider: TableProvider) -> None:
        """Forget all but the catalogs, and take other tables."""
        self.provider = provider
        for kept in (self.functions, self.volumes, self.own_schemas, self.grants, self._facts, self._tags):
            kept.clear()

    def table(self, full_name: str) -> TableInfo | None:
        """Return a table, or None; forgets what was said about one that is gone."""
        info = self.provider.describe(full_name)
        facts = self._facts.get(full_name)
        if info is None:
            self.forget(full_name)
        elif facts is None:
            self._facts[full_name] = _Facts(info.identity)
        elif facts.identity != info.identity:
            self.forget(full_name)
            self._facts[full_name] = _Facts(info.identity)
        return info

    def table_id(self, full_name: str) -> str:
        """Return the id of a table, another for one that was made again."""
        facts = self._facts.get(full_name)
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{full_name}#{facts.identity if facts else ''}"))

    def has_table_id(self, table_id: str) -> bool:
        """Say whether a table with this id was described before, and is still there."""
        # Only those that have it are looked at again: a look may be a query.
        names = [name for name in self._facts if self.table_id(name) == table_id]
        return any(self.table(name) is not None and self.table_id(name) == table_id for name in names)

    def forget(self, full_name: str) -> None:
        """Forget a table's key and tags: it was dropped."""
        self._facts.pop(full_name, None)
        for kind, name in list(self._tags):
            if (kind, name) == ("tables", full_name) or (kind == "columns" and name.startswith(f"{full_name}.")):
                del self._tags[kind, name]

    def set_primary_key(
        self, table: str, columns: Iterable[str], timeseries: str | None = None, name: str = ""
    ) -> None:
        """Note a table's key.

        Raises:
            ValueError: If there is no such table or column, or the time is not among the columns.
        """
        info, columns = self.table(table), tuple(columns)
        if info is None:
            msg = f"Table {table} does not exist."
            raise ValueError(msg)
        unknown = set(columns) - {column.name for column in info.columns}
        if unknown or (timeseries is not None and timeseries not in columns):
            msg = f"Key ({', '.join(columns)}) TIMESERIES {timeseries} does not fit table {table}."
            raise ValueError(msg)
        self._facts[table].key = PrimaryKey(columns, timeseries, name or f"{table.rpartition('.')[2]}_pk")

    def drop_primary_key(self, table: str) -> None:
        """Take a table's key away."""
        if table in self._facts:
            self._facts[table].key = None

    def primary_key(self, table: str) -> PrimaryKey | None:
        """Return a table's key, if both are there."""
        return self.key_of(table) if self.table(table) is not None else None

    def key_of(self, table: str) -> PrimaryKey | None:
        """Return the key of a table that was just looked at."""
        facts = self._facts.get(table)
        return None if facts is None else facts.key

    def set_tag(self, kind: str, name: str, key: str, value: str = "") -> None:
        """Put a tag on an object."""
        self._tags.setdefault((kind, name), {})[key] = value

    def unset_tag(self, kind: str, name: str, key: str) -> bool:
        """Take a tag away; say whether it was there."""
        return self._tags.get((kind, name), {}).pop(key, None) is not None

    def tags(self, kind: str, name: str) -> dict[str, str]:
        """Return an object's tags."""
        if kind == "tables":
            self.table(name)
        elif kind == "columns":
            self.table(name.rpartition(".")[0])
        return dict(self._tags.get((kind, name), {}))

    def add_function(
        self, name: str, parameters: Iterable[tuple[str, str]], returns: str, source: str, comment: str = ""
    ) -> None:
        """Make a function, or replace it; names of functions have no upper case."""
        self.functions[name.lower()] = Function(name.lower(), tuple(parameters), returns, source, comment)

    def grant(self, kind: str, name: str, principal: str, privileges: Iterable[str]) -> None:
        """Grant privileges, such as `SELECT` or `CREATE MODEL VERSION`; `kind` is as in the statement, in any case."""
        granted = self.grants.setdefault((kind.lower(), name), {}).setdefault(principal, set())
        granted.update(privilege.upper().replace(" ", "_") for privilege in privileges)

    def revoke(self, kind: str, name: str, principal: str, privileges: Iterable[str]) -> None:
        """Take privileges away."""
        granted = self.grants.get((kind.lower(), name), {}).get(principal, set())
        granted.difference_update(privilege.upper().replace(" ", "_") for privilege in privileges)

    def schemas(self, catalog: str) -> list[str]:
        """Return a catalog's schemas, of one level."""
        own = {name.split(".")[1] for name in self.own_schemas if name.startswith(f"{catalog}.")}
        return sorted(own | set(self.provider.schemas(catalog)))
