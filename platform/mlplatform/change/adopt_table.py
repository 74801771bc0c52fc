"""Adopt a table: the rows of a feature table that exists elsewhere become the history of a declared one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import narwhals as nw
from pydantic import Field

from mlplatform.errors import TableError, UsageError, did_you_mean
from mlplatform.features.adopted import AdoptedDetails
from mlplatform.features.table import FeatureTable
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops import markers, stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Action, Plan, PlannedStage
from mlplatform.protocols.frame_checks import check_unique_frame
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import TableInfo


class AdoptTableDetails(AdoptedDetails):
    """What the adoption of a table says of itself.

    Attributes:
        origin: The existing table.
        known_later: Its rows that became known later, and were left out.
        dry_run: Whether nothing was changed.
    """

    origin: str = Field(default="", alias="from")
    known_later: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class AdoptTable(PlannedStage[AdoptTableDetails]):
    """The rows of an existing feature table that were known by `as_of` are taken over.

    From then on they are the table's history: the stage `features` computes only what became known later. Again changes
    nothing.

    Attributes:
        tables: The use case's feature tables.
        source: Three-level name of the existing table; it may be the declared one itself.
        declared_as: Name of the declared feature table; None: the only one of the use case with its keys and columns.
    """

    name: ClassVar[str] = stage_runs.ADOPT

    tables: tuple[type[FeatureTable], ...]
    source: str
    declared_as: str | None = None

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the existing table."""
        del names
        return (ObjectName.parse(self.source),)

    def plan(self, context: StageContext) -> Plan[AdoptTableDetails]:
        """Check the table, and return what is to be done.

        Raises:
            UsageError: If the use case declares no such table, or several that fit.
            TableError: If keys, timeseries column, columns or types differ from the declaration (all differences are
                named), or keys are null or repeated.
        """
        existing = context.ws.tables.describe(ObjectName.parse(self.source))
        table = self._declared(context, existing)
        target = context.namespace.features(table.name)
        wrong = differences(table, existing)
        if wrong:
            raise TableError(
                f"{self.source} cannot be adopted as {target}: {'; '.join(wrong)}.",
                hint="Make the declaration in features.py fit the table, or write a table that fits the declaration.",
            )
        frames = context.ws.frames
        rows = frames.read(self.source, version=existing.version, columns=table.schema().names)
        total = check_unique_frame(frames, rows, table.primary_keys, self.source)
        history = rows.filter(nw.col(table.timeseries_column) <= context.as_of)
        known = frames.count(history)
        details = AdoptTableDetails(adopted={target.name: context.as_of}, known_later=total - known, dry_run=True)
        details.origin = self.source
        result = StageResult(
            details,
            inputs={self.source: existing.version},
            rows_in=total,
            rows_out=known,
            rows_quarantined=0,
        )
        actions = [
            Action(f"tag {target} with owner and use_case", lambda: _tag(context, target)),
            Action("note which table it is", lambda: markers.keep(context, result, target)),
        ]
        if str(target) != str(ObjectName.parse(self.source)):
            text = f"write {known} row(s) of {self.source} to {target}"
            actions.insert(0, Action(text, lambda: self._write(context, table, target, history, known)))
        return Plan(result, tuple(actions))

    def run(self, context: StageContext) -> StageResult[AdoptTableDetails]:
        """Take the rows over."""
        plan = self.plan(context)
        plan.result.details.dry_run = False
        return plan.carry_out()

    def _write(
        self, context: StageContext, table: FeatureTable, target: ObjectName, history: Frame, known: int
    ) -> None:
        context.progress(f"{target.name}: {known} row(s) of {self.source}")
        context.ws.fe.create_table(
            name=str(target),
            primary_keys=list(table.primary_keys),
            timeseries_column=table.timeseries_column,
            schema=table.schema(),
            description=table.description,
        )
        if known:
            context.ws.fe.write_table(name=str(target), df=history, mode="merge")

    def _declared(self, context: StageContext, existing: TableInfo) -> FeatureTable:
        declared = {table.name: table for table in self.tables}
        if self.declared_as is not None:
            wanted = self.declared_as.removeprefix("features_")
            if wanted not in declared:
                raise UsageError(
                    f"{context.name} has no feature table {self.declared_as!r}.", hint=did_you_mean(wanted, declared)
                )
            return declared[wanted]()
        bare = ObjectName.parse(existing.name).name.removeprefix("features_")
        if bare in declared:
            return declared[bare]()
        fitting = [table for table in declared.values() if not differences(table(), existing)]
        if len(fitting) != 1:
            listed = ", ".join(table.name for table in fitting)
            fits = f"several feature tables of {context.name} ({listed})" if listed else "none"
            raise UsageError(
                f"{existing.name} fits {fits}{'' if listed else f' of the feature tables of {context.name}'}.",
                hint=f"Say which it is with --as; declared are: {', '.join(declared)}.",
            )
        return fitting[0]()


def differences(table: FeatureTable, existing: TableInfo) -> list[str]:
    """Return in what an existing table differs from a declaration; empty if it can be adopted."""
    wrong = []
    if existing.primary_keys != table.primary_keys:
        wrong.append(f"its primary keys are {list(existing.primary_keys)}, declared are {list(table.primary_keys)}")
    if existing.timeseries_column != table.timeseries_column:
        wrong.append(f"its timeseries column is {existing.timeseries_column}, declared is {table.timeseries_column}")
    for column in table.schema():
        if column.name not in existing.schema.names:
            wrong.append(f"it lacks the column {column.name}")
        elif not existing.schema.field(column.name).type.equals(column.type):
            kind = existing.schema.field(column.name).type
            wrong.append(f"its column {column.name} is {kind}, declared {column.type}")
    return wrong


def _tag(context: StageContext, target: ObjectName) -> None:
    for key, value in context.tags.items():
        context.ws.tables.set_tag(target, key, value)
