"""Labels and predictions of counts and quantiles: what is none of them stops the training, and is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, PoissonRegressor, QuantileRegressor

from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import LabelError, StageError
from mlplatform.task import TASKS
from mlplatform.training.check_labels import check_labels
from mlplatform.training.fitting import predict
from mlplatform.training.training_key import training_key
from tests.support.small_trainings import data, trainer

INPUTS = pd.DataFrame({"load": np.linspace(0.0, 5.0, 50)})
COUNTS = np.r_[np.zeros(30), np.arange(20.0)]
SPINE = SimpleNamespace(primary_keys=("shop", "day"), label="visits")


def rows(*labels: float) -> pa.Table:
    return pa.table({"shop": [f"S{n}" for n in range(len(labels))], "day": range(len(labels)), "visits": labels})


def test_an_estimator_that_predicts_less_than_nothing_is_refused_for_counts_alone():
    fitted = LinearRegression().fit(INPUTS, COUNTS)
    assert predict(fitted, INPUTS, "regression").min() < 0
    with pytest.raises(StageError, match=r"LinearRegression predicts less than 0 for \d+ of 50 rows.*load=0.0") as told:
        predict(fitted, INPUTS, "counts")
    assert "PoissonRegressor" in told.value.hint
    assert predict(PoissonRegressor().fit(INPUTS, COUNTS), INPUTS, "counts").min() >= 0


@pytest.mark.parametrize("wrong", [-1.0, 2.5, float("nan"), float("inf")])
def test_labels_that_are_no_counts_are_named_by_their_keys(wrong):
    check_labels(TASKS["counts"], rows(0.0, 3.0, 12.0), SPINE)
    check_labels(TASKS["regression"], rows(0.0, wrong), SPINE)
    with pytest.raises(LabelError, match=r"2 of 4 labels are no counts.*shop=S1, day=1, visits=") as told:
        check_labels(TASKS["counts"], rows(0.0, wrong, wrong, 1.0), SPINE)
    assert "expectation" in told.value.hint
    with pytest.raises(LabelError, match="and more"):
        check_labels(TASKS["counts"], rows(*[wrong] * 9), SPINE)


def test_another_level_is_another_training():
    def key(level: float) -> str:
        label = {"horizon": "1 day", "quantile": level}
        settings = {"owner": "x", "task": "quantile", "label": label, "gate": {"floor": 1}}
        return training_key(made, known, UseCaseSettings.model_validate(settings))

    made: Any = trainer(lambda params: QuantileRegressor(quantile=0.9))
    known = data()
    assert key(0.9) == key(0.9)
    assert key(0.9) != key(0.8)
