"""Pinball loss and coverage of a predicted quantile, against scikit-learn, by hand, and from totals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import ConfigError
from mlplatform.statistics import baseline, metrics, totals
from mlplatform.statistics.intervals import interval, wilson
from mlplatform.statistics.quantile_metrics import covered
from mlplatform.statistics.totals import ScoreBins
from mlplatform.task import TASKS

LEVELS = st.floats(0.01, 0.99)
PAIRS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=50)


def at(level: float) -> Any:
    return replace(TASKS["quantile"], level=level)


@given(PAIRS, LEVELS)
def test_the_pinball_loss_is_scikit_learns(pairs, level):
    labels, predictions = (np.array(values) for values in zip(*pairs, strict=True))
    found = metrics.get("pinball_loss", at(level)).compute(labels, predictions)
    expected = reference.mean_pinball_loss(labels, predictions, alpha=level)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(PAIRS, LEVELS)
def test_coverage_is_the_share_at_or_below_and_the_gap_is_its_distance_from_the_level(pairs, level):
    labels, predictions = (np.array(values) for values in zip(*pairs, strict=True))
    found = metrics.evaluate(at(level), labels, predictions)
    inside = sum(label <= prediction for label, prediction in pairs) / len(pairs)
    assert found["quantile_coverage"] == pytest.approx(inside)
    assert found["coverage_gap"] == pytest.approx(abs(inside - level))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), LEVELS, st.floats(-60, 60))
def test_no_constant_has_less_pinball_loss_than_the_labels_own_quantile(values, level, other):
    labels = np.array(values, dtype=float)
    metric = metrics.get("pinball_loss", at(level))
    constant = baseline.lowest_quantile(labels, level)
    least = metric.compute(labels, np.full(labels.size, constant))
    assert least <= metric.compute(labels, np.full(labels.size, other)) + 1e-9


@pytest.mark.parametrize("name", TASKS["quantile"].metrics)
@given(st.integers(0, 10**6), st.integers(2, 60), LEVELS)
def test_the_shortcut_for_many_draws_gives_what_the_drawn_rows_give(name, seed, rows, level):
    random = np.random.default_rng(seed)
    labels, predictions = random.normal(size=rows), random.normal(size=rows)
    drawn = random.integers(0, rows, rows)
    metric = metrics.get(name, at(level))
    found = metric.draws(labels, predictions)(np.bincount(drawn, minlength=rows))
    assert found == pytest.approx(metric.compute(labels[drawn], predictions[drawn]))


def test_a_quantile_without_its_level_has_no_metric():
    with pytest.raises(ConfigError, match="no metric 'pinball_loss'"):
        metrics.get("pinball_loss", TASKS["quantile"])


def test_the_interval_of_the_coverage_is_that_of_a_rate():
    labels = np.arange(200.0)
    predictions = np.full(200, 169.0)
    assert interval("quantile_coverage", labels, predictions) == wilson(0.85, 200)


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_totals_are_those_of_the_rows(level: float):
    random = np.random.default_rng(3)
    labels = random.normal(20, 30, 20_000)
    predictions = np.round(labels + random.normal(10, 20, labels.size))
    labels[:500] = predictions[:500]  # a label at its prediction is covered
    frame: Any = nw.from_native(duckdb.from_arrow(pa.table({"label": labels, "score": predictions}))).lazy()
    grouped = totals.grouped(frame, "label", "score", ScoreBins.of(predictions[::4]), None, at(level))
    found = totals.totals_of(grouped.to_native().to_arrow_table(), at(level))
    expected = metrics.evaluate(at(level), labels, predictions)
    for name in ("pinball_loss", "coverage_gap", "quantile_coverage", "label_mean", "prediction_mean"):
        assert found.value(name) == pytest.approx(expected[name], rel=1e-9), name
    pinball = interval(metrics.get("pinball_loss", at(level)), labels, predictions)
    assert found.interval("pinball_loss") == pytest.approx(pinball, rel=1e-9)
    assert found.interval("quantile_coverage") == pytest.approx(wilson(covered(labels, predictions).mean(), 20_000))
