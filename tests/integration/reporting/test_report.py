"""The report of a real local workspace with hand-made tables: what it reads, and how the file is written."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import Column, LabelSpine, parse_as_of
from mlplatform.change.differences import Difference, Kind
from mlplatform.change.plan import ChangePlan, PlannedChange, Reading
from mlplatform.cli import status
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import UsageError
from mlplatform.naming import Namespace
from mlplatform.ops import records
from mlplatform.reporting.facts import gather
from mlplatform.reporting.outcomes import VersionRows
from mlplatform.reporting.report import write_report
from mlplatform.scoring.predictions import prediction_schema

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace

FIRST, SECOND = parse_as_of("2006-01-01"), parse_as_of("2006-04-01")
EVIL = "<img src=x onerror=alert(1)>\"'&"
SETTINGS = UseCaseSettings.model_validate(
    {
        "owner": "loans@example.com",
        "label": {"horizon": "1 month"},
        "gate": {"floor": 0.6},
        "monitoring": {"performance_floor": 0.58},
    }
)


class Spine(LabelSpine):
    """Loans, predicted at approval."""

    entity_keys = ("loan",)
    prediction_time = "approved_at"
    label = "bad"
    key_columns = (Column("loan", "string", "Loan"), Column("approved_at", "timestamp", "Approval"))
    columns = ()
    inputs = ()

    def spine(self, ws: Any) -> Any:
        raise AssertionError("nothing here computes it")

    def labels(self, ws: Any) -> Any:
        raise AssertionError("nothing here computes it")


SPINE = Spine(SETTINGS)


def put(ws: LocalWorkspace, namespace: Namespace, table: str, *rows: dict[str, Any]) -> None:
    schema = next(item.schema for item in records.TABLES if item.name == table)
    whole = [{**dict.fromkeys(schema.names), "use_case": namespace.use_case, **row} for row in rows]
    ws.tables.append(namespace.ops(table), pa.Table.from_pylist(whole, schema=schema))


def stage(name: str, as_of: datetime, minute: int, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": f"run-{as_of:%Y%m}", "stage": name, "as_of": as_of, "status": "done",
        "started_at": as_of + timedelta(minutes=minute), "seconds": 1.5, "rows_in": 10, "rows_out": 10,
        "rows_quarantined": 0, "inputs": "{}", "outputs": "{}", "details": "{}", "message": "",
        "platform_version": "0.1.0", **changes,
    }  # fmt: skip


def scored(ws: LocalWorkspace, namespace: Namespace, *rows: tuple[str, datetime, int, float, datetime, str]) -> None:
    name = namespace.gold("predictions")
    schema = prediction_schema(SPINE)
    ws.tables.create(
        name, schema, primary_keys=(*SPINE.primary_keys, "model_version"), timeseries_column=SPINE.prediction_time
    )
    columns = ("loan", "approved_at", "model_version", "prediction", "as_of", "alias")
    whole = [{**dict(zip(columns, row, strict=True)), "scored_at": SECOND, "run_id": "r"} for row in rows]
    ws.tables.append(name, pa.Table.from_pylist(whole, schema=schema))


def labelled(ws: LocalWorkspace, namespace: Namespace, *rows: tuple[str, datetime, float, datetime]) -> None:
    name, schema = namespace.gold("labels"), SPINE.label_schema()
    ws.tables.create(name, schema, primary_keys=SPINE.primary_keys, timeseries_column=SPINE.prediction_time)
    columns = ("loan", "approved_at", "bad", "label_known_at")
    ws.tables.append(name, pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema=schema))


@pytest.fixture(scope="module")
def loans(ws: LocalWorkspace) -> Namespace:
    """A use case with two steps, recorded by hand; another use case's rows lie beside it."""
    namespace, other = Namespace("dev", "loans"), Namespace("dev", "other")
    records.ensure(ws, namespace)
    retrain = json.dumps({"due": True, "reasons": ["schedule: 3 months"]})
    put(
        ws, namespace, "stage_runs",
        stage("ingest", FIRST, 0, rows_in=12, rows_quarantined=2),
        stage("score", FIRST, 1),
        stage("ingest", SECOND, 0),
        stage("train", SECOND, 1, status="failed", message="LabelError: none", rows_in=None, rows_out=None),
        stage(
            "train", SECOND, 2, inputs=json.dumps({"dev.loans.gold_spine": 3, "dev.shared.rates": 8}),
            details=json.dumps({"version": 3, "training_rows": 2, "known_rows": 2, "dataset_version": "abc",
                                "feature_tables": {"dev.loans.features_lender": 5}}),
        ),
        stage("score", SECOND, 3, status="skipped", details=json.dumps({"model_version": 1}), message="no rows"),
        stage("retrain", SECOND, 4, details=retrain),
    )  # fmt: skip
    put(ws, other, "stage_runs", stage("ingest", parse_as_of("2030-01-01"), 0))
    checks = json.dumps([{"name": EVIL, "status": "fail", "detail": EVIL, "value": 0.5, "limit": 0.6, "numbers": {}}])
    decided = {
        "decision_id": "d1", "event": "decided", "kind": "gate", "model": "dev.loans.model",
        "as_of": FIRST, "outcome": "promoted",
        "reason": EVIL, "challenger_version": 1, "evaluation": json.dumps({"rows": 7}), "checks": checks,
        "recorded_at": FIRST,
    }  # fmt: skip
    applied = {**decided, "event": "applied", "recorded_at": FIRST + timedelta(seconds=1)}
    put(ws, namespace, "gate_decisions", decided, applied)
    window = {"as_of": SECOND, "model_version": 1, "window_start": FIRST, "window_end": SECOND, "rows": 2}
    drifted = {**window, "baseline": "training"}
    judged = {**window, "basis": "recent", "alias": "champion", "model_version": None, "coverage": 0.5}
    put(
        ws, namespace, "drift_metrics",
        {**drifted, "column": EVIL, "metric": "psi", "value": 0.9, "limit": 0.25, "violated": True},
        {**drifted, "column": "amount", "metric": "psi", "value": 0.01, "limit": 0.25, "violated": False},
        {**drifted, "column": "amount", "metric": "psi", "value": 9.0, "violated": True, "baseline": "previous window"},
        {**drifted, "column": "amount", "metric": "null_increase", "value": 5.0, "limit": 0.1, "violated": True},
    )  # fmt: skip
    put(
        ws, namespace, "performance_metrics",
        {**judged, "metric": "roc_auc", "value": 0.61, "limit": 0.58, "violated": False},
        {**judged, "metric": "label_mean", "value": 0.5, "violated": False},
        {**judged, "metric": "roc_auc", "value": 0.1, "violated": False, "slice": "state=CA"},
        {**judged, "metric": "roc_auc", "value": 0.2, "violated": False, "alias": "challenger", "model_version": 2},
        {**judged, "metric": "roc_auc", "value": 0.7, "violated": False, "basis": "estimated", "coverage": 0.0},
        {**judged, "metric": "roc_auc", "value": 0.6, "violated": False, "basis": "realised", "scored": 4, "low": 0.5,
         "high": 0.7, "estimate": 0.7},
    )  # fmt: skip
    put(
        ws, namespace, "alerts",
        {
            "alert_id": "a", "as_of": SECOND, "kind": "drift", "severity": "warning", "message": EVIL,
            "model_version": 1, "raised_at": SECOND, "event": "raised", "runbook": "docs/runbook/drift.md",
            "channels": "log",
        },
    )  # fmt: skip
    day = FIRST - timedelta(days=10)
    scored(
        ws, namespace,
        ("a", day, 1, 0.2, FIRST, "champion"), ("b", day, 1, 0.4, FIRST, "champion"),
        ("c", day, 1, 0.6, FIRST, "champion"), ("a", day, 2, 0.9, FIRST, "challenger"),
        ("a", day, 3, 0.8, SECOND, "champion"),  # a rescore: the first prediction is the one that was acted on
    )  # fmt: skip
    labelled(
        ws, namespace,
        ("a", day, 1.0, SECOND), ("b", day, 0.0, SECOND),
        ("c", day, 1.0, SECOND + timedelta(days=1)),  # known after the newest step: not looked at
    )  # fmt: skip
    return namespace


