"""Compare two tables row by row, numbers to a relative tolerance: sums are added up in another order elsewhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

TOLERANCE = 1e-9


def difference(one: pa.Table, other: pa.Table) -> str | None:
    """Describe how two tables differ in columns, number of rows, or values; None when they do not.

    Rows are ordered by their exact columns first, then by the numbers, so that their own order does not matter.
    """
    if sorted(one.column_names) != sorted(other.column_names):
        return f"columns differ: {sorted(set(one.column_names) ^ set(other.column_names))}"
    if one.num_rows != other.num_rows:
        return f"{one.num_rows} row(s) against {other.num_rows}"
    left, right = _ordered(one), _ordered(other)
    for column in one.column_names:
        for number, (a, b) in enumerate(zip(left[column], right[column], strict=True)):
            if not _close(a, b):
                return f"column {column} of row {number}: {a!r} against {b!r}; the row: {_row(left, number)}"
    return None


def _ordered(table: pa.Table) -> dict[str, list[Any]]:
    columns = {name: [_value(value) for value in table.column(name).to_pylist()] for name in sorted(table.column_names)}
    exact = [name for name in columns if not pa.types.is_floating(table.schema.field(name).type)]
    floats = [name for name in columns if name not in exact]
    keys = [
        (
            json.dumps([columns[name][row] for name in exact], default=str),
            [_rounded(columns[name][row]) for name in floats],
        )
        for row in range(table.num_rows)
    ]
    order = sorted(range(table.num_rows), key=lambda row: (keys[row][0], json.dumps(keys[row][1])))
    return {name: [values[row] for row in order] for name, values in columns.items()}


def _value(value: Any) -> Any:
    """JSON in a column is compared as what it says."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(np.format_float_positional(value, precision=6, fractional=False))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    return bool(a == b)


def _row(columns: dict[str, list[Any]], number: int) -> str:
    return str({name: values[number] for name, values in columns.items()})[:400]
