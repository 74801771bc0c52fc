"""Computing a feature table's rows of a range of time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from mlplatform.features.table import FeatureTable
from mlplatform.refine.as_of_view import WorkspaceAsOf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def compute(table: FeatureTable, view: WorkspaceAsOf, since: datetime | None = None) -> DataFrame:
    """Return a feature table's rows known in [since, the view's time], not computed yet.

    Args:
        table: The feature table.
        view: The workspace as known at a time.
        since: Nothing known before this changed since the last computation; None computes all.
    """
    from pyspark.sql import functions as F  # noqa: N812

    rows = table.compute(view, view.as_of, since).select(*table.schema().names)
    time = F.col(table.timeseries_column)
    known = time <= F.lit(view.as_of)
    if since is not None:
        known = known & (time >= F.lit(since))
    # A null time would vanish in the filter: keep it, for the write to refuse it aloud.
    return rows.where(known | time.isNull())
