"""Calibration in training: what it does to probabilities, by which rows, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from mlplatform import coded
from mlplatform.errors import LabelError, StageError
from mlplatform.features.model_formats import allowed
from mlplatform.statistics import metrics
from mlplatform.training.calibration import calibrated
from mlplatform.training.fit_rows import FitRows
from tests.support.crossed import every

ROWS = 4000
_random = np.random.default_rng(3)
INPUTS = pd.DataFrame({"load": _random.normal(size=ROWS), "kind": _random.choice(["a", "b"], ROWS)})
CHANCE = 1 / (1 + np.exp(-(INPUTS["load"].to_numpy() - 1)))
LABELS = (_random.random(ROWS) < CHANCE).astype(np.float64)
OLD, NEW, LATER = slice(0, 1000), slice(1000, 2500), slice(2500, ROWS)


def rows(part: slice, weights: np.ndarray | None = None) -> FitRows:
    return FitRows(INPUTS.iloc[part], LABELS[part], weights)


@pytest.fixture(scope="module")
def too_sure() -> object:
    """Trees that follow chance: on other rows they are far too sure."""
    model = coded(HistGradientBoostingClassifier(max_iter=300, min_samples_leaf=2, random_state=0), ["kind"])
    return model.fit(INPUTS.iloc[OLD], LABELS[OLD])


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_probabilities_that_are_too_sure_become_what_happens(too_sure: object, method: str) -> None:
    def errors(model: object) -> tuple[float, float]:
        predictions = model.predict_proba(INPUTS.iloc[LATER])[:, 1]  # type: ignore[attr-defined]
        error = metrics.expected_calibration_error(LABELS[LATER], predictions)
        return error, metrics.calibration_slope(LABELS[LATER], predictions, binary=True)

    model = calibrated(too_sure, method, rows(NEW))
    before, after = errors(too_sure), errors(model)
    assert before[0] > 0.1
    assert after[0] < 0.05
    assert after[0] < before[0] / 3
    assert before[1] < 0.4
    assert 0.5 < after[1] < 1.4


def test_a_sigmoid_keeps_the_order_and_the_estimator_as_it_was(too_sure: object) -> None:
    raw = too_sure.predict_proba(INPUTS.iloc[LATER])[:, 1]  # type: ignore[attr-defined]
    model = calibrated(too_sure, "sigmoid", rows(NEW))
    np.testing.assert_array_equal(too_sure.predict_proba(INPUTS.iloc[LATER])[:, 1], raw)  # type: ignore[attr-defined]
    assert (np.diff(model.predict_proba(INPUTS.iloc[LATER])[:, 1][np.argsort(raw)]) >= 0).all()
    assert model.cv is None


@pytest.mark.parametrize("method", every(2, ["isotonic", "sigmoid"]))
def test_it_is_stored_without_code_and_comes_back_as_it_was(too_sure: object, method: str) -> None:
    model = calibrated(too_sure, method, rows(NEW))
    stored = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=stored)
    assert [name for name in types if not allowed(name, ())] == []
    again = skops.io.loads(stored, trusted=types)
    np.testing.assert_array_equal(again.predict_proba(INPUTS.iloc[LATER]), model.predict_proba(INPUTS.iloc[LATER]))


def test_weights_count_in_the_map() -> None:
    model = LogisticRegression().fit(INPUTS[["load"]], LABELS)
    numbers = FitRows(INPUTS[["load"]].iloc[NEW], LABELS[NEW])
    doubled = FitRows(numbers.inputs, numbers.labels, np.where(numbers.labels == 1, 10.0, 1.0))
    plain = calibrated(model, "sigmoid", numbers).predict_proba(numbers.inputs)[:, 1].mean()
    weighted = calibrated(model, "sigmoid", doubled).predict_proba(numbers.inputs)[:, 1].mean()
    assert plain == pytest.approx(numbers.labels.mean(), abs=0.01)
    assert weighted > plain + 0.2


def test_rows_of_one_class_and_estimators_without_probabilities_are_refused(too_sure: object) -> None:
    quiet = np.flatnonzero(LABELS == 0)[:50]
    with pytest.raises(LabelError, match="All 50 labels of the validation part are 0") as caught:
        calibrated(too_sure, "sigmoid", FitRows(INPUTS.iloc[quiet], LABELS[quiet]))
    assert "training.calibrate: none" in caught.value.hint
    numbers = INPUTS[["load"]]
    with pytest.raises(StageError, match="Ridge is no classifier") as refused:
        calibrated(Ridge().fit(numbers, LABELS), "isotonic", FitRows(numbers, LABELS))
    assert "training.calibrate: none" in refused.value.hint
