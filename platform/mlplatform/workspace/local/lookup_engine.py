"""Runs a plan of the training-set rules over Arrow: joins in DuckDB, functions and defaults batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.features.defaults import fill
from mlplatform.features.training_set import FunctionCall, Join, LookupPlan
from mlplatform.workspace.local import as_of_join, duck, staged_lookups
from mlplatform.workspace.local.function_calls import call, with_call
from mlplatform.workspace.local.lookup_sources import Sources
from mlplatform.workspace.local.parquet_rows import ParquetRows

if TYPE_CHECKING:
    import duckdb

    from mlplatform.protocols.functions import FunctionInfo

# What is looked up for so many rows is held in memory at once; a longer frame is done in parts.
SLICE_ROWS = 5_000_000


def run(
    plan: LookupPlan,
    frame: pa.Table | ParquetRows,
    columns: Sequence[str],
    sources: Sources,
    *,
    batch_rows: int = duck.BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of the extended frame, in batches and in the frame's order.

    Args:
        plan: What to do.
        frame: The rows, in normal types; those of a file that memory does not hold are looked up from file to file.
        columns: The columns wanted, in order.
        sources: What the plan reads.
        batch_rows: Rows per batch, at most.

    Raises:
        FeatureStoreError: If the frame has nulls in a time column that is looked up by, or a function fails.
    """
    schema = pa.schema([plan.schema.field(name) for name in columns])
    stages = list(plan.stages)
    tail: list[FunctionCall] = []
    while stages and isinstance(stages[-1][0], FunctionCall):
        tail = [*(step for step in stages.pop() if isinstance(step, FunctionCall)), *tail]
    names = {*columns, *(name for item in tail for name in item.arguments)}
    for part in _parts(stages, frame, plan, sources, batch_rows):
        selection = part.select([name for name in part.column_names if name in names])
        for batch in selection.to_batches(max_chunksize=batch_rows):
            yield _finish(batch, tail, plan, schema, sources.functions)


def _parts(
    stages: Sequence[Sequence[Join] | Sequence[FunctionCall]],
    frame: pa.Table | ParquetRows,
    plan: LookupPlan,
    sources: Sources,
    batch_rows: int,
) -> Iterator[pa.Table]:
    if isinstance(frame, ParquetRows):
        if not frame.fits_in_memory(len(plan.schema)):
            yield from staged_lookups.extended(stages, frame, plan, sources, batch_rows=batch_rows)
            return
        frame = frame.table()
    for item in plan.joins:
        # The whole frame is looked at before the first batch leaves.
        if item.time is not None and item.time[0] in frame.column_names:
            as_of_join.refuse_null_times(frame, item)
    for start in range(0, frame.num_rows, SLICE_ROWS):
        yield _extended(stages, frame.slice(start, SLICE_ROWS), plan, sources)


def _extended(
    stages: Sequence[Sequence[Join] | Sequence[FunctionCall]], frame: pa.Table, plan: LookupPlan, sources: Sources
) -> pa.Table:
    if not stages:
        return frame
    with duck.connect(sources.database, memory_limit=sources.memory_limit) as connection:
        for stage in stages:
            for step in stage:
                frame = (
                    _look_up(connection, frame, step, plan, sources)
                    if isinstance(step, Join)
                    else with_call(frame, step, sources.functions)
                )
    return frame


def _look_up(
    connection: duckdb.DuckDBPyConnection, frame: pa.Table, item: Join, plan: LookupPlan, sources: Sources
) -> pa.Table:
    types = [plan.schema.field(output).type for _, output in item.outputs]
    outputs = as_of_join.look_up(connection, frame, item, sources.tables[item.table], types)
    for (_, output), column in zip(item.outputs, outputs, strict=True):
        frame = frame.append_column(output, column)
    return frame


def _finish(
    batch: pa.RecordBatch,
    calls: Sequence[FunctionCall],
    plan: LookupPlan,
    schema: pa.Schema,
    functions: Mapping[str, FunctionInfo],
) -> pa.RecordBatch:
    columns: dict[str, pa.Array[Any]] = dict(zip(batch.schema.names, batch.columns, strict=True))
    for step in calls:
        arguments = [columns[name] for name in step.arguments]
        columns[step.output] = call(functions[step.function], arguments, batch.num_rows)
    arrays = [
        fill(columns[field.name], plan.defaults[field.name]) if field.name in plan.defaults else columns[field.name]
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
