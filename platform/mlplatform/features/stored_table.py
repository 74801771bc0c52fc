"""A feature table as it is stored: created or widened as declared, and written so that nothing it keeps is lost."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from mlplatform.features.table import FeatureTable
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import with_unwritten
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter, TableInfo, Widening
from mlplatform.protocols.widening import widening


def create(context: StageContext, table: FeatureTable) -> Widening:
    """Create a feature table, or make it as wide as declared; return what changed about it.

    Raises:
        FeatureStoreError: If the declaration does not fit itself.
        TableError: If the table cannot be made like it, see `Tables.widen`.
    """
    name, tables = context.namespace.features(table.name), context.ws.tables
    if tables.exists(name):
        schema = declared_schema(table, tables.describe(name))
        return tables.widen(name, schema, primary_keys=table.primary_keys, timeseries_column=table.timeseries_column)
    context.ws.fe.create_table(
        name=str(name),
        primary_keys=list(table.primary_keys),
        timeseries_column=table.timeseries_column,
        schema=table.schema(),
        description=table.description,
    )
    return Widening()


def lacking(context: StageContext, table: FeatureTable) -> Widening:
    """Return what a feature table lacks to be as wide as declared; nothing is changed.

    Raises:
        TableError: If it does not exist, or cannot be made like it.
    """
    existing = context.ws.tables.describe(context.namespace.features(table.name))
    return widening(existing, declared_schema(table, existing), table.primary_keys, table.timeseries_column)


def whole_rows(
    context: StageContext, table: FeatureTable, rows: Frame, change: Widening, since: datetime | None
) -> Frame:
    """Return computed rows as whole observations: with what the table holds of them in columns no longer declared.

    Args:
        context: The run.
        table: The feature table.
        rows: The rows, with the declared columns.
        change: What `create` returned.
        since: No row is known before this; None: any may be.
    """
    filters: list[Filter] = [(table.timeseries_column, ">=", since)] if since else []
    name = context.namespace.features(table.name)
    return with_unwritten(context.ws, name, rows, table.primary_keys, change, filters)


def declared_schema(table: FeatureTable, existing: TableInfo) -> pa.Schema:
    """Return the declared schema; what the table lets be null stays so.

    A feature table may have been made by others, and adopted as it is: their client declares no feature not null.

    Args:
        table: The declaration.
        existing: The table.
    """
    nullable = {field.name for field in existing.schema if field.nullable}
    return pa.schema([field.with_nullable(field.nullable or field.name in nullable) for field in table.schema()])
