"""Frames in: a Spark DataFrame, a pyarrow Table or a pandas frame becomes Arrow, and fits its table or is refused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import TableError, did_you_mean
from mlplatform.protocols.table_checks import check_distinct, check_filters, readable
from mlplatform.types import is_number

if TYPE_CHECKING:
    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.tables import Filter

_OPERATORS: dict[str, Callable[[nw.Expr, Any], nw.Expr]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def is_spark_frame(frame: Any) -> bool:
    """Tell whether rows are Spark's: then they are never brought here."""
    return hasattr(frame, "toArrow") and hasattr(frame, "select")


def is_lazy(frame: Any) -> TypeGuard[nw.LazyFrame[Any]]:
    """Tell whether rows are a frame of `ws.frames`."""
    return isinstance(frame, nw.LazyFrame)


def filtered(
    frame: Frame, schema: pa.Schema, filters: Sequence[Filter], name: object, any_of: Sequence[Filter] = ()
) -> Frame:
    """Return the rows of a frame that filters let through.

    Args:
        frame: The rows.
        schema: Their columns, as the table declares them.
        filters: Conditions on columns; all hold.
        name: The table's name, for messages.
        any_of: Conditions on columns of which at least one holds, if there are such.

    Raises:
        TableError: If there is no such column or operator, or the value is of another kind than the column.
    """
    if not filters and not any_of:
        return frame
    check_filters(name, schema, [*filters, *any_of])
    conditions = [_condition(item, schema) for item in filters]
    if any_of:
        conditions.append(nw.any_horizontal(*(_condition(item, schema) for item in any_of), ignore_nulls=True))
    return frame.filter(*conditions)


def _condition(item: Filter, schema: pa.Schema) -> nw.Expr:
    column, name, value = item
    if name == "in":
        return nw.col(column).is_in(list(value))
    condition = _OPERATORS[name](nw.col(column), value)
    if name in {">", ">="} and pa.types.is_floating(schema.field(column).type):
        # To engines NaN is the largest number; a file's statistics do not know of it, and the file may be left out.
        return condition & ~nw.col(column).is_nan()
    return condition


def to_arrow(frame: Any) -> pa.Table:
    """Return the frame as an Arrow table.

    Raises:
        TableError: If it is none of the kinds of frame that the platform takes.
    """
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if isinstance(frame, pa.RecordBatchReader):
        return frame.read_all()
    if hasattr(frame, "toArrow"):
        rows: pa.Table = frame.toArrow()
        return rows
    if type(frame).__module__.split(".")[0] == "pandas":
        check_distinct(map(str, frame.columns), "The frame")
        return pa.Table.from_pandas(frame, preserve_index=False)
    raise TableError(
        f"A {type(frame).__name__} is not a frame.",
        hint="Give a Spark DataFrame, a pyarrow.Table or a pandas DataFrame.",
    )


