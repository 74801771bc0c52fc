"""Rows of feature tables that were adopted: they are not computed, and stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from mlplatform.naming import ObjectName
from mlplatform.ops import markers, stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, Moment

_INSTANT = timedelta(microseconds=1)


class AdoptedDetails(Details):
    """What an adoption of rows says of itself.

    Attributes:
        adopted: Bare name of the feature table -> up to which time it holds adopted rows.
    """

    adopted: Mapping[str, Moment] = {}


def first_computed(context: StageContext, table: ObjectName) -> datetime | None:
    """Return the first moment after a feature table's adopted rows; None: none were adopted."""
    times = [
        run.details.adopted[table.name]
        for run in context.log.runs_of(stage_runs.ADOPT, AdoptedDetails)
        if run.status == stage_runs.DONE
        and table.name in run.details.adopted
        and markers.is_of(run, table, context.ws.tables.describe(table))
    ]
    return max(times) + _INSTANT if times else None


def was_adopted(context: StageContext, table: ObjectName) -> bool:
    """Tell whether rows were ever adopted into a feature table, also into one of its name that is gone."""
    runs = context.log.runs_of(stage_runs.ADOPT, AdoptedDetails)
    return any(table.name in run.details.adopted for run in runs)
