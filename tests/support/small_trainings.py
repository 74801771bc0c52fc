"""Trainings on a few hundred made-up rows, without a workspace."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.config.settings import UseCaseSettings
from mlplatform.features.model_frame import model_frame
from mlplatform.training.candidate import TrainingData, train
from mlplatform.training.fit_arguments import fit_with_arguments
from mlplatform.training.search import Told
from tests.support.tiny_use_case import SETTINGS

ROWS = 400


def data(**columns: Any) -> TrainingData:
    """Return hourly rows with a price that decides most of the label, a kind that decides nothing, and more columns."""
    random = np.random.default_rng(1)
    price = random.random(ROWS)
    rows = pa.table({"price": pa.array(price), "kind": pa.array(random.choice(list("ab"), ROWS)), **columns})
    times = np.datetime64("2024-01-01", "us") + np.arange(ROWS) * np.timedelta64(1, "h")
    labels = (price + random.random(ROWS) / 2 > 0.75).astype(np.float64)
    return TrainingData(
        training_set=SimpleNamespace(),
        rows=rows,
        inputs=model_frame(rows),
        labels=labels,
        times=times,
        digest="d",
    )


def settings(evals: int = 6) -> UseCaseSettings:
    """Return settings of a classification with a search of so many trials."""
    training = {"metric": "roc_auc", "min_rows": 10, "search": {"max_evals": evals}}
    return UseCaseSettings.model_validate(SETTINGS | {"training": training})


def trainer(estimator: Any, space: Any = None) -> Any:
    """Return what a training asks of a trainer: an estimator made of parameters, and a search space."""
    return SimpleNamespace(
        estimator=estimator, search_space=lambda: space or {}, default_params={}, fit=fit_with_arguments
    )


def run(maker: Any, given: TrainingData, **more: Any) -> tuple[Any, list[Any], list[Any]]:
    """Train, and return the candidate, the trials that gave a score, and those that failed."""
    seen: list[Any] = []
    failed: list[Any] = []
    told = Told(lambda *a: seen.append(a), lambda *a: failed.append(a))
    trained = train(maker, given, settings(**more), told)
    return trained, seen, failed
