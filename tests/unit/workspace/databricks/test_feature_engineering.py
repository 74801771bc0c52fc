"""What the real feature engineering client raises, as errors of ours."""

from __future__ import annotations

import pytest

from mlplatform.errors import FeatureStoreError, TableError
from mlplatform.workspace.databricks.feature_engineering import asked


def test_mlflow_that_cannot_register_feature_models_is_told_with_the_way_out():
    text = "This model was packaged by Databricks Feature Store and can only be registered on a Databricks cluster."
    way_out = r"Register it by ws\.fe\.log_model"
    with pytest.raises(FeatureStoreError, match=way_out), asked("Logging the model"):
        raise RuntimeError(text)


def test_another_error_is_told_with_its_text_and_ours_pass():
    told = "Logging the model failed with KeyError: 'x'"
    with pytest.raises(FeatureStoreError, match=told), asked("Logging the model"):
        raise KeyError("x")
    with pytest.raises(TableError, match="It is gone"), asked("Logging the model"):
        raise TableError("It is gone.")
