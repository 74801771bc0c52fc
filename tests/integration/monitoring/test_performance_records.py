"""What a window's performance was is on record once, whichever run looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring.performance_metrics import PerformanceMetric
from mlplatform.monitoring.performance_records import RecordBase, append
from mlplatform.ops import records
from mlplatform.ops.records import PERFORMANCE_METRICS
from tests.support.tiny_runs import open_tiny

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace
    from tests.support.tiny_use_case import TinyFolder


def test_runs_at_the_same_time_record_the_metrics_of_a_window_once(ws: LocalWorkspace, wide: TinyFolder) -> None:
    use_case = open_tiny(ws, wide.folder)
    records.ensure(ws, use_case.namespace)
    as_of, later = parse_as_of("2020-08-01"), parse_as_of("2020-09-01")
    for moment, run in ((as_of, "one"), (as_of, "another"), (later, "another")):
        context = use_case.context(ws, moment, run)
        base = RecordBase(context, "realised", "champion", 1, parse_as_of("2020-07-01"), as_of)
        append(context, "realised", base.records([PerformanceMetric("roc_auc", 0.7, limit=None, violated=False)], 100))
    found = PERFORMANCE_METRICS.read(ws, use_case.namespace)
    assert [(record.as_of, record.value) for record in found] == [(as_of, 0.7), (later, 0.7)]
