"""Deviance and explained share of predicted counts, against scikit-learn, by hand, and from totals."""

from __future__ import annotations

from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.statistics import metrics, totals
from mlplatform.statistics.count_metrics import SMALLEST, ratio
from mlplatform.statistics.intervals import interval
from mlplatform.statistics.totals import ScoreBins
from mlplatform.task import TASKS

COUNTS = TASKS["counts"]
PAIRS = st.lists(st.tuples(st.integers(0, 500), st.floats(1e-6, 1e4)), min_size=2, max_size=50)


@given(PAIRS)
def test_the_deviance_is_scikit_learns(pairs):
    labels, predictions = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    found = metrics.get("poisson_deviance").compute(labels, predictions)
    expected = reference.mean_poisson_deviance(labels, predictions)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(PAIRS)
def test_the_explained_share_is_scikit_learns_and_none_where_all_labels_are_alike(pairs):
    labels, predictions = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    found = metrics.get("d2").compute(labels, predictions)
    if np.ptp(labels) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(reference.d2_tweedie_score(labels, predictions, power=1), rel=1e-6, abs=1e-6)


def test_a_prediction_of_zero_is_right_where_nothing_was_counted_and_very_wrong_elsewhere():
    deviance = metrics.get("poisson_deviance")
    assert deviance.compute(np.zeros(3), np.zeros(3)) == pytest.approx(2 * SMALLEST)
    assert 2 * (np.log(1 / SMALLEST) - 1) == pytest.approx(deviance.compute(np.ones(1), np.zeros(1)))


def test_the_ratio_is_observed_over_predicted():
    assert ratio(np.array([2.0, 4.0]), np.array([1.0, 3.0])) == 1.5
    assert np.isnan(ratio(np.array([2.0]), np.array([0.0])))


@pytest.mark.parametrize("name", COUNTS.metrics)
@given(st.integers(0, 10**6), st.integers(2, 60))
def test_the_shortcut_for_many_draws_gives_what_the_drawn_rows_give(name, seed, rows):
    random = np.random.default_rng(seed)
    labels, predictions = random.poisson(1.5, rows).astype(float), random.gamma(2, 1, rows)
    drawn = random.integers(0, rows, rows)
    metric = metrics.get(name, COUNTS)
    found = metric.draws(labels, predictions)(np.bincount(drawn, minlength=rows))
    assert found == pytest.approx(metric.compute(labels[drawn], predictions[drawn]), nan_ok=True)


def test_totals_are_those_of_the_rows():
    random = np.random.default_rng(3)
    predictions = np.round(random.gamma(1.5, 2, 20_000), 3)
    labels = random.poisson(predictions * random.gamma(3, 1 / 3, predictions.size)).astype(float)
    assert (labels == 0).any()
    assert (predictions == 0).sum() == 0
    predictions[(labels == 0) & (predictions < 0.2)] = 0.0
    frame: Any = nw.from_native(duckdb.from_arrow(pa.table({"label": labels, "score": predictions}))).lazy()
    grouped = totals.grouped(frame, "label", "score", ScoreBins.of(predictions[::4]), None, COUNTS)
    found = totals.totals_of(grouped.to_native().to_arrow_table(), COUNTS)
    expected = metrics.evaluate(COUNTS, labels, predictions)
    for name, value in expected.items():
        assert found.value(name) == pytest.approx(value, rel=1e-9), name
    ends = interval("poisson_deviance", labels, predictions)
    assert found.interval("poisson_deviance") == pytest.approx(ends, rel=1e-9)
