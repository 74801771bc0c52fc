"""The tables that the stages read: Delta tables, written chunk by chunk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

CHUNK = 500_000
START = datetime(2024, 1, 1, tzinfo=UTC)
SINCE, AS_OF = START + timedelta(days=36), START + timedelta(days=365)
COLUMNS = [f"f{number}" for number in range(20)]


def write_tables(folder: Path, rows: int) -> dict[str, list[str]]:
    """Write what the stages read; return each table's files."""
    from deltalake import DeltaTable, write_deltalake

    files = {}
    for name, (count, chunk) in {
        "spine": (rows, _spine),
        "predictions": (rows, _predictions),
        "scored": (rows, _scored),
        "landed": (rows, _landed),
        "silver": (rows // 2, _silver),
    }.items():
        chunks = (chunk(start, min(start + CHUNK, count), rows) for start in range(0, count, CHUNK))
        batches = (batch for table in chunks for batch in table.to_batches())
        schema = chunk(0, 1, rows).schema
        write_deltalake(str(folder / name), pa.RecordBatchReader.from_batches(schema, batches))
        files[name] = [uri.removeprefix("file://") for uri in DeltaTable(str(folder / name)).file_uris()]
    return files


def _times(start: int, end: int) -> pa.Array:
    micros = np.random.default_rng([1, start]).integers(0, 365 * 86_400 * 1_000_000, end - start)
    return pa.array(int(START.timestamp() * 1e6) + micros).cast(pa.timestamp("us", "UTC"))


def _spine(start: int, end: int, _: int) -> pa.Table:
    random = np.random.default_rng([2, start])
    segment = pa.array(random.integers(0, 5, end - start)).cast(pa.string())
    return pa.table(
        {
            "id": np.arange(start, end),
            "time": _times(start, end),
            "amount": random.random(end - start),
            "segment": segment,
        }
    )


def _predictions(start: int, end: int, _: int) -> pa.Table:
    """Every second row of the spine was scored by the champion, the others by a challenger only."""
    ids = np.arange(start, end)
    return pa.table(
        {
            "id": ids,
            "time": _times(start, end),
            "as_of": pa.array([AS_OF - timedelta(days=1)] * len(ids), pa.timestamp("us", "UTC")),
            "alias": np.where(ids % 2, "challenger", "champion"),
            "prediction": np.random.default_rng([3, start]).random(len(ids)),
        }
    )


def _scored(start: int, end: int, _: int) -> pa.Table:
    random = np.random.default_rng([4, start])
    size = end - start
    values = {
        name: pa.array(random.normal(size=size), mask=random.random(size) < number / 200)
        for number, name in enumerate(COLUMNS)
    }
    matched = {f"matched_{number}": random.random(size) < 0.9 for number in range(2)}
    return pa.table({"version": random.integers(1, 4, size), **matched, **values})


def _landed(start: int, end: int, rows: int) -> pa.Table:
    """A twentieth repeats the key of another row, a hundredth lacks its value."""
    random = np.random.default_rng([5, start])
    numbers, size = np.arange(start, end), end - start
    return pa.table(
        {
            "file": pa.array(numbers // 10_000).cast(pa.string()),
            "row": numbers % 10_000,
            "key": np.where(random.random(size) < 0.05, random.integers(0, rows, size), numbers),
            "at": _times(start, end),
            "value": pa.array(random.normal(size=size), mask=random.random(size) < 0.01),
            "amount": random.random(size),
        }
    )


def _silver(start: int, end: int, rows: int) -> pa.Table:
    """A tenth of what landed has been refined before."""
    return pa.table({"key": np.arange(start, end) + rows * 9 // 10, "value": np.zeros(end - start)})
