"""A champion that was deleted or is damaged: never "there is none", and a command leads out, on record."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.errors import MissingVersionError, StageError, UsageError
from mlplatform.gate import decision_log
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.pipeline import Pipeline
from tests.support.crossed import every
from tests.support.tiny_gate import MODEL, NAMESPACE, back, context, put, told
from tests.support.tiny_runs import open_tiny

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace

WAY_OUT = ("mlplatform rollback tiny", "mlplatform promote tiny", "--force --reason")


def sql(ws: LocalWorkspace, statement: str) -> None:
    with closing(sqlite3.connect(ws.root / "mlflow" / "mlflow.db")) as connection, connection:
        connection.execute(statement)


def dangle(ws: LocalWorkspace) -> int:
    """Point the alias at a version that never was."""
    sql(ws, "UPDATE registered_model_aliases SET version = 99 WHERE alias = 'champion'")
    return 99


def delete_version(ws: LocalWorkspace) -> int:
    """Delete the version that the alias names, and leave the alias, as a failed clean-up does."""
    sql(ws, "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 1")
    return 1


def forget_alias(ws: LocalWorkspace) -> None:
    """As Unity Catalog does with an alias whose version is deleted."""
    ws.registry.delete_alias(MODEL, CHAMPION)


def damage_files(ws: LocalWorkspace, version: int) -> None:
    """Remove what the version's registered files are."""
    source = ws.registry._connect().get_model_version(str(MODEL), str(version)).source
    folder = ws.registry.artifacts / "models" / source.rpartition("/")[2]
    assert folder.is_dir()
    shutil.rmtree(folder)


GONE = {"dangling alias": dangle, "deleted version": delete_version, "alias gone": forget_alias}


@pytest.mark.parametrize("how", sorted(GONE))
def test_the_gate_rejects_says_what_it_saw_and_puts_it_on_record(gate_at, wide, how):
    ws = gate_at("challenged")
    number = GONE[how](ws)
    before = ws.registry.aliases(MODEL)
    details = put(ws, wide).details
    assert (details["outcome"], details["champion"]) == ("rejected", number)
    assert "the registry answers" in details["reason"]
    assert all(command in details["hint"] for command in WAY_OUT)
    assert ws.registry.aliases(MODEL) == before
    assert told(ws)[-1] == ("decided", "gate", "rejected", 2)
    # It stands in the decision itself, whoever reads it later: what was looked for, and what was found.
    record = decision_log.events(ws, NAMESPACE)[-1]
    whose = "have version 1 of dev.tiny.model as champion" if how == "alias gone" else "names version"
    assert whose in record.reason
    assert record.evaluation["error"] in record.reason
    assert (record.checks[-1]["name"], record.checks[-1]["status"]) == ("evaluation", "fail")
    assert record.spending == {}


@pytest.mark.parametrize("how", every(2, sorted(GONE)))
def test_an_override_leads_out_without_reading_the_champion(gate_at, wide, how):
    ws = gate_at("challenged")
    GONE[how](ws)
    assert put(ws, wide, override="the champion is gone").details["outcome"] == "promoted"
    aliases = ws.registry.aliases(MODEL)
    # Where version 1 is there it is what the next rollback goes back to; a version that is gone never is.
    expected = {CHAMPION: 2, PREVIOUS_CHAMPION: 1} if how == "dangling alias" else {CHAMPION: 2}
    assert aliases == expected
    assert told(ws)[-1] == ("applied", "override", "promoted", 2)
    assert "the registry answers" in decision_log.events(ws, NAMESPACE)[-1].reason
    assert put(ws, wide, version=2).details["outcome"] == "unchanged"


def test_a_champion_whose_files_are_gone_is_named_by_the_gate(gate_at, wide):
    ws = gate_at("challenged")
    damage_files(ws, 1)
    first, second = (put(ws, wide).details for _ in range(2))
    assert first["outcome"] == "rejected"
    assert f"The champion, version 1 of {MODEL}, could not score: The files of model" in first["reason"]
    assert all(command in first["hint"] for command in WAY_OUT)
    assert first["decision_id"] == second["decision_id"]
    assert ws.registry.aliases(MODEL)[CHAMPION] == 1