def test_facts_are_gathered_by_step(ws: LocalWorkspace, loans: Namespace):
    facts = gather(ws, loans, SPINE, SETTINGS)
    assert [step.as_of for step in facts.steps] == [FIRST, SECOND]
    first, second = facts.steps
    assert first.scored is not None
    assert (first.scored.rows, first.scored.mean, first.scored.versions) == (3, pytest.approx(0.4), (1,))
    assert (first.scored.rows_known, first.scored.observed) == (2, pytest.approx(0.5))
    assert first.performance is None
    assert second.performance is not None
    assert second.performance.value("roc_auc") == pytest.approx(0.61)
    assert [(item.column, item.violated) for item in second.drift] == [(EVIL, True), ("amount", False)]
    assert second.retrain is not None
    assert second.retrain.reasons == ("schedule: 3 months",)


def test_lineage_goes_from_tables_to_a_version_and_on_to_its_predictions(
    ws: LocalWorkspace, loans: Namespace, tmp_path: Path
):
    first, second = gather(ws, loans, SPINE, SETTINGS).lineage
    assert (first.version, first.as_of, first.tables) == (1, None, ())
    assert first.predicted == VersionRows(1, 3, FIRST, FIRST)
    assert (second.version, second.as_of, second.made) == (3, SECOND, "trained on 2 labelled rows")
    assert second.tables == (("gold_spine", 3), ("dev.shared.rates", 8), ("features_lender", 5))
    assert second.predicted == VersionRows(3, 1, SECOND, SECOND)
    page = write_report(ws, loans, SPINE, SETTINGS, tmp_path).read_text(encoding="utf-8")
    assert "gold_spine at 3, dev.shared.rates at 8, features_lender at 5" in page
    assert "No edit of tables, features or model has been decided about" in page


