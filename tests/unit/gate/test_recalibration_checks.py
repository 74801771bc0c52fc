"""A challenger that is the champion with its probabilities moved: what the gate asks of it, and how sure it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.champion_gate import ChampionGate
from mlplatform.gate.checks.base import CheckResult, Evidence, FeatureFacts, GateCheck, RecalibrationEvidence
from mlplatform.gate.decision import Decision
from mlplatform.protocols.registry import ModelSignature
from mlplatform.statistics.metrics import log_loss
from mlplatform.statistics.recalibration import IsotonicMove, OddsMove
from mlplatform.training.label_frame import LabelFrame
from mlplatform.training.outcomes import RowOutcomes

AS_OF = parse_as_of("2010-01-01")
SIGNATURE = ModelSignature({"price": "double"}, {}, ("double",))


def settings(metric: str = "roc_auc", **sections: Any) -> UseCaseSettings:
    gate = {"floor": 0.99, "min_rows": 100, "min_positives": 20, "draws": 300, **sections.pop("gate", {})}
    return UseCaseSettings.model_validate(
        {"owner": "x", "label": {"horizon": "1 day"}, "training": {"metric": metric}, "gate": gate, **sections}
    )


def world(seed: int, rows: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a model, and labels whose odds are so many times what it says."""
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-random.normal(-2.2, 1.0, rows)))
    return scores, (random.random(rows) < OddsMove(np.log(factor))(scores)).astype(float)


def decide(
    labels: np.ndarray, champion: np.ndarray, challenger: np.ndarray, *, given: Any = None, **beside: Any
) -> Decision:
    moved = RecalibrationEvidence(3, beside.pop("weights", np.ones(labels.size)), **beside)
    evidence = Evidence(
        labels=labels, challenger=challenger, champion=champion, source={}, as_of=AS_OF, recalibration=moved,
        features=FeatureFacts({}, {}, {}), signatures=(SIGNATURE, SIGNATURE),
    )  # fmt: skip
    gate = ChampionGate(given or settings())
    return gate.decide(evidence, identity="d", challenger=4, champion=3, as_of=AS_OF)


def status(decision: Decision) -> dict[str, str]:
    return {check.name: check.status for check in decision.checks}


def test_moved_to_where_it_belongs_it_is_promoted_though_nothing_ranks_better():
    scores, labels = world(0, 3000, 3.0)
    decision = decide(labels, scores, OddsMove(np.log(3.0))(scores))
    assert decision.outcome == "promoted", decision.reason
    assert status(decision) == {
        "evidence": "pass", "finite_predictions": "pass", "probabilities": "pass", "not_worse": "pass",
        "recalibrated_brier": "pass",
        "recalibrated_log_loss": "pass", "calibration": "skipped", "brier": "skipped", "calibration_slope": "skipped",
        "slices": "skipped", "feature_availability": "skipped",
        "feature_staleness": "skipped", "signature": "pass", "scoring_time": "skipped",
    }  # fmt: skip
    assert "log_loss" in decision.reason


def test_moved_where_nothing_was_off_or_too_far_it_is_rejected():
    scores, labels = world(1, 3000, 1.0)
    assert decide(labels, scores, OddsMove(np.log(1.5))(scores)).outcome == "rejected"
    assert decide(labels, scores, scores.copy()).outcome == "rejected"
    scores, labels = world(2, 3000, 2.0)
    assert decide(labels, scores, OddsMove(np.log(12.0))(scores)).outcome == "rejected"


def test_a_version_of_another_model_is_judged_as_a_model():
    """Without that evidence, the ordinary checks: the floor of 0.99 is not reached."""
    scores, labels = world(0, 3000, 3.0)
    evidence = Evidence(labels, OddsMove(np.log(3.0))(scores), scores, {}, as_of=AS_OF)
    decision = ChampionGate(settings()).decide(evidence, identity="d", challenger=4, champion=3, as_of=AS_OF)
    assert status(decision)["floor"] == "fail"


