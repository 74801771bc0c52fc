"""Replaying history: again it changes nothing, and no step sees what came later."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest

from mlplatform import simulation
from mlplatform.as_of import parse_as_of
from mlplatform.errors import StageError
from mlplatform.gate import decision_log
from mlplatform.gate.decision import Decision
from mlplatform.gate.stage import Gate
from mlplatform.monitoring.late_labels import labelled_predictions
from mlplatform.monitoring.retrain import RetrainDetails
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace
from mlplatform.ops.stage_runs import RunLog
from mlplatform.pipeline import Pipeline
from mlplatform.simulation import simulate
from mlplatform.workspace.local.session import SailServer
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.state import business_state, differences, table_rows
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

NS = Namespace("dev", "tiny")
PREDICTIONS, RUNS = "dev.tiny.gold_predictions", "dev.ops.stage_runs"
# Too few labels for the gate; a first champion; another one.
NONE, FIRST, SECOND = "2020-06-01", "2020-08-01", "2020-11-01"
STEPS = (NONE, FIRST, SECOND)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(
        tmp_path_factory.mktemp("use_cases"), rows_a_month=200, gate={"margin": 0.3, "min_rows": 150}
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A closed workspace in which the last step has not come yet."""
    root = tmp_path_factory.mktemp("begun") / "home"
    with LocalWorkspace.open(root=root) as ws:
        replay(ws, tiny, (NONE, FIRST))
    return root


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    root = tmp_path_factory.mktemp("replayed") / "home"
    with LocalWorkspace.open(root=root) as ws:
        replay(ws, tiny)
        applied = [event for event in decision_log.events(ws, NS) if event.event == "applied"]
        # Version 1 was not promoted: the first step ended without a champion.
        assert [(event.as_of, event.challenger_version) for event in applied] == [
            (parse_as_of(FIRST), 2),
            (parse_as_of(SECOND), 3),
        ]
    return root


@pytest.fixture
def ws(tmp_path: Path, replayed: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(replayed, tmp_path / "home")) as opened:
        yield opened


def replay(ws: LocalWorkspace, tiny: TinyFolder, steps: tuple[str, ...] = STEPS) -> Any:
    return simulate(ws, open_tiny(ws, tiny.folder), [parse_as_of(step) for step in steps])


def at(ws: LocalWorkspace, tiny: TinyFolder, as_of: str) -> Pipeline:
    return Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(as_of))


def runs(ws: LocalWorkspace) -> int:
    return ws.tables.to_arrow(RUNS, at_most=10**6).num_rows


def scored(ws: LocalWorkspace, as_of: str) -> dict[str, set[int]]:
    """Alias -> the versions that scored as of a time."""
    rows = ws.tables.to_arrow(PREDICTIONS, at_most=10**6, filters=[("as_of", "=", parse_as_of(as_of))])
    found: dict[str, set[int]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["alias"], set()).add(row["model_version"])
    return found


def test_a_second_simulation_changes_nothing(ws, tiny, replayed):
    before, recorded = business_state(ws, NS), runs(ws)
    assert scored(ws, NONE) == {}
    assert replay(ws, tiny)[0].scored == 0
    assert differences(before, business_state(ws, NS)) == {}
    assert runs(ws) == recorded


def forget_the_ends(ws: LocalWorkspace) -> None:
    """As the first release left it: no end of a step without a champion is on record."""
    rows = ws.tables.to_arrow(RUNS, at_most=10**6)
    ended = pc.and_(pc.equal(rows["stage"], "retrain"), pc.equal(rows["status"], "skipped"))
    assert pc.sum(ended).as_py() == 1
    ws.tables.overwrite(RUNS, rows.filter(pc.invert(ended)))


def test_nor_does_one_in_a_workspace_of_the_first_release(ws, tiny):
    forget_the_ends(ws)
    before, recorded = business_state(ws, NS), runs(ws)
    replay(ws, tiny)
    assert differences(before, business_state(ws, NS)) == {}
    assert runs(ws) == recorded


@pytest.mark.parametrize("step", STEPS)
def test_nor_does_a_run_of_a_step_that_has_ended(ws, tiny, step):
    before = business_state(ws, NS)
    at(ws, tiny, step).run()
    assert differences(before, business_state(ws, NS)) == {}


