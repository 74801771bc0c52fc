"""Metrics, against scikit-learn and against numbers worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.errors import ConfigError
from mlplatform.statistics import metrics
from mlplatform.task import TASKS


def made_up(seed: int, rows: int, ties: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, and predictions with as many different values as `ties` says: fewer are more ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows).astype(float)
    labels[:2] = 0.0, 1.0
    predictions = np.clip(random.integers(0, ties, rows) / ties + 0.1 * labels, 0, 1)
    return labels, predictions


@given(st.integers(0, 10**6), st.integers(2, 200), st.integers(1, 50))
def test_the_area_under_the_roc_curve_is_scikit_learns_also_with_ties(seed, rows, ties):
    labels, predictions = made_up(seed, rows, ties)
    assert metrics.roc_auc(labels, predictions) == pytest.approx(
        reference.roc_auc_score(labels, predictions), abs=1e-12
    )


@given(st.integers(0, 10**6), st.integers(2, 100), st.integers(1, 20))
def test_the_others_are_scikit_learns_too(seed, rows, ties):
    labels, predictions = made_up(seed, rows, ties)
    assert metrics.average_precision(labels, predictions) == pytest.approx(
        reference.average_precision_score(labels, predictions)
    )
    assert metrics.brier(labels, predictions) == pytest.approx(reference.brier_score_loss(labels, predictions))
    assert metrics.mae(labels, predictions) == pytest.approx(reference.mean_absolute_error(labels, predictions))
    assert metrics.rmse(labels, predictions) == pytest.approx(reference.root_mean_squared_error(labels, predictions))
    inner = np.clip(predictions, 0.01, 0.99)
    assert metrics.log_loss(labels, inner) == pytest.approx(reference.log_loss(labels, inner))


def test_a_probability_of_zero_for_what_happened_costs_much_but_not_infinity():
    assert metrics.log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-np.log(1e-15))


@given(st.integers(0, 10**6), st.integers(2, 100))
def test_the_roc_curve_knows_ranks_only(seed, rows):
    labels, predictions = made_up(seed, rows, 30)
    assert metrics.roc_auc(labels, predictions**3) == pytest.approx(metrics.roc_auc(labels, predictions))
    assert metrics.roc_auc(labels, -predictions) == pytest.approx(1 - metrics.roc_auc(labels, predictions))


def test_calibration_error_by_hand():
    """Bins [0.1, 0.2): mean 0.15, no event of 2; [0.8, 0.9): mean 0.85, 1 event of 2. 0.075 + 0.175 = 0.25."""
    labels, predictions = np.array([0.0, 0.0, 1.0, 0.0]), np.array([0.12, 0.18, 0.82, 0.88])
    assert metrics.expected_calibration_error(labels, predictions) == pytest.approx(0.25)


def test_calibration_error_in_one_bin_is_the_difference_of_the_means():
    labels, predictions = np.array([1.0, 0.0, 0.0]), np.array([0.1, 0.5, 0.9])
    assert metrics.expected_calibration_error(labels, predictions, bins=1) == pytest.approx(0.5 - 1 / 3)


def test_a_probability_of_one_belongs_to_the_last_bin():
    assert metrics.expected_calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.95])) == pytest.approx(0.475)


@given(st.integers(0, 10**6), st.integers(2, 300), st.integers(1, 20))
def test_calibration_error_is_the_weighted_gap_of_each_bin(seed, rows, bins):
    labels, predictions = made_up(seed, rows, 1000)
    expected = 0.0
    for number in range(bins):
        last = number == bins - 1
        inside = (predictions * bins >= number) & ((predictions * bins < number + 1) | last)
        if inside.any():
            expected += inside.mean() * abs(labels[inside].mean() - predictions[inside].mean())
    assert metrics.expected_calibration_error(labels, predictions, bins) == pytest.approx(expected)


def test_one_class_or_no_row_is_not_a_number_rather_than_a_number():
    none, one = np.array([]), np.array([1.0, 1.0])
    assert np.isnan(metrics.roc_auc(one, np.array([0.2, 0.3])))
    assert np.isnan(metrics.average_precision(np.zeros(2), np.array([0.2, 0.3])))
    for metric in metrics.METRICS.values():
        assert np.isnan(metric.compute(none, none)), metric.name


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
def test_a_gain_above_zero_is_better_whatever_the_direction(metric):
    labels = np.array([0.0, 1.0] * 20)
    good, bad = np.where(labels == 1, 0.9, 0.1), np.where(labels == 1, 0.4, 0.6)
    better, worse = metric.compute(labels, good), metric.compute(labels, bad)
    assert metric.gain(better, worse) > 0
    assert metric.gain(worse, better) == -metric.gain(better, worse)
    assert metric.gain(better, better) == 0


def test_a_metric_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        metrics.get("rocauc")
    assert "roc_auc" in caught.value.hint


def test_each_task_has_its_metrics_and_the_two_means():
    labels, predictions = made_up(0, 50, 10)
    for task in TASKS.values():
        if task.is_multiclass:
            continue  # a matrix of predictions, and no mean: test_class_metrics.py
        bound, coverage = (replace(task, level=0.9), {"quantile_coverage"}) if task.predicts_quantile else (task, set())
        found = metrics.evaluate(bound, labels, predictions)
        assert set(found) == {*task.metrics, "label_mean", "prediction_mean", *coverage}
        assert found["label_mean"] == pytest.approx(labels.mean())


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 30))
@settings(max_examples=25)
def test_the_shortcut_for_many_draws_gives_what_the_drawn_rows_give(metric, seed, rows, ties):
    labels, predictions = made_up(seed, rows, ties)
    drawn = np.random.default_rng(seed).integers(0, rows, rows)
    counts = np.bincount(drawn, minlength=rows)
    expected = metric.compute(labels[drawn], predictions[drawn])
    assert metric.draws(labels, predictions)(counts) == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60)), min_size=1, max_size=40), st.integers(-10, 50))
def test_how_well_a_regression_ranks_events_is_the_roc_curve_of_what_lies_above(pairs, threshold):
    labels, predictions = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    found = metrics.evaluate("regression", labels, predictions, event_above=float(threshold))
    events = labels > threshold
    if events.all() or not events.any():
        assert np.isnan(found["event_roc_auc"])
    else:
        assert found["event_roc_auc"] == pytest.approx(reference.roc_auc_score(events, predictions))
    without = metrics.evaluate("regression", labels, predictions)
    assert {key: value for key, value in found.items() if key != "event_roc_auc"} == without


def test_a_label_at_the_threshold_is_no_event():
    labels, predictions = np.array([0.0, 15.0, 15.1]), np.array([0.0, 9.0, 5.0])
    assert metrics.evaluate("regression", labels, predictions, event_above=15.0)["event_roc_auc"] == 0.5
    assert metrics.evaluate("regression", labels, predictions, event_above=14.9)["event_roc_auc"] == 1.0


def test_a_threshold_of_zero_is_one():
    found = metrics.evaluate("regression", np.array([-1.0, 1.0]), np.array([0.0, 1.0]), event_above=0.0)
    assert found["event_roc_auc"] == 1.0
