"""The whole cycle on the tiny use case: what it leaves behind, again and again, and after being killed anywhere."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import RegistryError, UsageError
from mlplatform.gate import decision_log, promotion
from mlplatform.gate.decision import Decision
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.ops import records
from mlplatform.stages import gate_of
from mlplatform.training.label_frame import known_labels
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import every
from tests.support.state import business_state, differences
from tests.support.tiny_gate import put
from tests.support.tiny_runs import KILLED, clone, open_tiny, run_and_die, run_tiny
from tests.support.tiny_use_case import Tiny, TinyFolder, first_of, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.use_case import UseCase

FIRST, SECOND = "2020-08-01", "2020-11-01"
PREPARE = ("ingest", "refine", "features")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    # A margin as wide as this promotes the second model, too: what is tested is the order, not the judgement.
    folder = write_tiny_use_case(
        tmp_path_factory.mktemp("use_cases"),
        gate={"margin": 0.2},
        monitoring={"max_calibration_ratio": 5.0},
    )
    folder.soil()
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> dict[str, Path]:
    """Closed workspaces to go on from: empty, with features, with a challenger, after one run, and after two."""
    folder = tmp_path_factory.mktemp("bases")
    root = folder / "live"
    found: dict[str, Path] = {}

    def keep(name: str) -> None:
        found[name] = clone(root, folder / name)

    with LocalWorkspace.open(root=root) as ws:
        # Makes the registry's tables, which takes longest.
        assert ws.registry.aliases("dev.tiny.model") == {}
        records.ensure(ws, open_tiny(ws, tiny.folder).namespace)
        keep("empty")
        run_tiny(ws, tiny.folder, FIRST, PREPARE)
        keep("prepared")
        run_tiny(ws, tiny.folder, FIRST, ["train"])
        keep("trained")
        run_tiny(ws, tiny.folder, FIRST)
        keep("first")
        run_tiny(ws, tiny.folder, SECOND)
        keep("second")
    return found


@pytest.fixture
def open_at(tmp_path: Path, bases: dict[str, Path]) -> Iterator[Any]:
    """Open a copy of one of the bases."""
    opened: list[LocalWorkspace] = []

    def open_copy(base: str) -> LocalWorkspace:
        ws = LocalWorkspace.open(root=clone(bases[base], tmp_path / f"{base}{len(opened)}"))
        opened.append(ws)
        return ws

    yield open_copy
    for ws in opened:
        ws.close()
        shutil.rmtree(ws.root)


@functools.cache
def state_of(root: Path) -> dict[str, Any]:
    """Return the state of one of the bases, which nobody writes to."""
    with LocalWorkspace.open(root=root) as ws:
        return business_state(ws, namespace(ws))


def namespace(ws: LocalWorkspace) -> Any:
    from mlplatform.naming import Namespace

    return Namespace(ws.catalog, "tiny")


def decisions(ws: LocalWorkspace) -> list[dict[str, Any]]:
    return decision_log.events(ws, namespace(ws))


def test_a_first_run_ends_with_a_champion_that_has_scored(open_at):
    ws = open_at("first")
    model = namespace(ws).model
    assert ws.registry.aliases(model) == {CHAMPION: 1}
    predictions = ws.tables.to_arrow(namespace(ws).gold("predictions"), at_most=10**6)
    due = ws.tables.to_arrow(
        namespace(ws).gold("spine"), at_most=10**6, filters=[("signed_up_at", ">", first_of("2020-07"))]
    )
    assert sorted(predictions["account"].to_pylist()) == sorted(due["account"].to_pylist())
    assert set(predictions["model_version"].to_pylist()) == {1}
    assert all(0 < value < 1 for value in predictions["prediction"].to_pylist())
    tags = ws.registry.get(model, 1).tags
    assert {"dataset_version", "git_sha", "owner", "use_case", "env", "artifact_digest"} <= set(tags)


def test_a_second_run_retrains_on_schedule_and_moves_the_aliases(open_at):
    ws = open_at("second")
    assert ws.registry.aliases(namespace(ws).model) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    last = decisions(ws)[-1]
    assert (last.event, last.challenger_version, last.champion_version) == ("applied", 2, 1)
    scored = ws.tables.to_arrow(
        namespace(ws).gold("predictions"), at_most=10**6, filters=[("as_of", "=", first_of("2020-11"))]
    )
    # The champion that scored is the one there was before the retraining.
    assert set(scored["model_version"].to_pylist()) == {1}
    assert scored.num_rows > 500


@pytest.mark.parametrize(("base", "as_of"), [("first", FIRST), ("second", SECOND)])
def test_running_again_leaves_the_same_state(open_at, bases, tiny, base, as_of):
    ws = open_at(base)
    summary = run_tiny(ws, tiny.folder, as_of)
    assert {run.status for run in summary.stages} == {"skipped"}
    assert differences(business_state(ws, namespace(ws)), state_of(bases[base])) == {}


def test_naming_every_stage_again_leaves_the_same_state(open_at, bases, tiny):
    ws = open_at("first")
    run_tiny(ws, tiny.folder, FIRST, ["ingest", "refine", "features", "train", "score", "monitor", "retrain"])
    assert differences(business_state(ws, namespace(ws)), state_of(bases["first"])) == {}


@pytest.mark.parametrize(
    ("where", "base"),
    every(
        2,
        [
            ("between bronze's quarantine and bronze", "empty"),
            ("between the quarantine and silver", "empty"),
            ("between silver and gold", "empty"),
        ],
    ),
)
def test_killed_while_refining_a_run_again_completes_it(tmp_path, bases, tiny, where, base):
    root = clone(bases[base], tmp_path / "killed")
    assert run_and_die(root, tiny.folder, FIRST, where) == KILLED
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, FIRST, PREPARE)
        assert differences(business_state(ws, namespace(ws)), state_of(bases["prepared"])) == {}


@pytest.mark.parametrize(
    ("where", "base"),
    # Kills at any moment are those of tests/endurance. Within a promotion each step is looked at below, and after the
    # predictions in the next test.
    every(
        3,
        [
            ("between registering the model and tagging it", "prepared"),
            ("between tagging the model and its alias", "prepared"),
            ("between the decision and the champion's alias", "trained"),
            ("between the drift metrics and the rest", "trained"),
            ("between the predictions and the record of scoring", "trained"),
            ("between the performance metrics and the alerts", "trained"),
        ],
    ),
)
def test_killed_anywhere_later_a_run_again_leaves_what_an_uninterrupted_one_leaves(tmp_path, bases, tiny, where, base):
    root = clone(bases[base], tmp_path / "killed")
    assert run_and_die(root, tiny.folder, FIRST, where) == KILLED
    with LocalWorkspace.open(root=root) as ws:
        assert differences(business_state(ws, namespace(ws)), state_of(bases["first"])) != {}
        run_tiny(ws, tiny.folder, FIRST)
        assert differences(business_state(ws, namespace(ws)), state_of(bases["first"])) == {}


def test_what_lands_after_a_scoring_that_was_killed_is_scored_by_the_next_scoring_at_the_latest(tmp_path, bases):
    """Killed when the predictions are written and nothing is on record; then a late file lands."""
    own = write_tiny_use_case(tmp_path / "uc", gate={"margin": 0.2})
    root = clone(bases["trained"], tmp_path / "killed")
    assert run_and_die(root, own.folder, FIRST, "between the predictions and the record of scoring") == KILLED
    late = own.data / "signups" / "signups_2020-07-28_late.csv"
    late.write_text(
        "account,signed_up,region,price,seats\n"
        + "".join(f"L{number},2020-07-02,north,10.0,2\n" for number in range(30)),
        encoding="utf-8",
    )
    with LocalWorkspace.open(root=root) as ws:
        for as_of in (FIRST, "2020-09-01"):
            run_tiny(ws, own.folder, as_of, [*PREPARE, "score"])
        due = ws.tables.to_arrow(
            namespace(ws).gold("spine"), at_most=10**6, filters=[("signed_up_at", ">", first_of("2020-07"))]
        )
        scored = ws.tables.to_arrow(namespace(ws).gold("predictions"), at_most=10**6)
        assert sorted(scored["account"].to_pylist()) == sorted(due["account"].to_pylist())


def test_no_row_that_the_gate_looked_at_trained_either_model(open_at, tiny):
    ws = open_at("second")
    use_case = open_tiny(ws, tiny.folder)
    spine, model = use_case.label_spine(), use_case.model
    decided = [row for row in decisions(ws) if row.event == "decided"]
    assert [row.challenger_version for row in decided] == [1, 2]
    for row in decided:
        after = parse_as_of(row.evaluation["after"])
        frame = known_labels(ws, use_case.namespace, spine, parse_as_of(row.as_of), after=after)
        assert frame.digest == row.evaluation["digest"]
        looked_at = set(frame.rows["account"].to_pylist())
        assert len(looked_at) == row.evaluation["rows"] > 100
        for version in filter(None, (row.challenger_version, row.champion_version)):
            tags = ws.registry.get(model, version).tags
            trained = known_labels(
                ws,
                use_case.namespace,
                spine,
                parse_as_of(tags["trained_as_of"]),
                until=parse_as_of(tags["trained_through"]),
            )
            assert trained.rows.num_rows > 300
            assert not looked_at & set(trained.rows["account"].to_pylist())


def test_what_a_model_was_trained_on_was_known_then(open_at):
    ws = open_at("second")
    for version in ws.registry.versions(namespace(ws).model):
        # Labels are known three months later.
        latest, known = parse_as_of(version.tags["trained_through"]), parse_as_of(version.tags["trained_as_of"])
        assert latest.month <= known.month - 3


def test_the_record_tells_the_promotion_in_its_order(open_at):
    ws = open_at("second")
    told = [(row.event, row.challenger_version, row.champion_version) for row in decisions(ws)]
    assert told == [("decided", 1, None), ("applied", 1, None), ("decided", 2, 1), ("applied", 2, 1)]
    rows = decisions(ws)
    assert [row.recorded_at for row in rows] == sorted(row.recorded_at for row in rows)
    assert rows[2].decision_id == rows[3].decision_id != rows[0].decision_id
    assert {check["name"] for check in rows[2].checks} >= {"evidence", "floor", "beats_champion"}


# The gate's own steps: on a workspace with two decided versions, whose promotion is interrupted before each call.

STEPS = ("decided", "tag", "previous_champion", "champion", "take challenger away", "applied")


class DeathError(Exception):
    """Stands for the process's death."""


