"""Which features are worth it: what a model loses where one is shuffled; what it does not use is named as noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from mlplatform import coded
from mlplatform.statistics import metrics
from mlplatform.training.importance import Importance, importances

ROWS = 3000
_random = np.random.default_rng(5)
INPUTS = pd.DataFrame(
    {
        "strong": _random.normal(size=ROWS),
        "weak": _random.normal(size=ROWS),
        "word": _random.choice(["a", "b", None], ROWS),
        "noise": _random.normal(size=ROWS),
    }
)
ODDS = 2 * INPUTS["strong"] + 0.8 * INPUTS["weak"] + (INPUTS["word"] == "a") * 1.5 - 0.5
LABELS = (_random.random(ROWS) < 1 / (1 + np.exp(-ODDS))).to_numpy().astype(np.float64)
MODEL = coded(HistGradientBoostingClassifier(max_iter=40, random_state=0), ["word"]).fit(INPUTS[:1500], LABELS[:1500])
LATER, TRUTH = INPUTS[1500:], LABELS[1500:]


def predict(rows: pd.DataFrame) -> np.ndarray:
    return MODEL.predict_proba(rows)[:, 1]  # type: ignore[no-any-return]


def found(metric: str = "roc_auc", *, most_rows: int = 1500, seed: int = 0) -> list[Importance]:
    return importances(predict, LATER, TRUTH, metrics.get(metric), most_rows=most_rows, seed=seed)


@pytest.mark.parametrize("metric", ["roc_auc", "brier", "log_loss"])
def test_features_come_in_the_order_of_what_they_are_worth_and_noise_is_named(metric: str) -> None:
    result = found(metric)
    assert result[0].feature == "strong"
    assert {item.feature for item in result if not item.is_noise} == {"strong", "weak", "word"}
    assert all(item.low <= item.loss <= item.high for item in result)


def test_the_same_seed_gives_the_same_and_the_rows_stay_as_they_are() -> None:
    before = LATER.copy(deep=True)
    assert found() == found()
    assert found() != found(seed=1)
    pd.testing.assert_frame_equal(LATER, before)


def test_fewer_rows_are_less_sure() -> None:
    def width(result: list[Importance]) -> float:
        return next(item.high - item.low for item in result if item.feature == "strong")

    assert width(found(most_rows=150)) > 1.5 * width(found())


@pytest.mark.parametrize("rows", [0, 10])
def test_where_too_few_rows_are_looked_at_nothing_is_said(rows: int) -> None:
    assert found(most_rows=rows) == []


def test_of_one_class_nothing_is_said() -> None:
    quiet = np.flatnonzero(TRUTH == 0)
    assert importances(predict, LATER.iloc[quiet], TRUTH[quiet], metrics.get("roc_auc"), most_rows=500, seed=0) == []


def test_a_model_that_uses_nothing_has_only_noise() -> None:
    result = importances(
        lambda rows: np.full(len(rows), 0.5), LATER, TRUTH, metrics.get("brier"), most_rows=500, seed=0
    )
    assert [item.loss for item in result] == [0, 0, 0, 0]
    assert all(item.is_noise for item in result)
