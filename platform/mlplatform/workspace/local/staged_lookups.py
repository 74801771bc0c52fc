"""Looking features up for more rows than memory holds: each join once for all rows, from file to file.

A join takes the keys and the number of their row from the frame's file, and leaves what it found in a file of its own,
in the order of those numbers. Then the files are read side by side, a batch at a time. So a feature table is read once,
however many rows are looked up; DuckDB spills what goes beyond its limit.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlplatform.errors import FeatureStoreError
from mlplatform.features.training_set import FunctionCall, Join, LookupPlan
from mlplatform.naming import quote
from mlplatform.workspace.local import as_of_join, duck
from mlplatform.workspace.local.function_calls import with_call
from mlplatform.workspace.local.lookup_sources import Sources
from mlplatform.workspace.local.parquet_rows import ParquetRows

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "2GB"
_ROW = "row"


def extended(
    stages: Sequence[Sequence[Join] | Sequence[FunctionCall]],
    rows: ParquetRows,
    plan: LookupPlan,
    sources: Sources,
    *,
    batch_rows: int,
) -> Iterator[pa.Table]:
    """Yield the rows with what is looked up and computed, in their order and in parts.

    Args:
        stages: What to do, one after the other.
        rows: The rows.
        plan: What the stages are part of.
        sources: What is read, and where files may be kept.
        batch_rows: Rows of a part, at most.

    Raises:
        FeatureStoreError: If a time is null, a table holds a key more than once, or a function fails.
    """
    folder = sources.scratch / f"lookups-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        for number, stage in enumerate(stages):
            parts = _stage(stage, rows, plan, sources, folder / str(number), batch_rows)
            if number < len(stages) - 1:
                # What comes next may look up by what was found: it is written down, too.
                rows = _written(parts, folder / f"{number}.parquet")
            else:
                yield from parts
        if not stages:
            yield from (pa.Table.from_batches([batch]) for batch in rows.batches(batch_rows))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stage(
    stage: Sequence[Join] | Sequence[FunctionCall],
    rows: ParquetRows,
    plan: LookupPlan,
    sources: Sources,
    folder: Path,
    batch_rows: int,
) -> Iterator[pa.Table]:
    joins = [step for step in stage if isinstance(step, Join)]
    found: list[_Found] = []
    if joins:
        folder.mkdir()
        with duck.connect(sources.database, memory_limit=MEMORY_LIMIT) as connection:
            for number, item in enumerate(joins):
                file = folder / f"{number}.parquet"
                _join(connection, rows, item, sources, file)
                found.append(_Found(file, item, plan, batch_rows))
    for batch in rows.batches(batch_rows):
        part = pa.Table.from_batches([batch])
        for outputs in found:
            part = outputs.beside(part)
        for step in stage:
            if isinstance(step, FunctionCall):
                part = with_call(part, step, sources.functions)
        yield part


def _join(connection: duckdb.DuckDBPyConnection, rows: ParquetRows, item: Join, sources: Sources, file: Path) -> None:
    """Write what a join finds for each row into a file, in the order of the rows."""
    with as_of_join.looking_up(item):
        connection.execute(f"CREATE OR REPLACE VIEW spine AS {_keys(rows.file, item)}")
        if item.time is not None:
            key = f"k{len(item.keys)}"
            nulls = connection.execute(f"SELECT count(*) - count({key}) FROM spine").fetchone()  # noqa: S608
            assert nulls is not None
            item.refuse_null_times(int(nulls[0]), rows.num_rows)
        connection.execute("DROP VIEW IF EXISTS features")
        duck.scan(connection, "features", sources.tables[item.table], as_of_join.columns_of(item))
        query = f"{as_of_join.query(item)} ORDER BY s.{_ROW}"
        connection.execute(f"COPY ({query}) TO {duck.literal(str(file))} (FORMAT parquet, COMPRESSION lz4)")
    as_of_join.refuse_twins(item, rows.num_rows, pq.read_metadata(file).num_rows)


def _keys(file: Path, item: Join) -> str:
    names = [mine for mine, _ in item.keys] + ([item.time[0]] if item.time is not None else [])
    keys = ", ".join(f"{quote(name, 'duckdb')} AS k{place}" for place, name in enumerate(names))
    source = duck.read_parquet([file], "file_row_number = true")
    return f"SELECT {keys}, file_row_number AS {_ROW} FROM {source}"  # noqa: S608


class _Found:
    """What a join found, read beside the rows."""

    def __init__(self, file: Path, item: Join, plan: LookupPlan, batch_rows: int) -> None:
        self._types = {output: plan.schema.field(output).type for _, output in item.outputs}
        self._batches = self._read(file, batch_rows)
        self._held = pa.table({})
        self._done = 0

    @staticmethod
    def _read(file: Path, batch_rows: int) -> Iterator[pa.Table]:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=batch_rows):
                yield pa.Table.from_batches([batch])

    def beside(self, part: pa.Table) -> pa.Table:
        """Return the next rows with what was found for them."""
        found = self._next(part.num_rows)
        expected = np.arange(self._done, self._done + part.num_rows)
        if not np.array_equal(found.column(_ROW).to_numpy(), expected):
            raise FeatureStoreError("What was looked up came in another order than the rows.", hint="Report this.")
        self._done += part.num_rows
        for place, (output, kind) in enumerate(self._types.items()):
            part = part.append_column(output, as_of_join.typed(found.column(f"j{place}"), kind))
        return part

    def _next(self, rows: int) -> pa.Table:
        while self._held.num_rows < rows:
            batch = next(self._batches)
            self._held = pa.concat_tables([self._held, batch]) if self._held.num_rows else batch
        found, self._held = self._held.slice(0, rows), self._held.slice(rows)
        return found


def _written(parts: Iterator[pa.Table], file: Path) -> ParquetRows:
    writer: Any = None
    try:
        for part in parts:
            writer = writer or pq.ParquetWriter(file, part.schema, compression="lz4")
            writer.write_table(part)
    finally:
        if writer is not None:
            writer.close()
    return ParquetRows.of(file)
