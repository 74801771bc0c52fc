"""Runs a plan of the training-set rules over Arrow: joins in DuckDB, functions and defaults batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.features.defaults import fill
from mlplatform.features.training_set import Call, Join, Plan
from mlplatform.workspace.local import as_of_join, duck
from mlplatform.workspace.local.function_calls import call

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from mlplatform.workspace.protocols import FunctionInfo


def run(
    plan: Plan,
    frame: pa.Table,
    *,
    columns: Sequence[str],
    tables: Mapping[str, DeltaTable],
    functions: Mapping[str, FunctionInfo],
    scratch: Path,
    memory_limit: str | None = None,
    batch_rows: int = duck.BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of the extended frame, in batches.

    Only a lookup that needs the output of another one, or of a function, is held in memory on its way.

    Args:
        plan: What to do.
        frame: The rows, in normal types.
        columns: The columns wanted, in order.
        tables: The opened version of each table of the plan.
        functions: The functions of the plan, by name.
        scratch: Where DuckDB spills what does not fit in memory.
        memory_limit: DuckDB's limit, as in `4GB`.
        batch_rows: Rows a batch.

    Raises:
        FeatureStoreError: If the frame has nulls in a time column that is looked up by.
        FunctionError: If a function fails.
    """
    schema = pa.schema([plan.schema.field(name) for name in columns])
    groups = list(plan.stages)
    while groups and any(isinstance(step, Join) for group in groups[1:] for step in group):
        frame = _apply_all(groups.pop(0), frame, plan, tables, functions, scratch, memory_limit)
    joins = [step for step in groups[0] if isinstance(step, Join)] if groups else []
    calls = [step for group in groups for step in group if isinstance(step, Call)]
    wanted = {*columns, *(name for item in calls for name in item.arguments)}
    for batch in _joined(joins, frame, wanted, plan, tables, scratch, memory_limit, batch_rows):
        yield _finish(batch, calls, plan, schema, functions)


def _joined(
    joins: Sequence[Join],
    frame: pa.Table,
    wanted: set[str],
    plan: Plan,
    tables: Mapping[str, DeltaTable],
    scratch: Path,
    memory_limit: str | None,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    if not joins:
        kept = frame.select([name for name in frame.column_names if name in wanted])
        yield from kept.to_batches(max_chunksize=batch_rows)
        return
    keys = {mine for item in joins for mine, _ in (*item.keys, *([item.time] if item.time else []))}
    slim = frame.select([name for name in frame.column_names if name in wanted | keys])
    with duck.connect(scratch, memory_limit=memory_limit) as connection:
        relation = as_of_join.join(connection, slim, joins, tables)
        names = as_of_join.output_names(slim.column_names, joins)
        schema = pa.schema([plan.schema.field(name) for name in names])
        yield from duck.stream_as(relation, schema, batch_rows)


def _apply_all(
    group: Sequence[Join] | Sequence[Call],
    frame: pa.Table,
    plan: Plan,
    tables: Mapping[str, DeltaTable],
    functions: Mapping[str, FunctionInfo],
    scratch: Path,
    memory_limit: str | None,
) -> pa.Table:
    joins = [step for step in group if isinstance(step, Join)]
    if joins:
        names = as_of_join.output_names(frame.column_names, joins)
        schema = pa.schema([plan.schema.field(name) for name in names])
        batches = _joined(joins, frame, set(frame.column_names), plan, tables, scratch, memory_limit, duck.BATCH_ROWS)
        return pa.Table.from_batches(list(batches), schema=schema)
    for step in group:
        assert isinstance(step, Call)
        result = call(functions[step.function], [frame.column(name) for name in step.arguments], frame.num_rows)
        frame = frame.append_column(step.output, result)
    return frame


def _finish(
    batch: pa.RecordBatch, calls: Sequence[Call], plan: Plan, schema: pa.Schema, functions: Mapping[str, FunctionInfo]
) -> pa.RecordBatch:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for step in calls:
        columns[step.output] = call(
            functions[step.function], [columns[name] for name in step.arguments], batch.num_rows
        )
    arrays = [
        fill(columns[field.name], plan.defaults[field.name]) if field.name in plan.defaults else columns[field.name]
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