@pytest.mark.parametrize(("times", "most"), [(100, 0.1), pytest.param(300, 0.09, marks=pytest.mark.slow)])
def test_the_number_of_events_is_left_to_chance_and_the_level_is_kept(times, most):
    """A move that is exactly as good on average passes in at most about one of twenty cases; 5 % plus noise.

    Drawn within each class, as other checks draw, events would be as many in every draw: then far more would pass.
    """
    passed, within = 0, 0
    given = settings(gate={"draws": 200, "min_positives": 5})
    for seed in range(times):
        random = np.random.default_rng(seed)
        # Predicted 10 %, moved to 20 %: in the Brier score as good as each other where 15 % come true.
        labels = (random.random(400) < 0.15).astype(float)
        champion, challenger = np.full(400, 0.1), np.full(400, 0.2)
        decision = decide(labels, champion, challenger, given=given)
        brier = next(check for check in decision.checks if check.name == "recalibrated_brier")
        passed += brier.status == "pass"
        within += brier.numbers["gain"] > 0
    assert passed / times <= most
    assert within / times >= 0.3  # what a draw within each class would have passed


def test_a_curve_that_costs_ranking_is_held_against_its_limit():
    scores, labels = world(3, 4000, 3.0)
    flat = IsotonicMove((0.0, 0.05, 0.050001, 1.0), (0.1, 0.1, 0.3, 0.3))(scores)
    decision = decide(labels, scores, flat)
    assert status(decision)["not_worse"] == "fail"
    fine = np.linspace(0.0, 1.0, 2000)
    curve = IsotonicMove(tuple(fine), tuple(np.round(OddsMove(np.log(3.0))(fine), 3)))(scores)
    assert status(decide(labels, scores, curve))["not_worse"] == "pass"


def test_a_proper_score_as_primary_metric_is_compared_itself():
    scores, labels = world(4, 3000, 3.0)
    decision = decide(labels, scores, OddsMove(np.log(3.0))(scores), given=settings("log_loss"))
    assert decision.outcome == "promoted", decision.reason
    worse = decide(labels, scores, OddsMove(-1.0)(scores), given=settings("log_loss"))
    assert status(worse)["not_worse"] == "fail"


def test_expected_rates_count_as_they_are_worth_and_at_their_ends():
    scores, labels = world(5, 3000, 3.0)
    rates, moved = np.full(3000, labels.mean()), OddsMove(np.log(3.0))(scores)
    sure = decide(rates, scores, moved, expected=True, weights=np.full(3000, 0.5), low=rates - 0.01, high=rates + 0.01)
    assert sure.outcome == "promoted", sure.reason
    assert status(sure)["slices"] == "skipped"
    doubtful = decide(rates, scores, moved, expected=True, low=rates * 0.3, high=rates + 0.01)
    assert status(doubtful)["recalibrated_brier"] == "fail"
    few = decide(rates, scores, moved, expected=True, weights=np.full(3000, 0.01))
    assert few.outcome == "insufficient"


def test_of_rates_a_score_is_what_is_expected_of_it():
    scores, labels = world(6, 2000, 3.0)
    rates = OddsMove(np.log(3.0))(scores)
    moved = rates.copy()
    by_rates = decide(rates, scores, moved, expected=True)
    value = next(check for check in by_rates.checks if check.name == "recalibrated_log_loss").numbers["challenger"]
    drawn = [log_loss((np.random.default_rng(seed).random(2000) < rates).astype(float), moved) for seed in range(200)]
    assert value == pytest.approx(np.mean(drawn), rel=0.01)
    del labels


class MeanScore(GateCheck):
    name = "mean_score"

    def run(self, evidence: Evidence) -> CheckResult:
        return self.verdict(float(evidence.challenger.mean()) < 0.3, "mean score")


class WithMean(ChampionGate):
    def checks(self):
        return [*super().checks(), MeanScore(self.settings)]


def test_a_use_case_s_own_checks_stay():
    scores, labels = world(7, 3000, 30.0)
    moved = OddsMove(np.log(30.0))(scores)
    evidence = Evidence(
        labels, moved, scores, {}, as_of=AS_OF, recalibration=RecalibrationEvidence(3, np.ones(3000)),
        features=FeatureFacts({}, {}, {}), signatures=(SIGNATURE, SIGNATURE),
    )  # fmt: skip
    decision = WithMean(settings()).decide(evidence, identity="d", challenger=4, champion=3, as_of=AS_OF)
    assert [check.name for check in decision.checks if check.status == "fail"] == ["mean_score"]