@pytest.fixture
def decided(open_at) -> tuple[LocalWorkspace, UseCase, Decision]:
    """Version 2 is the challenger, and a decision to promote it over version 1 has been made, not recorded."""
    ws = open_at("second")
    use_case = Tiny.open("tiny", _folder_of(ws), ws)
    made = decision_log.decided([row for row in decisions(ws) if row.challenger_version == 2])
    assert made is not None
    registry = ws.registry
    registry.set_alias(use_case.model, CHALLENGER, 2)
    registry.set_alias(use_case.model, CHAMPION, 1)
    registry.delete_alias(use_case.model, PREVIOUS_CHAMPION)
    return ws, use_case, replace(made, decision_id="again")


def _folder_of(ws: LocalWorkspace) -> Path:
    folder = ws.root / "use_case"
    return write_tiny_use_case(folder, months=1, rows_a_month=1).folder


def spy(monkeypatch: pytest.MonkeyPatch, ws: LocalWorkspace, die_before: str = "") -> list[str]:
    """Note the steps of a promotion as they happen, and die before one of them."""
    seen: list[str] = []

    def step(name: str) -> None:
        if name == die_before:
            raise DeathError(name)
        seen.append(name)

    registry, record = ws.registry, decision_log.record
    set_alias, delete_alias, set_tags = registry.set_alias, registry.delete_alias, registry.set_tags
    monkeypatch.setattr(
        registry, "set_alias", lambda model, alias, version: (step(alias), set_alias(model, alias, version))
    )
    monkeypatch.setattr(
        registry, "delete_alias", lambda model, alias: (step(f"take {alias} away"), delete_alias(model, alias))
    )
    monkeypatch.setattr(registry, "set_tags", lambda *arguments: (step("tag"), set_tags(*arguments)))
    monkeypatch.setattr(
        decision_log, "record", lambda ws, ns, made, event, *more: (step(event), record(ws, ns, made, event, *more))
    )
    return seen


