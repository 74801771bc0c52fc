"""Tables of Unity Catalog, through Spark SQL: Delta, clustered by their keys, which Unity Catalog knows."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.table_checks import (
    check_columns,
    check_distinct,
    check_merge_keys,
    check_no_nulls,
    check_range,
    check_same_declaration,
    keyed_schema,
    largest_value,
    new_columns,
    raise_for_outside,
    replaces,
)
from mlplatform.protocols.tables import Filter, TableInfo, Transaction, Where, Widening, WriteResult, any_of
from mlplatform.protocols.widening import widening
from mlplatform.workspace.databricks import delta, latest_view, table_metadata
from mlplatform.workspace.databricks.frames import DatabricksFrames
from mlplatform.workspace.databricks.literals import time_literal
from mlplatform.workspace.databricks.merge import merge_rows
from mlplatform.workspace.databricks.replaced_values import check_replacement, values_condition
from mlplatform.workspace.databricks.spark_errors import translated_spark
from mlplatform.workspace.databricks.spark_frames import (
    arrow_schema,
    check_unique_frame,
    conformed,
    spark_or_arrow,
)
from mlplatform.workspace.databricks.transactions import Ledger
from mlplatform.workspace.databricks.widening import add_columns, widen

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.tables import FrameLike
    from mlplatform.workspace.databricks.unity import Unity


class DatabricksTables:
    """Tables of the Databricks workspace; see `mlplatform.protocols.tables.Tables`.

    A version can be read for at least 30 days after the next one, which is what Delta keeps of its log by default.

    Attributes:
        frames: Frames of these tables.
    """

    def __init__(self, unity: Unity) -> None:
        """Take the connection."""
        self._unity = unity
        self._ledger = Ledger(unity)
        self.frames = DatabricksFrames(unity, lambda name, version: self.read(name, version=version))

    def exists(self, name: ObjectName | str) -> bool:
        """Tell whether the table exists; a view is none."""
        return table_metadata.exists(self._unity, name)

    def list(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of the tables of a schema, sorted."""
        return table_metadata.list_tables(self._unity, catalog, schema)

    def create(
        self,
        name: ObjectName | str,
        schema: pa.Schema,
        *,
        primary_keys: Sequence[str] = (),
        timeseries_column: str | None = None,
        description: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Create an empty table and its schema, or return the existing one if it was declared in the same way.

        A crash between the table and its key leaves a table without; creating it again adds the key.

        Raises:
            TableError: If a key is no column, a table of that name has another declaration, or this is not allowed.
        """
        parsed = ObjectName.parse(name)
        keyed = table_metadata.normalised(keyed_schema(name, schema, primary_keys, timeseries_column))
        apart = timeseries_column if timeseries_column not in primary_keys else None
        table_metadata.create_table(self._unity, parsed, keyed, primary_keys, description, apart, properties)
        info = self._info(parsed)
        if _lacks_key(info, keyed, primary_keys):
            table_metadata.add_primary_key(self._unity, parsed, primary_keys, timeseries_column)
            info = self._info(parsed)
        check_same_declaration(info, keyed, primary_keys, timeseries_column)
        return self.describe(parsed)

    def widen(
        self,
        name: ObjectName | str,
        schema: pa.Schema,
        *,
        primary_keys: Sequence[str] = (),
        timeseries_column: str | None = None,
    ) -> Widening:
        """Make a table as wide as a declaration, without writing a row; as `create`, it adds a key that is missing."""
        parsed = ObjectName.parse(name)
        keyed = table_metadata.normalised(keyed_schema(name, schema, primary_keys, timeseries_column))
        info = self._info(parsed)
        if _lost_key(info, keyed, primary_keys):
            table_metadata.add_primary_key(self._unity, parsed, primary_keys, timeseries_column)
            info = self._info(parsed)

        def lacking(existing: TableInfo) -> Widening:
            return widening(existing, keyed, primary_keys, timeseries_column)

        return widen(self._unity, parsed, info, lacking, again=lambda: self._info(parsed))

    def properties(self, catalog: str, schema: str, key: str) -> dict[str, str]:
        """Return a property of the platform's own of all tables of a schema."""
        return table_metadata.properties(self._unity, catalog, schema, key)

    def set_property(self, name: ObjectName | str, key: str, value: str) -> None:
        """Set a property of the platform's own."""
        table_metadata.schema_of(self._unity, name)
        delta.set_property(self._unity, ObjectName.parse(name), key, value)

    def describe(self, name: ObjectName | str) -> TableInfo:
        """Return what is known about the table."""
        info = self._info(name)
        identity = table_metadata.identity(self._unity, name)
        return replace(
            info,
            version=table_metadata.newest_version(self._unity, name),
            tags=table_metadata.tags(self._unity, name),
            id=identity.id,
            created_at=identity.created_at,
        )

    def version(self, name: ObjectName | str) -> int:
        """Return the newest Delta version."""
        table_metadata.schema_of(self._unity, name)
        return table_metadata.newest_version(self._unity, name)

    def replaced_since(self, name: ObjectName | str, version: int) -> bool:
        """Tell whether the table was restored, replaced or emptied as a whole after a version, or never reached it."""
        behind = self.version(name) - version
        return behind < 0 or any(replaces(item) for item in table_metadata.operations(self._unity, name, behind))

    def read(self, name: ObjectName | str, *, version: int | None = None) -> DataFrame:
        """Return the table, pinned at a version, as a Spark DataFrame; of a view what it shows when it is computed."""
        parsed = ObjectName.parse(name)
        table_metadata.schema_of(self._unity, name)
        if version is None and not self.exists(name):
            return self._unity.spark.table(parsed.sql)
        newest = table_metadata.newest_version(self._unity, name)
        pinned = newest if version is None else version
        if not 0 <= pinned <= newest:
            raise TableError(
                f"{name} has no version {version}; the newest is {newest}.",
                hint="Was the table dropped and created again after the version was recorded?",
            )
        with translated_spark(f"Reading version {pinned} of {name}"):
            return self._unity.spark.sql(f"SELECT * FROM {parsed.sql} VERSION AS OF {pinned:d}")

    def to_arrow(
        self,
        name: ObjectName | str,
        *,
        at_most: int,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
    ) -> pa.Table:
        """Return the table (or view) as Arrow, with only the columns and rows asked for."""
        frame = self.frames.read(name, version=version, columns=columns, filters=filters)
        rows = self.frames.collect(frame, at_most=at_most, what=f"{name}, as asked for,")
        return _as_declared(rows, table_metadata.schema_of(self._unity, name))

    def largest(self, name: ObjectName | str, column: str, *, filters: Sequence[Filter] = ()) -> Any:
        """Return the largest value of a column among the rows asked for."""
        rows = self.frames.read(name, columns=[column], filters=filters).select(nw.col(column).max())
        # Through Arrow: it knows of the zone.
        return largest_value(self.frames.collect(rows, at_most=1, what=f"the largest {column} of {name}"), name, column)

    def create_latest_view(
        self,
        name: ObjectName | str,
        *,
        of: ObjectName | str,
        keys: Sequence[str],
        order_by: Sequence[str],
        where: Where | Sequence[Where] = (),
        description: str = "",
    ) -> None:
        """Create or replace a SQL view of the newest row of each key."""
        view = ObjectName.parse(name)
        schema = table_metadata.schema_of(self._unity, of)
        conditions = any_of(where)
        for column in (*keys, *order_by, *(column for condition in conditions for column in condition)):
            check_columns(f"View {name}: {of}", schema, [column])
        if self.exists(view):
            raise TableError(f"{name} is a table; it cannot be a view too.", hint="Choose another name.")
        declaration = latest_view.declare(view, ObjectName.parse(of), schema, keys, order_by, conditions, description)
        if table_metadata.comment_of(self._unity, view) == declaration.comment:
            return  # the same view exists: whoever scores need not own it
        table_metadata.make_schema(self._unity, view)
        with translated_spark(f"Creating the view {name}"):
            self._unity.spark.sql(declaration.statement)

    def append(
        self, name: ObjectName | str, frame: FrameLike, *, transactions: Sequence[Transaction] = ()
    ) -> WriteResult:
        """Append rows; with transactions, exactly once."""
        schema = table_metadata.schema_of(self._unity, name)
        with conformed(self._unity, frame, schema, str(name)) as rows:
            if transactions:
                return self._ledger.append(name, rows, transactions)
            mark, parsed = uuid.uuid4().hex, ObjectName.parse(name)
            delta.append_rows(parsed, rows, mark=mark)
            commit = delta.commit_of(self._unity, parsed, mark)
            return WriteResult(version=commit.version, rows=commit.rows)

    def merge(self, name: ObjectName | str, frame: FrameLike) -> WriteResult:
        """Update the rows whose primary keys match, and insert the others; new columns are added first."""
        parsed = ObjectName.parse(name)
        info = self._info(parsed)
        source = spark_or_arrow(frame)
        columns = source.schema if isinstance(source, pa.Table) else arrow_schema(source.schema)
        check_distinct(columns.names, f"The frame for {name}")
        check_merge_keys(info, columns.names)
        if isinstance(source, pa.Table):
            check_no_nulls(source, info.primary_keys, str(name))
        new_fields = new_columns(info, columns)
        # What the frame lacks keeps its value, so that it may lack what may not be null.
        fields = [field for field in info.schema if field.name in columns.names]
        schema = table_metadata.normalised(pa.schema([*fields, *new_fields]))
        with conformed(self._unity, source, schema, str(name)) as rows:
            check_unique_frame(source, rows, info.primary_keys, str(name))
            add_columns(self._unity, parsed, new_fields)
            written = merge_rows(self._unity, parsed, rows, schema, info.primary_keys)
        return WriteResult(version=table_metadata.newest_version(self._unity, name), rows=written)

    def overwrite(
        self,
        name: ObjectName | str,
        frame: FrameLike,
        *,
        where: Mapping[str, Sequence[str]] | None = None,
        transactions: Sequence[Transaction] = (),
    ) -> WriteResult:
        """Replace all rows, or those of some values, in one commit."""
        info, parsed = self._info(name), ObjectName.parse(name)
        check_columns(name, info.schema, list(where or ()))
        source = spark_or_arrow(frame)
        with conformed(self._unity, source, info.schema, str(name)) as rows:
            if info.primary_keys:
                check_unique_frame(source, rows, info.primary_keys, str(name))
            number = None
            if where is not None:
                # Delta's own number counts rows that stay, too, where their files are written anew.
                number = check_replacement(self._unity, parsed, rows, where, info.primary_keys)
            meant = "true" if where is None else values_condition(where)
            if transactions:
                commit = self._ledger.overwrite(name, rows, meant, transactions)
            else:
                commit = delta.overwrite_where(self._unity, parsed, rows, meant)
        return WriteResult(version=commit.version, rows=commit.rows if number is None else number)

    def replace_range(
        self, name: ObjectName | str, frame: FrameLike, *, column: str, start: datetime, end: datetime
    ) -> WriteResult:
        """Replace the rows whose `column` lies in [start, end] in one commit."""
        from pyspark.sql import functions as F  # noqa: N812

        info = self._info(name)
        check_range(info, column, start, end)
        first, last = time_literal(start), time_literal(end)
        within = f"{quote(column)} >= {first} AND {quote(column)} <= {last}"
        source = spark_or_arrow(frame)
        with conformed(self._unity, source, info.schema, str(name)) as rows:
            with translated_spark(f"Reading the rows for {name}"):
                counted = rows.agg(
                    F.count("*").alias("total"), F.count_if(F.expr(f"NOT coalesce({within}, false)")).alias("outside")
                ).collect()[0]
            raise_for_outside(name, counted["outside"], counted["total"], (column, start, end))
            if info.primary_keys:
                check_unique_frame(source, rows, info.primary_keys, str(name))
            commit = delta.overwrite_where(self._unity, ObjectName.parse(name), rows, within)
        return WriteResult(version=commit.version, rows=int(counted["total"]))

    def committed(self, name: ObjectName | str, transactions: Sequence[Transaction]) -> tuple[bool, ...]:
        """Tell of each transaction whether the table has taken it."""
        table_metadata.schema_of(self._unity, name)
        return self._ledger.committed(name, transactions) if transactions else ()

    def drop(self, name: ObjectName | str) -> None:
        """Remove the table; what the ledger knows is about the table with its id, and says nothing about the next."""
        table_metadata.schema_of(self._unity, name)
        with translated_spark(f"Dropping {name}"):
            self._unity.spark.sql(f"DROP TABLE {ObjectName.parse(name).sql}")

    def set_tag(self, name: ObjectName | str, key: str, value: str | None) -> None:
        """Set a tag; None removes it."""
        table_metadata.schema_of(self._unity, name)
        table_metadata.set_tag(self._unity, name, key, value)

    def _info(self, name: ObjectName | str) -> TableInfo:
        """Return what a write must know."""
        schema = table_metadata.schema_of(self._unity, name)
        declaration = table_metadata.declared(self._unity, name)
        return TableInfo(
            str(name), -1, schema, declaration.primary_keys, declaration.timeseries_column, declaration.description
        )


def _lacks_key(info: TableInfo, declared: pa.Schema, primary_keys: Sequence[str]) -> bool:
    """Tell whether a table is one that its creator was killed over before it declared the key."""
    # A column that came by widening stands behind those that are declared after it.
    return bool(primary_keys) and not info.primary_keys and sorted(info.schema.names) == sorted(declared.names)


def _lost_key(info: TableInfo, declared: pa.Schema, primary_keys: Sequence[str]) -> bool:
    """Tell whether a table that holds all that is declared has no key, as where it was to get a longer one."""
    # Columns that are left out are still there.
    return bool(primary_keys) and not info.primary_keys and set(declared.names) <= set(info.schema.names)


def _as_declared(rows: pa.Table, declared: pa.Schema) -> pa.Table:
    """Return rows whose columns may be null only where the table declares it: an engine forgets that as it computes."""
    required = {field.name for field in declared if not field.nullable}
    fields = [field.with_nullable(field.name not in required) for field in rows.schema]
    return pa.Table.from_arrays(rows.columns, schema=pa.schema(fields))
