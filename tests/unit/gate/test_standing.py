"""Who was champion as of a time: what was decided as of later is not known yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.gate import decision_log, promotion
from mlplatform.gate.champion import in_the_past
from mlplatform.monitoring.steps import has_ended
from mlplatform.ops.records import GATE_DECISIONS, GateEvent, StageRecord
from mlplatform.protocols.registry import ModelVersion
from mlplatform.reporting.decisions import champions_of, decisions_of
from mlplatform.training.version_tags import TRAINED_AS_OF_TAG, trained_as_of

WALL = datetime(2026, 1, 1, tzinfo=UTC)


def event(version: int, as_of: str, kind: str = "gate", event: str = "applied", **changes: Any) -> GateEvent:
    given: dict[str, Any] = {
        "decision_id": f"{kind} {version} {as_of}",
        "event": event,
        "kind": kind,
        "use_case": "tiny",
        "model": "dev.tiny.model",
        "as_of": parse_as_of(as_of),
        "outcome": "rolled back" if kind == "rollback" else "promoted",
        "reason": "made up",
        "challenger_version": version,
        "recorded_at": WALL,
    }
    return GateEvent(**given | changes)


LINE = [event(1, "2020-02-01"), event(2, "2020-04-01"), event(1, "2020-06-01", "rollback"), event(3, "2020-08-01")]


@pytest.mark.parametrize(
    ("moment", "champion"),
    [
        ("2020-01-31", None),
        ("2020-02-01", 1),
        ("2020-03-31", 1),
        ("2020-04-01", 2),
        ("2020-05-01", 2),
        ("2020-06-01", 1),
        ("2020-07-31", 1),
    ],
)
def test_the_past_has_the_champion_that_it_had(moment, champion):
    past = in_the_past(LINE, parse_as_of(moment))
    assert past is not None
    assert past.number == champion
    assert past.later == LINE[-1]


@pytest.mark.parametrize("moment", ["2020-08-01", "2020-08-02", "2031-01-01"])
def test_after_the_last_decision_the_registry_says_who_is_champion(moment):
    assert in_the_past(LINE, parse_as_of(moment)) is None
    assert in_the_past([], parse_as_of(moment)) is None


def test_what_was_only_decided_makes_nobody_champion():
    decided = [event(1, "2020-02-01"), event(2, "2020-04-01", event="decided")]
    assert in_the_past(decided, parse_as_of("2020-03-01")) is None


def test_a_decision_by_hand_as_of_an_earlier_time_holds_from_that_time_on():
    """Recorded last, as of an earlier time: it is the champion of all times from its own on."""
    recorded = [event(1, "2020-02-01"), event(2, "2020-08-01"), event(3, "2020-05-01", "override")]
    found = {moment: in_the_past(recorded, parse_as_of(moment)) for moment in ("2020-03-01", "2020-06-01")}
    assert {moment: past.number for moment, past in found.items() if past} == {"2020-03-01": 1, "2020-06-01": 3}


def record(stage: str, as_of: str, status: str = "done") -> StageRecord:
    return StageRecord(
        run_id="r", use_case="tiny", stage=stage, as_of=parse_as_of(as_of), status=status, started_at=WALL, seconds=1.0
    )


@pytest.mark.parametrize(
    ("records", "ended"),
    [
        ([("ingest", "done"), ("train", "done"), ("gate", "done")], False),
        ([("train", "done"), ("retrain", "done")], True),
        ([("train", "done"), ("retrain", "skipped")], True),
        ([("train", "done"), ("retrain", "failed")], False),
        ([], False),
    ],
)
def test_a_step_has_ended_when_its_record_says_so(records, ended):
    moment = "2020-01-15"
    rows = [record(stage, moment, status) for stage, status in records]
    assert has_ended(rows, [], parse_as_of(moment)) is ended
    # Of another time, nothing is said.
    assert not has_ended(rows, [], parse_as_of("2020-01-16"))


@pytest.mark.parametrize(("moment", "ended"), [("2020-01-15", True), ("2020-05-01", False), ("2020-09-01", False)])
def test_a_step_of_the_first_release_without_a_champion_has_ended_where_one_came_later(moment, ended):
    assert has_ended([record("train", moment)], LINE, parse_as_of(moment)) is ended


def version(created_at: datetime, **tags: str) -> ModelVersion:
    return ModelVersion("dev.tiny.model", 2, "run", tags, created_at)


def test_a_version_knows_what_was_known_when_it_was_trained_or_by_its_registration():
    assert trained_as_of(version(WALL, **{TRAINED_AS_OF_TAG: "2020-05-01"})) == parse_as_of("2020-05-01")
    assert trained_as_of(version(WALL)) == WALL


@pytest.mark.parametrize(("later", "same"), [(-3600, True), (0, True), (59, True), (61, False), (10**6, False)])
def test_a_version_that_was_registered_after_its_number_became_champion_is_another_one(later, same):
    assert promotion.is_of(version(WALL + timedelta(seconds=later)), LINE) is same


def test_a_version_that_became_champion_again_under_its_number_is_that_one():
    again = [*LINE, event(2, "2020-09-01", recorded_at=WALL + timedelta(days=2))]
    assert promotion.is_of(version(WALL + timedelta(days=1)), again)


def test_a_rollback_cuts_the_line_off_behind_the_version_that_it_goes_back_to():
    assert decision_log.line_of_champions(LINE) == [1, 3]
    assert decision_log.line_of_champions([*LINE, event(2, "2020-09-01", "rollback")]) == [1, 3, 2]


def begun_anew(as_of: str) -> GateEvent:
    return event(0, as_of, "registry", decision_log.BEGUN_ANEW, outcome=decision_log.BEGUN_ANEW, champion_version=3)


def test_decisions_before_the_models_began_anew_are_about_other_models(monkeypatch):
    recorded = [*LINE, begun_anew("2020-09-01"), event(1, "2020-10-01")]
    monkeypatch.setattr(type(GATE_DECISIONS), "read", lambda *arguments: recorded)
    assert decision_log.events(None, None) == recorded[-1:]
    assert decision_log.events(None, None, decision_id=LINE[0].decision_id) == []
    assert decision_log.pending(None, None) is None


def test_the_history_tells_both_lines_and_no_champion_follows_one_that_was_given_up():
    recorded = [
        event(3, "2020-08-01", event="decided"),
        event(3, "2020-08-01"),
        begun_anew("2020-09-01"),
        event(3, "2020-08-01", event="decided"),
    ]
    assert [decision.outcome for decision in decisions_of(recorded)] == ["promoted", "pending"]
    champions = champions_of([*LINE, begun_anew("2020-09-01"), event(1, "2020-10-01")])
    assert [(champion.version, champion.before) for champion in champions] == [
        (1, None),
        (2, 1),
        (1, 2),
        (3, 1),
        (1, None),
    ]


def test_a_pending_decision_of_a_later_time_is_left_for_later(monkeypatch):
    recorded = [event(1, "2020-02-01"), event(2, "2020-04-01", event="decided")]
    monkeypatch.setattr(type(GATE_DECISIONS), "read", lambda *arguments: recorded)
    assert decision_log.pending(None, None, until=parse_as_of("2020-03-31")) is None
    for until in (None, parse_as_of("2020-04-01"), parse_as_of("2020-05-01")):
        found = decision_log.pending(None, None, until=until)
        assert found is not None
        assert found.challenger_version == 2