def test_a_time_in_between_is_scored_by_the_champion_it_had(ws, tiny):
    """Version 3 is champion now, and was not then; nobody is retrained or promoted behind it."""
    before = ws.registry.aliases(NS.model)
    summary = at(ws, tiny, "2020-09-15").run()
    assert summary.details("score")["model_version"] == 2
    # It has scored these rows as of November: again appends nothing, and version 3 does not score them.
    assert scored(ws, "2020-09-15") == {}
    assert summary.details("retrain")["due"] is False
    assert summary.details("retrain")["reasons"] == [
        "later: version 3 became champion as of 2020-11-01, after this time"
    ]
    assert ws.registry.aliases(NS.model) == before
    assert len(ws.registry.versions(NS.model)) == 3


def test_a_challenger_from_later_is_neither_gated_nor_scored_at_an_earlier_time(ws, tiny):
    at(ws, tiny, "2020-12-01").run(["ingest", "refine", "features", "train"])
    assert ws.registry.aliases(NS.model)[CHALLENGER] == 4
    decisions = len(decision_log.events(ws, NS))
    details = at(ws, tiny, "2020-10-01").run().details("score")
    assert details["model_version"] == 2
    assert "shadow" not in details
    assert len(decision_log.events(ws, NS)) == decisions
    with pytest.raises(StageError, match=r"Version 4 of .* trained as of 2020-12-01, which is later than 2020-11-15"):
        at(ws, tiny, "2020-11-15").run(["score"], alias=CHALLENGER)
    # In the shadow of a champion that may score, it is left out, and that is said.
    shadow = at(ws, tiny, "2020-11-15").run(["score"]).details("score")["shadow"]
    assert (shadow["rows"], shadow["model_version"]) == (0, 4)
    assert "nobody could have predicted with it then" in shadow["failed"]


@pytest.mark.parametrize("only", [["score"], ["ingest", "refine", "features", "score"]])
def test_a_time_before_the_first_champion_is_not_scored_by_a_later_one(ws, tiny, only):
    before = table_rows(ws, PREDICTIONS)
    with pytest.raises(StageError, match=r"As of 2020-06-15 .* had no champion: version 3 became it as of") as raised:
        at(ws, tiny, "2020-06-15").run(only)
    assert "--allow-later-model" in raised.value.hint
    assert "--home" in raised.value.hint
    assert table_rows(ws, PREDICTIONS) == before
    last = ws.tables.to_arrow(RUNS, at_most=10**6).sort_by("started_at").to_pylist()[-1]
    assert (last["stage"], last["status"]) == ("score", "failed")


def test_on_purpose_it_is_scored_on_record_and_not_counted_as_performance(ws, tiny):
    use_case = open_tiny(ws, tiny.folder)

    def counted() -> int:
        late = use_case.context(ws, parse_as_of("2020-12-01"), "look")
        frame = labelled_predictions(late, use_case.label_spine(), [CHAMPION])
        return int(ws.frames.count(frame))

    before = counted()
    done = at(ws, tiny, "2020-06-15").run(["score"], allow_later=True)
    details = done.details("score")
    assert datetime.fromisoformat(details["trained_later"]) == parse_as_of(SECOND)
    assert details["model_version"] == 3
    assert scored(ws, "2020-06-15") == {CHAMPION: {3}}
    assert done.stages[-1].result.rows_out > 0
    assert counted() == before


def pending(ws: LocalWorkspace, as_of: str) -> Decision:
    """A decision to promote version 1, of which the process died before it was carried out."""
    decision = Decision(
        decision_id="later",
        outcome="promoted",
        reason="made up",
        challenger_version=1,
        champion_version=3,
        as_of=parse_as_of(as_of),
        evaluation={},
        checks=[],
        kind="override",
    )
    decision_log.record(ws, NS, decision, "decided")
    return decision


def test_a_pending_decision_of_a_later_time_is_not_applied_by_an_earlier_step(ws, tiny):
    pending(ws, "2020-12-01")
    at(ws, tiny, "2020-11-15").run(["gate"], due=True)
    assert ws.registry.aliases(NS.model)[CHAMPION] == 3
    at(ws, tiny, "2020-12-01").run(["gate"], due=True)
    assert ws.registry.aliases(NS.model)[CHAMPION] == 1


