"""The gate on a real workspace: dry runs, overrides, rollbacks, approval, what it looks at and leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.errors import NotPromotedError, RegistryError, UsageError
from mlplatform.gate import decision_log, evaluation, promotion
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.pipeline import Pipeline
from mlplatform.refine.spine import LABEL_KNOWN_AT
from mlplatform.reporting.decisions import champions_of, decisions_of
from mlplatform.training.label_frame import known_labels
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import every
from tests.support.state import business_state, differences
from tests.support.tiny_gate import FIRST, MODEL, NAMESPACE, SECOND, back, put, told
from tests.support.tiny_runs import clone, open_tiny
from tests.support.tiny_use_case import TinyFolder, first_of, write_tiny_use_case

LATER = "2020-12-01"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """No challenger is good enough."""
    return write_tiny_use_case(tmp_path_factory.mktemp("strict"), months=1, rows_a_month=1, gate={"floor": 0.999})


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """A promotion waits for approval."""
    limits = {"margin": 0.2, "approval": "manual"}
    return write_tiny_use_case(tmp_path_factory.mktemp("by_hand"), months=1, rows_a_month=1, gate=limits)


@pytest.fixture(scope="module")
def gate_bases(gate_bases: dict[str, Path], wide: TinyFolder, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Bases with two more: `promoted` (2 is champion after 1), `line` (1 is it again, by hand)."""
    folder = tmp_path_factory.mktemp("promoted")
    with LocalWorkspace.open(root=clone(gate_bases["challenged"], folder / "line")) as ws:
        put(ws, wide)
        promoted = clone(ws.root, folder / "promoted")
        put(ws, wide, version=1, override="so that there is a line of three: 1, 2, 1")
    return {**gate_bases, "promoted": promoted, "line": folder / "line"}


def aliases(ws: Any) -> dict[str, int]:
    return ws.registry.aliases(MODEL)


# Dry runs: the same words, and nothing changed


# The words of the others are held against each other in every run, too: an override's where it takes the place of a
# decision that waits, those of a promotion where the commands are asked (test_gate_faults.py).
@pytest.mark.parametrize(
    ("name", "request_"),
    every(
        3,
        [
            ("promoted", {}),
            ("rejected", {"version": 2}),
            ("overridden", {"version": 2, "override": "by order"}),
        ],
    ),
)
def test_a_dry_run_says_what_the_real_run_does_and_changes_nothing(gate_at, wide, strict, name, request_):
    ws = gate_at("challenged")
    tiny = strict if name != "promoted" else wide
    before, versions = business_state(ws, NAMESPACE), ws.tables.version(NAMESPACE.ops("gate_decisions"))
    dry = put(ws, tiny, dry_run=True, **request_)
    assert differences(business_state(ws, NAMESPACE), before) == {}
    assert ws.tables.version(NAMESPACE.ops("gate_decisions")) == versions
    real = put(ws, tiny, **request_)
    assert {**dry.details, "dry_run": False} == real.details
    assert real.details["outcome"] == ("rejected" if name == "rejected" else "promoted")
    assert len(real.details["steps"]) >= 3
    assert differences(business_state(ws, NAMESPACE), before) != {}


def test_a_dry_run_of_a_rollback_says_what_the_real_one_does(gate_at, wide):
    ws = gate_at("promoted")
    before = business_state(ws, NAMESPACE)
    dry = back(ws, wide, dry_run=True)
    assert differences(business_state(ws, NAMESPACE), before) == {}
    real = back(ws, wide)
    assert {**dry.details, "dry_run": False} == real.details
    assert aliases(ws) == {CHAMPION: 1}


def test_a_dry_run_in_the_pipeline_records_no_stage(gate_at, wide):
    ws = gate_at("challenged")
    before = ws.tables.to_arrow(NAMESPACE.ops("stage_runs"), at_most=10**6).num_rows
    use_case = open_tiny(ws, wide.folder)
    Pipeline(ws, use_case, parse_as_of(SECOND)).gate(dry_run=True)
    assert ws.tables.to_arrow(NAMESPACE.ops("stage_runs"), at_most=10**6).num_rows == before
    done = Pipeline(ws, use_case, parse_as_of(SECOND)).gate()
    assert done.details.outcome == "promoted"
    assert ws.tables.to_arrow(NAMESPACE.ops("stage_runs"), at_most=10**6).num_rows == before + 1


