"""Performance before labels: against labels drawn from the very probabilities, and against its known blind spot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring.performance_metrics import estimated, realised
from mlplatform.statistics import estimate, metrics

ROWS = 40_000


def settings(task: str = "classification", **monitoring: object) -> UseCaseSettings:
    return UseCaseSettings.model_validate(
        {
            "owner": "x",
            "task": task,
            "label": {"horizon": "1 day"},
            "training": {"metric": "roc_auc" if task == "classification" else "mae"},
            "gate": {"floor": 0.5},
            "monitoring": monitoring,
        }
    )


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=2, max_size=40))
def test_where_outcomes_are_certain_the_estimate_is_the_metric(rows):
    scores = np.array([score / 10 for score, _ in rows])
    labels = np.array([float(label) for _, label in rows])
    found = estimate.expected_metrics(scores, labels)
    assert found["brier"] == pytest.approx(metrics.brier(labels, scores))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels, scores))
    assert found["label_mean"] == pytest.approx(labels.mean())
    if 0 < labels.sum() < labels.size:
        assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, scores))
        assert found["average_precision"] == pytest.approx(average_precision_score(labels, scores))


def test_a_pair_of_coins_by_hand():
    """Scores 0.2 and 0.8 as probabilities: right pairs 0.8 * 0.8, wrong ones 0.2 * 0.2; 0.64 of 0.68."""
    scores = np.array([0.2, 0.8])
    assert estimate.expected_metrics(scores, scores)["roc_auc"] == pytest.approx(0.64 / 0.68)


def test_labels_drawn_from_the_probabilities_realise_what_was_estimated():
    random = np.random.default_rng(0)
    scores = random.beta(1, 8, ROWS)
    labels = (random.random(ROWS) < scores).astype(float)
    found = estimate.expected_metrics(scores, scores)
    for name, value in found.items():
        actual = labels.mean() if name == "label_mean" else metrics.get(name).compute(labels, scores)
        assert value == pytest.approx(actual, abs=0.015), name


def test_calibration_mends_scores_that_are_too_low():
    random = np.random.default_rng(1)
    true = random.beta(2, 8, ROWS)
    odds = true / (1 - true) / 4
    scores = odds / (1 + odds)
    labels = (random.random(ROWS) < true).astype(float)
    fitted = estimate.fit_calibration(labels, scores)
    assert fitted is not None
    assert np.abs(estimate.calibrated(scores, fitted) - true).mean() < 0.01
    assert estimate.fit_calibration(np.zeros(10), np.full(10, 0.1)) is None


def test_a_shift_of_the_base_rate_does_not_show_in_it():
    """The blind spot that is stated wherever an estimate is shown."""
    random = np.random.default_rng(2)
    scores = random.beta(1, 8, ROWS)
    shifted = (random.random(ROWS) < np.minimum(1, 3 * scores)).astype(float)
    found = estimate.expected_metrics(scores, scores)
    assert shifted.mean() > 2.5 * found["label_mean"]
    assert "base rate" in estimate.BLIND_SPOT


def test_an_estimate_is_held_against_the_floor_and_says_what_it_is_blind_to():
    scores = np.random.default_rng(3).beta(1, 8, 500)
    found = {
        item.metric: item
        for item in estimated(scores, {"slope": 1.0, "intercept": 0.0}, settings(performance_floor=0.99))
    }
    assert found["roc_auc"].violated
    assert {item.note for item in found.values()} == {estimate.BLIND_SPOT}
    few = estimated(scores[:50], {"slope": 1.0, "intercept": 0.0}, settings(performance_floor=0.99))
    assert not [item for item in few if item.violated]


@pytest.mark.parametrize(
    ("task", "calibration", "why"),
    [
        ("regression", None, "a regression gives none"),
        ("counts", None, "a count gives none"),
        ("classification", None, "without a calibration"),
    ],
)
def test_without_probabilities_there_is_a_reason_instead_of_a_number(task, calibration, why):
    (only,) = estimated(np.ones(500), calibration, settings(task, performance_floor=1.0))
    assert (only.value, only.violated) == (None, False)
    assert why in (only.note or "")


def test_what_was_estimated_stands_beside_what_was_realised():
    labels = np.array([0.0, 1.0] * 50)
    found = {item.metric: item for item in realised(labels, labels * 0.5, settings(), estimates={"brier": 0.2})}
    assert (found["brier"].value, found["brier"].estimate) == (0.125, 0.2)
    assert found["roc_auc"].estimate is None
