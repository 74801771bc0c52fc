"""scikit-learn models in the skops format, with an MLflow that cannot store them so."""

from __future__ import annotations

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlplatform.features import artifacts
from mlplatform.training import skops_flavor

X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
Y = (np.arange(60) % 2).astype(float)


def twice(x):
    return x * 2


@pytest.fixture(autouse=True)
def _without_the_lock_file(monkeypatch):
    monkeypatch.setenv("MLFLOW_UV_AUTO_DETECT", "false")


def test_mlflow_s_own_flavor_is_taken_where_it_knows_the_format(monkeypatch):
    assert skops_flavor.flavor() is mlflow.sklearn
    monkeypatch.setattr(mlflow.sklearn, "SUPPORTED_SERIALIZATION_FORMATS", ["pickle", "cloudpickle"])  # as in 3.8.1
    assert skops_flavor.flavor() is skops_flavor


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_stored_model_predicts_as_before_and_passes_the_check_of_types(tmp_path, method):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    skops_flavor.save_model(model, str(tmp_path / "model"), pyfunc_predict_fn=method, pip_requirements=["scikit-learn"])
    artifacts.check_files(tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(X), getattr(model, method)(X))


def test_types_that_were_not_trusted_are_not_loaded(tmp_path):
    model = make_pipeline(FunctionTransformer(twice), LogisticRegression()).fit(X, Y)
    folder = str(tmp_path / "model")
    skops_flavor.save_model(model, folder, pip_requirements=["scikit-learn"])
    with pytest.raises(Exception, match="twice"):
        mlflow.pyfunc.load_model(folder)
