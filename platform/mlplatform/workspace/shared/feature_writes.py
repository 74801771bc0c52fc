"""Creating and writing feature tables: the rules that go beyond those of any keyed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError, did_you_mean
from mlplatform.naming import ObjectName
from mlplatform.types import normal_schema, spark_type
from mlplatform.workspace.shared.feature_frames import Rows, spark_schema

if TYPE_CHECKING:
    from mlplatform.protocols.tables import TableInfo, Tables


def create(
    tables: Tables,
    name: ObjectName | str,
    primary_keys: str | Sequence[str],
    rows: Rows | None,
    *,
    timeseries_column: str | None,
    schema: Any,
    description: str | None,
    tags: Mapping[str, str] | None,
) -> TableInfo:
    """Create a feature table, or merge into the existing one; see the clients' `create_table`."""
    ObjectName.parse(name)
    keys = [primary_keys] if isinstance(primary_keys, str) else list(primary_keys or ())
    declared = _declared(name, rows, schema)
    _check(name, keys, timeseries_column, declared)
    columns = declared.names
    if tables.exists(name):
        existing = tables.describe(name)
        columns = existing.schema.names
        _compare(existing, keys, timeseries_column, declared)
    else:
        if rows is not None:
            # Before the table is created: a refused batch leaves nothing behind.
            _check_rows(name, rows, keys)
        tables.create(
            name,
            declared,
            primary_keys=keys,
            timeseries_column=timeseries_column,
            description=description or "",
        )
        for key, value in (tags or {}).items():
            tables.set_tag(name, key, str(value))
    if rows is not None and rows.any():
        _merge(tables, name, rows, timeseries_column, columns)
    return tables.describe(name)


def write(tables: Tables, name: ObjectName | str, rows: Rows, mode: str) -> None:
    """Upsert rows; see the clients' `write_table`."""
    if mode != "merge":
        raise FeatureStoreError(f"write_table has no mode {mode!r}.", hint="Use 'merge', the only one.")
    info = tables.describe(name)
    _merge(tables, name, rows, info.timeseries_column, info.schema.names)


def _merge(
    tables: Tables, name: ObjectName | str, rows: Rows, timeseries_column: str | None, columns: Sequence[str]
) -> None:
    if timeseries_column:
        missing = [column for column in columns if column not in rows.schema.names]
        if missing:
            raise FeatureStoreError(
                f"The frame for the timeseries table {name} lacks the column(s) {', '.join(missing)}.",
                hint="A row of a timeseries table is one whole observation: write all columns, null where unknown.",
            )
    if set(rows.schema.names) - set(columns) or rows.any():
        tables.merge(name, rows.frame)


def _check_rows(name: ObjectName | str, rows: Rows, keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in rows.schema.names]
    if missing:
        raise FeatureStoreError(f"The frame for {name} lacks the key column(s) {', '.join(missing)}.", hint="Add them.")
    rows.check_keys(keys, str(name))


def _declared(name: ObjectName | str, rows: Rows | None, schema: Any) -> pa.Schema:
    if schema is None and rows is None:
        raise FeatureStoreError(f"{name} is declared without columns.", hint="Give df or schema.")
    if schema is None:
        assert rows is not None
        declared = rows.schema
    elif isinstance(schema, pa.Schema):
        declared = normal_schema(schema, of=f"the schema of {name}")
    elif hasattr(schema, "fields"):
        declared = normal_schema(spark_schema(schema), of=f"the schema of {name}")
    else:
        raise FeatureStoreError(
            f"The schema of {name} is a {type(schema).__name__}.", hint="Give a StructType or a pyarrow.Schema."
        )
    if schema is not None and rows is not None:
        unknown = [column for column in rows.schema.names if column not in declared.names]
        if unknown:
            raise FeatureStoreError(
                f"The frame for {name} has the column {unknown[0]!r}, which its schema lacks.",
                hint=did_you_mean(unknown[0], declared.names),
            )
    # A schema's "not null" is meant; a frame's says only that no null happened to be in it.
    return pa.schema([pa.field(field.name, field.type, schema is None or field.nullable) for field in declared])


def _check(name: ObjectName | str, keys: Sequence[str], timeseries: str | None, declared: pa.Schema) -> None:
    if not keys:
        raise FeatureStoreError(f"{name} is declared without primary keys.", hint="Give primary_keys.")
    for key in keys:
        if key not in declared.names:
            raise FeatureStoreError(f"{name}: the key {key!r} is not a column.", hint=did_you_mean(key, declared.names))
        if keys.count(key) > 1:
            raise FeatureStoreError(f"{name}: the key {key!r} is given twice.", hint="Name each key once.")
        kind = declared.field(key).type
        if pa.types.is_nested(kind):
            raise FeatureStoreError(f"{name}: the key {key!r} is {spark_type(kind)}.", hint="Keys are scalars.")
    if timeseries is not None:
        _check_timeseries(name, keys, timeseries, declared)


def _check_timeseries(name: ObjectName | str, keys: Sequence[str], timeseries: Any, declared: pa.Schema) -> None:
    if not isinstance(timeseries, str):
        raise FeatureStoreError(
            f"{name}: timeseries_column is a {type(timeseries).__name__}.", hint="Name one column, as a str."
        )
    if timeseries not in declared.names:
        raise FeatureStoreError(
            f"{name}: the timeseries column {timeseries!r} is not a column.",
            hint=did_you_mean(timeseries, declared.names),
        )
    if timeseries not in keys:
        raise FeatureStoreError(
            f"{name}: the timeseries column {timeseries!r} is not among the primary keys {list(keys)}.",
            hint=f"List it: primary_keys={[*keys, timeseries]}.",
        )
    if len(keys) == 1:
        raise FeatureStoreError(
            f"{name} has no key beside its timeseries column {timeseries!r}.", hint="Name the entity's key, too."
        )
    if spark_type(declared.field(timeseries).type) not in {"timestamp", "date"}:
        raise FeatureStoreError(
            f"{name}: the timeseries column {timeseries!r} is {spark_type(declared.field(timeseries).type)}.",
            hint="It must be a timestamp or a date.",
        )


def _compare(existing: TableInfo, keys: Sequence[str], timeseries: str | None, declared: pa.Schema) -> None:
    """Refuse another declaration. Columns that were added to the table later are no difference."""
    ours = {field.name: spark_type(field.type) for field in declared}
    theirs = {field.name: spark_type(field.type) for field in existing.schema}
    same = all(theirs.get(name) == kind for name, kind in ours.items())
    if same and (existing.primary_keys, existing.timeseries_column) == (tuple(keys), timeseries):
        return
    raise FeatureStoreError(
        f"{existing.name} exists with another declaration.\n"
        f"  existing: keys {list(existing.primary_keys)}, timeseries {existing.timeseries_column}, "
        f"columns {_listed(theirs)}\n"
        f"  declared: keys {list(keys)}, timeseries {timeseries}, columns {_listed(ours)}",
        hint="Declare it as it is. write_table adds new columns, and ws.tables.widen takes wider types; what has other "
        "keys or narrower types becomes a table of another name.",
    )


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in sorted(columns.items()))
