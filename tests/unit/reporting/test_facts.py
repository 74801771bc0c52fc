"""What the report makes of recorded rows: decisions, champions, outcomes, flows; from rows made by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring.details import MonitorDetails
from mlplatform.ops.records import AlertRecord, DriftRecord, GateEvent, PerformanceRecord, StageRecord
from mlplatform.reporting import formats
from mlplatform.reporting.decisions import champions_of, decisions_of
from mlplatform.reporting.observations import drift_of, flows_of, newest_first, performance_of, timings_of
from mlplatform.reporting.outcomes import deciles
from mlplatform.statistics.intervals import wilson

AS_OF = parse_as_of("2006-01-01")
LATER = parse_as_of("2007-01-01")


def record(kind: type, row: dict[str, Any]) -> Any:
    """Return a record of what matters to a test; the rest is null."""
    return kind(**{**dict.fromkeys(field.name for field in fields(kind)), **row})


def event(kind: str, identity: str = "d1", outcome: str = "promoted", challenger: int = 1, **changes: Any) -> GateEvent:
    row = {
        "decision_id": identity, "event": kind, "as_of": AS_OF, "outcome": outcome, "reason": "why",
        "challenger_version": challenger, "champion_version": None, "evaluation": {"rows": 10}, "checks": [],
        "recorded_at": LATER,
    }  # fmt: skip
    return record(GateEvent, {**row, **changes})


def run(stage: str, **changes: Any) -> StageRecord:
    row = {
        "run_id": "r", "stage": stage, "as_of": AS_OF, "status": "done", "started_at": LATER, "seconds": 1.0,
        "rows_in": 10, "rows_out": 9, "rows_quarantined": 1, "message": None, "details": {}, "platform_version": "1",
    }  # fmt: skip
    return record(StageRecord, {**row, **changes})


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([event("decided"), event("applied")], "promoted"),
        ([event("decided")], "pending"),
        ([event("decided"), event("stale", outcome="rejected", reason="another champion")], "stale"),
        ([event("decided", outcome="rejected")], "rejected"),
        ([event("decided", outcome="insufficient")], "insufficient"),
    ],
)
def test_a_decision_is_told_by_what_became_of_it(events: list[GateEvent], outcome: str):
    (found,) = decisions_of(events)
    assert found.outcome == outcome


def test_a_stale_decision_gives_the_reason_of_its_staleness():
    (found,) = decisions_of([event("decided"), event("stale", outcome="rejected", reason="another champion")])
    assert found.reason == "another champion"


def test_a_gain_comes_from_the_comparison_with_the_champion_and_only_from_there():
    numbers = {"gain": 0.02, "low": -0.01, "high": 0.05, "confidence": 0.9}
    trivial = {"name": "beats_trivial", "status": "pass", "detail": "", "numbers": numbers}
    won = {"name": "beats_champion", "status": "pass", "detail": "", "numbers": numbers}
    skipped = {"name": "beats_champion", "status": "skipped", "detail": ""}
    first, second = decisions_of(
        [event("decided", checks=[trivial, skipped]), event("decided", "d2", checks=[trivial, won])]
    )
    assert first.gain is None
    assert second.gain is not None
    assert (second.gain.low, second.gain.confidence) == (-0.01, 0.9)


def test_champions_are_those_whose_promotion_was_applied():
    events = [event("decided"), event("applied"), event("decided", "d2", challenger=2)]
    assert [(champion.version, champion.before) for champion in champions_of(events)] == [(1, None)]
    events.append(event("applied", "d2", challenger=2, as_of=LATER))
    assert [(champion.version, champion.before) for champion in champions_of(events)] == [(1, None), (2, 1)]
    assert champions_of(events)[-1].since == LATER


def test_critical_alerts_come_first_within_a_step_and_newer_steps_first():
    def alert(as_of: Any, severity: str) -> AlertRecord:
        row = {
            "as_of": as_of, "kind": "k", "severity": severity, "message": "m", "model_version": 1, "event": "raised",
            "runbook": "r",
        }  # fmt: skip
        return record(AlertRecord, row)

    rows = [alert(AS_OF, "critical"), alert(LATER, "warning"), alert(LATER, "critical")]
    assert [(found.as_of, found.severity) for found in newest_first(rows)] == [
        (LATER, "critical"),
        (LATER, "warning"),
        (AS_OF, "critical"),
    ]


def test_only_stability_indexes_are_drift():
    row = {"as_of": AS_OF, "column": "c", "metric": "psi", "value": 1.0, "limit": 0.25, "violated": True}
    row["baseline"] = "training"
    others = [{**row, "metric": "null_increase"}, {**row, "baseline": "previous window"}]
    missing = {**row, "metric": "missing", "value": None}
    assert [item.value for item in drift_of([record(DriftRecord, each) for each in (row, *others, missing)])] == [
        1.0,
        None,
    ]


def monitored(details: dict[str, Any] | None) -> dict[Any, MonitorDetails] | None:
    return None if details is None else {AS_OF: MonitorDetails.model_validate(details)}


JUDGED = {"violated": False, "model_version": 1}
DRIFT_ROW = {"as_of": AS_OF, "column": "c", "metric": "psi", "value": 1.0, "limit": None, "violated": False,
             "baseline": "training", "rows": 4706}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "details", "why"),
    [
        ({}, {"windows": {}, "not_judged": {"drift": "4,706 rows, needs 5,000"}}, "4,706 rows, needs 5,000"),
        ({}, None, "4,706 rows"),
        ({"metric": "missing", "value": None}, None, "4,706 rows"),
        ({"metric": "missing", "value": None, "violated": True}, {"windows": {"drift": JUDGED}, "not_judged": {}}, ""),
        ({"limit": 0.25}, {"windows": {"drift": JUDGED}, "not_judged": {}}, ""),
        ({"limit": 0.25}, None, ""),
        # Recorded before what was not judged had no limit.
        ({"limit": 0.25}, {"windows": {}}, "too few rows"),
        ({"limit": 0.25}, {"windows": {"drift": JUDGED}}, ""),
        ({"limit": 0.25, "violated": True}, {"windows": {}}, ""),
    ],
)
def test_whether_drift_was_judged_comes_from_the_table_and_for_older_rows_from_the_stage(row, details, why):
    (found,) = drift_of(
        [record(DriftRecord, {**DRIFT_ROW, **row})],
        monitored(details),
    )
    assert found.unjudged == why


@pytest.mark.parametrize(
    ("row", "details", "why"),
    [
        ({"note": "not judged: 40 rows, needs 100"}, {"windows": {}, "not_judged": {}}, "40 rows, needs 100"),
        ({"limit": 0.6}, {"windows": {"performance": JUDGED}, "not_judged": {}}, ""),
        ({"limit": 0.6}, {"windows": {}}, "too few labels"),
        ({"limit": 0.6}, {"windows": {"performance": JUDGED}}, ""),
        ({"limit": 0.6}, None, ""),
        ({}, {"windows": {}}, ""),
    ],
)
def test_whether_performance_was_judged_too(row, details, why):
    base = {
        "as_of": AS_OF, "model_version": None, "window_start": AS_OF, "rows": 40, "coverage": 0.5, "note": None,
        "metric": "roc_auc", "value": 0.7, "limit": None, "violated": False, "basis": "recent", "alias": "champion",
        "slice": None, "low": 0.6, "high": 0.8,
    }  # fmt: skip
    (found,) = performance_of([record(PerformanceRecord, {**base, **row})], monitored(details))
    assert found.metrics["roc_auc"].unjudged == why


def test_a_metric_that_was_not_measured_is_not_known():
    row = {
        "as_of": AS_OF, "model_version": None, "window_start": AS_OF, "rows": 3, "coverage": 0.5,
        "metric": "roc_auc", "value": None, "limit": None, "violated": False, "basis": "recent", "alias": "champion",
        "slice": None,
    }  # fmt: skip
    (found,) = performance_of([record(PerformanceRecord, row)])
    assert found.value("roc_auc") is None
    assert found.value("brier") is None


def test_rows_are_added_up_where_each_row_passes_once_and_trainings_are_not():
    stages = (
        [
            run("ingest"), run("ingest", rows_in=5, rows_out=5, rows_quarantined=0),
            run("ingest", status="failed", rows_in=None, rows_out=None, rows_quarantined=None),
            run("train", rows_in=10), run("train", rows_in=30), run("features", rows_in=None, rows_quarantined=None),
        ]
    )  # fmt: skip
    found = {flow.stage: flow for flow in flows_of(stages)}
    assert (found["ingest"].rows_in, found["ingest"].rows_out, found["ingest"].rows_quarantined) == (15, 14, 1)
    assert (found["train"].rows_in, found["train"].newest_only) == (30, True)
    assert found["features"].rows_in is None


def test_the_time_of_a_retrain_decision_is_not_counted_twice():
    stages = [run("train", seconds=2.0), run("retrain", seconds=3.0), run("train", status="failed")]
    assert [(timing.stage, timing.seconds) for timing in timings_of(stages)] == [("train", (2.0,))]


def test_deciles_hold_all_rows_once():
    predictions = [row / 1000 for row in range(1000)]
    found = deciles(pa.chunked_array([predictions]), pa.chunked_array([[float(row >= 500) for row in range(1000)]]))
    assert [bin_.rows for bin_ in found] == [100] * 10
    assert [bin_.observed for bin_ in found] == [0.0] * 5 + [1.0] * 5
    assert all(bin_.lowest <= bin_.predicted <= bin_.highest for bin_ in found)
    assert all(bin_.low <= bin_.observed + 1e-12 and bin_.observed - 1e-12 <= bin_.high for bin_ in found)


def test_deciles_leave_out_what_is_not_finite_and_keep_ties_together():
    found = deciles(pa.chunked_array([[0.5, 0.5, float("nan")]]), pa.chunked_array([[1.0, 0.0, 1.0]]))
    assert [(bin_.rows, bin_.observed) for bin_ in found] == [(2, 0.5)]
    assert deciles(pa.chunked_array([[]], pa.float64()), pa.chunked_array([[]], pa.float64())) == ()


def test_the_interval_of_a_rate_stays_within_zero_and_one():
    assert wilson(0.0, 3)[0] == pytest.approx(0.0)
    assert wilson(1.0, 3)[1] == pytest.approx(1.0)
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (1.5, "1.500"), (99999.4, "99,999"), (-0.00002, "-2e-05"), (float("inf"), "not finite")],
)
def test_numbers(value: float, text: str):
    assert formats.number(value) == text