def test_it_fails_closed():
    scores, labels = world(8, 3000, 3.0)
    moved = OddsMove(np.log(3.0))(scores)
    moved[7] = np.nan
    assert status(decide(labels, scores, moved))["finite_predictions"] == "fail"
    turned = 1 - scores
    assert decide(labels, scores, turned).outcome == "rejected"
    evidence = Evidence(labels, moved, None, {}, as_of=AS_OF, recalibration=RecalibrationEvidence(3, np.ones(3000)))
    decision = ChampionGate(settings()).decide(evidence, identity="d", challenger=4, champion=3, as_of=AS_OF)
    assert decision.outcome == "rejected"
    soft = Evidence(
        np.full(3000, 0.3), turned, scores, {}, as_of=AS_OF,
        recalibration=RecalibrationEvidence(3, np.ones(3000), expected=True), features=FeatureFacts({}, {}, {}),
        signatures=(SIGNATURE, SIGNATURE),
    )  # fmt: skip
    found = ChampionGate(settings()).decide(soft, identity="d", challenger=4, champion=3, as_of=AS_OF)
    assert status(found)["not_worse"] == "fail"
    assert replace(soft, recalibration=None).expected is False


def test_a_guard_of_the_ranking_is_kept_where_the_ranking_is():
    scores, labels = world(9, 3000, 3.0)
    moved = OddsMove(np.log(3.0))(scores)
    guards = [{"metric": "roc_auc", "max_loss": 0.0}, {"metric": "average_precision", "max_loss": 0.0, "floor": 0.99}]
    decision = decide(labels, scores, moved, given=settings(gate={"guards": guards}))
    assert status(decision)["guard_roc_auc"] == "skipped"
    assert status(decision)["guard_average_precision"] == "fail"  # its floor, champion or not
    tied = np.round(moved, 1)
    assert status(decide(labels, scores, tied, given=settings(gate={"guards": guards})))["guard_roc_auc"] == "fail"


def test_rates_of_groups_are_shared_as_the_champion_ranks_so_that_telling_rows_apart_is_no_fault():
    """Of a model moved to where its groups' rates are, the gain that is expected is the gain that comes."""
    random = np.random.default_rng(10)
    scores = 1 / (1 + np.exp(-random.normal(-3.5, 1.2, 8000)))
    group = np.arange(8000) % 2
    true = np.where(group == 0, OddsMove(1.0)(scores), OddsMove(2.0)(scores))
    rates = np.where(group == 0, true[group == 0].mean(), true[group == 1].mean())
    frame = LabelFrame(pa.table({"id": np.arange(8000)}), {}, 8000, AS_OF)
    given = RowOutcomes(frame, rates, np.ones(8000), ranked=False, expected=True, low=rates * 0.9, high=rates * 1.1)
    shared = given.spread(scores)
    assert shared.targets == pytest.approx(true, rel=1e-4)
    assert shared.digest == given.digest
    assert shared.low is not None
    assert shared.low.mean() == pytest.approx(0.9 * rates.mean(), rel=1e-4)
    moved = OddsMove(1.5)(scores)
    decision = decide(shared.targets, scores, moved, expected=True)
    assert decision.outcome == "promoted", decision.reason
    brier = next(check for check in decision.checks if check.name == "recalibrated_brier").numbers["gain"]
    drawn = [(np.random.default_rng(seed).random(8000) < true).astype(float) for seed in range(100)]
    gains = [np.mean((scores - labels) ** 2) - np.mean((moved - labels) ** 2) for labels in drawn]
    assert brier == pytest.approx(np.mean(gains), rel=0.05)
    # As each row's own rate, they would have it a loss.
    assert decide(rates, scores, moved, expected=True).outcome == "rejected"
    single = replace(given, ranked=True)
    assert single.spread(scores) is single
