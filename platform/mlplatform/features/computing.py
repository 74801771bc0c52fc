"""Computing a feature table's rows of a range of time."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import TYPE_CHECKING

from mlplatform.features.table import FeatureTable
from mlplatform.refine.as_of_view import Stretch, WorkspaceAsOf, computed_stretches
from mlplatform.refine.finite import with_nulls

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def compute(
    table: FeatureTable, view: WorkspaceAsOf, since: datetime | None = None, *, finite: bool = True
) -> DataFrame:
    """Return a feature table's rows known in [since, the view's time], not computed yet.

    Where tables that it reads were corrected in that time, each row sees the corrections known at its own. Numbers that
    are not finite are null.

    Args:
        table: The feature table.
        view: The workspace as known at a time.
        since: Nothing known before this changed since the last computation; None computes all.
        finite: False leaves numbers that are not finite as they were computed, for `finite.counted` to count.
    """
    # A table's rows as they stand say of themselves since when they hold: that needs no stretches.
    as_they_stand = type(table).compute is FeatureTable.compute
    stretches = [Stretch(since, view.as_of, view)] if as_they_stand else view.stretches(table.inputs, since)
    parts = [_rows(table, stretch) for stretch in computed_stretches(stretches)]
    rows = functools.reduce(lambda one, other: one.unionByName(other), parts)
    return with_nulls(rows) if finite else rows


def _rows(table: FeatureTable, stretch: Stretch) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    start, view = stretch.start, stretch.view
    rows = table.compute(view, stretch.end, start).select(*table.schema().names)
    time = F.col(table.timeseries_column)
    known = time <= F.lit(stretch.end)
    if start is not None:
        known = known & (time >= F.lit(start))
    # A null time would vanish in the filter: keep it, for the write to refuse it aloud.
    return rows.where(known | time.isNull())
