"""Hyperparameter search with hyperopt, each trial an MLflow run nested in the training's run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlplatform.config.settings import SearchSettings
from mlplatform.errors import PlatformError, StageError
from mlplatform.training.fitting import said

OnTrial = Callable[[int, dict[str, Any], float], None]
OnFailure = Callable[[int, dict[str, Any], str], None]

# Draws of a float in steps of q: whole numbers where q is one.
_STEPPED = {"quniform": 2, "qloguniform": 2, "qnormal": 2, "qlognormal": 2}


@dataclass(frozen=True)
class FailedTrial:
    """A set of parameters that gave no score, and why."""

    number: int
    params: dict[str, Any]
    cause: str


@dataclass(frozen=True)
class SearchResult:
    """The best parameters, their score on the validation rows, how many were tried, and those that failed."""

    params: dict[str, Any]
    score: float
    trials: int
    failed: tuple[FailedTrial, ...] = ()


def search(
    space: Mapping[str, Any],
    score: Callable[[dict[str, Any]], float],
    settings: SearchSettings,
    *,
    seed: int,
    greater_is_better: bool,
    on_trial: OnTrial,
    on_failure: OnFailure | None = None,
) -> SearchResult:
    """Search for the parameters with the best score.

    A trial that raises, or whose score is not finite, is told to `on_failure` and passed over. Plain `Trials` run one
    after another: `SparkTrials` needs a `sparkContext`, which Spark Connect has not.

    Args:
        space: The hyperopt space; a stepped draw (`hp.quniform`) of whole steps gives whole numbers.
        score: Fits with parameters and returns the score on the validation rows.
        settings: The budget.
        seed: Of the search.
        greater_is_better: The score's direction.
        on_trial: Called after each trial that gave a score with its number, parameters and score.
        on_failure: Called after each that gave none with its number, parameters and what was wrong.

    Raises:
        StageError: If no trial gave a finite score, with the first cause; or if hyperopt refuses the space.
    """
    from hyperopt import STATUS_FAIL, STATUS_OK, Trials, fmin, space_eval, tpe

    count = 0
    failed: list[FailedTrial] = []
    causes: list[Exception] = []
    ours: list[Exception] = []

    def objective(tried: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal count
        params, number = plain(tried), count
        count += 1
        try:
            value = float(score(params))
            cause = "" if np.isfinite(value) else f"the score is {value}"
        except Exception as error:  # noqa: BLE001  (whatever an estimator raises ends its trial, and is told)
            causes.append(error)
            value, cause = float("nan"), error.message if isinstance(error, PlatformError) else said(error)
        try:
            if cause:
                failed.append(FailedTrial(number, params, cause))
                if on_failure is not None:
                    on_failure(number, params, cause)
            else:
                on_trial(number, params, value)
        except Exception as error:
            ours.append(error)
            raise
        return (
            {"status": STATUS_FAIL} if cause else {"status": STATUS_OK, "loss": -value if greater_is_better else value}
        )

    trials = Trials()
    try:
        expression = whole_numbers(space)
        best = fmin(
            objective,
            expression,
            algo=tpe.suggest,
            max_evals=settings.max_evals,
            timeout=settings.timeout_seconds,
            trials=trials,
            rstate=np.random.default_rng(seed),
            show_progressbar=False,
            verbose=False,
        )
        loss = float(trials.best_trial["result"]["loss"])
        params = plain(space_eval(expression, best))
    except Exception as error:
        if error in ours:
            raise
        if failed and len(failed) == count:
            raise StageError(
                f"None of {count} sets of parameters gave a finite score; the first, {failed[0].params}: "
                f"{failed[0].cause}",
                hint="Look at search_space() and estimator() of the trainer, and at the nested runs in MLflow. Does "
                "the validation part hold both classes? mlplatform --debug ... shows the whole of what was raised.",
            ) from (causes[0] if causes else error)
        raise StageError(
            f"hyperopt cannot search the space of {', '.join(map(str, space))}: {said(error)}",
            hint="Look at search_space() of the trainer: each label once, bounds in order. mlplatform --debug ... "
            "shows the whole of what was raised.",
        ) from error
    return SearchResult(params=params, score=-loss if greater_is_better else loss, trials=count, failed=tuple(failed))


def whole_numbers(space: Mapping[str, Any]) -> Any:
    """Return a space as hyperopt's expression, in which stepped draws of whole steps are whole numbers.

    `hp.quniform("depth", 2, 8, 1)` draws 4.0, which estimators refuse where they need a whole number.

    Args:
        space: The hyperopt space; it is left as it is.
    """
    from hyperopt.pyll import as_apply, dfs
    from hyperopt.pyll.base import clone

    expression = clone(as_apply(dict(space)))
    for node in dfs(expression):
        drawn = node.pos_args[0].pos_args[1] if _draws(node) else None
        if drawn is not None and drawn.name in _STEPPED and _is_whole(drawn):
            node.name = "int"
    return expression


def plain(params: Any) -> Any:
    """Return parameters as plain Python values: hyperopt hands out numpy scalars, which JSON does not take."""
    if isinstance(params, Mapping):
        return {key: plain(value) for key, value in params.items()}
    if isinstance(params, (list, tuple)):
        return type(params)(plain(value) for value in params)
    return params.item() if isinstance(params, np.generic) else params


def _draws(node: Any) -> bool:
    return node.name == "float" and bool(node.pos_args) and node.pos_args[0].name == "hyperopt_param"


def _is_whole(drawn: Any) -> bool:
    """Tell whether a stepped draw gives whole numbers: its step is one, and for `quniform` its bounds are, too."""
    values = list(drawn.pos_args) + [value for _, value in drawn.named_args]
    numbers = [value.obj for value in values if value.name == "literal"]
    asked = numbers if drawn.name == "quniform" else numbers[_STEPPED[drawn.name] :]
    return len(numbers) == len(values) and all(float(number).is_integer() for number in asked)