# Overrides


def test_an_override_promotes_what_the_checks_reject_and_says_who_and_why(gate_at, strict):
    ws = gate_at("challenged")
    assert put(ws, strict).details["outcome"] == "rejected"
    forced = put(ws, strict, version=2, override="the champion scores nulls")
    assert forced.details["outcome"] == "promoted"
    assert aliases(ws) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    last = decision_log.events(ws, NAMESPACE)[-1]
    assert (last.event, last.kind, last.decided_by) == ("applied", "override", ws.user)
    assert "manual override: the champion scores nulls" in last.reason
    assert "at least 0.9990 is needed" in last.reason
    assert {check["name"] for check in last.checks} >= {"floor", "beats_champion"}
    assert champions_of(decision_log.events(ws, NAMESPACE))[-1].kind == "override"


def test_the_champion_itself_is_left_as_it_is(gate_at, wide):
    ws = gate_at("challenged")
    before = business_state(ws, NAMESPACE)
    assert put(ws, wide, version=1).details["outcome"] == "unchanged"
    assert differences(business_state(ws, NAMESPACE), before) == {}


def test_a_version_that_does_not_exist_is_an_error(gate_at, wide):
    ws = gate_at("challenged")
    with pytest.raises(RegistryError):
        put(ws, wide, version=99)
    assert aliases(ws)[CHAMPION] == 1


# Rollbacks


def test_a_rollback_goes_back_and_the_history_says_so(gate_at, wide):
    ws = gate_at("promoted")
    promoted = decision_log.events(ws, NAMESPACE)[-1].decision_id
    rolled = back(ws, wide, reason="complaints").details
    assert aliases(ws) == {CHAMPION: 1}
    assert told(ws)[-2:] == [
        ("decided", "rollback", "rolled back", 1),
        ("applied", "rollback", "rolled back", 1),
    ]
    tags = ws.registry.get(MODEL, 2).tags
    assert (tags["gate_outcome"], tags["rolled_back_by"]) == ("rolled back", rolled["decision_id"])
    assert ws.registry.get(MODEL, 1).tags["gate_outcome"] == "rolled back to"
    events = decision_log.events(ws, NAMESPACE)
    assert [(item.version, item.before, item.kind) for item in champions_of(events)] == [
        (1, None, "gate"),
        (2, 1, "gate"),
        (1, 2, "rollback"),
    ]
    assert decisions_of(events)[-1].outcome == "rolled back"
    assert decisions_of(events)[-1].reason == "complaints"
    # The version that was taken back stays back, though the decision about it says "promoted".
    again = put(ws, wide, version=2).details
    assert (again["decision_id"], again["outcome"]) == (promoted, "rejected")
    assert "was applied before" in again["reason"]
    assert aliases(ws) == {CHAMPION: 1}
    assert put(ws, wide, version=2, override="it was right after all").details["outcome"] == "promoted"
    assert aliases(ws) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}


def test_one_can_go_forward_again_by_name(gate_at, wide):
    ws = gate_at("promoted")
    back(ws, wide)
    assert back(ws, wide, to=2).details["outcome"] == "rolled back"
    assert aliases(ws) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    back(ws, wide)
    assert aliases(ws) == {CHAMPION: 1}


@pytest.mark.parametrize(
    ("base", "refused"),
    [
        ("trained", {"no champion to roll back": {}}),
        (
            "challenged",
            {
                "nothing to roll back to": {},
                "was never champion": {"to": 2},
                "is champion already": {"to": 1},
                "needs a reason": {"reason": "  "},
            },
        ),
    ],
)
def test_a_rollback_to_nowhere_is_refused(gate_at, wide, base, refused):
    ws = gate_at(base)
    before = business_state(ws, NAMESPACE)
    for says, request in refused.items():
        with pytest.raises(UsageError, match=says):
            back(ws, wide, **request)
    assert differences(business_state(ws, NAMESPACE), before) == {}


