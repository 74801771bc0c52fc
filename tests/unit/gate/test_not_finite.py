"""Whatever number is none in a gate: it does not promote. A comparison with NaN is false either way round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.gate import GuardSettings
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError
from mlplatform.gate.champion_gate import ChampionGate, guarded
from mlplatform.gate.checks import default_checks
from mlplatform.gate.checks.base import CheckResult, Evidence, FeatureFacts, GateCheck, ModelSignature
from mlplatform.gate.checks.guards import Guard
from mlplatform.gate.checks.slices import Slices

NAN, INF = float("nan"), float("inf")
AS_OF = parse_as_of("2020-06-01")
ROWS = 1200
LABELS = (np.arange(ROWS) % 3 == 0).astype(float)
REGION = np.array(["north", "south", "east"])[(np.arange(ROWS) // 3) % 3]


def noisy(signal: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=ROWS)
    return 1 / (1 + np.exp(-(signal * (LABELS - 0.5) + noise)))


GOOD, FAIR = noisy(3.0, 0), noisy(1.5, 1)
LIMITS: dict[str, Any] = {
    "floor": 0.6,
    "min_rows": 100,
    "min_positives": 20,
    "draws": 200,
    "max_calibration_error": 0.4,
    "max_brier": 0.4,
    "min_calibration_slope": 0.1,
    "max_calibration_slope": 20.0,
    "guards": [{"metric": "average_precision", "floor": 0.3, "max_loss": 0.1}],
    "slices": {"columns": ["region"], "max_loss": 0.1},
    "features": {"max_age": "10 years"},
    "max_seconds_per_1000_rows": 60.0,
}
SETTINGS = UseCaseSettings.model_validate(
    {
        "owner": "x",
        "label": {"horizon": "1 day"},
        "training": {"metric": "roc_auc"},
        "monitoring": {"max_null_increase": 0.5},
        "gate": LIMITS,
    }
)
SIGNATURE = ModelSignature(required={"region": "string"}, optional={}, outputs=("double",))


def evidence(**changed: Any) -> Evidence:
    given: dict[str, Any] = {
        "labels": LABELS,
        "challenger": GOOD,
        "champion": FAIR,
        "source": {},
        "as_of": AS_OF,
        "rows": pa.table({"region": REGION}),
        "features": FeatureFacts({"loans": 0.1, "age": 0.0}, {"loans": 0.1}, {"lender": parse_as_of("2020-01-01")}),
        "signatures": (SIGNATURE, SIGNATURE),
        "seconds_per_1000_rows": 0.5,
    }
    return Evidence(**(given | changed))


def outcome(settings: UseCaseSettings, found: Evidence, gate: type[ChampionGate] = ChampionGate) -> str:
    return gate(settings).decide(found, identity="x", challenger=2, champion=1, as_of=AS_OF).outcome


def with_limit(**changed: Any) -> UseCaseSettings:
    """Settings as nothing that reads them would let them through: the checks themselves have to hold."""
    return SETTINGS.model_copy(update={"gate": SETTINGS.gate.model_copy(update=changed)})


def test_the_same_gate_promotes_where_every_number_is_one() -> None:
    assert outcome(SETTINGS, evidence()) == "promoted"


@pytest.mark.parametrize("number", [NAN, INF, -INF])
@pytest.mark.parametrize(
    "limit",
    [
        "floor",
        "margin",
        "max_calibration_error",
        "max_brier",
        "min_calibration_slope",
        "max_calibration_slope",
        "max_seconds_per_1000_rows",
        "min_rows",
        "min_positives",
    ],
)
def test_a_limit_that_is_none_promotes_nobody(limit: str, number: float) -> None:
    with pytest.raises(ConfigError, match=f"gate.{limit} is {number}: no finite number"):
        ChampionGate(with_limit(**{limit: number}))


@pytest.mark.parametrize("number", [NAN, INF, -INF])
@pytest.mark.parametrize("limit", ["floor", "max_loss"])
def test_a_guard_whose_limit_is_none_promotes_nobody(limit: str, number: float) -> None:
    guard = GuardSettings(metric="average_precision", floor=0.3, max_loss=0.1).model_copy(update={limit: number})
    settings = with_limit(guards=(guard,))
    with pytest.raises(ConfigError, match=f"gate.guards.0.{limit} is {number}"):
        ChampionGate(settings)
    # And the check by itself, whoever calls it.
    assert guarded(Guard(settings, guard), evidence()).status == "fail"


def test_a_slice_whose_limit_is_none_promotes_nobody() -> None:
    assert SETTINGS.gate.slices is not None
    wrong = SETTINGS.gate.slices.model_copy(update={"max_loss": NAN})
    with pytest.raises(ConfigError, match=r"gate\.slices\.max_loss is nan"):
        ChampionGate(with_limit(slices=wrong))
    assert guarded(Slices(with_limit(slices=wrong)), evidence()).status == "fail"


@pytest.mark.parametrize(
    ("check", "limit"),
    [
        ("floor", "floor"),
        ("beats_champion", "margin"),
        ("calibration", "max_calibration_error"),
        ("brier", "max_brier"),
        ("calibration_slope", "min_calibration_slope"),
        ("calibration_slope", "max_calibration_slope"),
        ("scoring_time", "max_seconds_per_1000_rows"),
    ],
)
def test_each_check_by_itself_fails_by_a_limit_of_nan(check: str, limit: str) -> None:
    (one,) = [it for it in default_checks(with_limit(**{limit: NAN})) if it.name == check]
    assert guarded(one, evidence()).status == "fail"


@pytest.mark.parametrize(
    "changed",
    [
        {"challenger": np.where(np.arange(ROWS) == 7, NAN, GOOD)},
        {"challenger": np.where(np.arange(ROWS) == 7, INF, GOOD)},
        {"champion": np.where(np.arange(ROWS) == 7, NAN, FAIR)},
        {"champion": None},
        {"labels": np.where(np.arange(ROWS) == 7, NAN, LABELS)},
        {"features": FeatureFacts({"loans": NAN}, {}, {})},
        {"features": FeatureFacts({"age": 0.0, "loans": NAN, "debt": 0.1}, {}, {})},
        {"features": FeatureFacts({"loans": 0.1}, {"loans": NAN}, {})},
        {"features": FeatureFacts({"loans": 7.0}, {"loans": 7.0}, {})},
        {"seconds_per_1000_rows": NAN},
    ],
    ids=str,
)
def test_evidence_with_a_number_that_is_none_promotes_nobody(changed: dict[str, Any]) -> None:
    assert outcome(SETTINGS, evidence(**changed)) == "rejected"


@pytest.mark.parametrize(
    "numbers",
    [
        {"value": NAN, "limit": 0.5},
        {"value": 0.7, "limit": NAN},
        {"value": INF, "limit": 0.5},
        {"value": np.float32("nan")},
        {"numbers": {"gain": NAN}},
        {"numbers": {"gain": "much"}},
        {"parts": [{"slice": "north", "gain": NAN}]},
        {"parts": ["north"]},
    ],
    ids=str,
)
def test_a_use_cases_own_check_that_passes_by_such_a_number_fails(numbers: dict[str, Any]) -> None:
    class Own(GateCheck):
        name = "own"

        def run(self, found: Evidence) -> CheckResult:
            del found
            return replace(self.verdict(passed=True, detail="all is well"), **numbers)

    class OwnGate(ChampionGate):
        def checks(self) -> list[GateCheck]:
            return [Own(self.settings)]

    result = guarded(Own(SETTINGS), evidence())
    assert result.status == "fail"
    assert "no finite number" in result.detail
    assert "all is well" in result.detail
    assert outcome(SETTINGS, evidence(), OwnGate) == "rejected"


def test_an_interval_without_an_end_is_not_a_number_that_is_none() -> None:
    class Own(GateCheck):
        name = "own"

        def run(self, found: Evidence) -> CheckResult:
            del found
            return replace(self.verdict(passed=True, detail=""), parts=[{"slice": "north", "high": INF}])

    assert guarded(Own(SETTINGS), evidence()).status == "pass"


def test_every_default_check_was_looked_at() -> None:
    """So that a new one gets its case here."""
    assert {check.name for check in default_checks(SETTINGS)} == {
        "floor", "beats_trivial", "beats_champion", "guard_average_precision", "calibration", "brier",
        "calibration_slope", "slices", "feature_availability", "feature_staleness", "signature", "scoring_time",
    }  # fmt: skip
