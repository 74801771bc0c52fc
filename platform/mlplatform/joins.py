"""Which rows of one Arrow table have their keys in another, and which have not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa


def with_keys_of(rows: pa.Table, others: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the rows whose keys are among those of other rows; in no particular order.

    Args:
        rows: The rows; their columns stay as they are.
        others: Rows that have the keys, too.
        keys: Columns to compare; a null equals nothing.

    Examples:
        >>> rows, others = pa.table({"id": [1, 2], "x": ["a", "b"]}), pa.table({"id": [2, 2, 3]})
        >>> with_keys_of(rows, others, ["id"]).to_pylist()
        [{'id': 2, 'x': 'b'}]
    """
    return _join(rows, others, keys, "left semi")


def without_keys_of(rows: pa.Table, others: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the rows whose keys are not among those of other rows; in no particular order.

    Args:
        rows: The rows; their columns stay as they are.
        others: Rows that have the keys, too.
        keys: Columns to compare; a null equals nothing.

    Examples:
        >>> rows, others = pa.table({"id": [1, 2], "x": ["a", "b"]}), pa.table({"id": [2, 2, 3]})
        >>> without_keys_of(rows, others, ["id"]).to_pylist()
        [{'id': 1, 'x': 'a'}]
    """
    return _join(rows, others, keys, "left anti")


def _join(rows: pa.Table, others: pa.Table, keys: Sequence[str], kind: Literal["left semi", "left anti"]) -> pa.Table:
    by = list(keys)
    return rows.join(others.select(by), keys=by, join_type=kind).select(rows.column_names)