def test_an_override_takes_a_champion_whose_files_are_damaged_for_what_it_is(gate_at, wide):
    ws = gate_at("challenged")
    damage_files(ws, 1)
    assert put(ws, wide, override="the champion's files are lost").details["outcome"] == "promoted"
    assert ws.registry.aliases(MODEL) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    assert back(ws, wide).details["outcome"] == "rolled back"


def test_a_rollback_goes_to_the_newest_version_that_is_there(gate_at, wide):
    ws = gate_at("overridden")
    dangle(ws)
    assert back(ws, wide).details["challenger"] == 2
    assert ws.registry.aliases(MODEL) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    assert told(ws)[-1] == ("applied", "rollback", "rolled back", 2)


def test_a_rollback_from_a_version_that_was_deleted(gate_at, wide):
    ws = gate_at("overridden")
    sql(ws, "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 2")
    assert back(ws, wide).details["challenger"] == 1
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1}


def test_a_rollback_says_when_all_that_were_champion_are_gone(gate_at, wide):
    ws = gate_at("challenged")
    delete_version(ws)
    dangle(ws)
    with pytest.raises(UsageError, match=r"before \(1\) are gone") as raised:
        back(ws, wide)
    assert "mlplatform promote tiny" in raised.value.hint
    with pytest.raises(UsageError, match=r"Version 1 of .* was champion, .* gone"):
        back(ws, wide, to=1)


def test_a_champion_that_vanished_is_brought_back_by_name(gate_at, wide):
    ws = gate_at("challenged")
    forget_alias(ws)
    with pytest.raises(UsageError, match="has no champion") as raised:
        back(ws, wide)
    assert "--to VERSION" in raised.value.hint
    assert back(ws, wide, to=1).details["outcome"] == "rolled back"
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1, CHALLENGER: 2}


@pytest.mark.parametrize("how", ["dangling alias", "deleted version"])
def test_scoring_names_the_alias_and_the_way_out(gate_at, wide, how):
    ws = gate_at("challenged")
    number = GONE[how](ws)
    given = context(ws, wide)
    with pytest.raises(StageError, match=f"alias champion of {MODEL} names version {number}") as raised:
        Pipeline(ws, open_tiny(ws, wide.folder), given.as_of).run(["score"])
    assert all(command in raised.value.hint for command in WAY_OUT)


def test_a_model_that_is_gone_is_not_replaced_by_a_first_champion(gate_at, wide):
    """The pipeline stops, whatever was trained since; what leads out is an override."""
    ws = gate_at("challenged")
    ws.registry._connect().delete_registered_model(str(MODEL))
    given = context(ws, wide)
    for _ in range(2):
        with pytest.raises(StageError, match=r"have version 1 of .* as champion"):
            Pipeline(ws, open_tiny(ws, wide.folder), given.as_of).run()
    assert ws.registry.versions(MODEL) == []
    Pipeline(ws, open_tiny(ws, wide.folder), given.as_of).run(["train"])
    assert ws.registry.aliases(MODEL) == {CHALLENGER: 1}
    details = put(ws, wide).details
    assert (details["outcome"], details["champion"]) == ("rejected", None)
    assert put(ws, wide, version=1, override="the model was deleted").details["outcome"] == "promoted"
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1}


def test_a_decision_about_a_deleted_version_is_none_about_the_one_with_its_number(gate_at, wide):
    from mlplatform.gate import stage as gate

    ws = gate_at("challenged")
    put(ws, wide, dry_run=False, version=2)
    ws.registry._connect().delete_registered_model(str(MODEL))
    given = context(ws, wide)
    Pipeline(ws, open_tiny(ws, wide.folder), given.as_of).run(["train"])
    assert not gate._decided_about(given, ws.registry.get(MODEL, 1))


def test_a_change_that_waited_for_a_version_that_is_gone_is_given_up(gate_at, wide, monkeypatch):
    ws = gate_at("challenged")

    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ws.registry, "set_alias", die)
        with pytest.raises(KeyboardInterrupt):
            put(ws, wide, override="interrupted")
    sql(ws, "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 2")
    with pytest.raises(MissingVersionError):
        put(ws, wide)
    assert told(ws)[-1][0] == "stale"
    assert ws.registry.aliases(MODEL)[CHAMPION] == 1
