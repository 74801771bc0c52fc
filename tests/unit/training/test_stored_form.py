"""In which flavor a model is stored: it passes the check of files, and predicts from there what it predicted before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import yaml
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import Dataset, LGBMClassifier, LGBMRegressor
from lightgbm import train as train_lightgbm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import QuantileTransformer
from xgboost import DMatrix, XGBClassifier, XGBRegressor
from xgboost import train as train_xgboost

from mlplatform import coded
from mlplatform.errors import ConfigError, StageError
from mlplatform.features import artifacts
from mlplatform.training.calibration import calibrated as calibrate
from mlplatform.training.fit_arguments import fit_with_arguments, rounds_of
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import predict
from mlplatform.training.stored_form import stored_form
from mlplatform.workspace.local.scoring import as_column
from tests.support.crossed import every

ROWS = 300
RANDOM = np.random.default_rng(5)
INPUTS = pd.DataFrame(
    {"kind": RANDOM.choice(list("abc"), ROWS), "load": RANDOM.random(ROWS), "size": RANDOM.normal(0, 1e6, ROWS)}
)
INPUTS.loc[::7, "load"] = np.nan
NUMBERS = INPUTS[["load", "size"]]
LABELS = ((INPUTS["size"] > 0) ^ (RANDOM.random(ROWS) < 0.2)).to_numpy(dtype=np.float64)
VALUES = INPUTS["size"].to_numpy() / 1e5 + RANDOM.normal(size=ROWS)

LGBM: dict[str, Any] = {"n_estimators": 20, "min_child_samples": 5, "verbosity": -1}
XGB: dict[str, Any] = {"n_estimators": 20, "max_depth": 3}
CAT: dict[str, Any] = {"iterations": 20, "depth": 3, "verbose": False, "allow_writing_files": False}


def fitted(model: Any, inputs: pd.DataFrame, labels: Any = LABELS, **more: Any) -> Any:
    return fit_with_arguments(model, FitRows(inputs, labels, **more))


def stopped_early() -> Any:
    rows = FitRows(NUMBERS, LABELS)
    given = FitRows(NUMBERS.iloc[:200], LABELS[:200], validation=rows.part(slice(200, ROWS)))
    return fit_with_arguments(XGBClassifier(n_estimators=100, learning_rate=0.8, early_stopping_rounds=3), given)


def calibrated() -> Any:
    model = fitted(coded(LGBMClassifier(**LGBM), ["kind"]), INPUTS)
    return CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid", cv=2).fit(INPUTS, LABELS)


def calibrated_in_training(name: str, method: str, *, within: bool) -> Any:
    """As `training.calibrate` does: stopped early by the rows that the map is then learned from."""
    make = {
        "lightgbm": lambda: LGBMClassifier(**LGBM, early_stopping_rounds=3),
        "xgboost": lambda: XGBClassifier(**XGB, early_stopping_rounds=3),
        "catboost": lambda: CatBoostClassifier(**CAT, early_stopping_rounds=3),
    }[name]
    inputs = INPUTS if within else NUMBERS
    rows = FitRows(inputs, LABELS)
    older, newer = rows.part(slice(0, 200)), rows.part(slice(200, ROWS))

    def model() -> Any:
        return coded(make(), ["kind"]) if within else make()

    rounds = rounds_of(fit_with_arguments(model(), replace(older, validation=newer)))
    return calibrate(fit_with_arguments(model(), replace(older, rounds=rounds)), method, newer)


CASES: dict[str, tuple[str, str, Callable[[], Any], pd.DataFrame]] = {
    "lightgbm": ("lightgbm", "classification", lambda: fitted(LGBMClassifier(**LGBM), NUMBERS), NUMBERS),
    "lightgbm, regression": (
        "lightgbm", "regression", lambda: fitted(LGBMRegressor(**LGBM), NUMBERS, VALUES), NUMBERS,
    ),
    "lightgbm, counts": (
        "lightgbm",
        "regression",
        lambda: fitted(LGBMRegressor(**LGBM, objective="poisson"), NUMBERS, np.abs(VALUES).round()),
        NUMBERS,
    ),
    "lightgbm's own booster": (
        "lightgbm",
        "classification",
        lambda: train_lightgbm({"objective": "binary", "verbosity": -1}, Dataset(NUMBERS, LABELS), 10),
        NUMBERS,
    ),
    "xgboost": ("xgboost", "classification", lambda: fitted(XGBClassifier(**XGB), NUMBERS), NUMBERS),
    "xgboost, regression": ("xgboost", "regression", lambda: fitted(XGBRegressor(**XGB), NUMBERS, VALUES), NUMBERS),
    "xgboost, stopped early": ("xgboost", "classification", stopped_early, NUMBERS),
    "xgboost's own booster": (
        "xgboost",
        "classification",
        lambda: train_xgboost({"objective": "binary:logistic"}, DMatrix(NUMBERS, LABELS), 10),
        NUMBERS,
    ),
    "catboost, regression": (
        "catboost", "regression", lambda: fitted(CatBoostRegressor(**CAT), NUMBERS, VALUES), NUMBERS,
    ),
    "catboost": ("sklearn", "classification", lambda: fitted(CatBoostClassifier(**CAT), NUMBERS), NUMBERS),
    "catboost, coded": (
        "sklearn", "classification", lambda: fitted(coded(CatBoostClassifier(**CAT), ["kind"]), INPUTS), INPUTS,
    ),
    "lightgbm, coded": (
        "sklearn",
        "classification",
        lambda: fitted(coded(LGBMClassifier(**LGBM), ["kind"]), INPUTS, categorical=("kind",)),
        INPUTS,
    ),
    "xgboost, coded": (
        "sklearn",
        "classification",
        lambda: fitted(coded(XGBClassifier(**XGB), ["kind"]), INPUTS, categorical=("kind",)),
        INPUTS,
    ),
    "lightgbm, transformed labels": (
        "sklearn",
        "regression",
        lambda: fitted(
            TransformedTargetRegressor(
                coded(LGBMRegressor(**LGBM), ["kind"]), transformer=QuantileTransformer(n_quantiles=50)
            ),
            INPUTS,
            VALUES,
            weights=np.ones(ROWS),
        ),
        INPUTS,
    ),
    "lightgbm, calibrated": ("sklearn", "classification", calibrated, INPUTS),
    "scikit-learn": (
        "sklearn", "classification", lambda: LogisticRegression().fit(NUMBERS.fillna(0), LABELS), NUMBERS.fillna(0),
    ),
}  # fmt: skip
CASES |= {
    f"{name}{', coded' if within else ''}, calibrated by {method}": (
        "sklearn",
        "classification",
        partial(calibrated_in_training, name, method, within=within),
        INPUTS if within else NUMBERS,
    )
    for name in ("lightgbm", "xgboost", "catboost")
    for method, within in (("sigmoid", False), ("isotonic", True))
}


@pytest.fixture(autouse=True)
def _without_the_lock_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_UV_AUTO_DETECT", "false")


def trainer(**declared: Any) -> Any:
    return SimpleNamespace(**{"flavor": "", "requirements": (), "trusted_types": ()} | declared)


@pytest.mark.parametrize("name", every(3, CASES))
def test_what_is_stored_passes_the_check_and_predicts_as_before(tmp_path: Path, name: str) -> None:
    flavor, task, make, inputs = CASES[name]
    model = make()
    judged = predict(model, inputs, task)
    assert np.ptp(judged) > 0.1, "a constant model would prove nothing"
    form = stored_form(model, task, trainer(), inputs)
    assert flavor == form.flavor.FLAVOR_NAME
    folder = tmp_path / "model"
    form.flavor.save_model(form.model, path=str(folder), pip_requirements=form.requirements, **form.arguments)
    artifacts.check_files(folder)
    artifacts.verify(folder, artifacts.digest(folder))
    # Rows one by one and in another order: what a batch holds must not decide.
    loaded = mlflow.pyfunc.load_model(str(folder))
    import pyarrow as pa

    again = as_column(loaded.predict(inputs), pa.float64(), ROWS).to_numpy()
    np.testing.assert_allclose(again, judged, rtol=1e-9, atol=1e-9)
    few = as_column(loaded.predict(inputs.iloc[[9]]), pa.float64(), 1).to_numpy()
    np.testing.assert_allclose(few, judged[9:10], rtol=1e-9, atol=1e-9)
    said = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]
    assert set(said) == {"python_function", flavor}
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]


@pytest.mark.parametrize(
    ("name", "library"),
    [("lightgbm", "lightgbm"), ("xgboost, coded", "xgboost"), ("catboost, coded", "catboost"), ("scikit-learn", "")],
)
def test_requirements_are_those_of_the_model_at_the_installed_versions(name: str, library: str) -> None:
    from importlib.metadata import version

    _, task, make, inputs = CASES[name]
    lines = stored_form(make(), task, trainer(requirements=("narwhals", "acme>=1,<2", "numpy")), inputs).requirements
    names = [line.partition("==")[0] for line in lines]
    assert {found for found in names if found.startswith(("lightgbm", "xgboost", "catboost"))} == (
        {"xgboost-cpu" if library == "xgboost" else library} - {""}
    )
    assert f"narwhals=={version('narwhals')}" in lines
    assert "acme>=1,<2" in lines
    assert len(names) == len(set(names))
    assert ("scikit-learn" in names) == (name != "lightgbm")


def test_a_requirement_that_is_not_installed_is_said() -> None:
    _, task, make, inputs = CASES["lightgbm"]
    with pytest.raises(ConfigError, match="name acme, which is not installed"):
        stored_form(make(), task, trainer(requirements=("acme",)), inputs)


def test_the_trainer_may_name_the_flavor() -> None:
    _, task, make, inputs = CASES["lightgbm"]
    assert stored_form(make(), task, trainer(flavor="sklearn"), inputs).flavor.FLAVOR_NAME == "sklearn"
    assert stored_form(make(), task, trainer(flavor="lightgbm"), inputs).flavor.FLAVOR_NAME == "lightgbm"
    for wrong, says in {
        "xgboost": "cannot be stored so: it is no booster of that library",
        "lihtgbm": "lihtgbm",
    }.items():
        with pytest.raises(ConfigError, match=says):
            stored_form(make(), task, trainer(flavor=wrong), inputs)
    coded_model = CASES["lightgbm, coded"][2]()
    with pytest.raises(ConfigError, match="cannot be stored so"):
        stored_form(coded_model, task, trainer(flavor="lightgbm"), INPUTS)


def of_ones_own(scores: Any, data: Any) -> tuple[Any, Any]:
    """An objective of one's own: what the booster predicts are scores, and no probabilities."""
    probabilities = 1 / (1 + np.exp(-scores))
    return probabilities - data.get_label(), probabilities * (1 - probabilities)


def test_a_booster_that_predicts_something_else_than_was_judged_is_not_stored_as_one() -> None:
    class Halved(XGBClassifier):  # its own method predicts what its booster does not
        def predict_proba(self, X: Any, **more: Any) -> Any:  # noqa: N803
            whole = super().predict_proba(X, **more)
            return np.column_stack([1 - whole[:, 1] / 2, whole[:, 1] / 2])

    Halved.__module__ = "xgboost.ours"
    model = Halved(**XGB).fit(NUMBERS, LABELS)
    with pytest.raises(ConfigError, match="what it stores predicts something else"):
        stored_form(model, "classification", trainer(flavor="xgboost"), NUMBERS)


def test_scores_of_a_booster_are_no_probabilities() -> None:
    booster = train_lightgbm({"objective": of_ones_own, "verbosity": -1}, Dataset(NUMBERS, LABELS), 10)
    with pytest.raises(StageError, match=r"The Booster predicts scores below 0 or above 1") as caught:
        predict(booster, NUMBERS, "classification")
    assert "binary:logistic" in caught.value.hint