def promote(ws: LocalWorkspace, use_case: UseCase, made: Decision) -> str:
    """What the gate does with a decision."""
    begun = decision_log.pending(ws, use_case.namespace)
    if begun is None and not decision_log.events(ws, use_case.namespace, decision_id=made.decision_id):
        decision_log.record(ws, use_case.namespace, made, "decided")
    return promotion.apply(ws, use_case.namespace, begun or made)


def events_of(ws: LocalWorkspace, made: Decision) -> list[str]:
    return [row.event for row in decision_log.events(ws, namespace(ws), decision_id=made.decision_id)]


def test_a_promotion_goes_in_its_order(decided, monkeypatch):
    ws, use_case, made = decided
    seen = spy(monkeypatch, ws)
    assert promote(ws, use_case, made) == "applied"
    assert tuple(seen) == STEPS
    assert ws.registry.aliases(use_case.model) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}


@pytest.mark.parametrize("step", STEPS)
def test_a_promotion_interrupted_before_a_step_is_finished_by_the_next_run(decided, step):
    ws, use_case, made = decided
    with pytest.MonkeyPatch.context() as patch:
        spy(patch, ws, die_before=step)
        with pytest.raises(DeathError):
            promote(ws, use_case, made)
    between = ws.registry.aliases(use_case.model)
    assert between[CHAMPION] in (1, 2)
    if between[CHAMPION] == 2:
        assert between[PREVIOUS_CHAMPION] == 1
    assert promote(ws, use_case, made) == "applied"
    assert ws.registry.aliases(use_case.model) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    assert events_of(ws, made) == ["decided", "applied"]
    assert decision_log.pending(ws, use_case.namespace) is None