@pytest.fixture(scope="module")
def run_now(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A workspace that was run as of now, and never before."""
    root = tmp_path_factory.mktemp("now") / "home"
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, SECOND)
        assert ws.registry.aliases(NS.model) == {CHAMPION: 1}
    return root


def test_a_simulation_after_a_run_as_of_now_is_refused_before_anything_is_computed(run_now, tmp_path, tiny):
    with LocalWorkspace.open(root=clone(run_now, tmp_path / "home")) as ws:
        before = business_state(ws, NS)
        for _ in range(2):
            with pytest.raises(StageError, match="version 1 became it as of 2020-11-01"):
                replay(ws, tiny, (FIRST, "2020-09-01"))
        assert differences(before, business_state(ws, NS)) == {}


def test_without_any_record_of_decisions_the_version_itself_says_that_it_is_from_later(run_now, tmp_path, tiny):
    with LocalWorkspace.open(root=clone(run_now, tmp_path / "home")) as ws:
        shutil.rmtree(ws.root / "tables" / "dev" / "ops" / "gate_decisions")
        before = table_rows(ws, PREDICTIONS)
        with pytest.raises(StageError, match=r"Version 1 of .* was trained as of 2020-11-01") as raised:
            at(ws, tiny, FIRST).run()
        assert "--allow-later-model" in raised.value.hint
        assert table_rows(ws, PREDICTIONS) == before


def test_predictions_of_a_version_whose_number_another_model_has_are_not_made_by_that_one(ws, tiny):
    """The registry was deleted and made again: numbers begin at 1."""
    lost = ws.tables.to_arrow(PREDICTIONS, at_most=10**6, filters=[("model_version", "=", 2)])
    assert lost.num_rows
    shutil.rmtree(ws.root / "tables" / "dev" / "tiny" / "gold_predictions")
    with closing(sqlite3.connect(ws.registry.database)) as connection, connection:
        connection.execute("UPDATE model_versions SET creation_time = creation_time + 3600000 WHERE version = 2")
    summary = at(ws, tiny, SECOND).run()
    restored = summary.details("score")["restored"]
    assert {item["model_version"] for item in restored["failed"]} == {2}
    assert "another model has its number" in restored["failed"][0]["why"]
    assert set(ws.tables.to_arrow(PREDICTIONS, at_most=10**6)["model_version"].to_pylist()) <= {3}


def test_after_so_many_steps_the_engine_is_a_new_one(tmp_path, tiny, begun, replayed, monkeypatch):
    monkeypatch.setattr(simulation, "STEPS_AN_ENGINE", 1)
    renew, renewed = LocalWorkspace.renew_engine, []

    def counted(self: LocalWorkspace) -> None:
        renewed.append(self)
        renew(self)

    monkeypatch.setattr(LocalWorkspace, "renew_engine", counted)
    with (
        LocalWorkspace.open(root=clone(begun, tmp_path / "home")) as ws,
        LocalWorkspace.open(root=replayed) as kept,
    ):
        replay(ws, tiny)
        assert renewed == [ws], "one step was to be done"
        assert differences(business_state(ws, NS), business_state(kept, NS)) == {}


# That it is asked for a new one is looked at above; here each is another process, and all is computed by several.
@pytest.mark.slow
@pytest.mark.usefixtures("own_engine")
def test_a_new_engine_now_and_then_changes_nothing(tmp_path, tiny, replayed, monkeypatch):
    monkeypatch.setattr(simulation, "STEPS_AN_ENGINE", 1)
    engines = set()
    with LocalWorkspace.open(root=tmp_path / "home") as ws, LocalWorkspace.open(root=replayed) as kept:
        start = SailServer.__init__

        def counted(self: SailServer, *arguments: Any) -> None:
            start(self, *arguments)
            engines.add(self.pid)

        monkeypatch.setattr(SailServer, "__init__", counted)
        replay(ws, tiny)
        assert len(engines) == len(STEPS)
        assert differences(business_state(ws, NS), business_state(kept, NS)) == {}


def test_a_retraining_that_was_killed_on_the_way_is_recorded_with_its_reasons(
    tmp_path, tiny, begun, replayed, monkeypatch
):
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    root = clone(begun, tmp_path / "home")
    with LocalWorkspace.open(root=root) as ws, LocalWorkspace.open(root=replayed) as kept:
        with monkeypatch.context() as patch:
            # The challenger is trained, and on record; nobody has decided about it.
            patch.setattr(Gate, "run", killed)
            with pytest.raises(KeyboardInterrupt):
                at(ws, tiny, SECOND).run()
        found = at(ws, tiny, SECOND).run().details("retrain")
        (expected,) = [
            run.details for run in RunLog(kept, NS).runs_of("retrain", RetrainDetails, since=parse_as_of(SECOND))
        ]
        assert (found["due"], found["reasons"]) == (True, expected.reasons)
        assert differences(business_state(ws, NS), business_state(kept, NS)) == {}
        # Asked for once more, it has been done.
        again = at(ws, tiny, SECOND).run(["retrain"]).details("retrain")
        assert (again["due"], again["reasons"]) == (False, ["trained at this time"])