def conform(frame: pa.Table, schema: pa.Schema, table: str) -> pa.Table:
    """Return the frame with exactly the declared columns, types and nullability.

    Args:
        frame: The rows; column order is free, and nullable columns may be missing (they become null).
        schema: The table's declared schema.
        table: The table's name, for messages.

    Raises:
        TableError: If columns are unknown or missing, values do not fit the type, or a required value is null.
    """
    check_fit(frame.column_names, schema, table)
    columns = [_column(frame, field, table) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def check_fit(columns: Sequence[str], schema: pa.Schema, table: str) -> None:
    """Refuse a frame with columns that the table does not have, or without those that it needs.

    Raises:
        TableError: With similar names.
    """
    unknown = [name for name in columns if name not in schema.names]
    if unknown:
        raise TableError(f"{table} has no column {', '.join(unknown)}.", hint=did_you_mean(unknown[0], schema.names))
    absent = [field.name for field in schema if field.name not in columns and not field.nullable]
    if absent:
        raise TableError(f"The frame for {table} lacks {', '.join(absent)}.", hint="These columns may not be null.")


def nulls_where_none_may_be(column: str, table: str, count: int) -> TableError:
    """Return the error about nulls in a required column."""
    return TableError(
        f"Column {column} of {table} may not be null; the frame has {count} null(s) in it.",
        hint="Send such rows to the quarantine, or declare the column nullable.",
    )


def _column(frame: pa.Table, field: pa.Field[Any], table: str) -> pa.ChunkedArray[Any]:
    if field.name not in frame.column_names:
        return pa.chunked_array([pa.nulls(frame.num_rows, field.type)])
    column = frame.column(field.name)
    if not column.type.equals(field.type):
        try:
            column = _exactly(column, field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TableError(
                f"Column {field.name} of {table} is {field.type}; the frame's {column.type} does not fit: {error}",
                hint="Cast it where it is computed.",
            ) from None
    if not field.nullable and column.null_count:
        raise nulls_where_none_may_be(field.name, table, column.null_count)
    return column


def _exactly(column: pa.ChunkedArray[Any], kind: pa.DataType) -> pa.ChunkedArray[Any]:
    """Cast a column; Arrow refuses what would lose something, but for what is looked at here.

    Raises:
        ArrowInvalid: If a value would not be the same.
    """
    if column.null_count < len(column):
        refuse_other_kind(column.type, kind)
    whole = pa.types.is_integer(column.type) and pa.types.is_decimal(kind)
    # By way of text: Arrow asks for room for every integer of the type, and not for these.
    cast = (column.cast(pa.string()) if whole else column).cast(kind)
    if pa.types.is_floating(column.type) and pa.types.is_decimal(kind):
        # By way of text: Arrow's own cast back may be a last bit off.
        back = cast.cast(pa.string()).cast(column.type)
        if not back.equals(column):
            _refuse(column.filter(pc.invert(pc.equal(back, column))), "would be rounded")
    elif pa.types.is_floating(column.type) and pa.types.is_floating(kind):
        # pyarrow's stubs do not know that these take columns.
        finite: Any = pc.is_finite(column)
        _refuse(column.filter(pc.and_(finite, pc.is_inf(cast))), "would be infinite")
    elif pa.types.is_timestamp(column.type) and pa.types.is_date(kind):
        _refuse(column.filter(pc.not_equal(cast.cast(column.type), column)), "would lose the time of day")
    elif pa.types.is_integer(column.type) and pa.types.is_boolean(kind):
        _refuse(column.filter(pc.not_equal(cast.cast(column.type), column)), "would be true")
    return cast


def refuse_other_kind(given: pa.DataType, kind: pa.DataType) -> None:
    """Refuse what engines cast by a convention of their own: numbers as times, a time without zone as one of UTC.

    Args:
        given: The frame's type.
        kind: The table's.

    Raises:
        ArrowInvalid: With the convention that it takes.

    Examples:
        >>> refuse_other_kind(pa.date32(), pa.timestamp("us", "UTC"))
        >>> refuse_other_kind(pa.timestamp("us"), pa.timestamp("us", "UTC"))
        Traceback (most recent call last):
        ...
        pyarrow.lib.ArrowInvalid: one of them has a time zone, the other has none
    """
    if (is_number(given) and pa.types.is_temporal(kind)) or (pa.types.is_temporal(given) and is_number(kind)):
        raise pa.ArrowInvalid("a number is no time, before it is said since when and in which unit")
    if not pa.types.is_integer(given) and is_number(given) and pa.types.is_boolean(kind):
        raise pa.ArrowInvalid("a fraction is neither true nor false")
    if pa.types.is_timestamp(given) and pa.types.is_timestamp(kind) and (given.tz is None) != (kind.tz is None):
        raise pa.ArrowInvalid("one of them has a time zone, the other has none")


def _refuse(lost: pa.ChunkedArray[Any], what: str) -> None:
    if len(lost):
        raise pa.ArrowInvalid(f"{len(lost)} value(s), such as {readable(lost[0])}, {what}")