def test_a_promotion_is_applied_once(decided, monkeypatch):
    ws, use_case, made = decided
    promote(ws, use_case, made)
    ws.registry.set_alias(use_case.model, CHAMPION, 1)
    seen = spy(monkeypatch, ws)
    assert promotion.apply(ws, use_case.namespace, made) == "applied"
    assert seen == []
    assert ws.registry.aliases(use_case.model)[CHAMPION] == 1


@pytest.mark.parametrize("now", ["another", "none"])
def test_a_champion_that_is_no_longer_the_one_compared_with_makes_the_decision_stale(decided, now):
    ws, use_case, made = decided
    made = replace(made, champion_version=None) if now == "another" else made
    if now == "none":
        ws.registry.delete_alias(use_case.model, CHAMPION)
    before = ws.registry.aliases(use_case.model)
    assert promote(ws, use_case, made) == "stale"
    assert ws.registry.aliases(use_case.model) == before
    assert events_of(ws, made) == ["decided", "stale"]
    last = decision_log.events(ws, use_case.namespace, decision_id=made.decision_id)[-1]
    assert last.outcome == "rejected"
    assert "the champion is" in last.reason
    assert decision_log.pending(ws, use_case.namespace) is None
    assert promotion.apply(ws, use_case.namespace, made) == "stale"


