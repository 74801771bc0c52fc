"""Features: each feature table gets the rows that became known since it was last computed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import shown
from mlplatform.features.table import FeatureTable
from mlplatform.naming import ObjectName
from mlplatform.ops import markers, stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.refine import freshness
from mlplatform.refine.as_of_view import WorkspaceAsOf, view_at

NAME = "features"
_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


def run(context: StageContext) -> StageResult[Any]:
    """Bring all feature tables up to `as_of`."""
    result: StageResult[Any] = StageResult(rows_out=0, details={"computed": {}})
    for table_type in context.use_case.features:
        table = table_type()
        name = _create(context, table)
        fresh = freshness.check(context, NAME, name.name, table.inputs, table_type)
        result.details["computed"][name.name] = fresh.marker
        if not fresh.unchanged:
            view = view_at(context, allowed=table.inputs)
            # What was adopted stays as it is: there may be nothing here to compute it from.
            first = freshness.first_computed(context, name.name)
            since = max(filter(None, (fresh.since, first)), default=None)
            context.progress(f"{name.name}: since {shown(since)}" if since else f"{name.name}: all")
            rows = compute(table, view, since)
            result.inputs.update(view.inputs)
            start = since or _ALWAYS
            if fresh.since is None and start <= context.as_of:
                # Everything anew (other code, say): what it no longer gives must go.
                time = table.timeseries_column
                context.ws.tables.replace_range(name, rows, column=time, start=start, end=context.as_of)
            elif rows.num_rows:
                context.ws.fe.write_table(name=str(name), df=rows, mode="merge")
            result.rows_out = (result.rows_out or 0) + rows.num_rows
            if fresh.lost:
                markers.note(result, _said(context, name, rows.num_rows, first is not None))
        markers.keep(context, result, name)
    if not result.rows_out:
        some = context.use_case.features
        result.skipped = "nothing new since the last computation" if some else "there is no feature table"
    return result


def _said(context: StageContext, name: ObjectName, rows: int, kept: bool) -> str:
    adopted = any(name.name in row["details"].get("adopted", {}) for row in context.log.rows(stage_runs.ADOPT))
    text = f"{name.name} was gone, or another table lay in its place: computed whole, {rows} row(s)."
    if adopted and not kept:
        text += (
            " What had been adopted into it is gone with it: adopt it again where the inputs do not reach back so far "
            f"(mlplatform adopt {context.use_case.name})."
        )
    return text


def create_tables(context: StageContext) -> None:
    """Create all feature tables where they are missing."""
    for table_type in context.use_case.features:
        _create(context, table_type())


def _create(context: StageContext, table: FeatureTable) -> ObjectName:
    name = context.namespace.features(table.name)
    context.ws.fe.create_table(
        name=str(name),
        primary_keys=list(table.primary_keys),
        timeseries_column=table.timeseries_column,
        schema=table.schema(),
        description=table.description,
    )
    return name


def compute(table: FeatureTable, view: WorkspaceAsOf, since: datetime | None = None) -> pa.Table:
    """Return a feature table's rows known in [since, the view's time].

    Args:
        table: The feature table.
        view: The workspace as known at a time.
        since: Nothing known before this changed since the last computation; None computes all.
    """
    frame = table.compute(view, view.as_of, since)
    rows = frame.select(*table.schema().names).toArrow()
    stamped = rows.column(table.timeseries_column)
    moment = pa.scalar(view.as_of, pa.timestamp("us", tz="UTC"))
    keep = pc.less_equal(stamped, moment)
    if since is not None:
        keep = pc.and_(keep, pc.greater_equal(stamped, pa.scalar(since, moment.type)))
    # A null time would vanish in the filter: keep it, for the write to refuse it aloud.
    return rows.filter(pc.or_kleene(keep, pc.is_null(stamped)))


@dataclass(frozen=True)
class Features(Stage[Any]):
    """Silver becomes feature tables."""

    name: ClassVar[str] = NAME

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context)
