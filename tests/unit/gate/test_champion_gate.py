"""The champion/challenger gate: what each check lets pass, and that it fails closed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.gate import GateSettings
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.champion_gate import ChampionGate
from mlplatform.gate.checks.base import CheckResult, Evidence, FeatureFacts, GateCheck, ModelSignature
from mlplatform.gate.checks.evidence import EnoughEvidence
from mlplatform.gate.decision import Decision, decision_id, limits_text
from mlplatform.statistics import metrics
from mlplatform.statistics.metrics import Metric

AS_OF = parse_as_of("2006-01-01")
ROWS = 600


def settings(*, task: str = "classification", metric: str = "roc_auc", **gate: Any) -> UseCaseSettings:
    limits = {"floor": 0.6, "min_rows": 100, "min_positives": 20, "draws": 200, **gate}
    return UseCaseSettings.model_validate(
        {"owner": "x", "task": task, "label": {"horizon": "1 day"}, "training": {"metric": metric}, "gate": limits}
    )


def predictions(signal: float, seed: int = 0) -> np.ndarray:
    """Probabilities that follow `LABELS`, the more the greater the signal."""
    noise = np.random.default_rng(seed).normal(size=ROWS)
    return 1 / (1 + np.exp(-(signal * (LABELS - 0.5) + noise)))


LABELS = (np.arange(ROWS) % 4 == 0).astype(float)
GOOD, FAIR, POOR = predictions(3.0), predictions(1.2, 1), predictions(0.0, 2)


SIGNATURE = ModelSignature({"price": "double"}, {"region_history": "long"}, ("double",))
NO_FEATURES = FeatureFacts({}, {}, {})


def evidence_of(challenger: np.ndarray, champion: np.ndarray | None, labels: np.ndarray = LABELS) -> Evidence:
    return Evidence(
        labels=labels,
        challenger=challenger,
        champion=champion,
        source={"digest": "x"},
        features=NO_FEATURES,
        signatures=(SIGNATURE, SIGNATURE),
    )


def decide(
    challenger: np.ndarray,
    champion: np.ndarray | None = None,
    *,
    labels: np.ndarray = LABELS,
    gate: type[ChampionGate] = ChampionGate,
    **limits: Any,
) -> Decision:
    return gate(settings(**limits)).decide(
        evidence_of(challenger, champion, labels),
        identity="d1",
        challenger=2,
        champion=None if champion is None else 1,
        as_of=AS_OF,
    )


def status(decision: Decision) -> dict[str, str]:
    return {check.name: check.status for check in decision.checks}


def failed(decision: Decision) -> list[str]:
    return [check.name for check in decision.checks if check.status == "fail"]


def test_a_better_challenger_is_promoted_and_the_reason_gives_the_numbers():
    decision = decide(GOOD, FAIR)
    assert (decision.outcome, failed(decision)) == ("promoted", [])
    assert "against the champion's" in decision.reason
    assert (decision.challenger_version, decision.champion_version) == (2, 1)
    assert decision.evaluation == {"rows": ROWS, "digest": "x"}


def test_a_worse_challenger_is_rejected_for_that_alone():
    decision = decide(FAIR, GOOD)
    assert (decision.outcome, failed(decision)) == ("rejected", ["beats_champion"])


def test_the_champion_again_is_no_better_and_stays_out_without_a_margin():
    assert decide(GOOD, GOOD.copy()).outcome == "rejected"
    assert decide(GOOD, GOOD.copy(), margin=0.01).outcome == "promoted"


def test_a_margin_lets_a_slightly_worse_one_pass_and_no_more():
    worse = GOOD.copy()
    worse[:40] = POOR[:40]
    assert decide(worse, GOOD).outcome == "rejected"
    assert decide(worse, GOOD, margin=0.2).outcome == "promoted"
    assert decide(FAIR, GOOD, margin=0.02).outcome == "rejected"


def test_the_first_champion_need_not_beat_one_but_all_the_rest():
    decision = decide(GOOD)
    assert decision.outcome == "promoted"
    assert status(decision) == {
        "evidence": "pass",
        "finite_predictions": "pass",
        "probabilities": "pass",
        "floor": "pass",
        "beats_trivial": "pass",
        "beats_champion": "skipped",
        "calibration": "skipped",
        "brier": "skipped",
        "calibration_slope": "skipped",
        "slices": "skipped",
        "feature_availability": "skipped",
        "feature_staleness": "skipped",
        "signature": "skipped",
        "scoring_time": "skipped",
    }
    assert all(check.detail for check in decision.checks)
    assert decision.champion_version is None
    assert decide(GOOD, floor=0.999).outcome == "rejected"
    assert decide(POOR, floor=0.1).outcome == "rejected"
    assert decide(GOOD, max_calibration_error=0.001).outcome == "rejected"


def test_a_champion_whose_predictions_are_not_there_is_not_no_champion():
    decision = ChampionGate(settings()).decide(
        evidence_of(GOOD, None), identity="d", challenger=2, champion=1, as_of=AS_OF
    )
    assert decision.outcome != "promoted"


def test_the_floor_is_reached_from_above():
    decision = decide(GOOD, floor=0.99)
    assert failed(decision) == ["floor"]
    assert "at least 0.9900 is needed" in decision.reason


def test_a_predictor_that_knows_nothing_does_not_beat_one():
    decision = decide(POOR, floor=0.0)
    assert failed(decision) == ["beats_trivial"]
    constant = decide(np.full(ROWS, LABELS.mean()), floor=0.0)
    assert failed(constant) == ["beats_trivial"]


@pytest.mark.parametrize("metric", ["brier", "log_loss"])
def test_an_error_metric_is_held_under_its_floor_and_a_constant_gains_nothing(metric):
    calibrated = np.clip(LABELS * 0.8 + 0.05, 0, 1)
    assert decide(calibrated, metric=metric, floor=0.7).outcome == "promoted"
    assert failed(decide(calibrated, metric=metric, floor=0.0001)) == ["floor"]
    assert failed(decide(np.full(ROWS, 0.25), metric=metric, floor=10.0)) == ["beats_trivial"]


def test_calibration_is_limited_where_a_limit_is_set():
    squeezed = 0.9 + GOOD / 10
    assert decide(squeezed).outcome == "promoted"
    assert failed(decide(squeezed, max_calibration_error=0.1)) == ["calibration"]
    assert status(decide(np.clip(LABELS, 0.02, 0.98), max_calibration_error=0.1))["calibration"] == "pass"


def test_several_failures_are_all_in_the_reason():
    decision = decide(POOR, GOOD, floor=0.9, max_calibration_error=0.01)
    assert failed(decision) == ["floor", "beats_trivial", "beats_champion", "calibration"]
    assert decision.reason.count(";") == 3


@pytest.mark.parametrize("rows", [0, 1, 99])
def test_too_few_rows_are_insufficient_and_nothing_else_is_looked_at(rows):
    decision = decide(GOOD[:rows], GOOD[:rows], labels=LABELS[:rows])
    assert (decision.outcome, status(decision)) == ("insufficient", {"evidence": "fail"})
    assert decision.reason == f"{rows} labelled rows, 100 are needed"


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_too_few_of_either_class_are_insufficient(value):
    labels = np.full(ROWS, value)
    labels[:19] = 1 - value
    decision = decide(GOOD, labels=labels)
    assert decision.outcome == "insufficient"
    assert "19 rows of the rarer class, 20 are needed" in decision.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whose", ["challenger", "champion"])
def test_one_prediction_that_is_no_number_is_enough_to_be_rejected(bad, whose):
    broken = GOOD.copy()
    broken[3] = bad
    decision = decide(broken, FAIR) if whose == "challenger" else decide(GOOD, broken)
    assert (decision.outcome, failed(decision)) == ("rejected", ["finite_predictions"])
    assert f"1 of {whose}" in decision.reason
    assert [check.name for check in decision.checks][-1] == "finite_predictions"


@pytest.mark.parametrize(("value", "says"), [(1.25, "to 1.25"), (-0.5, "from -0.5")])
def test_a_prediction_that_is_no_probability_is_rejected_and_nothing_else_is_computed(value, says):
    odd = GOOD.copy()
    odd[3] = value
    decision = decide(odd, FAIR)
    assert (decision.outcome, failed(decision)) == ("rejected", ["probabilities"])
    assert f"1 of {GOOD.size} predictions lie outside of 0 to 1" in decision.reason
    assert says in decision.reason
    assert [check.name for check in decision.checks][-1] == "probabilities"
    # What the champion predicts is in use already, and no fault of the challenger's.
    champion = FAIR.copy()
    champion[3] = value
    assert decide(GOOD, champion).outcome == decide(GOOD, FAIR).outcome == "promoted"


def test_the_ends_are_probabilities_too():
    sure = np.where(LABELS == 1, 1.0, 0.0)
    assert status(decide(sure, FAIR))["probabilities"] == "pass"


def test_a_label_that_is_no_number_is_rejected_too():
    labels = LABELS.copy()
    labels[1] = np.nan
    assert failed(decide(GOOD, labels=labels)) == ["finite_predictions"]


class CannotLook(GateCheck):
    name = "mine"

    def run(self, evidence: Evidence) -> CheckResult:
        raise KeyError("region")


class Fine(GateCheck):
    name = "mine"

    def run(self, evidence: Evidence) -> CheckResult:
        return self.verdict(True, "everything is fine", 1.0, 0.5)


class SaysNothing(GateCheck):
    name = "mine"

    def run(self, evidence: Evidence) -> Any:
        return None


class WithFailingCheck(ChampionGate):
    """A gate whose own check cannot look."""

    def checks(self) -> list[Any]:
        return [*super().checks(), CannotLook(self.settings)]


class WithPassingCheck(ChampionGate):
    def checks(self) -> list[Any]:
        return [*super().checks(), Fine(self.settings)]


class WithSilentCheck(ChampionGate):
    def checks(self) -> list[Any]:
        return [*super().checks(), SaysNothing(self.settings)]


def test_a_check_that_raises_fails_closed_and_says_which():
    decision = decide(GOOD, FAIR, gate=WithFailingCheck)
    assert (decision.outcome, failed(decision)) == ("rejected", ["mine"])
    assert "check mine failed with KeyError" in decision.reason


def test_a_check_that_gives_no_result_has_failed():
    assert failed(decide(GOOD, FAIR, gate=WithSilentCheck)) == ["mine"]


def test_a_use_case_may_add_a_check():
    decision = decide(GOOD, FAIR, gate=WithPassingCheck)
    assert decision.outcome == "promoted"
    assert status(decision)["mine"] == "pass"


def test_vectors_of_different_lengths_are_not_compared():
    decision = decide(GOOD, GOOD[:-1])
    assert (decision.outcome, failed(decision)) == ("rejected", ["finite_predictions"])


def test_an_undefined_metric_is_no_reason_to_promote(monkeypatch):
    nothing = Metric("roc_auc", lambda labels, made: float("nan"), greater_is_better=True)
    monkeypatch.setitem(metrics.METRICS, "roc_auc", nothing)
    decision = decide(GOOD, FAIR)
    assert decision.outcome == "rejected"
    assert {"floor", "beats_trivial", "beats_champion"} <= set(failed(decision))


def test_an_unknown_metric_is_refused_before_anything_is_decided():
    with pytest.raises(ValueError, match="Did you mean roc_auc"):
        ChampionGate(settings(metric="roc"))


def regression(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.random.default_rng(0).exponential(size=ROWS) * 10
    return labels, labels + random.normal(scale=scale, size=ROWS)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_regression_is_decided_by_its_error(metric):
    labels, near = regression(1, 1.0)
    _, far = regression(2, 5.0)
    limits = {"task": "regression", "metric": metric, "floor": 7.0}
    assert decide(near, far, labels=labels, **limits).outcome == "promoted"
    assert failed(decide(far, near, labels=labels, **limits)) == ["beats_champion"]
    assert failed(decide(near, labels=labels, **limits | {"floor": 0.1})) == ["floor"]
    assert status(decide(near, labels=labels, **limits, max_calibration_error=0.1))["calibration"] == "skipped"


def test_a_regression_needs_rows_but_no_classes():
    labels, near = regression(1, 1.0)
    decision = decide(near, labels=labels, task="regression", metric="mae", floor=7.0, min_positives=10**6)
    assert decision.outcome == "promoted"
    assert decide(near[:99], labels=labels[:99], task="regression", metric="mae", floor=7.0).outcome == "insufficient"


def test_the_best_constant_does_not_pass_for_knowledge_by_absolute_error():
    labels, _ = regression(1, 1.0)
    constant = np.full(ROWS, np.median(labels))
    assert failed(decide(constant, labels=labels, task="regression", metric="mae", floor=100.0)) == ["beats_trivial"]


def test_the_best_constant_does_not_pass_for_knowledge_by_squared_error():
    labels, _ = regression(1, 1.0)
    constant = np.full(ROWS, labels.mean())
    assert decide(constant, labels=labels, task="regression", metric="rmse", floor=100.0).outcome == "rejected"


def test_the_decision_can_be_written_down():
    written = json.loads(decide(GOOD, FAIR).to_json())
    assert written["outcome"] == "promoted"
    assert written["checks"][0]["name"] == "evidence"
    assert written["checks"][4]["numbers"]["draws"] == 200


def test_deciding_again_on_the_same_evidence_gives_the_same_decision():
    assert decide(GOOD, FAIR) == decide(GOOD, FAIR)


def test_the_id_names_versions_time_and_rows():
    same = ("dev.x.model", 2, 1, AS_OF, "frame")
    assert decision_id(*same) == decision_id(*same)
    others = [
        ("dev.y.model", 2, 1, AS_OF, "frame"),
        ("dev.x.model", 3, 1, AS_OF, "frame"),
        ("dev.x.model", 2, None, AS_OF, "frame"),
        ("dev.x.model", 2, 1, parse_as_of("2006-01-02"), "frame"),
        ("dev.x.model", 2, 1, AS_OF, "other"),
    ]
    assert len({decision_id(*item) for item in (same, *others)}) == 6


def test_a_decision_s_id_does_not_depend_on_the_bound_of_its_evidence():
    plain = GateSettings(floor=0.7)
    assert limits_text(plain) == limits_text(GateSettings(floor=0.7, max_rows=1000))
    # Limits that came later are none of it where they are not set: what was decided before is not decided again.
    later = {"max_rows", "max_coverage_gap", "max_calibration_ratio"}
    assert json.loads(limits_text(plain)) == {
        name: value for name, value in plain.model_dump(mode="json").items() if name not in later
    }
    assert json.loads(limits_text(GateSettings(floor=0.7, max_coverage_gap=0.1)))["max_coverage_gap"] == 0.1


@pytest.mark.parametrize(("known", "says"), [(ROWS, "600 labelled rows,"), (5200, "600 labelled rows of 5200,")])
def test_the_evidence_says_of_how_many_rows_it_is_a_sample(known, says):
    sample = Evidence(LABELS, GOOD, champion=None, source={"known_rows": known})
    assert EnoughEvidence(settings()).run(sample).detail.startswith(says)
    result = EnoughEvidence(settings(min_positives=400)).run(sample)
    assert result.status == "fail"
    assert ("gate.max_rows" in result.detail) == (known > ROWS)
