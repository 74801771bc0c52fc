"""Backfill: the rows of one feature table within a range of time, computed anew and put in place of those it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from mlplatform.errors import TableError, UsageError, did_you_mean
from mlplatform.features.compare import compare_rows
from mlplatform.features.computing import compute
from mlplatform.features.table import FeatureTable
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, Moment, StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.refine.as_of_view import WorkspaceAsOf


class BackfillDetails(Details):
    """What a backfill says of itself.

    Attributes:
        table: Bare name of the feature table.
        start: The first moment of the range; `from` in the record.
        dry_run: Whether it was only compared.
        before: Rows of the range that the table held.
        after: Rows of the range as computed anew.
        added: Rows whose key the table did not hold.
        removed: Rows whose key is not computed any more.
        changed: Rows with other values than the table held.
    """

    table: str = ""
    start: Moment | None = Field(default=None, alias="from")
    dry_run: bool = False
    before: int = 0
    after: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0


@dataclass(frozen=True)
class Backfill(PlannedStage[BackfillDetails]):
    """Rows of one feature table within [start, as_of] are computed anew, from what is known by `as_of`.

    Late data counts as well: what was known in the range but landed after it. The range's rows are replaced in one
    commit, so that rows that should not be there go, and readers see either all old rows or all new ones.

    Attributes:
        tables: The use case's feature tables.
        table: The name of the one, as declared, with or without `features_`.
        start: The first moment of the range, included; it ends at `as_of`.
    """

    name: ClassVar[str] = stage_runs.BACKFILL

    tables: tuple[type[FeatureTable], ...]
    table: str
    start: datetime

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables that the feature table is computed from."""
        return tuple(names.table(item) for item in self._find(names.use_case).inputs)

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the feature table."""
        return (names.features(self._find(names.use_case).name),)

    def plan(self, context: StageContext) -> Plan[BackfillDetails]:
        """Compute and compare the rows of the range.

        Raises:
            UsageError: If the use case has no such table, or the range ends before it starts.
            TableError: If computed rows repeat a key, or the table has never been computed.
        """
        table, end = self._find(context.name)(), context.as_of
        if end < self.start:
            raise UsageError(f"The range ends at {end} before it starts at {self.start}.", hint="Swap --from and --to.")
        name, tables = context.namespace.features(table.name), context.ws.tables
        view = WorkspaceAsOf(context.ws, context.namespace, end, allowed=table.inputs, landed_only=False)
        rows = compute(table, view, since=self.start)
        time = table.timeseries_column
        existing = tables.to_arrow(name, at_most=10**9, filters=[(time, ">=", self.start), (time, "<=", end)])
        missing = [column for column in rows.column_names if column not in existing.column_names]
        if missing:
            raise TableError(
                f"{name} lacks the declared column(s) {', '.join(missing)}.", hint="Run the stage 'features' first."
            )
        differences = compare_rows(existing.select(rows.column_names), rows, table.primary_keys, nan_is_null=False)
        details = BackfillDetails.model_validate(
            {
                "table": name.name,
                "from": self.start,
                "dry_run": True,
                "before": existing.num_rows,
                "after": rows.num_rows,
                "added": differences.added.num_rows,
                "removed": differences.removed.num_rows,
                "changed": differences.changed_new.num_rows,
            }
        )
        result = StageResult(details, dict(view.inputs), rows_in=existing.num_rows, rows_out=rows.num_rows)
        result.outputs[str(name)] = tables.version(name)
        if not differences:
            result.skipped = "the range holds these rows already"
            return Plan(result)

        def replace() -> None:
            context.progress(f"{name.name}: {rows.num_rows} row(s) in place of {existing.num_rows}")
            tables.replace_range(name, rows, column=time, start=self.start, end=end)
            result.outputs[str(name)] = tables.version(name)

        return Plan(result, (Action(_text(name, existing, rows), replace),))

    def run(self, context: StageContext) -> StageResult[BackfillDetails]:
        """Put the rows computed anew in place of those of the range."""
        plan = self.plan(context)
        plan.result.details.dry_run = False
        return plan.carry_out()

    def _find(self, use_case: str) -> type[FeatureTable]:
        declared = {table.name: table for table in self.tables}
        wanted = self.table.removeprefix("features_")
        if wanted not in declared:
            raise UsageError(f"{use_case} has no feature table {self.table!r}.", hint=did_you_mean(wanted, declared))
        return declared[wanted]


def _text(name: ObjectName, existing: pa.Table, rows: pa.Table) -> str:
    return f"put {rows.num_rows} row(s) in place of the {existing.num_rows} that {name} holds of the range"
