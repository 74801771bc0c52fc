"""Trials on the workers of JVM Spark, by the joblib backend that runtimes for machine learning ship."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hyperopt import hp
from sklearn.linear_model import LogisticRegression

from mlplatform.training import trials
from mlplatform.training.search import Told
from mlplatform.training.trials import Attempt, TrialRunner
from mlplatform.training.tuning import tune
from mlplatform.workspace.databricks.session import RUNTIME
from tests.support.small_trainings import data, settings, trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.training.trials import Outcome
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

pytest.importorskip("joblibspark", reason="joblibspark is not installed: runtimes for machine learning ship it")

ATTEMPTS = [Attempt(number, {"x": number}) for number in range(5)]


@pytest.fixture
def backend(databricks: DatabricksWorkspace, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the backend, as a runtime gives it; any time that is saved is worth it."""
    monkeypatch.setenv(RUNTIME, "18.0")
    monkeypatch.setattr(trials, "_SECONDS_SAVED", -1.0)
    name = databricks.joblib_backend()
    assert name == "spark"
    return name


def run(score: Callable[[Any, Attempt], float], backend: str, notes: list[str]) -> list[Outcome]:
    rows = pd.DataFrame({"load": np.arange(1000.0), "kind": ["a", "b"] * 500})
    with TrialRunner(score, rows, data_bytes=10**6, at_once=5, total=5, cluster=backend, note=notes.append) as runner:
        return list(runner.run(ATTEMPTS))


def test_trials_run_in_the_workers_and_what_one_raises_comes_back(backend: str) -> None:
    driver = os.getpid()

    # Within the test, so that workers get it by value: they cannot import what stands here.
    def score(rows: Any, attempt: Attempt) -> float:
        import os

        if attempt.params["x"] == 3:
            raise ZeroDivisionError("three is too many")
        return float(os.getpid() != driver) * float(rows["load"].sum()) + attempt.params["x"]

    notes: list[str] = []
    outcomes = run(score, backend, notes)
    total = 999 * 1000 / 2
    # The first one tells how long a trial takes, on the driver.
    assert [outcome.score for outcome in outcomes if not outcome.cause] == [0.0, total + 1, total + 2, total + 4]
    assert outcomes[3].cause == "ZeroDivisionError: three is too many"
    assert isinstance(outcomes[3].error, ZeroDivisionError)
    assert "in score" in outcomes[3].error.__notes__[0]
    assert notes == ["trials: 5 at a time, on the cluster"]


def test_a_trial_that_ends_its_worker_ends_nothing_else(backend: str) -> None:
    driver = os.getpid()

    def score(rows: Any, attempt: Attempt) -> float:
        import os

        if attempt.params["x"] == 2 and os.getpid() != driver:
            os._exit(1)
        return float(attempt.params["x"])

    notes: list[str] = []
    outcomes = run(score, backend, notes)
    assert [outcome.score for outcome in outcomes if not outcome.cause] == [0.0, 1.0, 3.0, 4.0]
    assert "its worker ended" in outcomes[2].cause
    assert notes == ["trials: 5 at a time, on the cluster"]


def test_a_search_finds_the_same_as_on_the_driver(backend: str) -> None:
    """With trials that fail among them."""
    whole = replace(data(), inputs=data().inputs[["price"]])
    rows = whole.fit_rows(slice(0, 300), slice(300, 400))
    maker = trainer(
        lambda params: LogisticRegression(C=params.get("C", 1.0)), {"C": hp.choice("C", [-1.0, 0.01, 0.1, 1.0, 10.0])}
    )

    def search(cluster: str | None) -> tuple[Any, list[Any], list[int]]:
        seen: list[Any] = []
        failed: list[int] = []
        told = Told(lambda *trial: seen.append(trial), lambda number, *_: failed.append(number))
        result = tune(maker, rows, settings(8), told, cluster=cluster)
        assert result is not None
        return (result.params, result.score), seen, failed

    expected = search(None)
    assert search(backend) == expected
    assert expected[2]
