"""Declaring tables in Unity Catalog, and what it knows about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import TableError, did_you_mean
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.table_checks import storable
from mlplatform.workspace.databricks import retention
from mlplatform.workspace.databricks.connection import retrying, translated
from mlplatform.workspace.databricks.literals import literal
from mlplatform.workspace.databricks.spark_errors import is_missing, translated_spark
from mlplatform.workspace.databricks.spark_frames import arrow_schema, spark_name
from mlplatform.workspace.shared.retention import interval

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.unity import Unity

# Delta keeps statistics of the first columns only, and clusters by at most so many of them.
_WITH_STATISTICS = 32
_CLUSTER_COLUMNS = 4
# Unity Catalog's TIMESERIES is for key columns only: a time that is no key is kept among the table's properties.
OWN = "mlplatform."
_TIMESERIES = f"{OWN}timeseries_column"
# How long `VERSION AS OF` works at least: the log's default, and the files as long as the log.
_RETENTION = {key: interval(30) for key in (retention.FILES, retention.own(retention.FILES))}
# Parquet has no columns with these in their names; Delta then keeps the names apart from the files, as a CSV's header
# such as `Account No` needs.
_NOT_IN_PARQUET = frozenset(" ,;{}()\n\t=")
NAME_MAPPING = "'delta.columnMapping.mode' = 'name'"


@dataclass(frozen=True)
class Declared:
    """What Unity Catalog says about a table beside its columns."""

    primary_keys: tuple[str, ...]
    timeseries_column: str | None
    description: str


def exists(unity: Unity, name: ObjectName | str) -> bool:
    """Tell whether there is a table of that name; a view is none."""
    with translated_spark(f"Looking for {name}"):
        try:
            return "VIEW" not in str(unity.spark.catalog.getTable(ObjectName.parse(name).sql).tableType)
        except Exception as error:
            if is_missing(error):
                return False
            raise


def comment_of(unity: Unity, name: ObjectName) -> str | None:
    """Return the comment of a table or view; None if there is neither."""
    with translated_spark(f"Looking for {name}"):
        try:
            return str(unity.spark.catalog.getTable(name.sql).description or "")
        except Exception as error:
            if is_missing(error):
                return None
            raise


def list_tables(unity: Unity, catalog: str, schema: str) -> list[str]:
    """Return the bare names of the tables of a schema, sorted; empty when there is no such schema."""
    from databricks.sdk.errors import NotFound

    def ask() -> list[str]:
        tables = unity.client.tables.list(catalog, schema, omit_columns=True, omit_properties=True)
        return sorted(str(table.name) for table in tables if "VIEW" not in str(table.table_type))

    with translated(f"Listing the tables of {catalog}.{schema}", TableError):
        try:
            return retrying(ask)
        except NotFound:
            return []


def properties(unity: Unity, catalog: str, schema: str, key: str) -> dict[str, str]:
    """Return a property of the platform's own of all tables of a schema; empty where a table does not have it."""
    from databricks.sdk.errors import NotFound

    def ask() -> dict[str, str]:
        tables = unity.client.tables.list(catalog, schema, omit_columns=True)
        found = {str(t.name): t.properties or {} for t in tables if "VIEW" not in str(t.table_type)}
        return {name: str(found[name].get(f"{OWN}{key}", "")) for name in sorted(found)}

    with translated(f"Listing the tables of {catalog}.{schema}", TableError):
        try:
            return retrying(ask)
        except NotFound:
            return {}


def schema_of(unity: Unity, name: ObjectName | str) -> pa.Schema:
    """Return the columns of a table or view.

    Raises:
        TableError: If it does not exist; similar names are suggested.
    """
    parsed = ObjectName.parse(name)
    with translated_spark(f"Reading the columns of {name}"):
        try:
            return arrow_schema(unity.spark.table(parsed.sql).schema)
        except Exception as error:
            if not is_missing(error):
                raise
    names = list_tables(unity, parsed.catalog, parsed.schema)
    raise TableError(
        f"Table {name} does not exist.",
        hint=f"{did_you_mean(parsed.name, names)} Run the stage that writes it." if names else "",
    )


