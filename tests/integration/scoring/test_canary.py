"""A canary in a real workspace: begun by the gate, scored exactly once, judged by outcomes, ended by whom it may be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.errors import UsageError
from mlplatform.gate import canary, decision_log
from mlplatform.monitoring.details import MonitorDetails
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.records import ALERTS, PERFORMANCE_METRICS, STAGE_RUNS
from mlplatform.ops.stage_runs import as_run
from mlplatform.pipeline import Pipeline
from mlplatform.reporting.report import write_report
from mlplatform.scoring.details import ScoreDetails
from mlplatform.scoring.predictions import Predictor
from mlplatform.stages import gate_of
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import every
from tests.support.state import business_state, differences, table_rows
from tests.support.tiny_gate import MODEL, NAMESPACE
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

PREDICTIONS, LATEST = "dev.tiny.gold_predictions", "dev.tiny.gold_latest_predictions"
COMPUTE = ["ingest", "refine", "features"]
FIRST, SECOND, THIRD, FOURTH = "2020-08-01", "2020-11-01", "2020-12-01", "2021-01-01"
SHARE = 0.3
# So sure that no challenger of these months is: all else, they pass.
STRICT: dict[str, Any] = {"confidence": 0.9999, "draws": 200}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(
        tmp_path_factory.mktemp("use_cases"),
        months=14,
        rows_a_month=200,
        gate=STRICT,
        scoring={"canary": SHARE},
        monitoring={"retrain_every": "5 years", "retrain_on": [], "min_rows": 20},
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """Version 1 is champion since August; version 2, trained as of November, is a canary since then."""
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, FIRST)
        run_tiny(ws, tiny.folder, SECOND, [*COMPUTE, "train", "gate"])
        run_tiny(ws, tiny.folder, SECOND, ["score"])
    return root


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory, base: Path, tiny: TinyFolder) -> Path:
    """A month later all but the scoring has been done."""
    root = clone(base, tmp_path_factory.mktemp("computed") / "home")
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, THIRD, COMPUTE)
    return root


@pytest.fixture
def ws(tmp_path: Path, base: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def at_third(tmp_path: Path, computed: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(computed, tmp_path / "third")) as opened:
        yield opened


def events(ws: LocalWorkspace) -> list[tuple[str, int, str]]:
    return [
        (event.event, event.challenger_version, f"{event.as_of:%Y-%m-%d}")
        for event in decision_log.events(ws, NAMESPACE)
        if event.kind == canary.KIND
    ]


def of(ws: LocalWorkspace, as_of: str) -> dict[tuple[str, int], dict[str, bool]]:
    """Return (alias, version) -> account -> whether the prediction made at a time is acted on."""
    found: dict[tuple[str, int], dict[str, bool]] = {}
    filters = [("as_of", "=", parse_as_of(as_of))]
    for row in ws.tables.to_arrow(PREDICTIONS, at_most=10**5, filters=filters).to_pylist():
        found.setdefault((row["alias"], row["model_version"]), {})[row["account"]] = row["decided"]
    return found


def acted_on_once(ws: LocalWorkspace, as_of: str) -> bool:
    """Tell whether each account has one prediction that is acted on."""
    found = of(ws, as_of)
    accounts = {account for rows in found.values() for account in rows}
    return all(sum(rows.get(account, False) for rows in found.values()) == 1 for account in accounts)


def scoring(ws: LocalWorkspace, as_of: str) -> ScoreDetails:
    filters = [("stage", "=", "score"), ("as_of", "=", parse_as_of(as_of))]
    return as_run(STAGE_RUNS.newest(ws, NAMESPACE, 1, filters)[0], ScoreDetails).details


def test_the_gate_begins_it_and_the_challenger_decides_for_its_share(ws, tiny):
    assert events(ws) == [(canary.BEGAN, 2, SECOND)]
    found = of(ws, SECOND)
    mine, others = found[CHALLENGER, 2], found[CHAMPION, 1]
    assert set(mine) == set(others)
    assert acted_on_once(ws, SECOND)
    assert 0.2 < sum(mine.values()) / len(mine) < 0.4
    part = scoring(ws, SECOND).canary
    assert (part.model_version, part.share, part.rows) == (2, SHARE, sum(mine.values()))
    latest = ws.tables.to_arrow(LATEST, at_most=10**5, filters=[("as_of", "=", parse_as_of(SECOND))]).to_pylist()
    assert {row["account"]: row["model_version"] for row in latest} == {
        account: 2 if acted_on else 1 for account, acted_on in mine.items()
    }
    # The champion alone decided before.
    assert set(of(ws, FIRST)[CHAMPION, 1].values()) == {True}


def test_run_again_nothing_is_begun_or_scored_twice(ws, tiny):
    before = business_state(ws, NAMESPACE)
    for only in (["gate"], ["score"], ["gate", "score"]):
        run_tiny(ws, tiny.folder, SECOND, only)
    assert [it for it in events(ws) if it[0] == canary.BEGAN] == [(canary.BEGAN, 2, SECOND)]
    assert set(differences(business_state(ws, NAMESPACE), before)) <= {"dev.ops.gate_decisions"}
    assert acted_on_once(ws, SECOND)


@pytest.mark.parametrize("place", every(2, ["before the champion", "after the champion"]))
def test_a_scoring_that_is_killed_is_completed_with_the_same_decisions(at_third, tiny, monkeypatch, place):
    ws = at_third
    predict = Predictor.predict

    def dying(self: Predictor, *arguments: Any) -> Any:
        if place == "before the champion" and self.alias == CHAMPION:
            raise KeyboardInterrupt
        done = predict(self, *arguments)
        if place == "after the champion" and self.alias == CHAMPION:
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", dying)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(ws, tiny.folder, THIRD, ["score"])
    kept = {name: rows for name, rows in of(ws, THIRD).get((CHALLENGER, 2), {}).items() if rows}
    assert kept
    # Even where the canary has ended by then: what it decided was acted on.
    Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(THIRD)).end_canary(reason="a test")
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    assert {name: rows for name, rows in of(ws, THIRD)[CHALLENGER, 2].items() if rows} == kept
    assert acted_on_once(ws, THIRD)


def test_a_challenger_that_cannot_score_leaves_all_to_the_champion(at_third, tiny, monkeypatch):
    from mlplatform.errors import StageError

    ws = at_third
    predict = Predictor.predict

    def failing(self: Predictor, *arguments: Any) -> Any:
        if self.alias == CHALLENGER:
            raise StageError("It cannot.")
        return predict(self, *arguments)

    monkeypatch.setattr(Predictor, "predict", failing)
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    assert set(of(ws, THIRD)) == {(CHAMPION, 1)}
    assert set(of(ws, THIRD)[CHAMPION, 1].values()) == {True}
    part = scoring(ws, THIRD).canary
    assert (part.rows, part.failed) == (0, "It cannot.")


def test_predictions_that_are_gone_come_back_with_who_decided(at_third, tiny):
    ws = at_third
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    before = table_rows(ws, PREDICTIONS)
    shutil.rmtree(ws.root / "tables" / "dev" / "tiny" / "gold_predictions")
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    assert table_rows(ws, PREDICTIONS) == before


def test_what_the_challenger_had_decided_is_not_the_champions_where_it_cannot_come_back(ws, tiny):
    mine = {account for account, acted_on in of(ws, SECOND)[CHALLENGER, 2].items() if acted_on}
    shutil.rmtree(ws.root / "tables" / "dev" / "tiny" / "gold_predictions")
    source = ws.registry._connect().get_model_version(str(MODEL), "2").source
    shutil.rmtree(ws.registry.artifacts / "models" / source.rpartition("/")[2])
    ws.registry.delete_alias(MODEL, CHALLENGER)
    run_tiny(ws, tiny.folder, SECOND, ["score"])
    found = of(ws, SECOND)
    assert (CHALLENGER, 2) not in found
    assert {account for account, acted_on in found[CHAMPION, 1].items() if not acted_on} == mine


# One that is rolled back was promoted before.
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("promoted", marks=pytest.mark.slow),
        "rolled back",
        "by hand",
        "alias taken away",
        "setting",
    ],
)
def test_what_ends_it(at_third, tiny, tmp_path, how):
    ws = at_third
    pipeline = Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(SECOND))
    use_case, champion = tiny, 1
    if how == "promoted":
        pipeline.gate(version=2, override="it is better")
        champion = 2
    elif how == "rolled back":
        pipeline.gate(version=2, override="it is better")
        pipeline.roll_back(to=None, reason="it is not", dry_run=False)
    elif how == "by hand":
        before = business_state(ws, NAMESPACE)
        dry = pipeline.end_canary(reason="complaints", dry_run=True).details
        assert differences(business_state(ws, NAMESPACE), before) == {}
        done = pipeline.end_canary(reason="complaints").details
        assert (done.steps, done.outcome) == (dry.steps, canary.ENDED)
        with pytest.raises(UsageError, match="has no canary"):
            pipeline.end_canary(reason="once more")
        assert ws.registry.aliases(MODEL)[CHALLENGER] == 2
    elif how == "alias taken away":
        ws.registry.delete_alias(MODEL, CHALLENGER)
    else:
        use_case = write_tiny_use_case(tmp_path, months=14, rows_a_month=200, gate=STRICT)
    later = Pipeline(ws, open_tiny(ws, use_case.folder), parse_as_of(THIRD))
    later.run(["gate", "score"], due=True)
    found = of(ws, THIRD)
    assert set(found[CHAMPION, champion].values()) == {True}
    assert acted_on_once(ws, THIRD)
    assert scoring(ws, THIRD).canary is None
    if how != "setting":
        assert canary.all_of(decision_log.events(ws, NAMESPACE))[-1].until is not None


def test_a_newer_challenger_starts_anew(at_third, tiny):
    ws = at_third
    run_tiny(ws, tiny.folder, THIRD, ["train"])
    assert ws.registry.aliases(MODEL)[CHALLENGER] == 3
    # Not looked at yet: nobody decides but the champion.
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    assert scoring(ws, THIRD).canary is None
    run_tiny(ws, tiny.folder, FOURTH, [*COMPUTE, "gate", "score"])
    assert events(ws)[1:] == [(canary.ENDED, 2, FOURTH), (canary.BEGAN, 3, FOURTH)]
    found = of(ws, FOURTH)
    mine = {account for account, acted_on in found[CHALLENGER, 3].items() if acted_on}
    assert 0 < len(mine) < len(found[CHALLENGER, 3])
    assert acted_on_once(ws, FOURTH)


def test_one_that_the_gate_refuses_for_more_than_its_gain_decides_for_nobody(at_third, tiny, tmp_path):
    ws = at_third
    limits = {**STRICT, "max_brier": 0.0001}
    strict = write_tiny_use_case(tmp_path, months=14, rows_a_month=200, gate=limits, scoring={"canary": SHARE})
    done = Pipeline(ws, open_tiny(ws, strict.folder), parse_as_of(THIRD)).execute(gate_of(open_tiny(ws, strict.folder)))
    assert "record that the canary of version 2 ends: the gate refused it: brier" in done.details.steps[-1]
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    assert scoring(ws, THIRD).canary is None


# Who was canary at which time is asked in every run in tests/contract/test_canaries.py.
@pytest.mark.slow
def test_a_time_of_the_past_has_the_canary_that_it_had(ws, tiny):
    """Scored for the first time after version 2 became champion: as of then it was a canary."""
    run_tiny(ws, tiny.folder, FOURTH, COMPUTE)
    Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(FOURTH)).gate(version=2, override="it is better")
    run_tiny(ws, tiny.folder, THIRD, ["score"])
    found = of(ws, THIRD)
    assert scoring(ws, THIRD).canary.model_version == 2
    assert 0 < sum(found[CHALLENGER, 2].values()) == len(found[CHALLENGER, 2]) < len(found[CHAMPION, 1])
    assert acted_on_once(ws, THIRD)


def test_its_outcomes_are_recorded_reported_and_held_by_the_gate(ws, tiny, tmp_path):
    last = "2021-03-01"
    run_tiny(ws, tiny.folder, last, [*COMPUTE, "score", "monitor"])
    found = as_run(STAGE_RUNS.newest(ws, NAMESPACE, 1, [("stage", "=", "monitor")])[0], MonitorDetails).details.canary
    assert found is not None
    assert (found.model_version, found.champion, found.until) == (2, 1, None)
    assert found.labels > 20
    assert found.low <= found.gain <= found.high
    rows = PERFORMANCE_METRICS.read(ws, NAMESPACE, [("basis", "=", "canary"), ("as_of", "=", parse_as_of(last))])
    assert {(row.alias, row.metric) for row in rows} == {
        (CHALLENGER, "roc_auc"), (CHALLENGER, "label_mean"), (CHALLENGER, "prediction_mean"),
        (CHAMPION, "roc_auc"), (CHAMPION, "label_mean"), (CHAMPION, "prediction_mean"),
        (CHALLENGER, "canary_gain"), (CHALLENGER, "canary_label_difference"),
    }  # fmt: skip
    of_arm = {(row.alias, row.metric): row for row in rows}
    gain = of_arm[CHALLENGER, "roc_auc"].value - of_arm[CHAMPION, "roc_auc"].value
    assert of_arm[CHALLENGER, "canary_gain"].value == pytest.approx(gain)
    assert of_arm[CHALLENGER, "canary_gain"].note.startswith("judged at an error of ")
    before = PERFORMANCE_METRICS.read(ws, NAMESPACE, [("basis", "=", "canary")])
    run_tiny(ws, tiny.folder, last, ["monitor"])
    assert PERFORMANCE_METRICS.read(ws, NAMESPACE, [("basis", "=", "canary")]) == before
    assert not [row for row in ALERTS.read(ws, NAMESPACE) if row.kind == "canary"]
    use_case = open_tiny(ws, tiny.folder)
    page = write_report(ws, NAMESPACE, use_case.label_spine(), use_case.settings, tmp_path).read_text("utf-8")
    assert "<h3>Canaries</h3>" in page
    assert "version 2 beside version 1" in page
    checks = Pipeline(ws, use_case, parse_as_of(last)).gate(dry_run=True).details.checks
    assert {check["name"]: check["status"] for check in checks}["canary"] == "pass"


def call(ws: LocalWorkspace, tiny: TinyFolder, *command: str) -> str:
    done = CliRunner().invoke(cli, [*command, "--home", str(ws.root), "--use-cases", str(tiny.use_cases)])
    assert done.exception is None, done.output
    return " ".join(done.stdout.split())


def test_the_commands_tell_of_it_and_end_it(ws, tiny):
    ws.close()
    assert "v1 since 2020-08-01, v2 as a canary" in call(ws, tiny, "status", "tiny")
    scored = call(ws, tiny, "score", "tiny", "--as-of", THIRD)
    assert "Canary: version 2 (challenger) decided for" in scored
    assert "of a share of 0.3 of the entities" in scored
    told = call(ws, tiny, "monitor", "tiny", "--as-of", THIRD)
    assert "canary of version 2:" in told
    assert "not compared yet:" in told
    assert ", needs " in told
    dry = call(ws, tiny, "rollback", "tiny", "--end-canary", "--reason", "complaints", "--dry-run")
    assert "record that the canary of version 2 ends: complaints" in dry
    ended = call(ws, tiny, "rollback", "tiny", "--end-canary", "--reason", "complaints")
    assert "version 2: canary ended" in ended
    history = json.loads(call(ws, tiny, "history", "tiny", "--json"))
    assert [it["event"] for it in history if it["kind"] == "canary"] == [canary.BEGAN, canary.ENDED]
    shown = call(ws, tiny, "history", "tiny")
    assert "Canaries of tiny" in shown
    assert "complaints" in shown
    assert "as a canary" not in call(ws, tiny, "status", "tiny")
    again = CliRunner().invoke(
        cli, ["rollback", "tiny", "--end-canary", "--to", "1", "--reason", "why", "--home", str(ws.root),
              "--use-cases", str(tiny.use_cases)],
    )  # fmt: skip
    assert isinstance(again.exception, UsageError)
    assert "do not go together" in again.exception.message
