"""Realised performance: what is measured once labels are known, and when it raises an alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import alerts, performance, performance_metrics
from mlplatform.monitoring.performance_metrics import CALIBRATION_RATIO, PerformanceMetric, realised
from mlplatform.statistics import metrics
from mlplatform.task import TASKS

ROWS = 1000
LABELS = (np.arange(ROWS) % 5 == 0).astype(float)
NOISE = np.random.default_rng(0).normal(size=ROWS)
GOOD = np.clip(0.2 + 0.3 * (LABELS - 0.2) + 0.02 * NOISE, 0.01, 0.99)
RANDOM = np.clip(0.2 + 0.02 * NOISE, 0.01, 0.99)


def settings_of(task: str = "classification", **monitoring: Any) -> UseCaseSettings:
    return UseCaseSettings.model_validate(
        {
            "owner": "x",
            "task": task,
            "label": {"horizon": "1 day"},
            "training": {"metric": "roc_auc" if task == "classification" else "mae"},
            "gate": {"floor": 0.5},
            "monitoring": {"min_rows": 100, "performance_floor": 0.6, **monitoring},
        }
    )


def measure(labels: np.ndarray, made: np.ndarray, **monitoring: Any) -> dict[str, PerformanceMetric]:
    return {item.metric: item for item in realised(labels, made, settings_of(**monitoring))}


def violated(found: dict[str, PerformanceMetric]) -> list[str]:
    return [name for name, item in found.items() if item.violated]


def test_a_good_model_is_measured_and_raises_nothing():
    found = measure(LABELS, GOOD)
    assert violated(found) == []
    assert found["roc_auc"].value == pytest.approx(metrics.roc_auc(LABELS, GOOD))
    assert found["label_mean"].value == pytest.approx(0.2)
    assert found[CALIBRATION_RATIO].value == pytest.approx(0.2 / GOOD.mean())


def test_a_primary_metric_under_its_floor_is_an_alarm_and_only_that_one_has_a_limit():
    found = measure(LABELS, RANDOM)
    assert violated(found) == ["roc_auc"]
    assert {name for name, item in found.items() if item.limit is not None} == {"roc_auc", CALIBRATION_RATIO}


def test_without_a_floor_there_is_no_alarm():
    assert violated(measure(LABELS, RANDOM, performance_floor=None)) == []


def test_an_error_above_its_limit_is_an_alarm():
    near, far = LABELS + 0.1, LABELS + 2.0
    assert violated(measure(LABELS, near, task="regression", performance_floor=1.0)) == []
    assert violated(measure(LABELS, far, task="regression", performance_floor=1.0)) == ["mae"]
    assert CALIBRATION_RATIO not in measure(LABELS, near, task="regression")


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_predictions_off_by_a_factor_are_an_alarm_in_both_directions(factor):
    found = measure(LABELS, np.clip(GOOD * factor, 0, 1))
    assert violated(found) == [CALIBRATION_RATIO]
    assert found[CALIBRATION_RATIO].value == pytest.approx(1 / factor, rel=0.1)


def test_a_ratio_within_the_noise_of_few_events_is_no_alarm():
    """5 events where 2 were expected: the ratio is 2.5, but 2 +- 1.4 events are what chance gives."""
    labels = np.zeros(200)
    labels[:5] = 1.0
    found = measure(labels, np.full(200, 0.01), performance_floor=None)
    assert found[CALIBRATION_RATIO].value == pytest.approx(2.5)
    assert violated(found) == []
    many = measure(np.tile(labels, 20), np.full(4000, 0.01), performance_floor=None)
    assert violated(many) == [CALIBRATION_RATIO]


def test_few_rows_are_measured_and_judge_nothing():
    found = measure(LABELS[:99], np.clip(1 - LABELS[:99], 0.1, 0.9))
    assert found["roc_auc"].value == 0
    assert violated(found) == []
    assert "roc_auc" in violated(measure(LABELS[:100], np.clip(1 - LABELS[:100], 0.1, 0.9)))


def test_one_class_leaves_the_metric_open_and_raises_nothing():
    found = measure(np.zeros(200), np.full(200, 0.01))
    why = "not judged: roc_auc is not defined on these rows"
    assert found["roc_auc"] == PerformanceMetric("roc_auc", None, None, violated=False, note=why)
    assert found[CALIBRATION_RATIO].value == 0


def test_predictions_of_zero_have_no_ratio():
    assert measure(LABELS, np.zeros(ROWS), performance_floor=None)[CALIBRATION_RATIO].value is None


def test_no_row_is_no_number_and_no_alarm():
    found = measure(np.array([]), np.array([]))
    assert violated(found) == []
    assert {item.value for item in found.values()} == {None}


# What is no number is neither well nor ill


def checked(kind: str, found: dict[str, PerformanceMetric], **monitoring: Any) -> performance.Verdict:
    version = performance._OfVersion(3, ROWS, list(found.values()), performance.Beside([], None, "", ROWS))
    return performance._against_limits(kind, [version], settings_of(**monitoring))


def test_a_metric_that_is_not_defined_on_enough_rows_is_not_called_well():
    found = measure(np.zeros(ROWS), GOOD)
    assert (found["roc_auc"].value, found["roc_auc"].limit) == (None, None)
    assert found["roc_auc"].note == "not judged: roc_auc is not defined on these rows"
    said = checked(alerts.PERFORMANCE, found)
    assert (said.state, "roc_auc is not defined" in said.message) == ("unknown", True)
    assert checked(alerts.PERFORMANCE, measure(LABELS, GOOD)).state == "ok"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_predictions_that_are_no_numbers_are_not_called_well(number):
    made = np.where(np.arange(ROWS) == 7, number, GOOD)
    with pytest.raises(ValueError, match=r"NaN|infinity"):  # which the monitor tells as the alert of its own
        measure(LABELS, made)
    ratio = performance_metrics._calibration_ratio(TASKS["classification"], LABELS, made, 1.5, None)
    assert ratio == PerformanceMetric(CALIBRATION_RATIO, None, None, violated=False)
    assert checked(alerts.CALIBRATION, {CALIBRATION_RATIO: ratio}).state == "unknown"


@pytest.mark.parametrize("limit", [{"performance_floor": float("nan")}, {"max_calibration_ratio": float("nan")}])
def test_a_limit_that_is_no_number_is_violated_whatever_the_value(limit):
    settings = settings_of()
    wrong = settings.model_copy(update={"monitoring": settings.monitoring.model_copy(update=limit)})
    off = np.clip(GOOD * 1.5, 0, 1)
    found = {item.metric: item for item in realised(LABELS, off, wrong)}
    assert violated(found) == ["roc_auc" if "performance_floor" in limit else CALIBRATION_RATIO]
