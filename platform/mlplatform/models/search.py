"""Hyperparameter search with hyperopt, each trial an MLflow run nested in the training's run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlplatform.config import SearchSettings
from mlplatform.errors import StageError


@dataclass(frozen=True)
class SearchResult:
    """The best parameters, their score on the validation rows, and how many were tried."""

    params: dict[str, Any]
    score: float
    trials: int


def search(
    space: Mapping[str, Any],
    score: Callable[[dict[str, Any]], float],
    settings: SearchSettings,
    *,
    seed: int,
    greater_is_better: bool,
    on_trial: Callable[[int, dict[str, Any], float], None],
) -> SearchResult:
    """Search for the parameters with the best score.

    Plain `Trials` run one after another: `SparkTrials` needs a `sparkContext`, which Spark Connect has not.

    Args:
        space: The hyperopt space.
        score: Fits with parameters and returns the score on the validation rows.
        settings: The budget.
        seed: Of the search.
        greater_is_better: The score's direction.
        on_trial: Called after each trial with its number, parameters and score.

    Raises:
        StageError: If no trial gave a finite score.
    """
    from hyperopt import STATUS_FAIL, STATUS_OK, Trials, fmin, space_eval, tpe

    count = 0

    def objective(tried: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        params = plain(tried)
        value = score(params)
        on_trial(count, params, value)
        count += 1
        if not np.isfinite(value):
            return {"status": STATUS_FAIL}
        return {"status": STATUS_OK, "loss": -value if greater_is_better else value}

    trials = Trials()
    try:
        best = fmin(
            objective,
            dict(space),
            algo=tpe.suggest,
            max_evals=settings.max_evals,
            timeout=settings.timeout_seconds,
            trials=trials,
            rstate=np.random.default_rng(seed),
            show_progressbar=False,
            verbose=False,
        )
        loss = float(trials.best_trial["result"]["loss"])
    except Exception as error:
        if count and not any(result["status"] == STATUS_OK for result in trials.results):
            raise StageError(
                f"None of {count} sets of parameters gave a finite score.",
                hint="Does the validation part hold both classes? Look at the nested runs in MLflow.",
            ) from error
        raise
    return SearchResult(
        params=plain(space_eval(dict(space), best)), score=-loss if greater_is_better else loss, trials=count
    )


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as plain Python values: hyperopt hands out numpy scalars, which JSON does not take."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in params.items()}
