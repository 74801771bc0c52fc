"""Backfill: the rows of one feature table within a range of time, computed anew and put in place of those it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from mlplatform.errors import UsageError, did_you_mean
from mlplatform.features.compare import compare_rows
from mlplatform.features.computing import compute
from mlplatform.features.grid import Grid
from mlplatform.features.rolling import RollingFeatureTable
from mlplatform.features.stored_table import create, lacking, whole_rows
from mlplatform.features.table import FeatureTable
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import sentences, to_compute
from mlplatform.ops.result import Details, Moment, StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.protocols.frames import Frame
from mlplatform.refine.as_of_view import WorkspaceAsOf

MOST_MOMENTS = 1_000_000
"""How many moments of a grid are computed at once: a century by hour."""


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
        """Compute and compare the rows of the range; carried out, the plan computes them again.

        Raises:
            UsageError: If the use case has no such table, the range ends before it starts, or holds too many moments
                of the table's grid.
            TableError: If computed rows repeat a key, the table has never been computed, or cannot be made as wide as
                declared.
        """
        with self._computed(context) as (rows, inputs):
            plan = self._compared(context, rows, inputs)

        def compute_and_replace() -> None:
            with self._computed(context) as (again, _):
                self._replace(context, plan.result, again)

        return Plan(plan.result, tuple(Action(action.text, compute_and_replace) for action in plan.actions))

    def run(self, context: StageContext) -> StageResult[BackfillDetails]:
        """Put the rows computed anew in place of those of the range."""
        # Computed once: what is compared is what is written.
        with self._computed(context) as (rows, inputs):
            plan = self._compared(context, rows, inputs)
            plan.result.details.dry_run = False
            return plan.carry_out()

    @contextmanager
    def _computed(self, context: StageContext) -> Iterator[tuple[Frame, Mapping[str, int]]]:
        """Give the range's rows as computed anew, and the versions of what they were computed from."""
        table, end = self._find(context.name)(), context.as_of
        if end < self.start:
            raise UsageError(f"The range ends at {end} before it starts at {self.start}.", hint="Swap --from and --to.")
        _check_length(table, self.start, end)
        lacking(context, table)  # what cannot be written is not computed
        view = WorkspaceAsOf(context.ws, context.namespace, end, allowed=table.inputs, landed_only=False)
        with context.ws.frames.staged(compute(table, view, since=self.start)) as rows:
            yield rows, dict(view.inputs)

    def _compared(self, context: StageContext, rows: Frame, inputs: Mapping[str, int]) -> Plan[BackfillDetails]:
        """Compare the rows with those that the table holds, and return what is to be done while they are there."""
        table, ws = self._find(context.name), context.ws
        name = context.namespace.features(table.name)
        with self._held(context) as held:
            found = compare_rows(ws.frames, held, rows, table.primary_keys, nan_is_null=False)
        details = BackfillDetails.model_validate(
            {
                "table": name.name,
                "from": self.start,
                "dry_run": True,
                "before": found.before,
                "after": found.after,
                "added": found.added,
                "removed": found.removed,
                "changed": found.changed,
            }
        )
        result = StageResult(details, dict(inputs), rows_in=found.before, rows_out=found.after)
        result.outputs[str(name)] = ws.tables.version(name)
        if not found:
            result.skipped = "the range holds these rows already"
            return Plan(result)
        text = f"put {found.after} row(s) in place of the {found.before} that {name} holds of the range"
        return Plan(result, (Action(text, lambda: self._replace(context, result, rows)),))

    @contextmanager
    def _held(self, context: StageContext) -> Iterator[Frame]:
        """Give the range's rows as the table holds them, in the declared columns: null where one is new."""
        table, frames = self._find(context.name)(), context.ws.frames
        name, time = context.namespace.features(table.name), table.timeseries_column
        change = lacking(context, table)
        new = {field.name for field in change.added}
        columns = [column for column in table.schema().names if column not in new]
        held = frames.read(name, columns=columns, filters=[(time, ">=", self.start), (time, "<=", context.as_of)])
        if not to_compute(change):
            yield held
            return
        nullable = pa.schema([field.with_nullable(True) for field in table.schema()])
        with frames.conformed(held, nullable, str(name)) as wide:
            yield wide

    def _replace(self, context: StageContext, result: StageResult[BackfillDetails], rows: Frame) -> None:
        table = self._find(context.name)
        name, details = context.namespace.features(table.name), result.details
        context.progress(f"{name.name}: {details.after} row(s) in place of {details.before}")
        change = create(context, table())
        for text in sentences(name, change):
            details.note(text)
        whole = whole_rows(context, table(), rows, change, self.start)
        context.ws.tables.replace_range(
            name, whole, column=table.timeseries_column, start=self.start, end=context.as_of
        )
        result.outputs[str(name)] = context.ws.tables.version(name)

    def _find(self, use_case: str) -> type[FeatureTable]:
        declared = {table.name: table for table in self.tables}
        wanted = self.table.removeprefix("features_")
        if wanted not in declared:
            raise UsageError(f"{use_case} has no feature table {self.table!r}.", hint=did_you_mean(wanted, declared))
        return declared[wanted]


def _check_length(table: FeatureTable, start: datetime, end: datetime) -> None:
    """Refuse a range with more moments than anybody means: a key has a row at each of them."""
    if not isinstance(table, RollingFeatureTable):
        return
    grid = Grid.parse(table.grid)
    many = grid.number_at(end) - grid.number_at(start) + 1
    if many > MOST_MOMENTS:
        raise UsageError(
            f"{start:%Y-%m-%d} to {end:%Y-%m-%d} are {many:,} moments of the grid of {table.name} ({table.grid}); "
            f"at most {MOST_MOMENTS:,} are computed at once.",
            hint="Give a shorter range, or several, one after the other.",
        )
