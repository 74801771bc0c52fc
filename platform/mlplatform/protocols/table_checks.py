"""What every home checks about a table's declaration, its rows and what is asked of it, whatever engine holds them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import FeatureStoreError, TableError, UsageError, did_you_mean
from mlplatform.naming import quote
from mlplatform.protocols.tables import Filter, TableInfo
from mlplatform.types import normal_type

_OPERATORS: dict[str, Callable[[pc.Expression, Any], pc.Expression]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda field, values: field.isin(list(values)),
}


def keyed_schema(
    name: object, schema: pa.Schema, primary_keys: Sequence[str], timeseries_column: str | None
) -> pa.Schema:
    """Return the schema as a table can hold it: in normal types, with keys that may not be null.

    Raises:
        TableError: If a key is no column, or no table can have such a column.
    """
    check_names(schema.names, name)
    schema = pa.schema([storable(field, zoneless=True) for field in schema])
    unknown = [key for key in (*primary_keys, *filter(None, [timeseries_column])) if key not in schema.names]
    if unknown:
        raise TableError(f"{name}: key {unknown[0]} is not a column.", hint=did_you_mean(unknown[0], schema.names))
    return pa.schema([field.with_nullable(field.nullable and field.name not in primary_keys) for field in schema])


def check_same_declaration(
    existing: TableInfo, schema: pa.Schema, primary_keys: Sequence[str], timeseries_column: str | None
) -> None:
    """Refuse a declaration that differs from that of the existing table.

    Raises:
        TableError: With both declarations.
    """
    declaration = (tuple(primary_keys), timeseries_column, _shape(schema))
    if (existing.primary_keys, existing.timeseries_column, _shape(existing.schema)) != declaration:
        raise TableError(
            f"{existing.name} exists with another declaration.\n"
            f"  there:    keys {list(existing.primary_keys)}, timeseries {existing.timeseries_column}, "
            f"columns {_shape(existing.schema)}\n"
            f"  declared: keys {list(primary_keys)}, timeseries {timeseries_column}, columns {_shape(schema)}",
            hint="Declare it as it is, or make it as wide as the declaration with ws.tables.widen.",
        )


def check_names(columns: Sequence[str], of: object) -> None:
    """Refuse names that columns cannot have, or not together.

    Args:
        columns: The names.
        of: What has these columns, for messages.

    Raises:
        TableError: With the name.
    """
    for column in columns:
        try:
            quote(column)
        except UsageError as error:
            raise TableError(f"{of}: {error.message}", hint=error.hint) from None
    check_distinct(columns, of)


def check_distinct(columns: Iterable[str], of: object) -> None:
    """Refuse columns of one name, be it in capitals and small letters: engines take them for the same.

    Args:
        columns: The names.
        of: What has these columns, for messages.

    Raises:
        TableError: With both names.

    Examples:
        >>> check_distinct(["a", "A"], "The frame")
        Traceback (most recent call last):
        mlplatform.errors.TableError: The frame has more than one column named a (also as A).
        Hint: Rename or drop one.
    """
    found: dict[str, str] = {}
    for column in columns:
        other = found.get(column.lower())
        if other is not None:
            also = "" if other == column else f" (also as {column})"
            raise TableError(f"{of} has more than one column named {other}{also}.", hint="Rename or drop one.")
        found[column.lower()] = column


def storable(field: pa.Field[Any], *, zoneless: bool = False) -> pa.Field[Any]:
    """Return a column in the normal type that a table keeps it in.

    Args:
        field: The column.
        zoneless: It may be a time without a zone, as a table's column may, though no feature's.

    Raises:
        TableError: If there is no such type in Delta and Spark.
    """
    check_type(field.name, field.type)
    if zoneless and pa.types.is_timestamp(field.type) and field.type.tz is None:
        return field.with_type(pa.timestamp("us"))
    try:
        return field.with_type(normal_type(field.type))
    except FeatureStoreError as error:
        raise TableError(f"Column {field.name} is {field.type}: {error.message}", hint=error.hint) from None


def new_columns(info: TableInfo, columns: pa.Schema) -> list[pa.Field[Any]]:
    """Return the columns that a table lacks, as they are added to it: in normal types, and nullable.

    Args:
        info: The table.
        columns: Those of the rows.

    Raises:
        TableError: If the table cannot have such a column.
    """
    new = [storable(field.with_nullable(True)) for field in columns if field.name not in info.schema.names]
    check_names([field.name for field in new], info.name)
    check_distinct([*info.schema.names, *(field.name for field in new)], info.name)
    return new


def check_type(column: str, kind: pa.DataType) -> None:
    """Refuse a type that Delta does not know.

    Raises:
        TableError: With the column's name.
    """
    refused = (pa.types.is_time, pa.types.is_duration, pa.types.is_interval, pa.types.is_null, pa.types.is_union)
    if any(test(kind) for test in refused):
        raise TableError(f"Column {column} is {kind}, which no Delta table can hold.", hint="Declare another type.")
    for child in range(kind.num_fields):
        check_type(f"{column}.{kind.field(child).name}", kind.field(child).type)


def check_columns(name: object, schema: pa.Schema, columns: Sequence[str]) -> None:
    """Refuse columns that the table does not have.

    Raises:
        TableError: With similar names.
    """
    for column in columns:
        if column not in schema.names:
            raise TableError(f"{name} has no column {column}.", hint=did_you_mean(column, schema.names))


def check_no_nulls(rows: pa.Table, keys: Sequence[str], table: str) -> None:
    """Refuse rows with null keys.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    raise_for_nulls({key: rows.column(key).null_count for key in keys}, table)


