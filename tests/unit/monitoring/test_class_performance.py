"""Realised performance of several classes: what is measured, and which class raises an alarm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import StageError
from mlplatform.monitoring import alerts, performance
from mlplatform.monitoring.late_labels import LABEL, Judged
from mlplatform.monitoring.performance_metrics import PerformanceMetric, estimated, realised
from mlplatform.scoring.class_columns import number_columns
from mlplatform.statistics import metrics

CLASSES = ("bronze", "silver", "gold")
ROWS = 2000
DICE = np.random.default_rng(31)


def probabilities(rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([4.0, 2.0, 0.5], rows)


def drawn(made: np.ndarray, seed: int = 2) -> np.ndarray:
    """Return labels that come as often as the probabilities say."""
    dice = np.random.default_rng(seed).random((len(made), 1))
    return (dice > made.cumsum(axis=1)).sum(axis=1).clip(0, made.shape[1] - 1).astype(float)


RIGHT = probabilities(ROWS)
LABELS = drawn(RIGHT)


def settings_of(**monitoring: Any) -> UseCaseSettings:
    given = {"owner": "x", "task": "multiclass", "label": {"horizon": "1 day", "classes": CLASSES}}
    given |= {"gate": {"floor": 1.0}, "monitoring": {"min_rows": 100, **monitoring}}
    return UseCaseSettings.model_validate(given)


TASK = settings_of().kind_of_task


def measure(labels: np.ndarray, made: np.ndarray, **monitoring: Any) -> dict[str, PerformanceMetric]:
    return {item.metric: item for item in realised(labels, made, settings_of(**monitoring))}


def violated(found: dict[str, PerformanceMetric]) -> list[str]:
    return [name for name, item in found.items() if item.violated]


def verdict(found: dict[str, PerformanceMetric]) -> performance.Verdict:
    version = performance._OfVersion(3, ROWS, list(found.values()), performance.Beside([], None, "", ROWS))
    return performance._against_limits(alerts.CALIBRATION, [version], settings_of())


def test_right_probabilities_are_measured_class_by_class_and_raise_nothing():
    found = measure(LABELS, RIGHT)
    assert violated(found) == []
    assert found["log_loss"].value == pytest.approx(metrics.get("log_loss", TASK).compute(LABELS, RIGHT))
    assert found["log_loss"].limit == 1.0
    for place, name in enumerate(CLASSES):
        ratio = found[f"calibration_ratio[{name}]"]
        assert ratio.value == pytest.approx((place == LABELS).mean() / RIGHT[:, place].mean())
        assert ratio.low is not None
        assert ratio.high is not None
        assert ratio.low < ratio.value < ratio.high
        assert found[f"recall[{name}]"].low is not None
    assert "label_mean" not in found
    assert verdict(found).state == "ok"


def test_one_class_that_comes_more_often_than_predicted_is_an_alarm_that_names_it():
    less = RIGHT * [1.0, 1.0, 0.4]
    less /= less.sum(axis=1, keepdims=True)
    found = measure(LABELS, less)
    assert violated(found) == ["calibration_ratio[gold]"]
    said = verdict(found)
    assert (said.state, "calibration_ratio[gold]" in said.message) == ("violated", True)


def test_a_rare_class_is_given_what_chance_makes_of_it():
    """Expected of 200 rows: one; three came."""
    made = np.tile([0.6, 0.395, 0.005], (200, 1))
    labels = np.r_[np.zeros(120), np.ones(77), np.full(3, 2.0)]
    found = measure(labels, made, performance_floor=None)
    assert found["calibration_ratio[gold]"].value == pytest.approx(3.0)
    assert violated(found) == []
    many = measure(np.tile(labels, 20), np.tile(made, (20, 1)), performance_floor=None)
    assert violated(many) == ["calibration_ratio[gold]"]


def test_right_probabilities_of_many_windows_raise_hardly_an_alarm():
    """Simulated: 300 windows of 150 labels that come as often as is predicted, and a limit that is always passed."""
    limits, alarms = settings_of(max_calibration_ratio=1.001, performance_floor=None), 0
    for number in range(300):
        made = probabilities(150, seed=number)
        alarms += any(item.violated for item in realised(drawn(made, seed=10_000 + number), made, limits))
    assert alarms <= 6, "by design one of 370, but for the skew of a rare class"


def test_a_class_that_is_never_predicted_is_well_until_it_comes():
    made = np.column_stack([RIGHT[:, 0], RIGHT[:, 1] + RIGHT[:, 2], np.zeros(ROWS)])
    found = measure(np.where(LABELS == 2, 1.0, LABELS), made)
    assert found["calibration_ratio[gold]"].value == 0
    assert found["precision[gold]"].value is None
    assert found["macro_roc_auc"].value is None
    assert verdict(found).state == "ok"
    came = measure(LABELS, made, performance_floor=None)
    assert violated(came) == ["calibration_ratio[gold]"]
    assert came["calibration_ratio[gold]"].value == 2 * (LABELS == 2).sum()


def test_the_estimate_before_labels_expects_what_comes():
    found = {item.metric: item for item in estimated(RIGHT, {"temperature": 1.0}, settings_of())}
    came = measure(LABELS, RIGHT)
    for name in ("log_loss", "accuracy", "brier"):
        assert found[name].value == pytest.approx(came[name].value, abs=0.03)
        assert "base rate" in (found[name].note or "")
    assert found["log_loss"].limit == 1.0
    assert [item.value for item in estimated(RIGHT, None, settings_of())] == [None]
    given = settings_of().model_dump() | {"training": {"metric": "macro_f1"}}
    other = {
        item.metric: item for item in estimated(RIGHT, {"temperature": 1.0}, UseCaseSettings.model_validate(given))
    }
    assert other["macro_f1"].value is None
    assert "no expected value" in (other["macro_f1"].note or "")


def judged(made: np.ndarray, **columns: Any) -> Judged:
    times = pa.array([parse_as_of("2024-01-01")] * len(made), pa.timestamp("us", "UTC"))
    numbers = {name: made[:, place] for place, name in enumerate(number_columns(TASK))}
    rows = pa.table({"at": times, "model_version": [1] * len(made), LABEL: LABELS[: len(made)], **numbers, **columns})
    return Judged(rows, "at", parse_as_of("2024-06-01"), task=TASK)


def test_rows_in_memory_are_matrices_and_their_fingerprint_is_of_all_of_it():
    whole = judged(RIGHT[:50])
    labels, made = whole.vectors()
    assert (labels.shape, made.shape) == ((50,), (50, 3))
    turned = RIGHT[:50].copy()
    turned[3] = turned[3, ::-1]
    assert whole.fingerprint() != judged(turned).fingerprint()
    backwards = replace(whole, rows=whole.rows.take(np.arange(50)[::-1]))
    assert whole.fingerprint() == backwards.fingerprint()
    assert whole.of_version(1).by_time().vectors()[1].shape == (50, 3)


def test_predictions_of_another_order_of_the_classes_are_found_out():
    names = np.array(CLASSES)[RIGHT[:50].argmax(axis=1)]
    assert judged(RIGHT[:50], prediction=names).vectors()[1].shape == (50, 3)
    with pytest.raises(StageError, match=r"order of label\.classes"):
        judged(RIGHT[:50, ::-1], prediction=names).vectors()
