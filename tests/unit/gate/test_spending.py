"""What a decision may spend of its error follows from the decisions on record, and from nothing else."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.gate import GateSettings
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.champion_gate import ChampionGate
from mlplatform.gate.checks.base import Evidence
from mlplatform.gate.decision import Decision, limits_text
from mlplatform.gate.spending import of_decision
from mlplatform.ops.records import GATE_DECISIONS, GateEvent
from mlplatform.statistics.spending import Spending

LIMITS = GateSettings(floor=0.6)
EACH = GateSettings(floor=0.6, error_per="decision")
AS_OF = parse_as_of("2024-06-01")


def event(number: int, as_of: str, level: float | None = 0.01, **other: Any) -> GateEvent:
    given: dict[str, Any] = {
        "decision_id": f"d{number}",
        "event": "decided",
        "kind": "gate",
        "use_case": "tiny",
        "model": "dev.tiny.model",
        "as_of": parse_as_of(as_of),
        "outcome": "rejected",
        "reason": "",
        "challenger_version": number,
        "spending": {} if level is None else asdict(Spending("year", level, 0.05)),
        "recorded_at": datetime(2024, 1, 1, tzinfo=UTC),
    }
    return GateEvent(**(given | other))


def spent(*events: GateEvent, identity: str = "new", limits: GateSettings = LIMITS) -> Spending:
    return of_decision(limits, events, identity, AS_OF)


def test_the_first_decision_has_half_of_the_years_error() -> None:
    assert spent() == Spending("year", 0.025, 0.05)


def test_rejections_spend_and_so_do_decisions_that_were_not_applied() -> None:
    found = spent(event(1, "2024-01-01"), event(2, "2024-03-01", outcome="promoted"))
    assert (found.spent, found.decisions, found.level) == (0.02, 2, pytest.approx(0.015))


@pytest.mark.parametrize(
    "other",
    [
        event(9, "2024-05-01", kind="rollback", outcome="rolled back"),
        event(9, "2024-05-01", kind="override", outcome="promoted"),
        event(9, "2024-05-01", level=None, outcome="insufficient"),
        event(9, "2024-05-01", event="applied"),
        event(9, "2024-05-01", event="stale"),
        event(9, "2023-06-01"),
        event(9, "2024-06-02"),
        event(9, "2024-05-01", spending=asdict(Spending("decision", 0.05, 0.05))),
        event(1, "2024-01-01"),
    ],
    ids=[
        "a rollback", "by hand", "nothing compared", "its application", "found stale", "a year ago", "later",
        "without the promise", "recorded twice",
    ],
)  # fmt: skip
def test_what_spends_nothing(other: GateEvent) -> None:
    assert spent(event(1, "2024-01-01"), other) == spent(event(1, "2024-01-01"))


def test_a_decision_that_is_on_record_keeps_what_it_spent_whatever_came_after() -> None:
    first = spent(event(1, "2024-01-01"))
    recorded = event(7, "2024-06-01", spending=asdict(first))
    assert spent(event(1, "2024-01-01"), recorded, event(8, "2024-06-01"), identity="d7") == first
    assert spent(event(1, "2024-01-01"), recorded).spent == pytest.approx(0.01 + first.level)


def test_each_decision_has_an_error_of_its_own_where_the_settings_say_so() -> None:
    assert spent(event(1, "2024-05-01"), limits=EACH) == Spending("decision", pytest.approx(0.05), pytest.approx(0.05))


def test_ids_of_decisions_that_have_an_error_of_their_own_are_what_they_were() -> None:
    assert "error_per" not in limits_text(EACH)
    assert '"error_per":"year"' in limits_text(LIMITS)


def test_what_was_spent_is_on_record_and_events_from_before_are_read() -> None:
    found = event(1, "2024-01-01")
    assert Decision.of(found).spending == Spending("year", 0.01, 0.05)
    assert Decision.of(replace(found, spending={})).spending is None
    assert "spending" in GATE_DECISIONS.schema.names


ROWS = 1200
LABELS = (np.arange(ROWS) % 3 == 0).astype(float)


def noisy(signal: float, seed: int) -> np.ndarray:
    return 1 / (1 + np.exp(-(signal * (LABELS - 0.5) + np.random.default_rng(seed).normal(size=ROWS))))


def decided(spending: Spending | None, champion: Any = None, **gate: Any) -> Decision:
    settings = UseCaseSettings.model_validate(
        {"owner": "x", "label": {"horizon": "1 day"}, "gate": {"floor": 0.5, "min_rows": 100, **gate}}
    )
    other = noisy(1.0, 1) if champion is None else champion
    found = Evidence(LABELS, noisy(1.5, 0), other, {}, spending=spending)
    return ChampionGate(settings).decide(found, identity="x", challenger=2, champion=1, as_of=AS_OF)


def beats(decision: Decision) -> Any:
    return next(check for check in decision.checks if check.name == "beats_champion")


def test_the_less_is_left_the_surer_a_challenger_must_be() -> None:
    wide, narrow = (decided(Spending("year", level, 0.05, 0.0, 0)) for level in (0.04, 0.0001))
    assert (beats(wide).status, beats(narrow).status) == ("pass", "fail")
    assert beats(narrow).numbers["gain"] == beats(wide).numbers["gain"] > 0
    assert "surely better is needed, but for an error of 0.01% of the 5% a year" in beats(narrow).detail
    assert beats(narrow).numbers["level"] == 0.0001
    assert narrow.spending == Spending("year", 0.0001, 0.05)


def test_without_a_record_it_is_a_first_decision() -> None:
    assert decided(None).spending == Spending("year", pytest.approx(0.025), pytest.approx(0.05))
    assert beats(decided(None, error_per="decision")).numbers["confidence"] == 0.9


def test_where_nothing_is_left_nobody_is_promoted() -> None:
    found = decided(Spending("year", 0.0, 0.05, 0.05, 4))
    assert beats(found).status == "fail"
    assert "nothing is left of the year's error" in beats(found).detail


def test_nothing_is_spent_where_nothing_is_compared() -> None:
    settings = UseCaseSettings.model_validate(
        {"owner": "x", "label": {"horizon": "1 day"}, "gate": {"floor": 0.5, "min_rows": 100}}
    )
    gate = ChampionGate(settings)
    first = gate.decide(Evidence(LABELS, noisy(2, 0), None, {}), identity="x", challenger=1, champion=None, as_of=AS_OF)
    assert first.spending is None
    few = Evidence(LABELS[:50], noisy(2, 0)[:50], noisy(1, 1)[:50], {})
    assert gate.decide(few, identity="x", challenger=1, champion=2, as_of=AS_OF).spending is None
    none = np.full(ROWS, np.nan)
    lost = gate.decide(Evidence(LABELS, none, none, {}), identity="x", challenger=1, champion=2, as_of=AS_OF)
    assert (lost.outcome, lost.spending) == ("rejected", None)
