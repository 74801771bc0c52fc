"""The hyperparameter search keeps to its budget, repeats itself, and says so when nothing works."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from hyperopt import hp, space_eval
from hyperopt.pyll import scope

from mlplatform.config.settings import SearchSettings
from mlplatform.errors import StageError
from mlplatform.training.search import SearchResult, search, whole_numbers

SPACE = {"x": hp.uniform("x", -3, 3), "depth": hp.choice("depth", [2, 3, 4])}


def run(
    score: Any,
    *,
    evals: int = 12,
    seed: int = 0,
    greater: bool = True,
    timeout: float | None = None,
    on_failure: Any = None,
) -> tuple[SearchResult, list[tuple[int, dict[str, Any], float]]]:
    seen: list[tuple[int, dict[str, Any], float]] = []
    result = search(
        SPACE,
        score,
        SearchSettings(max_evals=evals, timeout_seconds=timeout),
        seed=seed,
        greater_is_better=greater,
        on_trial=lambda *trial: seen.append(trial),
        on_failure=on_failure,
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


def test_what_the_estimator_raises_ends_its_trial_and_is_on_record():
    told: list[tuple[int, dict[str, Any], str]] = []

    def picky(params: dict[str, Any]) -> float:
        if params["x"] < 0:
            raise ZeroDivisionError("x is below zero\nand so on")
        return hill(params)

    result, seen = run(picky, on_failure=lambda *failure: told.append(failure))
    assert result.trials == 12
    assert len(seen) + len(told) == 12
    assert told
    assert [(trial.number, trial.params, trial.cause) for trial in result.failed] == told
    assert all(params["x"] < 0 and cause == "ZeroDivisionError: x is below zero and so on" for _, params, cause in told)
    assert result.params["x"] > 0


def test_where_all_fail_the_first_cause_is_told():
    def fail(params: dict[str, Any]) -> float:
        raise ZeroDivisionError(f"depth {params['depth']}")

    with pytest.raises(
        StageError, match=r"None of 3 sets.*the first, \{'depth'.*ZeroDivisionError: depth \d"
    ) as caught:
        run(fail, evals=3)
    assert "search_space()" in caught.value.hint
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_ctrl_c_ends_the_search():
    def interrupted(params: dict[str, Any]) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)


def test_what_recording_a_trial_raises_comes_through():
    def refuse(*trial: Any) -> None:
        raise ConnectionError("MLflow does not answer")

    with pytest.raises(ConnectionError):
        search(SPACE, hill, SearchSettings(max_evals=3), seed=0, greater_is_better=True, on_trial=refuse)


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        (lambda: hp.quniform("n", 2, 8, 1), int),
        (lambda: hp.quniform("n", 2.0, 8.0, 2.0), int),
        (lambda: hp.quniform("n", low=2, high=8, q=1), int),
        (lambda: hp.qloguniform("n", 0, 3, 1), int),
        (lambda: hp.qnormal("n", 50, 5, 1), int),
        (lambda: hp.qlognormal("n", 1, 1, 1), int),
        (lambda: scope.int(hp.quniform("n", 2, 8, 1)), int),
        (lambda: hp.uniformint("n", 2, 8), int),
        (lambda: hp.randint("n", 8), int),
        (lambda: hp.choice("n", np.arange(2, 9)), int),
        (lambda: hp.quniform("n", 0, 1, 0.1), float),
        (lambda: hp.quniform("n", 0.5, 8.5, 1), float),
        (lambda: hp.uniform("n", 2, 8), float),
    ],
)
def test_stepped_draws_of_whole_steps_are_whole_numbers(draw: Any, kind: type):
    seen = []

    def score(params: dict[str, Any]) -> float:
        seen.append(params["n"])
        return float(params["n"])

    settings = SearchSettings(max_evals=6)
    result = search({"n": draw()}, score, settings, seed=0, greater_is_better=True, on_trial=lambda *_: None)
    assert {type(value) for value in seen} == {kind}
    assert result.params == {"n": max(seen)}
    assert type(result.params["n"]) is kind


def test_nested_choices_are_plain_too():
    space = {
        "a": hp.choice("a", [{"depth": hp.quniform("d", 2, 5, 1), "shape": (hp.randint("s", 3), 1)}, {"depth": 9}])
    }
    seen: list[dict[str, Any]] = []

    def score(params: dict[str, Any]) -> float:
        seen.append(params)
        return float(params["a"]["depth"])

    settings = SearchSettings(max_evals=8)
    result = search(space, score, settings, seed=0, greater_is_better=False, on_trial=lambda *_: None)
    assert result.params in seen
    assert {type(params["a"]["depth"]) for params in seen} == {int}
    assert {type(value) for params in seen for value in params["a"].get("shape", ())} == {int}
    json.dumps(seen)


def test_the_space_itself_is_left_as_it_is():
    space = {"n": hp.quniform("n", 2, 8, 1)}
    whole_numbers(space)
    assert isinstance(space_eval(space, {"n": 4.0})["n"], float)


@pytest.mark.parametrize(
    "space",
    [{"a": hp.uniform("x", 0, 1), "b": hp.uniform("x", 0, 1)}, {"a": hp.uniform("x", 1, 0)}],
    ids=["one label twice", "bounds in the wrong order"],
)
def test_a_space_that_hyperopt_refuses_is_an_error_of_ours(space: dict[str, Any]):
    settings = SearchSettings(max_evals=3)
    with pytest.raises(StageError) as caught:
        search(space, lambda _: 1.0, settings, seed=0, greater_is_better=True, on_trial=lambda *_: None)
    assert "search_space()" in caught.value.hint


def test_the_time_limit_ends_the_search():
    def slow(params: dict[str, Any]) -> float:
        time.sleep(0.05)
        return hill(params)

    result, _ = run(slow, evals=1000, timeout=0.5)
    assert 1 <= result.trials < 50
