"""Adopt a table: the rows of a feature table that exists elsewhere become the history of a declared one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import TableError, UsageError, did_you_mean
from mlplatform.features.table import FeatureTable
from mlplatform.naming import ObjectName
from mlplatform.ops import markers, stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Plan, PlannedStage
from mlplatform.protocols.table_checks import check_unique
from mlplatform.protocols.tables import TableInfo

NAME = stage_runs.ADOPT


def run(
    context: StageContext, source: str, declared_as: str | None = None, *, dry_run: bool = False
) -> StageResult[Any]:
    """Take over the rows of an existing feature table that were known by `as_of`.

    From then on they are the table's history: the stage `features` computes only what became known later. Again changes
    nothing.

    Args:
        context: The run; its `as_of` is where the history ends, included.
        source: Three-level name of the existing table; it may be the declared one itself.
        declared_as: Name of the declared feature table; None: the only one of the use case with its keys and columns.
        dry_run: Check, and write nothing.

    Raises:
        UsageError: If the use case declares no such table, or several that fit.
        TableError: If keys, timeseries column, columns or types differ from the declaration (all differences are
            named), or keys are null or repeated.
    """
    there = context.ws.tables.describe(ObjectName.parse(source))
    table = _declared(context, there, declared_as)
    target = context.namespace.features(table.name)
    found = differences(table, there)
    if found:
        raise TableError(
            f"{source} cannot be adopted as {target}: {'; '.join(found)}.",
            hint="Make the declaration in features.py fit the table, or write a table that fits the declaration.",
        )
    names, time = table.schema().names, table.timeseries_column
    rows = context.ws.tables.to_arrow(source, version=there.version, columns=names)
    check_unique(rows, table.primary_keys, str(source))
    known = rows.filter(pc.less_equal(rows.column(time), pa.scalar(context.as_of, rows.column(time).type)))
    result: StageResult[Any] = StageResult(
        inputs={str(source): there.version},
        rows_in=rows.num_rows,
        rows_out=known.num_rows,
        rows_quarantined=0,
        details={
            "adopted": {target.name: context.as_of.isoformat()},
            "from": str(source),
            "known_later": rows.num_rows - known.num_rows,
            "dry_run": dry_run,
        },
    )
    if dry_run:
        return result
    if str(target) != str(ObjectName.parse(source)):
        context.progress(f"{target.name}: {known.num_rows} row(s) of {source}")
        context.ws.fe.create_table(
            name=str(target),
            primary_keys=list(table.primary_keys),
            timeseries_column=time,
            schema=table.schema(),
            description=table.description,
        )
        if known.num_rows:
            context.ws.fe.write_table(name=str(target), df=known, mode="merge")
    for key, value in context.tags.items():
        context.ws.tables.set_tag(target, key, value)
    markers.keep(context, result, target)
    return result


def differences(table: FeatureTable, there: TableInfo) -> list[str]:
    """Return in what an existing table differs from a declaration; empty when it can be adopted."""
    found = []
    if there.primary_keys != table.primary_keys:
        found.append(f"its primary keys are {list(there.primary_keys)}, declared are {list(table.primary_keys)}")
    if there.timeseries_column != table.timeseries_column:
        found.append(f"its timeseries column is {there.timeseries_column}, declared is {table.timeseries_column}")
    for column in table.schema():
        if column.name not in there.schema.names:
            found.append(f"it lacks the column {column.name}")
        elif not there.schema.field(column.name).type.equals(column.type):
            found.append(f"its column {column.name} is {there.schema.field(column.name).type}, declared {column.type}")
    return found


def _declared(context: StageContext, there: TableInfo, declared_as: str | None) -> FeatureTable:
    declared: dict[str, type[FeatureTable]] = {table.name: table for table in context.use_case.features}
    if declared_as is not None:
        wanted = declared_as.removeprefix("features_")
        if wanted not in declared:
            raise UsageError(
                f"{context.use_case.name} has no feature table {declared_as!r}.", hint=did_you_mean(wanted, declared)
            )
        return declared[wanted]()
    bare = ObjectName.parse(there.name).name.removeprefix("features_")
    fitting = [table for table in declared.values() if not differences(table(), there)]
    if bare in declared:
        return declared[bare]()
    if len(fitting) != 1:
        listed = ", ".join(table.name for table in fitting)
        raise UsageError(
            f"{there.name} fits {f'several feature tables of {context.use_case.name} ({listed})' if listed else 'none'}"
            f"{'' if listed else f' of the feature tables of {context.use_case.name}'}.",
            hint=f"Say which it is with --as; declared are: {', '.join(declared)}.",
        )
    return fitting[0]()


@dataclass(frozen=True)
class AdoptTable(PlannedStage[Any]):
    """The rows of an existing feature table are taken over.

    Attributes:
        source: The table.
        declared_as: The declared feature table's name; None: as the source is called.
    """

    name: ClassVar[str] = NAME

    source: str
    declared_as: str | None = None

    def plan(self, context: StageContext) -> Plan[Any]:
        """Return what it would do."""
        return Plan(run(context, self.source, self.declared_as, dry_run=True))

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context, self.source, self.declared_as)
