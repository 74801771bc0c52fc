"""Metrics from totals and bins of scores are those of the rows; the area's error is within its stated bound."""

from __future__ import annotations

from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest

from mlplatform.statistics import metrics, totals
from mlplatform.statistics.intervals import interval
from mlplatform.statistics.totals import ScoreBins, Totals
from tests.support.crossed import crossed, every

RANDOM = np.random.default_rng(7)
ROWS = 40_000
SCORES = {
    "smooth": 1 / (1 + np.exp(-RANDOM.normal(-2, 1, ROWS))),
    "rounded": np.round(RANDOM.beta(2, 8, ROWS), 2),
    "a lump and a tail": np.where(RANDOM.random(ROWS) < 0.4, 0.125, RANDOM.beta(1, 30, ROWS)),
    "one value": np.full(ROWS, 0.25),
    "nearly all next to nothing": np.where(
        RANDOM.random(ROWS) < 0.995, RANDOM.random(ROWS) * 1e-6, RANDOM.random(ROWS)
    ),
}


def totals_of(labels: np.ndarray, scores: np.ndarray, above: float | None = None) -> Totals:
    frame: Any = nw.from_native(duckdb.from_arrow(pa.table({"label": labels, "score": scores}))).lazy()
    # The bins are cut by a part of the rows, as they are by a sample.
    grouped = totals.grouped(frame, "label", "score", ScoreBins.of(scores[::4]), above)
    rows = grouped.to_native().to_arrow_table()
    assert rows.num_rows <= totals.MOST_GROUPS
    return totals.totals_of(rows)


@pytest.mark.parametrize(("name", "rate"), crossed(SCORES, [0.5, 0.01]))
def test_a_classification_s_metrics_are_those_of_its_rows(name: str, rate: float):
    scores = SCORES[name]
    labels = (RANDOM.random(ROWS) < np.clip(scores * rate / scores.mean(), 0, 1)).astype(float)
    found, expected = totals_of(labels, scores), metrics.evaluate("classification", labels, scores)
    assert found.rows == ROWS
    for metric in ("brier", "log_loss", "expected_calibration_error", "label_mean", "prediction_mean"):
        assert found.value(metric) == pytest.approx(expected[metric], rel=1e-9, abs=1e-12)
        ends = interval(metric, labels, scores)
        assert found.interval(metric) == (ends and pytest.approx(ends, rel=1e-9))
    assert found.value("average_precision") is None
    assert found.sums["noise"] == pytest.approx(float((scores * (1 - scores)).sum()))
    area = found.value("roc_auc")
    assert area is not None
    assert abs(area - expected["roc_auc"]) <= found.area_error + 1e-12
    assert found.area_error < 1e-4
    assert found.interval("roc_auc") == pytest.approx(interval("roc_auc", labels, scores), abs=1e-4)


def test_scores_that_many_rows_share_have_an_exact_area():
    # Without the rarest, which the sample need not have.
    scores = SCORES["rounded"].clip(0.02, 0.6)
    labels = (RANDOM.random(ROWS) < scores).astype(float)
    found = totals_of(labels, scores)
    assert found.area_error == 0
    assert found.value("roc_auc") == pytest.approx(metrics.roc_auc(labels, scores), rel=1e-12)


# The bound errs high: of lumps it is far above the error itself.
@pytest.mark.parametrize(("spread", "bound"), [("even", 1e-4), ("in lumps", 3e-4)])
@pytest.mark.parametrize("seed", every(3, range(3)))
def test_many_scores_that_rows_share_cost_a_short_expression(spread: str, bound: float, seed: int):
    # As of a model of trees: 500 scores; those in lumps lie closer to each other than bins are wide.
    random = np.random.default_rng(seed)
    leaves = np.linspace(0.01, 0.9, 500)
    if spread == "in lumps":
        leaves = np.sort(np.concatenate([leaves[:250], leaves[:250] + 1e-7]))
    scores = random.choice(leaves, size=ROWS, p=random.dirichlet(np.full(500, 2.0)))
    labels = (random.random(ROWS) < scores).astype(float)
    bins = ScoreBins.of(scores)
    assert len(bins.heavy) <= 100
    frame: Any = nw.from_native(duckdb.from_arrow(pa.table({"label": labels, "score": scores}))).lazy()
    query = totals.grouped(frame, "label", "score", bins, None).to_native().sql_query()
    steps = np.array([(character == "(") - (character == ")") for character in query])
    assert steps.cumsum().max() < 40
    found = totals_of(labels, scores)
    area = found.value("roc_auc")
    assert area is not None
    assert abs(area - metrics.roc_auc(labels, scores)) <= found.area_error + 1e-12
    assert abs(area - metrics.roc_auc(labels, scores)) < 1e-4
    assert found.area_error < bound


def test_a_shared_score_among_others_is_taken_out_of_their_bin():
    scores = np.concatenate([np.full(5000, 0.3), 0.3 + np.linspace(-1e-9, 1e-9, 999), RANDOM.random(34_001)])
    assert 0.3 in ScoreBins.of(scores).heavy
    labels = (RANDOM.random(ROWS) < scores).astype(float)
    found = totals_of(labels, scores)
    assert found.single[found.events + found.others >= 5000].all()


def test_a_regression_s_metrics_are_those_of_its_rows():
    labels = RANDOM.normal(5, 30, ROWS)
    predictions = 0.5 * labels + RANDOM.normal(0, 10, ROWS)
    found = totals_of(labels, predictions, above=15.0)
    expected = metrics.evaluate("regression", labels, predictions, event_above=15.0)
    for metric in ("mae", "rmse", "label_mean", "prediction_mean"):
        assert found.value(metric) == pytest.approx(expected[metric], rel=1e-9)
        assert found.interval(metric) == pytest.approx(interval(metric, labels, predictions), rel=1e-9)
    assert found.value("event_roc_auc") == pytest.approx(expected["event_roc_auc"], abs=1e-4)


def test_one_class_has_no_area():
    found = totals_of(np.zeros(100), np.linspace(0, 1, 100))
    assert np.isnan(found.value("roc_auc"))  # type: ignore[arg-type]
    assert found.interval("roc_auc") is None
    assert found.area_error == 0


def test_the_interval_of_a_sample_is_as_wide_as_all_rows_make_it():
    scores = SCORES["smooth"][:4000]
    labels = (RANDOM.random(4000) < scores).astype(float)
    own = interval("average_precision", labels, scores, resample=True)
    wide = totals.rescaled("average_precision", 0.3, labels, scores, 4000)
    narrow = totals.rescaled("average_precision", 0.3, labels, scores, 400_000)
    assert own is not None
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] == pytest.approx(own[1] - own[0])
    assert narrow[1] - narrow[0] == pytest.approx((own[1] - own[0]) / 10)
    assert narrow[0] < 0.3 < narrow[1]
