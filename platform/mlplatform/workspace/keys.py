"""Keys of a frame that goes into a keyed table: no nulls, no repeats; the same refusals whatever engine counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import TableError


def check_no_nulls(rows: pa.Table, keys: Sequence[str], table: str) -> None:
    """Refuse rows with null keys.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    refuse_nulls({key: rows.column(key).null_count for key in keys}, table)


def check_unique(rows: pa.Table, keys: Sequence[str], table: str) -> None:
    """Refuse rows with null or repeated keys.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    check_no_nulls(rows, keys, table)
    counts = rows.select(list(keys)).group_by(list(keys)).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts.column("count_all"), 1))
    if repeated.num_rows:
        example = {key: repeated.column(key)[0].as_py() for key in keys}
        refuse_repeats(repeated.num_rows, rows.num_rows - counts.num_rows, example, table)


def refuse_nulls(counts: Mapping[str, int], table: str) -> None:
    """Refuse a frame by the number of nulls in each key column.

    Raises:
        TableError: If any is not zero.
    """
    nulls = {key: count for key, count in counts.items() if count}
    if nulls:
        listed = ", ".join(f"{key} ({count} row(s))" for key, count in nulls.items())
        raise TableError(f"Null in key column of {table}: {listed}.", hint="Nothing was written; drop or repair them.")


def refuse_repeats(repeated: int, surplus: int, example: Mapping[str, Any], table: str) -> None:
    """Refuse a frame by the number of its repeated keys.

    Args:
        repeated: Keys that stand more than once.
        surplus: Rows too many.
        example: One such key.
        table: The table's name.

    Raises:
        TableError: If `repeated` is not zero.
    """
    if repeated:
        raise TableError(
            f"{repeated} key(s) of {table} stand more than once in the frame ({surplus} row(s) too many), "
            f"as {dict(example)}.",
            hint="Keys are unique together, the timeseries column included; nothing was written.",
        )
