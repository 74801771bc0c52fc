"""Which challenger decides for a share of the entities: from the gate's events alone, and never an unsound one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.canary import BEGAN, ENDED, KIND, all_of, open_at, refusal
from mlplatform.gate.checks import default_checks
from mlplatform.gate.checks.base import CheckResult, Evidence
from mlplatform.gate.checks.canary import NotWorseAsCanary
from mlplatform.gate.decision_log import BEGUN_ANEW, line_of_champions
from mlplatform.ops.records import GateEvent, PerformanceRecord
from mlplatform.reporting.decisions import champions_of, decisions_of

SOUND = [
    CheckResult("evidence", "pass", ""),
    CheckResult("finite_predictions", "pass", ""),
    CheckResult("probabilities", "pass", ""),
    CheckResult("floor", "pass", ""),
    CheckResult("beats_champion", "fail", "", numbers={"gain": 0.01, "low": -0.01, "high": 0.03}),
]


def event(what: str, version: int, as_of: str, **other: Any) -> GateEvent:
    number = other.pop("number", 0)
    given: dict[str, Any] = {
        "decision_id": f"{what}{version}{as_of}",
        "event": what,
        "kind": KIND if what in (BEGAN, ENDED) else "gate",
        "use_case": "tiny",
        "model": "dev.tiny.model",
        "as_of": parse_as_of(as_of),
        "outcome": what,
        "reason": f"because of {what}",
        "challenger_version": version,
        "champion_version": 1,
        "evaluation": {"share": 0.1} if what == BEGAN else {},
        "recorded_at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
    }
    return GateEvent(**(given | other))


def version_at(events: list[GateEvent], as_of: str) -> int | None:
    found = open_at(events, parse_as_of(as_of))
    return None if found is None else found.version


def test_it_is_open_from_its_beginning_on() -> None:
    events = [event("applied", 1, "2024-01-01"), event(BEGAN, 2, "2024-02-01")]
    assert [version_at(events, day) for day in ("2024-01-31", "2024-02-01", "2025-01-01")] == [None, 2, 2]
    assert open_at(events, parse_as_of("2024-02-01")).share == 0.1


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (event(ENDED, 2, "2024-03-01"), f"because of {ENDED}"),
        (event("applied", 2, "2024-03-01"), "it became champion"),
        (event("applied", 1, "2024-03-01", kind="rollback"), "version 1 became champion"),
        (event("applied", 3, "2024-03-01", kind="override"), "version 3 became champion"),
        (event(BEGAN, 4, "2024-03-01"), "version 4 took its place"),
        (event(BEGUN_ANEW, 0, "2024-03-01"), f"because of {BEGUN_ANEW}"),
    ],
    ids=["by hand", "promoted", "rolled back", "another promoted", "replaced", "begun anew"],
)
def test_what_ends_it(end: GateEvent, why: str) -> None:
    events = [event(BEGAN, 2, "2024-02-01"), end]
    assert version_at(events, "2024-02-29") == 2
    assert version_at(events, "2024-03-01") == (4 if end.event == BEGAN else None)
    first = all_of(events)[0]
    assert (first.version, first.until, first.why) == (2, parse_as_of("2024-03-01"), why)


def test_what_does_not_end_it() -> None:
    others = [
        event("decided", 2, "2024-03-01"),
        event("decided", 3, "2024-03-01"),
        event("stale", 3, "2024-03-01"),
        event(ENDED, 7, "2024-03-01"),
    ]
    assert version_at([event(BEGAN, 2, "2024-02-01"), *others], "2024-04-01") == 2


def test_what_comes_later_is_not_known_yet() -> None:
    """An event that is recorded later about an earlier time counts at that time, and no other way round."""
    events = [event(BEGAN, 2, "2024-02-01"), event("applied", 2, "2024-05-01"), event(BEGAN, 3, "2024-06-01")]
    assert [version_at(events, f"2024-0{month}-15") for month in range(1, 8)] == [None, 2, 2, 2, None, 3, 3]


def test_a_sound_challenger_that_is_not_surely_better_may_decide() -> None:
    assert refusal(SOUND, "rejected") == ""
    assert refusal(SOUND, "waiting for approval") == ""


@pytest.mark.parametrize(
    ("changed", "outcome", "says"),
    [
        ({}, "insufficient", "too few labels"),
        ({"probabilities": None}, "rejected", "has not looked at probabilities"),
        ({"finite_predictions": None}, "rejected", "has not looked at finite_predictions"),
        ({"probabilities": CheckResult("probabilities", "fail", "")}, "rejected", "refused it: probabilities"),
        ({"floor": CheckResult("floor", "fail", "")}, "rejected", "refused it: floor"),
        ({"evidence": CheckResult("evaluation", "fail", "")}, "rejected", "refused it: evaluation"),
        ({"beats_champion": None}, "promoted", "not compared with the champion"),
        ({"beats_champion": CheckResult("beats_champion", "skipped", "")}, "promoted", "not compared"),
        ({"beats_champion": CheckResult("beats_champion", "fail", "it raised")}, "rejected", "surely worse"),
        (
            {"beats_champion": CheckResult("beats_champion", "fail", "", numbers={"high": -0.001})},
            "rejected",
            "surely worse than the champion",
        ),
        (
            {"beats_champion": CheckResult("beats_champion", "fail", "", numbers={"high": float("nan")})},
            "rejected",
            "surely worse",
        ),
    ],
)
def test_whoever_is_unsound_decides_for_nobody(changed: dict[str, Any], outcome: str, says: str) -> None:
    checks = [changed.get(check.name, check) for check in SOUND]
    assert says in refusal([check for check in checks if check is not None], outcome)


def test_its_events_change_nothing_about_champions_and_decisions() -> None:
    plain = [event("decided", 1, "2024-01-01", outcome="promoted"), event("applied", 1, "2024-01-01")]
    with_canary = [*plain, event(BEGAN, 2, "2024-02-01"), event(ENDED, 2, "2024-03-01")]
    assert line_of_champions(with_canary) == [1]
    assert champions_of(with_canary) == champions_of(plain)
    assert decisions_of(with_canary) == decisions_of(plain)


def settings(**scoring: Any) -> UseCaseSettings:
    return UseCaseSettings.model_validate(
        {"owner": "x", "label": {"horizon": "1 day"}, "gate": {"floor": 0.5}, "scoring": scoring}
    )


def record(**other: Any) -> PerformanceRecord:
    given: dict[str, Any] = {
        "use_case": "tiny", "as_of": parse_as_of("2024-05-01"), "basis": "canary", "alias": "challenger",
        "model_version": 2, "window_start": parse_as_of("2024-02-01"), "window_end": parse_as_of("2024-05-01"),
        "metric": "canary_gain", "value": -0.05, "low": -0.08, "high": -0.02, "violated": True, "rows": 80,
        "coverage": 1.0, "note": "judged at an error of 1%",
    }  # fmt: skip
    return PerformanceRecord(**(given | other))


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (None, "skipped"),
        (record(value=None, low=None, high=None, violated=False, note="8 labels, needs 50"), "skipped"),
        (record(), "fail"),
        (record(high=0.01, violated=False), "pass"),
    ],
    ids=["nothing recorded", "too few", "surely worse", "not surely worse"],
)
def test_a_challenger_that_did_surely_worse_as_a_canary_is_not_promoted(found: Any, status: str) -> None:
    import numpy as np

    evidence = Evidence(np.zeros(2), np.zeros(2), None, {}, canary=found)
    assert NotWorseAsCanary(settings(canary=0.1)).run(evidence).status == status


def test_the_gate_asks_only_where_there_are_canaries() -> None:
    assert "canary" in {check.name for check in default_checks(settings(canary=0.1))}
    assert "canary" not in {check.name for check in default_checks(settings())}


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"scoring\.canary"):
        settings(canary=share)