def test_what_was_decided_about_edits_is_told_newest_first(ws: LocalWorkspace, tmp_path: Path):
    namespace = Namespace("dev", "edited")
    records.ensure(ws, namespace)
    plan = ChangePlan("edited", FIRST)
    difference = Difference("~", "code", Kind.BREAKING, "other values <b>here</b>")
    reading = Reading("v1 champion", 1, ("lender_risk",), None, breaks=True)
    plan.changes.append(PlannedChange("features_lender", differences=[difference], readings=[reading]))
    change = {"kind": "breaking", "as_of": FIRST, "declared": "x", "decided_by": "ana", "given_up": "[]"}
    put(
        ws, namespace, "changes",
        {**change, "change_id": "c1", "reason": None, "kind": "additive", "versions": "{}", "plan": "{}",
         "recorded_at": FIRST},
        {**change, "change_id": "c2", "reason": "smoothing was too weak", "plan": json.dumps(plan.to_json()),
         "versions": json.dumps({"features_lender": "features_lender__1"}), "recorded_at": SECOND},
    )  # fmt: skip
    newest, oldest = gather(ws, namespace, SPINE, SETTINGS).edits
    assert (newest.change_id, newest.kind, newest.by) == ("c2", "breaking", "ana")
    assert newest.reason == "smoothing was too weak"
    assert newest.lines == (("features_lender", "code: other values <b>here</b> (breaking)", "v1 champion"),)
    assert newest.versions == (("features_lender", "features_lender__1"),)
    assert (oldest.change_id, oldest.reason, oldest.lines) == ("c1", "", ())
    page = write_report(ws, namespace, SPINE, SETTINGS, tmp_path).read_text(encoding="utf-8")
    assert "code: other values &lt;b&gt;here&lt;/b&gt; (breaking)" in page
    assert "features_lender__1 is written in place of features_lender" in page
    assert page.index("smoothing was too weak") < page.index("applied by a run")


def test_estimated_and_realised_performance_stand_side_by_side(ws: LocalWorkspace, loans: Namespace, tmp_path: Path):
    (window,) = gather(ws, loans, SPINE, SETTINGS).windows
    assert (window.scored, window.coverage, window.estimated, window.realised) == (4, 0.5, 0.7, 0.6)
    page = write_report(ws, loans, SPINE, SETTINGS, tmp_path).read_text(encoding="utf-8")
    assert "Missed by" in page
    assert "docs/runbook/drift.md" in page


def test_a_rescored_row_is_judged_by_its_first_prediction(ws: LocalWorkspace, loans: Namespace):
    facts = gather(ws, loans, SPINE, SETTINGS)
    assert facts.outcomes.rows_known == 2
    assert sum(bin_.predicted * bin_.rows for bin_ in facts.outcomes.deciles) == pytest.approx(0.2 + 0.4)
    assert facts.steps[1].scored is not None
    assert facts.steps[1].scored.rows_known == 0


def test_a_failure_that_was_mended_by_running_again_is_none(ws: LocalWorkspace, loans: Namespace):
    facts = gather(ws, loans, SPINE, SETTINGS)
    assert not [step.failures for step in facts.steps if step.failures]
    assert [item.stage for item in facts.newest_run] == ["ingest", "train", "train", "score", "retrain"]