def raise_for_nulls(nulls: dict[str, int], table: str) -> None:
    """Refuse null keys, counted by column.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    counts = {key: count for key, count in nulls.items() if count}
    if counts:
        listed = ", ".join(f"{key} ({count} row(s))" for key, count in counts.items())
        raise TableError(f"Null in key column of {table}: {listed}.", hint="Nothing was written; drop or repair them.")


def check_unique(rows: pa.Table, keys: Sequence[str], table: str) -> None:
    """Refuse rows with null or repeated keys.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    check_no_nulls(rows, keys, table)
    counts = rows.select(list(keys)).group_by(list(keys)).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts.column("count_all"), pa.scalar(1)))
    if repeated.num_rows:
        example = {key: readable(repeated.column(key)[0]) for key in keys}
        raise repeated_keys(table, repeated.num_rows, rows.num_rows - counts.num_rows, example)


def readable(value: pa.Scalar[Any]) -> Any:
    """Return a value for a message: as Python has it, or as text where Python has no such value.

    Examples:
        >>> readable(pa.scalar(-800_000, pa.int32()).cast(pa.date32()))
        '-0221-09-04'
    """
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return value.cast(pa.string()).as_py()


def largest_value(rows: pa.Table, name: object, column: str) -> Any:
    """Return the largest value of a column, which is all that `rows` holds.

    Raises:
        TableError: If Python has no such value, as of a time before the year 1 or after the year 9999.
    """
    value = rows.column(0)[0]
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        raise TableError(
            f"The largest {column} of {name} is {readable(value)}, which is no time for Python.",
            hint="Only the years 1 to 9999 are; let an expectation quarantine such rows.",
        ) from None


def repeated_keys(table: str, keys: int, surplus: int, example: dict[str, Any]) -> TableError:
    """Return the error about keys that occur more than once in a frame."""
    return TableError(
        f"{keys} key(s) of {table} occur more than once in the frame ({surplus} row(s) too many), as {example}.",
        hint="Keys are unique together, the timeseries column included; nothing was written.",
    )


def raise_for_unmeant(name: object, unmeant: int, where: Mapping[str, Sequence[str]]) -> None:
    """Refuse rows that are not among those that they are to replace.

    Raises:
        TableError: With their number.
    """
    if unmeant:
        raise TableError(
            f"{unmeant} row(s) for {name} are not of those to be replaced, by {', '.join(where)}.",
            hint="Nothing was written; replace the values that the rows have.",
        )


def raise_for_held(name: object, held: int) -> None:
    """Refuse rows whose keys are those of rows that stay.

    Raises:
        TableError: With their number.
    """
    if held:
        raise TableError(
            f"{held} row(s) for {name} have the keys of rows that it holds besides those to be replaced.",
            hint="Nothing was written. If another run wrote to it meanwhile, run again.",
        )


