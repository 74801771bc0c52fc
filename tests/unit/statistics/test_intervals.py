"""Intervals: where they must lie, and that they hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.statistics import metrics
from mlplatform.statistics.intervals import interval


@given(st.integers(0, 10**6), st.sampled_from(["roc_auc", "brier", "log_loss", "label_mean", "prediction_mean"]))
def test_an_interval_holds_the_value_it_is_of(seed, name):
    random = np.random.default_rng(seed)
    predictions = random.random(60)
    labels = (random.random(60) < predictions).astype(float)
    found = interval(name, labels, predictions)
    value = metrics.evaluate("classification", labels, predictions)[name]
    assert found is not None
    assert found[0] - 1e-12 <= value <= found[1] + 1e-12


@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_of_a_regression(name):
    random = np.random.default_rng(0)
    labels, predictions = random.normal(10, 5, 400), random.normal(10, 5, 400)
    low, high = interval(name, labels, predictions)
    assert low < metrics.get(name).compute(labels, predictions) < high
    assert high - low < 1.5


def test_delong_by_hand():
    """Events 0.8, 0.6 and others 0.7, 0.1: of them 2 and 1 of 2 are above. Variances 1/8 over 2 on both sides."""
    labels, predictions = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.8, 0.6, 0.7, 0.1])
    low, high = interval("roc_auc", labels, predictions)
    half = 1.959963984540054 * np.sqrt(0.125 / 2 + 0.125 / 2)
    assert (low, high) == (pytest.approx(0.75 - half), 1.0)


def test_the_area_lies_in_its_interval_as_often_as_it_says():
    random, held = np.random.default_rng(5), 0
    for _ in range(300):
        labels = (random.random(300) < 0.2).astype(float)
        low, high = interval("roc_auc", labels, random.normal(labels, 1.0))
        held += low <= 0.7602 <= high  # of two normals one deviation apart: Phi(1 / sqrt 2)
    assert 0.91 <= held / 300 <= 0.985


def test_what_has_no_closed_form_is_drawn_only_where_asked_for():
    labels, predictions = np.array([0.0, 1.0] * 30), np.linspace(0.1, 0.9, 60)
    assert interval("average_precision", labels, predictions) is None
    low, high = interval("average_precision", labels, predictions, resample=True)
    assert low < metrics.average_precision(labels, predictions) < high
    assert interval("brier", labels[:1], predictions[:1]) is None
    assert interval("roc_auc", np.zeros(9), predictions[:9]) is None
