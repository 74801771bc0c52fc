"""Where a row came from: the columns that bronze, silver and the quarantine share."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa

FILE = "_file"
ROW = "_row"
AVAILABLE_AT = "_available_at"

FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field(FILE, pa.string(), nullable=False, metadata={"comment": "Landed file, below the landing folder"}),
    pa.field(ROW, pa.int64(), nullable=False, metadata={"comment": "Number of the row in its file, from 0"}),
    pa.field(
        AVAILABLE_AT,
        pa.timestamp("us", tz="UTC"),
        nullable=False,
        metadata={"comment": "When the file could be known"},
    ),
)


def texts(rows: pa.Table, column: str) -> list[str]:
    """Return a text column that holds no null, such as the file, as a list."""
    return cast("list[str]", rows.column(column).to_pylist())
