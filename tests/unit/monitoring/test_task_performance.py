"""Realised performance of quantiles and counts: what is measured, and when it raises an alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import d2_tweedie_score, mean_pinball_loss, mean_poisson_deviance

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import alerts, performance
from mlplatform.monitoring.performance_metrics import CALIBRATION_RATIO, PerformanceMetric, realised
from mlplatform.statistics.quantile_metrics import COVERAGE

ROWS = 2000
DICE = np.random.default_rng(31)
AREA = DICE.uniform(0, 1, ROWS)
MINUTES = DICE.exponential(5 + 20 * AREA)
QUANTILE = -np.log(0.2) * (5 + 20 * AREA)  # 0.8 of an exponential distribution
MEAN = np.exp(0.3 + 1.5 * AREA)
VISITS = DICE.poisson(MEAN).astype(float)


def settings_of(task: str, **monitoring: Any) -> UseCaseSettings:
    label = {"horizon": "1 day", **({"quantile": 0.8} if task == "quantile" else {})}
    given = {"owner": "x", "task": task, "label": label, "gate": {"floor": 100.0}}
    return UseCaseSettings.model_validate(given | {"monitoring": {"min_rows": 100, **monitoring}})


def measure(task: str, labels: np.ndarray, made: np.ndarray, **monitoring: Any) -> dict[str, PerformanceMetric]:
    return {item.metric: item for item in realised(labels, made, settings_of(task, **monitoring))}


def violated(found: dict[str, PerformanceMetric]) -> list[str]:
    return [name for name, item in found.items() if item.violated]


def test_a_right_quantile_is_measured_and_raises_nothing():
    found = measure("quantile", MINUTES, QUANTILE)
    assert violated(found) == []
    assert found["pinball_loss"].value == pytest.approx(mean_pinball_loss(MINUTES, QUANTILE, alpha=0.8))
    assert found[COVERAGE].value == pytest.approx((MINUTES <= QUANTILE).mean())
    assert CALIBRATION_RATIO not in found


@pytest.mark.parametrize("factor", [0.6, 1.8])
def test_a_quantile_that_covers_too_few_or_too_many_is_an_alarm_of_calibration(factor):
    found = measure("quantile", MINUTES, QUANTILE * factor)
    assert violated(found) == [COVERAGE]
    version = performance._OfVersion(3, ROWS, list(found.values()), performance.Beside([], None, "", ROWS))
    said = performance._against_limits(alerts.CALIBRATION, [version], settings_of("quantile"))
    assert said.state == "violated", said
    assert "of the quantile 0.8: a gap of 0.05 is allowed" in said.message
    well = measure("quantile", MINUTES, QUANTILE)
    version = performance._OfVersion(3, ROWS, list(well.values()), performance.Beside([], None, "", ROWS))
    assert performance._against_limits(alerts.CALIBRATION, [version], settings_of("quantile")).state == "ok"


def test_a_gap_within_the_noise_of_few_labels_is_no_alarm():
    """88 of 100 at or below where 80 were meant: a gap of 0.08, and chance gives 0.12 in one of 350."""
    labels = np.r_[np.zeros(88), np.full(12, 2.0)]
    assert violated(measure("quantile", labels, np.ones(100))) == []
    assert violated(measure("quantile", np.tile(labels, 10), np.ones(1000))) == [COVERAGE]


def test_right_quantiles_of_many_windows_raise_hardly_an_alarm():
    """Simulated: 400 windows of 150 labels, each predicted by the true quantile."""
    dice = np.random.default_rng(8)
    labels = dice.exponential(1.0, (400, 150))
    limit = settings_of("quantile", max_coverage_gap=0.01)
    alarms = sum(
        any(item.violated for item in realised(row, np.full(150, -np.log(0.2)), limit)) for row in labels
    )  # fmt: skip
    assert alarms <= 5, "three standard deviations: 0.27% of 400, and the binomial's skew"


def test_counts_are_measured_and_their_total_is_held_against_the_predicted_one():
    found = measure("counts", VISITS, MEAN)
    assert violated(found) == []
    assert found["poisson_deviance"].value == pytest.approx(mean_poisson_deviance(VISITS, MEAN))
    assert found["d2"].value == pytest.approx(d2_tweedie_score(VISITS, MEAN, power=1))
    assert found[CALIBRATION_RATIO].value == pytest.approx(VISITS.sum() / MEAN.sum())
    assert violated(measure("counts", VISITS, MEAN / 2)) == [CALIBRATION_RATIO]
    assert violated(measure("counts", VISITS, MEAN * 2)) == [CALIBRATION_RATIO]


def test_counts_that_come_in_bursts_are_not_held_to_what_poisson_varies_by():
    """Sixty of a hundred rows have 60, the others nothing: 36 were expected of each, 30 were predicted."""
    few, made = np.r_[np.zeros(40), np.full(60, 60.0)], np.full(100, 30.0)
    assert abs(few.sum() - made.sum()) > 3 * np.sqrt(made.sum()), "Poisson would call that an alarm"
    ratio = measure("counts", few, made, max_calibration_ratio=1.1)[CALIBRATION_RATIO]
    assert ratio.value == pytest.approx(1.2)
    assert not ratio.violated
