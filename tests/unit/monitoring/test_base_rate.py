"""The second witness: what is held against the training rate, and where two bases disagree."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import base_rate
from mlplatform.monitoring.base_rate import Rate, disagreement, disagreements, rate_of
from mlplatform.monitoring.performance_metrics import PerformanceMetric
from mlplatform.monitoring.window import Window
from mlplatform.statistics.prior_shift import ASSUMPTION, ScoreCounts
from mlplatform.training.reference import Reference

NOW = parse_as_of("2020-01-01")
SCORES = np.random.default_rng(0).beta(1, 9, 3000)
CALIBRATED = {"slope": 1.0, "intercept": 0.0}


def settings(**sections: Any) -> UseCaseSettings:
    return UseCaseSettings.model_validate(
        {
            "owner": "x",
            "label": {"horizon": "1 day"},
            "gate": {"floor": 0.5},
            "monitoring": {"min_rows": 100},
            **sections,
        }
    )


def window(scores: np.ndarray, given: UseCaseSettings) -> Window:
    table = pa.table({"prediction": scores, "model_version": pa.array([1] * scores.size, pa.int64())})
    context = cast("Any", SimpleNamespace(settings=given))
    return Window(context, cast("Any", None), ("id",), NOW, NOW, scores.size, 1, scores.size, {}, table)


def reference(scores: np.ndarray | None = SCORES, calibration: dict[str, float] | None = CALIBRATED) -> Reference:
    counts = None if scores is None else ScoreCounts.of(scores)
    return Reference(cast("Any", None), {}, calibration, None, counts)


def seen(scores: np.ndarray, of: Reference, **sections: Any) -> PerformanceMetric | None:
    given = settings(**sections)
    return base_rate.witness(cast("Any", SimpleNamespace(settings=given)), window(scores, given), of)


def test_scores_as_in_training_tell_of_no_shift_and_others_of_one():
    same = seen(np.random.default_rng(1).beta(1, 9, 2000), reference())
    assert same is not None
    assert not same.violated
    assert same.low is not None
    assert same.high is not None
    assert same.low <= 0.1 <= same.high
    assert same.limit == pytest.approx(0.1, abs=0.01)
    assert same.note == ASSUMPTION
    riskier = seen(np.random.default_rng(2).beta(2, 9, 2000), reference())
    assert riskier is not None
    assert riskier.violated
    assert riskier.p_value is not None
    assert riskier.p_value < 1e-6
    assert riskier.value > 0.2


def test_few_rows_are_recorded_and_not_judged():
    few = seen(np.random.default_rng(2).beta(2, 9, 50), reference())
    assert few is not None
    assert few.limit is None
    assert not few.violated
    assert str(few.note).startswith("not judged: 50 rows")


def test_where_there_is_nothing_to_tell_by_it_says_why():
    old = seen(SCORES, reference(scores=None))
    assert old is not None
    assert (old.value, old.note) == (None, base_rate.NO_SCORES)
    flat = seen(SCORES, reference(calibration={"slope": 0.0, "intercept": -2.0}))
    assert flat is not None
    assert (flat.value, flat.note) == (None, base_rate.TELLS_NOTHING)
    regression = seen(SCORES, reference(), task="regression", training={"metric": "mae"})
    assert regression is None


def test_two_bases_disagree_where_their_intervals_have_nothing_in_common():
    scores = Rate("prior_shift", 0.02, 0.015, 0.03)
    labels = Rate("realised", 0.06, 0.05, 0.07)
    text = disagreement(scores, labels)
    assert text.startswith(base_rate.DISAGREE)
    assert "the scores alone 2.0% (1.5% to 3.0%), realised outcomes 6.0%" in text
    assert not disagreement(scores, replace(labels, low=0.03))
    assert disagreement(labels, scores)  # either way round
    immature = Rate("immature", 0.05, 0.04, 0.06)
    assert len(disagreements(scores, [labels, immature, scores])) == 2
    assert not disagreements(None, [labels])


def test_a_rate_is_one_with_an_interval():
    measured = [
        PerformanceMetric("brier", 0.1, None, violated=False, low=0.0, high=0.2),
        PerformanceMetric("label_mean", 0.2, None, violated=False, low=0.1, high=0.3),
    ]
    assert rate_of("realised", measured) == Rate("realised", 0.2, 0.1, 0.3)
    assert rate_of("realised", measured[:1]) is None