def declared(unity: Unity, name: ObjectName | str) -> Declared:
    """Return a table's keys and comment, as Unity Catalog has them.

    Raises:
        TableError: If it cannot be read.
    """
    with translated(f"Reading what Unity Catalog knows about {name}", TableError):
        info = retrying(lambda: unity.client.tables.get(str(ObjectName.parse(name))))
    key = next((c.primary_key_constraint for c in info.table_constraints or [] if c.primary_key_constraint), None)
    keys = tuple(key.child_columns or ()) if key else ()
    timeseries = next(iter(key.timeseries_columns or ()), None) if key else None
    timeseries = timeseries or (info.properties or {}).get(_TIMESERIES)
    return Declared(keys, timeseries, info.comment or "")


def tags(unity: Unity, name: ObjectName | str) -> dict[str, str]:
    """Return a table's tags."""

    def ask() -> dict[str, str]:
        assignments = unity.client.entity_tag_assignments.list("tables", str(ObjectName.parse(name)))
        return {str(tag.tag_key): str(tag.tag_value or "") for tag in assignments}

    with translated(f"Reading the tags of {name}", TableError):
        return retrying(ask)


def set_tag(unity: Unity, name: ObjectName | str, key: str, value: str | None) -> None:
    """Set a tag; None removes it."""
    table = ObjectName.parse(name).sql
    # Databricks' SQL reference, "ALTER TABLE" (sql/language-manual/sql-ref-syntax-ddl-alter-table): SET TAGS replaces a
    # value, which SET TAG (of runtime 16.1) refuses to.
    change = f"UNSET TAGS ({literal(key)})" if value is None else f"SET TAGS ({literal(key)} = {literal(value)})"
    with translated_spark(f"Setting the tag {key} of {name}"):
        unity.sql.execute(f"ALTER TABLE {table} {change}")


def newest_version(unity: Unity, name: ObjectName | str) -> int:
    """Return the newest Delta version."""
    with translated_spark(f"Reading the history of {name}"):
        return int(unity.spark.sql(f"DESCRIBE HISTORY {ObjectName.parse(name).sql} LIMIT 1").collect()[0]["version"])


def operations(unity: Unity, name: ObjectName | str, newest: int) -> list[str]:
    """Return the operations of the newest versions in a table's history."""
    if newest <= 0:
        return []
    with translated_spark(f"Reading the history of {name}"):
        history = unity.spark.sql(f"DESCRIBE HISTORY {ObjectName.parse(name).sql} LIMIT {newest:d}")
        return [str(row["operation"]) for row in history.select("operation").collect()]


@dataclass(frozen=True)
class Identity:
    """Delta's id of a table (another one after the table is dropped and created again), and when it was created."""

    id: str
    created_at: datetime | None


def identity(unity: Unity, name: ObjectName | str) -> Identity:
    """Return which table there is under a name."""
    with translated_spark(f"Reading the details of {name}"):
        detail = unity.spark.sql(f"DESCRIBE DETAIL {ObjectName.parse(name).sql}").select("id", "createdAt")
        # Through Arrow: it knows of the zone.
        row = detail.toArrow().to_pylist()[0]
    return Identity(str(row["id"]), row["createdAt"])


def table_id(unity: Unity, name: ObjectName | str) -> str:
    """Return Delta's id of a table."""
    return identity(unity, name).id


def make_schema(unity: Unity, name: ObjectName) -> None:
    """Create the schema of a name if it does not exist.

    Raises:
        TableError: If that is not allowed.
    """
    schema = f"{quote(name.catalog)}.{quote(name.schema)}"
    with translated_spark(f"Creating the schema {name.catalog}.{name.schema}"):
        if not unity.spark.catalog.databaseExists(schema):
            unity.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")


