"""What an estimator is fitted on is looked at before, and what it raises is told in our words."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from mlplatform import coded
from mlplatform.errors import StageError
from mlplatform.training.fit_arguments import fit_with_arguments
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import fit, predict

ROWS = 120
RANDOM = np.random.default_rng(4)
INPUTS = pd.DataFrame(
    {
        "kind": RANDOM.choice(list("abc"), ROWS),
        "load": RANDOM.random(ROWS),
        "late": np.full(ROWS, np.nan),
        "note": pd.Series([None] * ROWS, dtype=object),
    }
)
LABELS = (INPUTS["load"] > 0.5).to_numpy(dtype=np.float64)
LATER = INPUTS.assign(late=1.0, note="seen", kind="never seen")


def trainer(make: Any) -> Any:
    return SimpleNamespace(estimator=make, fit=fit_with_arguments)


def boosted(**params: Any) -> Any:
    return HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5, **params)


@pytest.mark.parametrize("numbers", [None, ["load", "late"]], ids=["all others", "named"])
@pytest.mark.parametrize(
    "model",
    [boosted(), make_pipeline(SimpleImputer(), LogisticRegression()), RandomForestClassifier(5, random_state=0)],
    ids=["boosting", "linear", "forest"],
)
def test_coded_takes_columns_without_any_value(model: Any, numbers: Any) -> None:
    pipeline = coded(model, ["kind", "note"], numbers)
    fitted = fit(trainer(lambda params: pipeline), {}, FitRows(INPUTS, LABELS))
    # Nothing was learned of them, so that values which come later change nothing.
    known = INPUTS.assign(kind="a")
    np.testing.assert_array_equal(
        predict(fitted, known, "classification"),
        predict(fitted, known.assign(late=1.0, note="seen"), "classification"),
    )
    assert np.ptp(predict(fitted, INPUTS, "classification")) > 0.1
    assert predict(fitted, LATER, "classification").shape == (ROWS,)


def test_coded_within_another_estimator() -> None:
    inner = coded(HistGradientBoostingRegressor(max_iter=3), ["kind", "note"])
    fitted = fit(trainer(lambda params: TransformedTargetRegressor(inner)), {}, FitRows(INPUTS, LABELS))
    assert predict(fitted, LATER, "regression").shape == (ROWS,)


def test_where_all_columns_have_values_coded_is_what_it_was() -> None:
    columns = ColumnTransformer(coded(None, ["kind"]).steps[0][1].transformers, remainder="passthrough")
    full = INPUTS[["kind", "load"]].copy()
    full.loc[::7, "load"] = np.nan
    plain = make_pipeline(columns, boosted()).fit(full, LABELS)
    ours = coded(boosted(), ["kind"]).fit(full, LABELS)
    np.testing.assert_array_equal(ours.predict_proba(full), plain.predict_proba(full))


def test_columns_named_by_their_place_do_not_go_with_a_column_left_out() -> None:
    model = coded(boosted(monotonic_cst=[0, 0, 1, 0]), ["kind", "note"])
    with pytest.raises(StageError, match=r"late, note: no value.*monotonic_cst"):
        fit(trainer(lambda params: model), {}, FitRows(INPUTS, LABELS))


DATED = INPUTS.assign(day=[dt.date(2024, 1, 1)] * ROWS, at=pd.Timestamp("2024-01-01"), word=["x"] * ROWS)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda p: coded(boosted(), ["kind", "note"]), r"day \(date, .*at \(timestamp\).*word \(string, such as 'x'\)"),
        (lambda p: coded(boosted(), ["kind", "note"], ["load", "word"]), r"numbers: word \(string"),
        (lambda p: boosted(), r"kind \(string, such as .*note \(string\), day"),
        (lambda p: CalibratedClassifierCV(boosted()), r"kind \(string"),
        (lambda p: TransformedTargetRegressor(Ridge()), r"kind \(string"),
        (lambda p: make_pipeline(boosted()), r"kind \(string"),
    ],
    ids=["coded", "coded, named", "bare", "calibrated", "transformed target", "pipeline"],
)
def test_text_dates_and_times_are_refused_before_fitting(make: Any, named: str) -> None:
    with pytest.raises(StageError, match=named) as caught:
        fit(trainer(make), {}, FitRows(DATED, LABELS))
    assert caught.value.__cause__ is None
    assert "CATEGORIES" in caught.value.hint
    assert "exclude_columns" in caught.value.hint


class Foreign:
    """An estimator of another library: what it takes is not ours to say."""

    def fit(self, inputs: Any, labels: Any) -> None:
        """Return nothing, as some do."""

    def predict_proba(self, inputs: Any) -> Any:
        """Say the same of all."""
        return np.full((len(inputs), 2), 0.5)


@pytest.mark.parametrize(
    "estimator",
    [
        Foreign(),
        DummyClassifier(),
        make_pipeline(ColumnTransformer([("k", OneHotEncoder(), ["kind"])]), LogisticRegression()),
    ],
    ids=["of another library", "dummy", "encoded"],
)
def test_what_may_take_text_is_let_through(estimator: Any) -> None:
    fitted = fit(trainer(lambda params: estimator), {}, FitRows(DATED, LABELS))
    assert predict(fitted, DATED, "classification").shape == (ROWS,)


def test_what_fitting_raises_names_parameters_and_columns() -> None:
    def make(params: dict[str, Any]) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(**params))

    with pytest.raises(StageError) as caught:
        fit(trainer(make), {"C": 2.0}, FitRows(INPUTS, LABELS))
    message = caught.value.message
    assert "Fitting on 120 rows failed, with the parameters {'C': 2.0}: ValueError: could not convert" in message
    assert "4 columns: kind, load, late, note; not numbers: kind (string, such as" in message
    assert "without any value: late, note" in message
    assert isinstance(caught.value.__cause__, ValueError)
    assert "--debug" in caught.value.hint


def test_a_wrong_type_and_a_wrong_name_of_a_parameter() -> None:
    full = INPUTS[["load"]]
    with pytest.raises(StageError, match=r"'max_depth': 4\.0.*InvalidParameterError.*max_depth"):
        fit(trainer(lambda p: RandomForestClassifier(**p)), {"max_depth": 4.0}, FitRows(full, LABELS))
    with pytest.raises(StageError, match=r"Making the estimator failed.*'a': \{'depth': 3\}.*unexpected keyword"):
        fit(trainer(lambda p: RandomForestClassifier(**p)), {"a": {"depth": 3}}, FitRows(full, LABELS))


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (lambda n: np.full((n, 2), np.nan), "predicts NaN or infinity for 120 of 120"),
        (lambda n: np.ones((n, 1)), "one column for each of two classes"),
        (lambda n: np.ones((n, 3)), "one column for each of two classes"),
        (lambda n: np.ones((n - 1, 2)), r"shape \(119,\) for 120 rows"),
        (lambda n: 1 / 0, "Predicting 120 rows failed: ZeroDivisionError"),
    ],
    ids=["nan", "one class", "three classes", "a row less", "raises"],
)
def test_predictions_that_are_none(gives: Any, says: str) -> None:
    with pytest.raises(StageError, match=says):
        predict(SimpleNamespace(predict_proba=lambda rows: gives(len(rows))), INPUTS, "classification")


def test_an_estimator_without_probabilities() -> None:
    full = INPUTS[["load"]]
    fitted = fit(trainer(lambda p: LinearSVC()), {}, FitRows(full, LABELS))
    with pytest.raises(StageError, match="LinearSVC has no predict_proba") as caught:
        predict(fitted, full, "classification")
    assert "CalibratedClassifierCV" in caught.value.hint


def test_ctrl_c_passes() -> None:
    def interrupted(params: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer(interrupted), {}, FitRows(INPUTS, LABELS))


def test_columns_that_lack_values_in_some_rows_are_named_with_the_way_out() -> None:
    some = pd.DataFrame({"load": [1.0, None] * 60, "price": np.arange(120.0)})
    with pytest.raises(
        StageError, match=r"Input X contains NaN.*lacking values in some of 120 rows: load \(60"
    ) as caught:
        fit(trainer(lambda params: LogisticRegression()), {}, FitRows(some, LABELS))
    assert "price" not in caught.value.message.partition("lacking")[2]
    assert "imputer" in caught.value.hint


def test_of_predictions_that_are_none_the_first_row_is_shown() -> None:
    some = pd.DataFrame({"load": [1.0, None, 3.0], "kind": ["a", None, "c"], "price": [1.0, 2.0, 3.0]})
    gives = np.array([[0.5, 0.5], [np.nan, np.nan], [0.5, 0.5]])
    with pytest.raises(
        StageError, match=r"for 1 of 3 rows; the first is row 1, with price=2.0, and without load, kind"
    ):
        predict(SimpleNamespace(predict_proba=lambda rows: gives), some, "classification")
    nothing = pd.DataFrame({"load": [None, None, None]}, dtype=object)
    with pytest.raises(StageError, match="the first is row 1, with no value"):
        predict(SimpleNamespace(predict_proba=lambda rows: gives), nothing, "classification")


def test_predictions_that_are_none_are_let_through_to_whoever_looks_for_them() -> None:
    gives = np.array([[0.5, 0.5], [np.nan, np.inf], [0.5, 0.5]])
    rows = pd.DataFrame({"load": [1.0, 2.0, 3.0]})
    found = predict(SimpleNamespace(predict_proba=lambda given: gives), rows, "classification", finite=False)
    np.testing.assert_array_equal(found, [0.5, np.inf, 0.5])
