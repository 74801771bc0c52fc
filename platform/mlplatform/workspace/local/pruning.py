"""Which files of a Delta table may hold rows that filters ask for, by the statistics in its log."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.workspace.local import duck
from mlplatform.workspace.local.table_files import files_of

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from mlplatform.protocols.tables import Filter


def files_within(table: DeltaTable, filters: Sequence[Filter], any_of: Sequence[Filter] = ()) -> set[str]:
    """Return the paths, relative to the table's folder, of the files that may hold a row that all filters let through.

    A file without statistics of a column may hold any value of it.

    Args:
        table: The opened version.
        filters: Conditions on columns; all hold.
        any_of: Conditions of which at least one holds, if there are such.
    """
    files = files_of(table, flatten=True)
    kept = pa.repeat(True, files.num_rows)
    schema = duck.arrow_schema(table)
    for item in filters:
        kept = pc.and_(kept, _may_hold(files, schema, item))
    if any_of:
        kept = pc.and_(kept, reduce(pc.or_, (_may_hold(files, schema, item) for item in any_of)))
    return {str(path) for path in files.filter(kept).column("path").to_pylist()}


def _may_hold(files: pa.Table, schema: pa.Schema, item: Filter) -> Any:
    column, operator, value = item
    least, most = f"min.{column}", f"max.{column}"
    everything = pa.repeat(True, files.num_rows)
    if least not in files.column_names or most not in files.column_names or isinstance(value, str):
        # Statistics of texts are cut off.
        return everything
    if pa.types.is_decimal(schema.field(column).type):
        # The log's numbers are read as floats, which hold fewer digits.
        return everything
    smallest, largest = files.column(least), files.column(most)
    if pa.types.is_timestamp(largest.type):
        # The log has milliseconds, cut off.
        largest = pc.add(largest, pa.scalar(1000, pa.duration("us")))
    try:
        if operator in {"=", "=="}:
            held = pc.and_(_compared(pc.less_equal, smallest, value), _compared(pc.greater_equal, largest, value))
        elif operator in {"<", "<="}:
            held = _compared(getattr(pc, "less" if operator == "<" else "less_equal"), smallest, value)
        elif operator in {">", ">="}:
            held = _compared(getattr(pc, "greater" if operator == ">" else "greater_equal"), largest, value)
        else:
            return everything
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return everything  # compared with another kind; the filter itself says so
    return pc.fill_null(held, True)


def _compared(compare: Any, statistics: pa.ChunkedArray[Any], value: Any) -> Any:
    return compare(statistics, pa.scalar(value))
