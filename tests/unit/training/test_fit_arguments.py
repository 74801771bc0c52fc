"""What `Trainer.fit` passes on unless it is overridden: weights, categories, validation rows, rounds; by library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from mlplatform import coded
from mlplatform.errors import StageError
from mlplatform.training.fit_arguments import fit_with_arguments, learner, rounds_of, stops_early
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import predict

# As around every fit of the platform: the run record names the columns that are left out.
pytestmark = pytest.mark.filterwarnings("ignore:Skipping features without any observed values")

ROWS = 600
RANDOM = np.random.default_rng(3)
INPUTS = pd.DataFrame(
    {
        "kind": RANDOM.choice(list("abcdefgh"), ROWS),
        "load": RANDOM.random(ROWS),
        "size": RANDOM.random(ROWS),
        "late": np.full(ROWS, np.nan),
    }
)
# By the letter, and not in its order: a split of codes takes many of them, one of categories a single one.
LIKELY = INPUTS["kind"].isin(list("aceg")).to_numpy()
LABELS = (RANDOM.random(ROWS) < np.where(LIKELY, 0.85, 0.15)).astype(np.float64)
VALUES = 3 * INPUTS["load"].to_numpy() + RANDOM.normal(0, 0.3, ROWS) + LABELS
NUMBERS = INPUTS[["load", "size"]]

Make = Callable[..., Any]


def lightgbm(**params: Any) -> Any:
    return LGBMClassifier(**{"n_estimators": 20, "min_child_samples": 5, "random_state": 1} | params)


def xgboost(**params: Any) -> Any:
    return XGBClassifier(**{"n_estimators": 20, "max_depth": 3, "random_state": 1} | params)


def catboost(**params: Any) -> Any:
    return CatBoostClassifier(**{"iterations": 20, "depth": 3, "random_seed": 1, "allow_writing_files": False} | params)


def histgb(**params: Any) -> Any:
    return HistGradientBoostingClassifier(**{"max_iter": 20, "min_samples_leaf": 5, "random_state": 1} | params)


BOOSTERS: dict[str, Make] = {"lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost, "histgb": histgb}
STOPPING: dict[str, Make] = {
    "lightgbm": lambda: lightgbm(n_estimators=400, learning_rate=0.5, early_stopping_rounds=5),
    "lightgbm by another name": lambda: lightgbm(num_iterations=400, learning_rate=0.5, n_iter_no_change=5),
    "xgboost": lambda: xgboost(n_estimators=400, learning_rate=0.5, early_stopping_rounds=5),
    "catboost": lambda: catboost(iterations=400, learning_rate=0.5, early_stopping_rounds=5),
    "catboost by another name": lambda: CatBoostClassifier(
        n_estimators=400, learning_rate=0.5, od_type="Iter", od_wait=5, allow_writing_files=False
    ),
    "histgb": lambda: histgb(max_iter=400, learning_rate=0.5, early_stopping=True, n_iter_no_change=5),
}


def rows(inputs: Any = NUMBERS, labels: Any = LABELS, **more: Any) -> FitRows:
    return FitRows(inputs, labels, **more)


def split(given: FitRows) -> FitRows:
    """The older two thirds, with the newer third to stop by."""
    older, newer = given.part(slice(0, 400)), given.part(slice(400, ROWS))
    return FitRows(older.inputs, older.labels, older.weights, older.groups, older.categorical, validation=newer)


@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS)
@pytest.mark.parametrize("within", ["alone", "pipeline"])
def test_rows_of_no_weight_count_for_nothing(make: Make, within: str) -> None:
    wrong = LABELS.copy()
    wrong[300:] = 1 - wrong[300:]
    weights = np.where(np.arange(ROWS) < 300, 1.0, 0.0)

    def fitted(given: FitRows) -> Any:
        model = make() if within == "alone" else coded(make(), ["kind"])
        return predict(fit_with_arguments(model, given), given.inputs.iloc[:300], "classification")

    inputs = NUMBERS if within == "alone" else INPUTS[["kind", "load"]]
    weighted = fitted(rows(inputs, wrong, weights=weights))
    assert not np.allclose(weighted, fitted(rows(inputs, wrong)), atol=0.05)
    # Bins and leaves are made of the other rows as well, so that it is near and not the same.
    assert np.corrcoef(weighted, fitted(rows(inputs, wrong).part(slice(0, 300))))[0, 1] > 0.6


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "histgb"])
def test_categories_are_named_by_name_within_coded(name: str) -> None:
    """With two leaves a tree, codes take several trees to tell the letters apart; categories one."""
    few = {"lightgbm": {"num_leaves": 2}, "xgboost": {"max_depth": 1}, "histgb": {"max_leaf_nodes": 2}}[name]
    rounds = {"histgb": "max_iter"}.get(name, "n_estimators")
    # `late` holds no value and is left out: what comes after it moves up, the categories' places with it.
    inputs = INPUTS[["late", "load", "kind"]]

    def spread(**more: Any) -> float:
        model = coded(BOOSTERS[name](**few, **{rounds: 1}), ["kind"])
        if name == "lightgbm":
            learner(model).set_params(min_data_per_group=1, cat_smooth=1.0, max_cat_to_onehot=1)
        if name == "xgboost":
            learner(model).set_params(max_cat_to_onehot=1)
        fitted = fit_with_arguments(model, rows(inputs, **more))
        given = predict(fitted, inputs, "classification")
        return abs(float(given[LIKELY].mean() - given[~LIKELY].mean()))

    assert spread(categorical=("kind",)) > 1.5 * spread()


def test_catboost_is_given_the_text_itself_and_takes_what_it_never_saw() -> None:
    inputs = INPUTS.assign(kind=INPUTS["kind"].where(np.arange(ROWS) % 10 > 0, None))
    for numbers in (None, ["load", "late"]):
        model = fit_with_arguments(coded(catboost(), ["kind"], numbers), rows(inputs, categorical=("kind",)))
        known = predict(model, inputs, "classification")
        assert known[LIKELY].mean() - known[~LIKELY].mean() > 0.3
        later = inputs.assign(kind="never seen", late=1.0)
        assert predict(model, later, "classification").shape == (ROWS,)


@pytest.mark.parametrize("make", STOPPING.values(), ids=STOPPING)
@pytest.mark.parametrize("within", ["alone", "pipeline", "coded"])
def test_the_validation_rows_stop_it_and_the_last_fit_takes_as_many_rounds(make: Make, within: str) -> None:
    def model() -> Any:
        if within == "coded":
            return coded(make(), ["kind"])
        return make() if within == "alone" else make_pipeline(StandardScaler(), make())

    inputs = INPUTS if within == "coded" else NUMBERS
    assert stops_early(model())
    stopped = fit_with_arguments(model(), split(rows(inputs)))
    rounds = rounds_of(stopped)
    assert rounds is not None
    assert 1 <= rounds < 200
    last = fit_with_arguments(model(), FitRows(inputs, LABELS, rounds=rounds))
    assert trees(last) == rounds
    assert predict(last, inputs, "classification").shape == (ROWS,)


def trees(fitted: Any) -> int:
    """How many rounds a fitted model has."""
    model = learner(fitted)
    if isinstance(model, LGBMClassifier | LGBMRegressor):
        return int(model.booster_.num_trees())
    if isinstance(model, XGBClassifier | XGBRegressor):
        return int(model.get_booster().num_boosted_rounds())
    return int(model.tree_count_ if isinstance(model, CatBoostClassifier | CatBoostRegressor) else model.n_iter_)


def test_without_rows_to_stop_by_it_is_said() -> None:
    with pytest.raises(StageError, match=r"LGBMClassifier stops early, and there are no rows to stop by") as caught:
        fit_with_arguments(STOPPING["lightgbm"](), rows())
    assert "rows.rounds" in caught.value.hint


def test_automatic_stopping_of_scikit_learn_stays_its_own() -> None:
    assert not stops_early(HistGradientBoostingClassifier())
    assert not stops_early(HistGradientBoostingClassifier(early_stopping=False))
    assert not stops_early(lightgbm())
    assert not stops_early(xgboost(early_stopping_rounds=None))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LGBMRegressor(n_estimators=300, learning_rate=0.4, early_stopping_rounds=5, random_state=1),
        lambda: XGBRegressor(n_estimators=300, learning_rate=0.4, early_stopping_rounds=5),
        lambda: CatBoostRegressor(
            iterations=300, learning_rate=0.4, early_stopping_rounds=5, allow_writing_files=False
        ),
        lambda: HistGradientBoostingRegressor(max_iter=300, learning_rate=0.4, early_stopping=True, n_iter_no_change=5),
    ],
    ids=["lightgbm", "xgboost", "catboost", "histgb"],
)
def test_transformed_labels_are_stopped_by_transformed_labels(make: Make) -> None:
    def model() -> Any:
        score = QuantileTransformer(n_quantiles=50, output_distribution="normal")
        return TransformedTargetRegressor(coded(make(), ["kind"]), transformer=score)

    weights = np.where(np.arange(ROWS) % 2, 1.0, 2.0)
    given = split(rows(INPUTS, VALUES, weights=weights))
    stopped = fit_with_arguments(model(), given)
    rounds = rounds_of(stopped)
    assert rounds is not None
    assert 1 <= rounds < 100
    last = fit_with_arguments(model(), FitRows(INPUTS, VALUES, weights, rounds=rounds))
    predicted = predict(last, INPUTS, "regression")
    assert np.corrcoef(predicted, VALUES)[0, 1] > 0.8
    assert VALUES.min() <= predicted.min() <= predicted.max() <= VALUES.max()
    quantiles = model().transformer.fit(VALUES.reshape(-1, 1)).quantiles_
    np.testing.assert_array_equal(last.transformer_.quantiles_, quantiles)


def test_weights_within_a_transformed_target() -> None:
    model = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()), transformer=StandardScaler())
    weights = np.where(np.arange(ROWS) < 300, 1.0, 0.0)
    bent = np.where(np.arange(ROWS) < 300, VALUES, -VALUES)
    fitted = fit_with_arguments(model, rows(NUMBERS, bent, weights=weights))
    assert np.corrcoef(predict(fitted, NUMBERS, "regression"), VALUES)[0, 1] > 0.7


@pytest.mark.parametrize(
    ("estimator", "more", "says"),
    [
        (KNeighborsClassifier(), {"weights": np.ones(ROWS)}, "KNeighborsClassifier takes no weights"),
        (LogisticRegression(), {"categorical": ("load",)}, "LogisticRegression takes no categorical columns"),
        (lightgbm(), {"categorical": ("lod",)}, "lod is no column that the model is given"),
    ],
)
def test_what_an_estimator_cannot_be_given_is_said(estimator: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(StageError, match=says) as caught:
        fit_with_arguments(estimator, rows(**more))
    assert "Override fit(estimator, rows)" in caught.value.hint


def test_what_has_nothing_to_pass_is_fitted_as_ever() -> None:
    one, other = (fit(CalibratedClassifierCV(LogisticRegression(), cv=3)) for fit in (plainly, fit_with_default))
    np.testing.assert_array_equal(one.predict_proba(NUMBERS), other.predict_proba(NUMBERS))


def plainly(model: Any) -> Any:
    return model.fit(NUMBERS, LABELS)


def fit_with_default(model: Any) -> Any:
    return fit_with_arguments(model, rows())


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """A command's output may be JSON."""
    for make in (*BOOSTERS.values(), *STOPPING.values()):
        fit_with_arguments(make(), split(rows()))
    assert capfd.readouterr().out == ""


def test_catboost_leaves_no_folder_behind(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit_with_arguments(CatBoostClassifier(iterations=2), rows())
    assert not list(tmp_path.iterdir())


def test_parts_of_rows() -> None:
    whole = rows(weights=np.arange(float(ROWS)), groups=np.arange(ROWS) // 10)
    part = whole.part(np.array([5, 3]))
    assert (len(whole), len(part)) == (ROWS, 2)
    assert part.inputs.index.tolist() == [5, 3]
    assert part.weights is not None
    assert part.weights.tolist() == [5.0, 3.0]
    assert part.groups is not None
    assert part.groups.tolist() == [0, 0]
