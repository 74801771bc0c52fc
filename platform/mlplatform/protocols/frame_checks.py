"""What is checked about the keys of a frame's rows, in the engine that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from mlplatform.protocols.frames import Frame, Frames
from mlplatform.protocols.table_checks import raise_for_nulls, repeated_keys

_ROWS = "__rows"


@dataclass(frozen=True)
class KeyCounts:
    """How the rows of a frame spread over its keys.

    Attributes:
        rows: Number of rows.
        nulls: Key column -> rows in which it is null.
        repeated: Keys that stand for several rows.
        surplus: Rows beyond the first of their key.
    """

    rows: int
    nulls: dict[str, int]
    repeated: int
    surplus: int


def count_keys(frames: Frames, frame: Frame, keys: Sequence[str]) -> KeyCounts:
    """Count rows, null keys and repeated keys; one aggregate.

    Args:
        frames: The workspace's frames.
        frame: The rows.
        keys: Columns that are to be unique together; nulls count as a key here.
    """
    rows = nw.col(_ROWS)
    counted = _grouped(frame, keys).select(
        rows.sum().alias("rows"),
        (rows > 1).cast(nw.Int64()).sum().alias("repeated"),
        (rows - 1).sum().alias("surplus"),
        *(
            nw.when(nw.col(key).is_null()).then(rows).otherwise(0).sum().alias(f"null{place}")
            for place, key in enumerate(keys)
        ),
    )
    # Sums over no row at all are null.
    found = [value or 0 for value in frames.collect(counted, at_most=1, what="counts of keys").to_pylist()[0].values()]
    return KeyCounts(found[0], dict(zip(keys, found[3:], strict=True)), found[1], found[2])


def repeated_key(frames: Frames, frame: Frame, keys: Sequence[str]) -> dict[str, Any]:
    """Return the first key that stands for several rows, in the order of the keys; there must be one."""
    repeated = _grouped(frame, keys).filter(nw.col(_ROWS) > 1).select(*keys).sort(*keys).head(1)
    example: dict[str, Any] = frames.collect(repeated, at_most=1, what="a repeated key").to_pylist()[0]
    return example


def check_unique_frame(frames: Frames, frame: Frame, keys: Sequence[str], table: str) -> int:
    """Refuse rows with null or repeated keys, and return how many rows there are.

    Args:
        frames: The workspace's frames.
        frame: The rows.
        keys: The key columns.
        table: The table's name, for messages.

    Raises:
        TableError: With the columns concerned and the number of rows.
    """
    counts = count_keys(frames, frame, keys)
    raise_for_nulls(counts.nulls, table)
    if counts.repeated:
        raise repeated_keys(table, counts.repeated, counts.surplus, repeated_key(frames, frame, keys))
    return counts.rows


def _grouped(frame: Frame, keys: Sequence[str]) -> Frame:
    return frame.group_by(*keys).agg(nw.len().alias(_ROWS))
