"""Backfill: the rows of one feature table within a range of time, computed anew and put in place of those there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from mlplatform.errors import TableError, UsageError, did_you_mean
from mlplatform.features.compare import compare_rows
from mlplatform.features.stage import compute
from mlplatform.features.table import FeatureTable
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Plan, PlannedStage
from mlplatform.refine.as_of_view import WorkspaceAsOf

NAME = stage_runs.BACKFILL


def run(context: StageContext, table_name: str, start: datetime, *, dry_run: bool = False) -> StageResult[Any]:
    """Compute a feature table's rows of [start, as_of] from what is known by `as_of`, and replace those there.

    Late data counts as well: what was known in the range but landed after it. The range's rows are replaced in one
    commit, so that rows that should not be there go, and readers see either all old rows or all new ones.

    Args:
        context: The run; its `as_of` is the end of the range, included.
        table_name: The table's name as declared, with or without `features_`.
        start: The first moment of the range, included.
        dry_run: Compute and compare, and write nothing.

    Raises:
        UsageError: If the use case has no such table, or the range ends before it starts.
        TableError: If computed rows repeat a key, or the table has never been computed.
    """
    table = _find(context, table_name)
    end = context.as_of
    if end < start:
        raise UsageError(f"The range ends at {end} before it starts at {start}.", hint="Swap --from and --to.")
    name = context.namespace.features(table.name)
    view = WorkspaceAsOf(context.ws, context.namespace, end, allowed=table.inputs, landed_only=False)
    rows = compute(table, view, since=start)
    time = table.timeseries_column
    there = context.ws.tables.to_arrow(name, filters=[(time, ">=", start), (time, "<=", end)])
    missing = [column for column in rows.column_names if column not in there.column_names]
    if missing:
        raise TableError(
            f"{name} lacks the declared column(s) {', '.join(missing)}.", hint="Run the stage 'features' first."
        )
    found = compare_rows(there.select(rows.column_names), rows, table.primary_keys, nan_is_null=False)
    counts = {
        "before": there.num_rows,
        "after": rows.num_rows,
        "added": found.added.num_rows,
        "removed": found.removed.num_rows,
        "changed": found.changed_new.num_rows,
    }
    result: StageResult[Any] = StageResult(
        inputs=view.inputs,
        rows_in=there.num_rows,
        rows_out=rows.num_rows,
        details={"table": name.name, "from": start.isoformat(), "dry_run": dry_run, **counts},
    )
    if not found:
        result.skipped = "the range holds these rows already"
    elif not dry_run:
        context.progress(f"{name.name}: {rows.num_rows} row(s) in place of {there.num_rows}")
        context.ws.tables.replace_range(name, rows, column=time, start=start, end=end)
    result.outputs[str(name)] = context.ws.tables.version(name)
    return result


def _find(context: StageContext, table_name: str) -> FeatureTable:
    declared: dict[str, type[FeatureTable]] = {table.name: table for table in context.use_case.features}
    wanted = table_name.removeprefix("features_")
    if wanted not in declared:
        raise UsageError(
            f"{context.use_case.name} has no feature table {table_name!r}.", hint=did_you_mean(wanted, declared)
        )
    return declared[wanted]()


@dataclass(frozen=True)
class Backfill(PlannedStage[Any]):
    """Rows of one feature table within a range of time are computed anew.

    Attributes:
        table: The feature table's name.
        start: The first moment of the range, included; it ends at `as_of`.
    """

    name: ClassVar[str] = NAME

    table: str
    start: datetime

    def plan(self, context: StageContext) -> Plan[Any]:
        """Return what it would change."""
        return Plan(run(context, self.table, self.start, dry_run=True))

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context, self.table, self.start)