def test_the_predecessor_has_its_alias_before_the_champion_moves(gate_at, wide, monkeypatch):
    """Whoever dies between the two leaves a champion that can be gone back from."""
    ws = gate_at("challenged")
    moved, move = [], ws.registry.set_alias

    def noted(model: Any, alias: str, version: int) -> None:
        moved.append((alias, version))
        move(model, alias, version)

    monkeypatch.setattr(ws.registry, "set_alias", noted)
    put(ws, wide)
    assert [item for item in moved if item[0] != CHALLENGER] == [(PREVIOUS_CHAMPION, 1), (CHAMPION, 2)]


class DeathError(Exception):
    """Stands for the process's death."""


@pytest.mark.parametrize("step", every(2, range(8)))
def test_a_rollback_interrupted_anywhere_is_finished_by_the_next_one_and_not_done_twice(
    gate_at, wide, monkeypatch, step
):
    ws = gate_at("line")
    seen = _die_after(monkeypatch, ws, step)
    if step < 6:
        with pytest.raises(DeathError):
            back(ws, wide)
        assert aliases(ws)[CHAMPION] in (1, 2)
    else:
        back(ws, wide)
    seen.clear()
    monkeypatch.undo()
    if step < 6:
        back(ws, wide)
    assert aliases(ws) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    assert [row for row in told(ws) if row[1] == "rollback"] == [
        ("decided", "rollback", "rolled back", 2),
        ("applied", "rollback", "rolled back", 2),
    ]
    assert decision_log.pending(ws, NAMESPACE) is None


def _die_after(monkeypatch: pytest.MonkeyPatch, ws: Any, steps: int) -> list[str]:
    """Let so many writes happen, and die before the next."""
    seen: list[str] = []

    def guarded(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def act(*arguments: Any) -> Any:
            if len(seen) == steps:
                raise DeathError(name)
            seen.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, act)

    for name in ("set_alias", "delete_alias", "set_tags"):
        guarded(ws.registry, name)
    guarded(decision_log, "record")
    return seen


def test_a_promotion_that_was_interrupted_is_finished_before_a_rollback(gate_at, wide, monkeypatch):
    ws = gate_at("challenged")
    _die_after(monkeypatch, ws, 3)
    with pytest.raises(DeathError):
        put(ws, wide)
    monkeypatch.undo()
    with pytest.raises(NotPromotedError, match="version 2 had been interrupted and was finished first"):
        back(ws, wide)
    assert aliases(ws) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
    back(ws, wide)
    assert aliases(ws) == {CHAMPION: 1}


# Approval


def test_a_promotion_waits_for_approval_and_goes_on_with_it(gate_at, by_hand):
    ws = gate_at("challenged")
    waiting = put(ws, by_hand).details
    assert waiting["outcome"] == promotion.WAITING
    assert "Approval_Check=Approved" in waiting["reason"]
    assert aliases(ws) == {CHAMPION: 1, CHALLENGER: 2}
    assert ws.registry.get(MODEL, 2).tags["gate_outcome"] == promotion.WAITING
    ws.registry.set_tags(MODEL, 2, {"Approval_Check": "Rejected"})
    assert put(ws, by_hand).details["outcome"] == promotion.WAITING
    assert [row for row in told(ws) if row[3] == 2] == [("decided", "gate", "promoted", 2)]
    ws.registry.set_tags(MODEL, 2, {"Approval_Check": "Approved"})
    done = put(ws, by_hand).details
    assert (done["outcome"], done["decision_id"]) == ("promoted", waiting["decision_id"])
    assert aliases(ws) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}


def test_a_decision_that_waits_gives_way_to_another_version_and_to_an_override(gate_at, by_hand, wide):
    ws = gate_at("challenged")
    waiting = put(ws, by_hand).details["decision_id"]
    dry = put(ws, by_hand, version=2, override="now", dry_run=True).details["steps"]
    forced = put(ws, by_hand, version=2, override="now").details
    assert forced["steps"] == dry
    assert forced["outcome"] == "promoted"
    assert [row.event for row in decision_log.events(ws, NAMESPACE, decision_id=waiting)] == ["decided", "stale"]
    assert aliases(ws) == {CHAMPION: 2, PREVIOUS_CHAMPION: 1}


