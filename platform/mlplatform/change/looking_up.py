"""Looking up new rows of a feature table for a bounded number of rows, each as of its own time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.change.changed_view import Stretch
from mlplatform.protocols.frames import Frame

NUMBER, KNOWN, AT = "__number", "__known", "__at"
"""Columns: the number of a row that is looked up for, when the row found was known, and as of when it was looked up."""


def newest_rows(mine: Frame, rows: Frame, keys: Sequence[str], time: str | None, features: Sequence[str]) -> Frame:
    """Return, by the number of each row asked about, the features of the newest row at or before its time."""
    mine_keys = [f"__mine_{place}" for place in range(len(keys))]
    if time is None:
        joined = mine.join(rows.select(*keys, *features), left_on=mine_keys, right_on=list(keys), how="inner")
        return joined.select(NUMBER, *features)
    at = f"__mine_{len(keys)}"
    there = rows.select(*keys, nw.col(time).alias(KNOWN), *features)
    joined = mine.join(there, left_on=mine_keys, right_on=list(keys), how="inner").filter(nw.col(KNOWN) <= nw.col(at))
    newest = joined.group_by(NUMBER).agg(nw.col(KNOWN).max().alias("__newest"))
    chosen = joined.join(newest, on=NUMBER, how="inner").filter(nw.col(KNOWN) == nw.col("__newest"))
    return chosen.select(NUMBER, nw.col(at).alias(AT), KNOWN, *features)


def young(looked_up: pa.Table, lookback: float | None) -> pa.Table:
    """Return the rows that are not older than a lookback in seconds; its end is included."""
    if lookback is None or KNOWN not in looked_up.column_names:
        return looked_up
    at, known = (looked_up.column(name).cast(pa.int64()) for name in (AT, KNOWN))
    age = pc.subtract(at, known)
    return looked_up.filter(pc.less_equal(age, pa.scalar(round(lookback * 1_000_000), pa.int64())))


def looking_further_back(looked_up: pa.Table, sample: pa.Table, time: str, stretches: Sequence[Stretch]) -> set[int]:
    """Return the numbers of the rows whose newest row may lie before what was computed."""
    known: dict[int, datetime] = {row[NUMBER]: row[KNOWN] for row in looked_up.select([NUMBER, KNOWN]).to_pylist()}
    outside = set()
    for row in sample.select([NUMBER, time]).to_pylist():
        start = max((start for start, end in stretches if start <= row[time] <= end), default=None)
        newest = known.get(row[NUMBER])
        if start is None or newest is None or newest < start:
            outside.add(row[NUMBER])
    return outside


def numbered(found: pa.Table, rows: int, names: Sequence[str]) -> dict[str, pa.ChunkedArray[Any]]:
    """Return columns in the order of the rows asked about, null where nothing was found."""
    places = np.full(rows, -1, dtype=np.int64)
    places[np.asarray(found.column(NUMBER).to_numpy(), dtype=np.int64)] = np.arange(found.num_rows)
    taken: pa.Array[Any] = pc.if_else(
        pc.less(pa.array(places), pa.scalar(0)), pa.scalar(None, pa.int64()), pa.array(places)
    )
    return {name: found.column(name).take(taken) for name in names}


def nulls(kind: pa.DataType, rows: int) -> pa.ChunkedArray[Any]:
    """Return a column of nulls."""
    return pa.chunked_array([pa.array([None] * rows, kind)])
