"""Where a row came from: the columns that bronze, silver and the quarantine share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName
    from mlplatform.protocols.frames import Frames
    from mlplatform.protocols.tables import Filter

FILE = "_file"
ROW = "_row"
AVAILABLE_AT = "_available_at"

MOST_FILES = 200_000
"""What is counted by file (and reason) may be so many groups: a file every hour for twenty years. Beyond it, land fewer
and larger files."""

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


@dataclass(frozen=True)
class HeldFile:
    """What a table holds of a landed file.

    Attributes:
        rows: Number of its rows.
        available_at: When the file could be known.
    """

    rows: int
    available_at: datetime


def held_files(
    frames: Frames, table: ObjectName, *, version: int | None = None, filters: Sequence[Filter] = ()
) -> dict[str, HeldFile]:
    """Return the landed files whose rows a table holds, by name and in its order.

    Args:
        frames: The workspace's frames.
        table: A table with provenance.
        version: Its Delta version; default: the newest.
        filters: Conditions on the rows.

    Raises:
        TableError: If there are more files than `MOST_FILES`.
    """
    rows = frames.read(table, version=version, columns=[FILE, AVAILABLE_AT], filters=filters)
    files = rows.group_by(FILE).agg(nw.len().alias("rows"), nw.col(AVAILABLE_AT).min().alias("available_at"))
    found = frames.collect(files, at_most=MOST_FILES, what=f"the list of files of {table}").sort_by(FILE).to_pylist()
    return {row[FILE]: HeldFile(row["rows"], row["available_at"]) for row in found}
