"""The registry and the decisions on record are held against each other, and where nothing can be brought back, anew."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import LostRegistryError, StageError, UsageError
from mlplatform.gate import decision_log
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.ops.records import GATE_DECISIONS
from mlplatform.pipeline import Pipeline
from tests.support.tiny_gate import MODEL, NAMESPACE, SECOND, back, context, put, told
from tests.support.tiny_runs import open_tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.workspace.local.workspace import LocalWorkspace
    from tests.support.tiny_use_case import TinyFolder

RELYING = ("score", "monitor", "retrain")


def at(ws: LocalWorkspace, tiny: TinyFolder) -> Pipeline:
    return Pipeline(ws, open_tiny(ws, tiny.folder), context(ws, tiny, SECOND).as_of)


def again(ws: LocalWorkspace) -> LocalWorkspace:
    """Open the workspace's folder as another process does."""
    return type(ws).open(root=ws.root)


def sql(ws: LocalWorkspace, *statements: str) -> None:
    with closing(sqlite3.connect(ws.registry.database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def delete_the_model(ws: LocalWorkspace) -> None:
    ws.registry._connect().delete_registered_model(str(MODEL))


def make_the_model_again(ws: LocalWorkspace) -> None:
    """As the registry gives numbers again: the champion's version was registered an hour after its promotion."""
    sql(ws, "UPDATE model_versions SET creation_time = creation_time + 3600000 WHERE version = 1")


def restore_a_backup(ws: LocalWorkspace) -> None:
    """From before version 2 was trained, which is champion on record."""
    sql(
        ws,
        "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 2",
        "UPDATE registered_model_aliases SET version = 1 WHERE alias = 'champion'",
    )


DISAGREEING: dict[str, tuple[Callable[[LocalWorkspace], None], str, str]] = {
    "the model was deleted": (delete_the_model, "challenged", r"have version 1 of .* as champion"),
    "the alias was deleted": (
        lambda ws: ws.registry.delete_alias(MODEL, CHAMPION), "challenged", r"have version 1 of .* as champion",
    ),
    "another model has the number": (make_the_model_again, "challenged", "another model has its number"),
    "an older backup was restored": (restore_a_backup, "overridden", "as after a backup from before was restored"),
}  # fmt: skip


# One that lost its alias is refused in every run by the gate, too (test_lost_champion.py).
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(how, marks=pytest.mark.slow) if how == "the alias was deleted" else how
        for how in sorted(DISAGREEING)
    ],
)
def test_what_relies_on_the_champion_is_refused_with_the_way_out(gate_at, wide, how):
    act, base, says = DISAGREEING[how]
    ws = gate_at(base)
    act(ws)
    before = told(ws)
    for only in (*([stage] for stage in RELYING), None):
        with pytest.raises(StageError, match=says) as raised:
            at(ws, wide).run(only)
        for command in ("rollback tiny", "promote tiny", "begin-anew tiny", "history tiny"):
            assert f"mlplatform {command}" in raised.value.hint
    assert told(ws) == before
    rows = ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6).sort_by("started_at").to_pylist()[-4:]
    assert [(row["stage"], row["status"]) for row in rows] == [(stage, "failed") for stage in (*RELYING, "score")]


def test_after_an_older_backup_the_champion_that_it_has_is_put_on_record(gate_at, wide):
    ws = gate_at("overridden")
    restore_a_backup(ws)
    assert back(ws, wide, to=1).details["outcome"] == "rolled back"
    assert decision_log.line_of_champions(decision_log.events(ws, NAMESPACE)) == [1]
    assert ws.registry.aliases(MODEL)[CHAMPION] == 1
    at(ws, wide).run(["score"])


def test_a_rollback_does_not_go_to_another_model_with_the_number_of_an_earlier_champion(gate_at, wide):
    ws = gate_at("overridden")
    make_the_model_again(ws)
    with pytest.raises(UsageError, match=r"before \(1\) are gone"):
        back(ws, wide)
    with pytest.raises(UsageError, match=r"Version 1 of .* was champion, and another model has its number now"):
        back(ws, wide, to=1)


def test_a_champion_that_somebody_moved_by_hand_is_whom_the_registry_names(gate_at, wide):
    ws = gate_at("challenged")
    ws.registry.set_alias(MODEL, CHAMPION, 2)
    assert at(ws, wide).run(["score"]).details("score")["model_version"] == 2


def test_a_registry_that_is_lost_is_set_aside_and_the_next_champion_is_a_first_one(gate_at, wide):
    ws = gate_at("challenged")
    ws.registry.database.write_bytes(b"")
    with again(ws) as ws:
        for only in ([stage] for stage in (*RELYING, "train", "gate")):
            with pytest.raises(LostRegistryError, match="is empty, while its models' files still exist"):
                at(ws, wide).run(only)
        planned = at(ws, wide).begin_anew(reason="no backup", dry_run=True).details
        assert planned.dry_run
        assert "set what is left of the registry aside" in planned.steps
        assert ws.registry.lost()
        done = at(ws, wide).begin_anew(reason="no backup").details
        assert (done.outcome, done.champion) == ("begun anew", 1)
        aside = ws.root / "mlflow" / "set_aside_1"
        assert (aside / "mlflow.db").exists()
        assert any((aside / "artifacts").rglob("*.skops"))
        assert told(ws) == []
        assert ws.registry.aliases(MODEL) == {}
        with pytest.raises(UsageError, match="nothing to begin anew"):
            at(ws, wide).begin_anew(reason="again")
        at(ws, wide).run()
        assert ws.registry.aliases(MODEL) == {CHAMPION: 1}
        assert told(ws) == [("decided", "gate", "promoted", 1), ("applied", "gate", "promoted", 1)]
        # All of it is on record, and what was decided before is still told.
        events = [event.event for event in GATE_DECISIONS.read(ws, NAMESPACE)]
        assert events == ["decided", "applied", "begun anew", "decided", "applied"]
        with pytest.raises(UsageError, match="replaced no champion"):
            back(ws, wide)


