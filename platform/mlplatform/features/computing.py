"""Computing a feature table's rows of a range of time."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.features.table import FeatureTable
from mlplatform.refine.as_of_view import WorkspaceAsOf


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