def test_an_approval_does_not_help_when_the_champion_has_changed(gate_at, by_hand, strict):
    ws = gate_at("challenged")
    put(ws, by_hand)
    ws.registry.delete_alias(MODEL, CHAMPION)
    ws.registry.set_tags(MODEL, 2, {"Approval_Check": "Approved"})
    assert put(ws, by_hand).details["outcome"] == "rejected"
    assert told(ws)[-1][0] == "stale"
    assert CHAMPION not in aliases(ws)


# What it looks at


def test_labels_that_no_training_knew_are_taken_where_they_are_enough(gate_at, wide, tmp_path):
    """At training there is the holdout alone; a month later there are new labels."""
    ws = gate_at("challenged")
    first = put(ws, wide, dry_run=True)
    assert first.details["rows_from"] == evaluation.HOLDOUT
    # The drops end in October: what matures until December is known once the stages have looked.
    Pipeline(ws, open_tiny(ws, wide.folder), parse_as_of(LATER)).run(["ingest", "refine", "features"])
    later = put(ws, wide, LATER)
    assert later.details["rows_from"] == evaluation.NEW_LABELS
    (row,) = [row for row in decision_log.events(ws, NAMESPACE) if row.event == "decided" and row.evaluation][-1:]
    spine = open_tiny(ws, wide.folder).label_spine()
    frame = known_labels(ws, NAMESPACE, spine, parse_as_of(LATER), after=parse_as_of(row.evaluation["after"])).rows
    new = frame.filter(pc.greater(frame[LABEL_KNOWN_AT], pa.scalar(first_of("2020-11"), pa.timestamp("us", tz="UTC"))))
    assert row.evaluation["rows"] == new.num_rows > 100
    looked_at = set(new["account"].to_pylist())
    for version in (1, 2):
        # Neither fitted on, nor in the holdout of either.
        known = parse_as_of(ws.registry.get(MODEL, version).tags["trained_as_of"])
        learned = known_labels(ws, NAMESPACE, spine, known).rows
        assert learned.num_rows > 300
        assert not looked_at & set(learned["account"].to_pylist())


def test_too_few_new_labels_and_the_holdout_is_taken_and_flagged(gate_at, tmp_path):
    ws = gate_at("challenged")
    many = write_tiny_use_case(tmp_path, months=1, rows_a_month=1, gate={"margin": 0.2, "min_rows": 301})
    Pipeline(ws, open_tiny(ws, many.folder), parse_as_of(LATER)).run(["refine"])
    put(ws, many, LATER)
    source = decision_log.events(ws, NAMESPACE)[-1].evaluation
    assert source["rows_from"] == evaluation.HOLDOUT
    assert 0 < source["holdout_rows"] <= source["rows"]


def test_the_first_labels_are_the_holdout_and_no_row_of_it_was_fitted_on(gate_at, wide):
    ws = gate_at("trained")
    assert put(ws, wide, FIRST).details["rows_from"] == evaluation.HOLDOUT
    row = decision_log.events(ws, NAMESPACE)[0]
    spine = open_tiny(ws, wide.folder).label_spine()
    tags = ws.registry.get(MODEL, 1).tags
    frame = known_labels(ws, NAMESPACE, spine, parse_as_of(FIRST), after=parse_as_of(row.evaluation["after"]))
    fitted = known_labels(ws, NAMESPACE, spine, parse_as_of(FIRST), until=parse_as_of(tags["trained_through"]))
    assert frame.digest == row.evaluation["digest"]
    assert not set(frame.rows["account"].to_pylist()) & set(fitted.rows["account"].to_pylist())


