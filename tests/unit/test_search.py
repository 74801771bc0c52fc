"""The hyperparameter search keeps to its budget, repeats itself, and says so when nothing works."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hyperopt import hp

from mlplatform.config import SearchSettings
from mlplatform.errors import StageError
from mlplatform.models.search import SearchResult, search

SPACE = {"x": hp.uniform("x", -3, 3), "depth": hp.choice("depth", [2, 3, 4])}


def run(
    score: Any, *, evals: int = 12, seed: int = 0, greater: bool = True, timeout: float | None = None
) -> tuple[SearchResult, list[tuple[int, dict[str, Any], float]]]:
    seen: list[tuple[int, dict[str, Any], float]] = []
    result = search(
        SPACE,
        score,
        SearchSettings(max_evals=evals, timeout_seconds=timeout),
        seed=seed,
        greater_is_better=greater,
        on_trial=lambda *trial: seen.append(trial),
    )
    return result, seen


def hill(params: dict[str, Any]) -> float:
    return -((params["x"] - 1) ** 2) - params["depth"]


def test_the_best_of_the_trials_is_returned_with_its_score():
    result, seen = run(hill)
    best = max(seen, key=lambda trial: trial[2])
    assert (result.params, result.score) == (best[1], pytest.approx(best[2]))


def test_the_budget_is_kept_and_every_trial_is_reported_in_order():
    result, seen = run(hill, evals=7)
    assert result.trials == len(seen) == 7
    assert [trial[0] for trial in seen] == list(range(7))


def test_a_smaller_score_wins_where_smaller_is_better():
    result, seen = run(lambda params: -hill(params), greater=False)
    assert result.score == pytest.approx(min(trial[2] for trial in seen))


def test_a_seed_decides_what_is_tried():
    assert run(hill)[1] == run(hill)[1]
    assert run(hill)[1] != run(hill, seed=1)[1]


def test_parameters_are_plain_python_values():
    _, seen = run(hill, evals=3)
    for _, params, _ in seen:
        assert {key: type(value) for key, value in params.items()} == {"x": float, "depth": int}
        assert params["depth"] in (2, 3, 4)


def test_trials_without_a_finite_score_are_passed_over():
    result, _ = run(lambda params: hill(params) if params["x"] > 0 else math.nan)
    assert math.isfinite(result.score)
    assert result.params["x"] > 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_finite_score_at_all_is_an_error_that_says_how_many_were_tried(value):
    with pytest.raises(StageError, match="None of 4 sets of parameters"):
        run(lambda params: value, evals=4)


def test_an_error_of_the_estimator_comes_through():
    def fail(params: dict[str, Any]) -> float:
        raise ZeroDivisionError(params)

    with pytest.raises(ZeroDivisionError):
        run(fail, evals=3)


def test_the_time_limit_ends_the_search():
    def slow(params: dict[str, Any]) -> float:
        time.sleep(0.05)
        return hill(params)

    result, _ = run(slow, evals=1000, timeout=0.5)
    assert 1 <= result.trials < 50
