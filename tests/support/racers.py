"""Writers that race: each in a process of its own, started at one moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlplatform.protocols.tables import Transaction
from mlplatform.workspace.local.tables import LocalTables

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("writer", pa.int64()),
    ]
)
DAY = datetime(2024, 1, 1, tzinfo=UTC)


def tables(root: Path) -> LocalTables:
    """Open the tables under a folder; no engine is needed."""

    def no_spark() -> Any:
        raise AssertionError("no engine in this test")

    return LocalTables(root / "tables", root / "scratch", no_spark)


def rows(writer: int, ids: Sequence[int]) -> pa.Table:
    """Rows of one writer."""
    return pa.Table.from_pylist([{"id": number, "at": DAY, "writer": writer} for number in ids], schema=SCHEMA)


def append_same(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Append what the others append, as one transaction; return how many rows were ours."""
    opened = tables(root)
    barrier.wait(60)
    return opened.append(name, rows(writer, range(10)), transactions=[Transaction("the one")]).rows


def append_different(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Append five times, each as a transaction of this writer."""
    opened = tables(root)
    barrier.wait(60)
    return sum(
        opened.append(name, rows(writer, [100 * writer + turn]), transactions=[Transaction(f"{writer}-{turn}")]).rows
        for turn in range(5)
    )


def merge_different(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Merge three times rows of this writer's own."""
    opened = tables(root)
    barrier.wait(60)
    return sum(opened.merge(name, rows(writer, [100 * writer + turn])).rows for turn in range(3))


def merge_same(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Merge three times the same keys as everybody."""
    opened = tables(root)
    barrier.wait(60)
    return sum(opened.merge(name, rows(writer, range(5))).rows for _ in range(3))


def overwrite(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Replace all rows by three of this writer."""
    opened = tables(root)
    barrier.wait(60)
    return opened.overwrite(name, rows(writer, range(3))).rows


def create(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Create the table."""
    del writer
    opened = tables(root)
    barrier.wait(60)
    opened.create(name, SCHEMA, primary_keys=("id", "at"), timeseries_column="at")
    return 1


class Track:
    """Processes that wait to race; started once, for starting them takes longest."""

    def __init__(self, writers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.writers = writers
        self._manager = context.Manager()
        self._pool = context.Pool(writers)

    def race(self, act: Callable[[Path, str, int, Any], int], root: Path, name: str) -> list[int]:
        """Let the writers race, and return what each returned."""
        barrier = self._manager.Barrier(self.writers)
        return self._pool.starmap(act, [(root, name, number, barrier) for number in range(self.writers)], chunksize=1)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()
        self._pool.join()
        self._manager.shutdown()