def check_merge_keys(info: TableInfo, columns: Sequence[str]) -> None:
    """Refuse a merge without keys to merge on.

    Raises:
        TableError: If the table has none, or the frame lacks one.
    """
    if not info.primary_keys:
        raise TableError(f"{info.name} has no primary keys to merge on.", hint="Declare them when creating the table.")
    absent = [key for key in info.primary_keys if key not in columns]
    if absent:
        raise TableError(f"The frame for {info.name} lacks key column(s) {', '.join(absent)}.", hint="Add them.")


def check_range(info: TableInfo, column: str, start: datetime, end: datetime) -> None:
    """Refuse a range that cannot be replaced.

    Raises:
        TableError: If the column is no timestamp, or no key of a table with keys; if the range is none.
    """
    check_columns(info.name, info.schema, [column])
    kind = info.schema.field(column).type
    if not pa.types.is_timestamp(kind) or start.tzinfo is None or end.tzinfo is None:
        raise TableError(
            f"{info.name} by {column} ({kind}), {start} to {end}: this is no range of times with a zone.",
            hint="Give a timestamp column, and aware times.",
        )
    if end < start:
        raise TableError(f"The range of {info.name} ends at {end} before it starts at {start}.", hint="Swap them.")
    if info.primary_keys and column not in info.primary_keys:
        raise TableError(
            f"{column} is no key of {info.name}: rows outside the range might hold the keys of those within.",
            hint=f"Its keys: {', '.join(info.primary_keys)}.",
        )


def raise_for_outside(name: object, outside: int, total: int, span: tuple[str, datetime, datetime]) -> None:
    """Refuse rows outside the range that they are to replace.

    Raises:
        TableError: With their number.
    """
    if outside:
        column, start, end = span
        raise TableError(
            f"{outside} of {total} row(s) for {name} have a {column} outside [{start}, {end}].",
            hint="Nothing was written; replace the range that the rows lie in.",
        )


def check_filters(name: object, schema: pa.Schema, filters: Sequence[Filter]) -> None:
    """Refuse filters that compare what cannot be compared.

    Raises:
        TableError: If there is no such column or operator, or the value is of another kind than the column.
    """
    check_columns(name, schema, [item[0] for item in filters])
    try:
        if filters:
            schema.empty_table().filter(expression(filters))
    except pa.ArrowException as error:
        raise unfit_filters(name, filters, error) from None


def unfit_filters(name: object, filters: Sequence[Filter], error: Exception) -> TableError:
    """Return the error about filters that compare what cannot be compared."""
    return TableError(f"{name} cannot be filtered by {list(filters)}: {error}", hint="Compare like with like.")


def expression(filters: Sequence[Filter]) -> pc.Expression:
    """Return filters, at least one, as an Arrow expression.

    Raises:
        TableError: If an operator is unknown.
    """
    combined: pc.Expression | None = None
    for column, name, value in filters:
        if name not in _OPERATORS:
            raise TableError(f"{name!r} is not a filter operator.", hint=f"Known: {', '.join(_OPERATORS)}.")
        test = _OPERATORS[name](pc.field(column), value)
        combined = test if combined is None else combined & test
    assert combined is not None
    return combined


def _shape(schema: pa.Schema) -> list[str]:
    return [f"{field.name} {_kind(field.type)}{'' if field.nullable else ' not null'}" for field in schema]


def _kind(kind: pa.DataType) -> pa.DataType:
    try:
        return normal_type(kind)  # one type has several forms, as texts do
    except FeatureStoreError:
        return kind


_REPLACING = ("RESTORE", "REPLACE TABLE", "CLONE", "TRUNCATE")


def replaces(operation: str) -> bool:
    """Tell whether an operation of Delta's history puts other rows in the place of all of a table's.

    Examples:
        >>> [replaces(name) for name in ("RESTORE", "CREATE OR REPLACE TABLE AS SELECT", "WRITE", "OPTIMIZE")]
        [True, True, False, False]
    """
    return any(name in operation.upper() for name in _REPLACING)