def test_the_champion_is_the_one_whose_promotion_was_applied(ws: LocalWorkspace, loans: Namespace):
    champion = gather(ws, loans, SPINE, SETTINGS).champion
    assert champion is not None
    assert (champion.version, champion.since) == (1, FIRST)


def test_the_report_is_written_with_every_text_escaped(ws: LocalWorkspace, loans: Namespace, tmp_path: Path):
    path = write_report(ws, loans, SPINE, SETTINGS, tmp_path / "reports")
    assert path == tmp_path / "reports" / "loans.html"
    page = path.read_text(encoding="utf-8")
    assert "<img" not in page
    assert "&lt;img src=x" in page
    assert "2030" not in page
    assert str(tmp_path) not in page
    assert str(ws.root) not in page


def test_the_same_tables_give_the_same_page_but_for_the_time(
    ws: LocalWorkspace, loans: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = write_report(ws, loans, SPINE, SETTINGS, tmp_path).read_text(encoding="utf-8")
    monkeypatch.setattr("mlplatform.reporting.report.utc_now", lambda: parse_as_of("2030-02-03"))
    second = write_report(ws, loans, SPINE, SETTINGS, tmp_path).read_text(encoding="utf-8")
    assert first != second
    time = re.compile(r"<time .*?</time>")
    assert time.sub("", first) == time.sub("", second)


def test_a_report_that_cannot_be_finished_leaves_the_old_one(
    ws: LocalWorkspace, loans: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_report(ws, loans, SPINE, SETTINGS, tmp_path)
    before = path.read_bytes()

    def refuse(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_report(ws, loans, SPINE, SETTINGS, tmp_path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["loans.html"]


def test_what_a_killed_process_left_of_a_report_goes_an_hour_later(ws: LocalWorkspace, tmp_path: Path):
    old, fresh, other = (tmp_path / name for name in (".empty.a.part", ".empty.b.part", ".full.a.part"))
    for left, age in ((old, 2), (fresh, 0), (other, 2)):
        left.write_text("half a page", encoding="utf-8")
        moment = left.stat().st_mtime - age * 3600
        os.utime(left, (moment, moment))
    write_report(ws, Namespace(ws.catalog, "empty"), SPINE, SETTINGS, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [fresh.name, other.name, "empty.html"]


def test_a_use_case_without_any_table_gets_a_page_that_says_so(ws: LocalWorkspace, tmp_path: Path):
    path = write_report(ws, Namespace("dev", "unborn"), SPINE, SETTINGS, tmp_path)
    assert "Nothing has been run for unborn in dev yet" in path.read_text(encoding="utf-8")


def test_predictions_without_a_table_of_labels_are_reported(ws: LocalWorkspace):
    namespace = Namespace("dev", "young")
    scored(ws, namespace, ("a", FIRST, 1, 0.2, FIRST, "champion"))
    facts = gather(ws, namespace, SPINE, SETTINGS)
    assert (facts.rows_scored, facts.outcomes.rows_known, facts.outcomes.deciles) == (1, 0, ())
    assert facts.outcomes.scored[0].observed is None


def test_a_name_that_would_leave_the_folder_is_refused(ws: LocalWorkspace, tmp_path: Path):
    with pytest.raises(UsageError):
        write_report(ws, Namespace("dev", "../evil"), SPINE, SETTINGS, tmp_path / "reports")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "text"), [("far", "9999-12-31T23:59:59"), ("first", "0001-01-01")])
def test_a_time_at_an_end_of_the_calendar_on_record_costs_neither_report_nor_status(
    ws: LocalWorkspace, name: str, text: str, tmp_path: Path
) -> None:
    """As a version that took any `--as-of` left it."""
    namespace, moment = Namespace("dev", name), parse_as_of(text)
    records.ensure(ws, namespace)
    rows = [stage("ingest", FIRST, 0), stage("score", FIRST, 1)]
    rows += [{**row, "as_of": moment, "started_at": SECOND, "run_id": "odd"} for row in rows]
    put(ws, namespace, "stage_runs", *rows)
    scored(ws, namespace, ("L1", FIRST, 1, 0.25, FIRST, "champion"), ("L2", FIRST, 1, 0.5, moment, "champion"))
    page = write_report(ws, namespace, SPINE, SETTINGS, tmp_path).read_text(encoding="utf-8")
    assert f"{moment:%Y-%m-%d}" in page
    facts = status._facts(ws, name)
    assert facts["as_of"] == moment.isoformat()
    assert facts["stages"] == {"ingest": "done", "score": "done"}