def create_table(
    unity: Unity,
    name: ObjectName,
    schema: pa.Schema,
    cluster_by: Sequence[str],
    description: str,
    timeseries: str | None = None,
    own: Mapping[str, str] | None = None,
) -> None:
    """Create an empty table, clustered by its keys, if it does not exist.

    Args:
        unity: The connection.
        name: The table.
        schema: Its columns.
        cluster_by: Its keys.
        description: Its comment.
        timeseries: The column of the time, where it is no key.
        own: Properties of the platform's own.

    Raises:
        TableError: If a type is none of Delta's, or it may not be created.
    """
    if exists(unity, name):
        return  # asked first: whoever only writes to it may not create any
    columns = ", ".join(map(column_sql, schema))
    usable = [key for key in cluster_by if schema.get_field_index(key) < _WITH_STATISTICS and _clusters(schema, key)]
    clause = f" CLUSTER BY ({', '.join(quote(key) for key in usable[:_CLUSTER_COLUMNS])})" if usable else ""
    comment = f" COMMENT {literal(description)}" if description else ""
    kept = {**_RETENTION, **{f"{OWN}{key}": value for key, value in (own or {}).items()}}
    if timeseries:
        kept[_TIMESERIES] = timeseries
    properties = [f"{literal(key)} = {literal(value)}" for key, value in kept.items()]
    if needs_mapping(schema):
        properties.append(NAME_MAPPING)
    make_schema(unity, name)
    # Databricks' SQL reference, "CREATE TABLE [USING]" (sql/language-manual/sql-ref-syntax-ddl-create-table-using) and
    # "CLUSTER BY clause (TABLE)" (sql/language-manual/sql-ref-syntax-ddl-cluster-by).
    with translated_spark(f"Creating {name}"):
        unity.spark.sql(
            f"CREATE TABLE IF NOT EXISTS {name.sql} ({columns}) USING DELTA{clause}{comment} "
            f"TBLPROPERTIES ({', '.join(properties)})"
        )


def needs_mapping(fields: Iterable[pa.Field[Any]]) -> bool:
    """Tell whether columns have names that Parquet cannot hold."""
    return any(_NOT_IN_PARQUET & set(name) for field in fields for name in _names(field))


def add_primary_key(unity: Unity, name: ObjectName, keys: Sequence[str], timeseries: str | None) -> None:
    """Declare the primary key, which feature tables are told by; another process may have done so meanwhile."""
    # Databricks' SQL reference, "ADD CONSTRAINT clause"
    # (sql/language-manual/sql-ref-syntax-ddl-alter-table-add-constraint).
    columns = ", ".join(f"{quote(key)} TIMESERIES" if key == timeseries else quote(key) for key in keys)
    statement = f"ALTER TABLE {name.sql} ADD CONSTRAINT {quote(f'{name.name}_pk')} PRIMARY KEY ({columns})"
    with translated_spark(f"Declaring the primary key of {name}"):
        try:
            unity.sql.execute(statement)
        except Exception:
            if not declared(unity, name).primary_keys:
                raise


def replace_primary_key(unity: Unity, name: ObjectName, keys: Sequence[str], timeseries: str | None) -> None:
    """Declare another primary key in place of a table's; killed between the two, `widen` adds the missing one."""
    # Databricks' SQL reference, "DROP CONSTRAINT clause"
    # (sql/language-manual/sql-ref-syntax-ddl-alter-table-drop-constraint).
    with translated_spark(f"Taking the primary key of {name} away"):
        unity.sql.execute(f"ALTER TABLE {name.sql} DROP PRIMARY KEY IF EXISTS")
    add_primary_key(unity, name, keys, timeseries)


def normalised(schema: pa.Schema) -> pa.Schema:
    """Return a declared schema as it comes back from Spark.

    Raises:
        TableError: If a type is none of Delta's.
    """
    return pa.schema([storable(field, zoneless=True) for field in schema])


def _names(field: pa.Field[Any]) -> Iterator[str]:
    yield field.name
    for at in range(field.type.num_fields):
        yield from _names(field.type.field(at))


def column_sql(field: pa.Field[Any]) -> str:
    """Return a column as it stands in `CREATE TABLE` and `ADD COLUMNS`: name, type, whether it may be null, comment."""
    comment = (field.metadata or {}).get(b"comment", b"").decode()
    parts = [quote(field.name), spark_name(field.type), "" if field.nullable else "NOT NULL"]
    return " ".join(filter(None, [*parts, f"COMMENT {literal(comment)}" if comment else ""]))


def _clusters(schema: pa.Schema, column: str) -> bool:
    kind = schema.field(column).type
    return not (pa.types.is_boolean(kind) or pa.types.is_binary(kind) or pa.types.is_nested(kind))