@pytest.mark.parametrize("times", [("2020-08-01",), pytest.param(("2020-08-01", SECOND), marks=pytest.mark.slow)])
def test_a_model_that_was_deleted_may_begin_anew_with_the_same_decisions(gate_at, wide, times):
    """The same training and the same rows give the ids of the decisions before: they are made again all the same."""
    ws = gate_at("challenged")
    first = decision_log.events(ws, NAMESPACE)[0].decision_id
    delete_the_model(ws)
    at(ws, wide).begin_anew(reason="deleted by mistake")
    for as_of in times:
        Pipeline(ws, open_tiny(ws, wide.folder), context(ws, wide, as_of).as_of).run(["train", "gate"])
    assert ws.registry.aliases(MODEL)[CHAMPION] == len(times)
    assert decision_log.events(ws, NAMESPACE)[0].decision_id == first
    assert decision_log.line_of_champions(decision_log.events(ws, NAMESPACE)) == [1, 2][: len(times)]


def test_an_alias_on_another_model_is_taken_away_and_the_gate_decides(gate_at, wide):
    ws = gate_at("overridden")
    sql(ws, "UPDATE model_versions SET creation_time = creation_time + 3600000")
    steps = at(ws, wide).begin_anew(reason="the registry was made again").details.steps
    assert steps[:2] == [
        "take the alias champion away from version 2",
        "take the alias previous_champion away from version 1",
    ]
    assert not {CHAMPION, PREVIOUS_CHAMPION} & set(ws.registry.aliases(MODEL))
    ws.registry.set_alias(MODEL, CHALLENGER, 2)
    assert put(ws, wide).details["outcome"] == "promoted"


@pytest.mark.parametrize("step", ["delete_alias", "append", "set_aside"])
def test_beginning_anew_that_was_interrupted_is_begun_again(gate_at, wide, step, monkeypatch):
    ws = gate_at("challenged")
    if step == "set_aside":
        ws.registry.database.unlink()
    else:
        sql(ws, "UPDATE registered_model_aliases SET version = 99 WHERE alias = 'champion'")
    with again(ws) as ws:

        def die(*arguments: Any, **named: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(type(GATE_DECISIONS) if step == "append" else type(ws.registry), step, die)
            with pytest.raises(KeyboardInterrupt):
                at(ws, wide).begin_anew(reason="gone")
        at(ws, wide).begin_anew(reason="gone")
        assert told(ws) == []
        assert CHAMPION not in ws.registry.aliases(MODEL)


@pytest.mark.parametrize(
    ("reason", "says"), [(" ", "needs a reason"), ("why not", "version 1 as champion, which exists: there is nothing")]
)
def test_a_champion_that_is_where_it_should_be_is_not_given_up(gate_at, wide, reason, says):
    ws = gate_at("challenged")
    before = told(ws)
    with pytest.raises(UsageError, match=says):
        at(ws, wide).begin_anew(reason=reason)
    assert told(ws) == before
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1, CHALLENGER: 2}


# A registry that is lost is begun anew above, a model that is gone from one that is there is, too.
@pytest.mark.slow
def test_a_home_copied_without_its_artifacts_and_database_is_not_a_new_one(gate_at, wide):
    """Neither is left to say that there was a registry, but the decisions are."""
    ws = gate_at("challenged")
    shutil.rmtree(ws.root / "mlflow")
    with again(ws) as ws:
        with pytest.raises(StageError, match=r"have version 1 of .* as champion"):
            at(ws, wide).run()
        at(ws, wide).begin_anew(reason="only the tables were copied")
        at(ws, wide).run(["train", "gate"])
        assert ws.registry.aliases(MODEL) == {CHAMPION: 1}


def command(ws: LocalWorkspace, tiny: TinyFolder, *words: str) -> str:
    """Run a command on the workspace; return what it prints."""
    done = CliRunner().invoke(
        cli, [*words, "--home", str(ws.root), "--use-cases", str(tiny.use_cases)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_says_what_it_does_and_the_history_tells_it(gate_at, wide):
    ws = gate_at("challenged")
    ws.registry.delete_alias(MODEL, CHAMPION)
    dry = command(ws, wide, "begin-anew", "tiny", "--reason", "deleted by mistake", "--dry-run")
    assert dry.splitlines() == [
        "A dry run; nothing was changed. The real run would:",
        "  - record that the models of tiny begin anew",
    ]
    done = command(ws, wide, "begin-anew", "tiny", "--reason", "deleted by mistake")
    assert done.startswith("Done:\n  - record that")
    assert "Next: mlplatform run tiny" in done
    (event,) = [event for event in GATE_DECISIONS.read(ws, NAMESPACE) if event.event == "begun anew"]
    # The newest time on record: what is decided by hand in a replay holds from where it has come.
    assert event.as_of == context(ws, wide, SECOND).as_of
    history = command(ws, wide, "history", "tiny")
    assert "As of 2020-11-01 the models began anew (champion on record: version 1): deleted by mistake" in history
    assert "begun anew by" in command(ws, wide, "explain", event.decision_id)
    assert json.loads(command(ws, wide, "status", "tiny", "--json"))["champion"] is None