def test_no_row_that_either_version_was_fitted_on_is_compared_on(gate_at, wide):
    """The second version learned months that the first did not: rows of them are the holdout of neither."""
    ws = gate_at("challenged")
    assert put(ws, wide).details["rows_from"] == evaluation.HOLDOUT
    row = decision_log.events(ws, NAMESPACE)[-1]
    spine, as_of = open_tiny(ws, wide.folder).label_spine(), parse_as_of(SECOND)
    through = [parse_as_of(ws.registry.get(MODEL, version).tags["trained_through"]) for version in (1, 2)]
    assert through[0] < through[1]
    compared = known_labels(ws, NAMESPACE, spine, as_of, after=parse_as_of(row.evaluation["after"]))
    assert compared.digest == row.evaluation["digest"]
    for learned in through:
        fitted = known_labels(ws, NAMESPACE, spine, as_of, until=learned).rows
        assert not set(compared.rows["account"].to_pylist()) & set(fitted["account"].to_pylist())


def test_all_checks_that_can_be_configured_look_at_the_real_thing(gate_at, tmp_path):
    limits = {
        "margin": 0.2,
        "cluster_by": ["account"],
        "baseline_by": ["region"],
        "guards": [{"metric": "brier", "max_loss": 0.1}],
        "slices": {"columns": ["region", "price", "region_cancellations"], "min_rows": 30, "min_positives": 5},
        "features": {"max_age": "12 months"},
        "max_seconds_per_1000_rows": 60,
        "max_brier": 0.5,
        "max_calibration_error": 0.5,
        "min_calibration_slope": 0.01,
    }
    monitoring = {"max_null_increase": 0.5}
    full = write_tiny_use_case(tmp_path, months=1, rows_a_month=1, gate=limits, monitoring=monitoring)
    ws = gate_at("challenged")
    details = put(ws, full).details
    assert {check["name"]: check["status"] for check in details["checks"]} == dict.fromkeys(
        (
            "evidence", "finite_predictions", "probabilities", "floor", "beats_trivial", "beats_champion",
            "guard_brier", "calibration", "brier", "calibration_slope", "slices", "feature_availability",
            "feature_staleness", "signature", "scoring_time",
        ),
        "pass",
    )  # fmt: skip
    assert details["outcome"] == "promoted"
    old = write_tiny_use_case(tmp_path / "old", months=1, rows_a_month=1, gate={"features": {"max_age": "1 day"}})
    ws = gate_at("challenged")
    assert "no row newer than 1 day: dev.tiny.features_region" in put(ws, old, LATER).details["reason"]


# What it leaves behind


@pytest.mark.parametrize("outcome", ["promoted", "rejected"])
def test_each_decision_leaves_its_evidence_with_the_challengers_run(gate_at, wide, strict, rendered, outcome):
    ws = gate_at("challenged")
    details = put(ws, wide if outcome == "promoted" else strict).details
    version = ws.registry.get(MODEL, 2)
    assert version.tags["gate_decision"] == details["decision_id"]
    assert version.tags["gate_outcome"] == outcome
    run = ws.registry._connect().get_run(version.run_id)
    folder = Path(url2pathname(urlparse(run.info.artifact_uri).path)) / "gate" / details["decision_id"]
    told_ = json.loads((folder / "evidence.json").read_text())
    assert (told_["decision_id"], told_["outcome"]) == (details["decision_id"], outcome)
    assert told_["limits"]["min_rows"] == 100
    (row,) = decision_log.events(ws, NAMESPACE, decision_id=details["decision_id"])[:1]
    assert told_["checks"] == row.checks
    page = (folder / "evidence.html").read_text()
    for text in (
        "Distribution of the difference in roc_auc",
        "ROC and precision-recall",
        "Calibration",
        "Gain by slice",
    ):
        assert text in page
    assert page.count("<svg") == 3
    assert "gate.slices is not set" in page
    assert "src=" not in page
    assert "://" not in page


def test_aliases_that_read_otherwise_after_a_promotion_are_an_error(gate_at, wide, monkeypatch):
    """The registry said yes, and somebody else was there at the same time."""
    ws = gate_at("challenged")
    move = ws.registry.set_alias

    def then_somebody_else(model: Any, alias: str, version: int) -> None:
        move(model, alias, version)
        if alias == CHAMPION:
            move(model, PREVIOUS_CHAMPION, 2)

    monkeypatch.setattr(ws.registry, "set_alias", then_somebody_else)
    with pytest.raises(RegistryError, match="instead of"):
        put(ws, wide)