def test_a_registry_that_cannot_be_read_stops_the_gate_before_anything_is_decided(open_at, tiny, monkeypatch):
    ws = open_at("trained")
    use_case = open_tiny(ws, tiny.folder)

    def unreadable(model: Any) -> dict[str, int]:
        raise RegistryError(f"Could not read the aliases of {model}.")

    monkeypatch.setattr(ws.registry, "aliases", unreadable)
    with pytest.raises(RegistryError):
        gate_of(use_case).run(use_case.context(ws, parse_as_of(FIRST), "run"))
    assert decisions(ws) == []


def test_a_champion_set_by_hand_between_decision_and_promotion_is_not_overwritten(open_at, tiny, monkeypatch):
    """The gate itself, with somebody else moving the alias while it decides."""
    ws = open_at("trained")
    use_case = open_tiny(ws, tiny.folder)
    record = decision_log.record

    def meanwhile(ws_: Any, ns: Any, made: Decision, event: Any, *more: Any) -> None:
        record(ws_, ns, made, event, *more)
        if event == "decided":
            other = ws.registry._connect().create_model_version(
                str(use_case.model), ws.registry.artifacts.as_uri(), run_id=ws.registry.get(use_case.model, 1).run_id
            )
            ws.registry.set_alias(use_case.model, CHAMPION, int(other.version))

    monkeypatch.setattr(decision_log, "record", meanwhile)
    result = gate_of(use_case).run(use_case.context(ws, parse_as_of(FIRST), "run"))
    assert result.details.outcome == "rejected"
    assert "another champion" in result.details.reason
    assert ws.registry.aliases(use_case.model) == {CHAMPION: 2, CHALLENGER: 1}


def test_a_promotion_after_the_limits_were_lowered_is_recorded_before_it_is_made(open_at, tiny, tmp_path, monkeypatch):
    ws = open_at("trained")
    strict = write_tiny_use_case(tmp_path / "strict", months=1, rows_a_month=1, gate={"floor": 0.99})
    first = put(ws, strict, FIRST)
    assert first.details["outcome"] == "rejected"
    seen = spy(monkeypatch, ws)
    second = put(ws, tiny, FIRST)
    assert second.details["outcome"] == "promoted"
    assert seen[0] == "decided"
    assert [row.outcome for row in decisions(ws) if row.event == "decided"] == ["rejected", "promoted"]


def test_the_gate_puts_no_model_that_was_tampered_with_to_the_test(open_at, tiny):
    ws = open_at("trained")
    stores = list((ws.root / "mlflow" / "artifacts").rglob("*.skops"))
    assert stores
    for store in stores:
        store.write_bytes(store.read_bytes() + b"\0")
    result = put(ws, tiny, FIRST)
    assert result.details["outcome"] == "rejected"
    assert "not those registered" in result.details["reason"]
    assert CHAMPION not in ws.registry.aliases(namespace(ws).model)
    assert [(row.event, row.outcome) for row in decisions(ws)] == [("decided", "rejected")]


def test_an_unknown_stage_is_refused_with_the_nearest(open_at, tiny):
    with pytest.raises(UsageError, match="no stage 'trian'") as caught:
        run_tiny(open_at("empty"), tiny.folder, FIRST, ["trian"])
    assert "train" in caught.value.hint


def test_a_stage_that_fails_is_recorded_with_its_reason_and_the_earlier_ones_stay(open_at, tiny):
    ws = open_at("empty")
    from mlplatform.errors import LabelError

    with pytest.raises(LabelError):
        run_tiny(ws, tiny.folder, "2020-03-01")
    runs = sorted(
        ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6).to_pylist(), key=lambda row: row["started_at"]
    )
    assert [(row["stage"], row["status"]) for row in runs] == [
        ("ingest", "done"),
        ("refine", "done"),
        ("features", "done"),
        ("train", "failed"),
    ]
    assert "No label of tiny is known" in runs[-1]["message"]
    assert json.loads(runs[-1]["details"]) == {}
