"""The hyperparameter search keeps to its budget, repeats itself, and says so when nothing works."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy as np
import pytest
from hyperopt import hp, space_eval
from hyperopt.pyll import scope

from mlplatform.config.training import SearchSettings
from mlplatform.errors import MissingDependencyError, StageError
from mlplatform.training.search import STEPS, SearchResult, Told, search
from mlplatform.training.space import whole_numbers
from mlplatform.training.trials import Attempt, Outcome, in_turn

SPACE = {"x": hp.uniform("x", -3, 3), "depth": hp.choice("depth", [2, 3, 4])}
LIBRARIES = pytest.mark.parametrize("library", ["hyperopt", "optuna"])


def run(
    score: Any,
    *,
    space: Any = None,
    evals: int = 12,
    seed: int = 0,
    greater: bool = True,
    timeout: float | None = None,
    on_failure: Any = None,
    library: Any = "hyperopt",
    parallelism: int = 4,
) -> tuple[SearchResult, list[tuple[int, dict[str, Any], float]]]:
    seen: list[tuple[int, dict[str, Any], float]] = []
    result = search(
        SPACE if space is None else space,
        in_turn(lambda attempt: score(attempt.params)),
        SearchSettings(max_evals=evals, timeout_seconds=timeout, library=library, parallelism=parallelism),
        seed=seed,
        greater_is_better=greater,
        told=Told(lambda *trial: seen.append(trial), on_failure or (lambda *_: None)),
    )
    return result, seen


def hill(params: dict[str, Any]) -> float:
    return -((params["x"] - 1) ** 2) - params["depth"]


@LIBRARIES
def test_the_best_of_the_trials_is_returned_with_its_score(library: Any):
    result, seen = run(hill, library=library)
    best = max(seen, key=lambda trial: trial[2])
    assert (result.params, result.score) == (best[1], pytest.approx(best[2]))


@LIBRARIES
def test_the_budget_is_kept_and_every_trial_is_reported_in_order(library: Any):
    result, seen = run(hill, evals=7, library=library)
    assert result.trials == len(seen) == 7
    assert [trial[0] for trial in seen] == list(range(7))


@LIBRARIES
def test_a_smaller_score_wins_where_smaller_is_better(library: Any):
    result, seen = run(lambda params: -hill(params), greater=False, library=library)
    assert result.score == pytest.approx(min(trial[2] for trial in seen))


@LIBRARIES
def test_a_seed_decides_what_is_tried(library: Any):
    assert run(hill, library=library)[1] == run(hill, library=library)[1]
    assert run(hill, library=library)[1] != run(hill, seed=1, library=library)[1]


@LIBRARIES
def test_parameters_are_plain_python_values(library: Any):
    _, seen = run(hill, evals=3, library=library)
    for _, params, _ in seen:
        assert {key: type(value) for key, value in params.items()} == {"x": float, "depth": int}
        assert params["depth"] in (2, 3, 4)


@LIBRARIES
def test_trials_without_a_finite_score_are_passed_over(library: Any):
    result, _ = run(lambda params: hill(params) if params["x"] > 0 else math.nan, library=library)
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
        StageError, match=r"None of 3 sets.*the first, trial 0 with \{'depth'.*ZeroDivisionError: depth \d"
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
        search(
            SPACE,
            in_turn(lambda attempt: hill(attempt.params)),
            SearchSettings(max_evals=3),
            seed=0,
            greater_is_better=True,
            told=Told(refuse),
        )


@LIBRARIES
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
def test_stepped_draws_of_whole_steps_are_whole_numbers(draw: Any, kind: type, library: Any):
    seen = []

    def score(params: dict[str, Any]) -> float:
        seen.append(params["n"])
        return float(params["n"])

    result, _ = run(score, space={"n": draw()}, evals=6, library=library)
    assert {type(value) for value in seen} == {kind}
    assert result.params == {"n": max(seen)}
    assert type(result.params["n"]) is kind


@LIBRARIES
def test_nested_choices_are_plain_too(library: Any):
    space = {
        "a": hp.choice("a", [{"depth": hp.quniform("d", 2, 5, 1), "shape": (hp.randint("s", 3), 1)}, {"depth": 9}])
    }
    seen: list[dict[str, Any]] = []

    def score(params: dict[str, Any]) -> float:
        seen.append(params)
        return float(params["a"]["depth"])

    result, _ = run(score, space=space, evals=8, greater=False, library=library)
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
@LIBRARIES
def test_a_space_that_is_refused_is_an_error_of_ours(space: dict[str, Any], library: Any):
    with pytest.raises(StageError, match=f"{library} cannot search the space of a") as caught:
        run(lambda _: 1.0, space=space, evals=3, library=library)
    assert "search_space()" in caught.value.hint


def test_the_time_limit_ends_the_search():
    def slow(params: dict[str, Any]) -> float:
        time.sleep(0.05)
        return hill(params)

    result, _ = run(slow, evals=1000, timeout=0.5)
    assert 1 <= result.trials < 50


# 20 random ones first; then what was learned decides.
@pytest.mark.parametrize(("parallelism", "evals"), [(1, 30), (4, 20), (7, 20)])
def test_hyperopt_tries_what_its_own_fmin_tries(parallelism: int, evals: int):
    from hyperopt import STATUS_OK, Trials, fmin, tpe

    expected: list[dict[str, Any]] = []

    def objective(params: dict[str, Any]) -> dict[str, Any]:
        expected.append(params)
        return {"status": STATUS_OK, "loss": -hill(params)}

    fmin(
        objective,
        whole_numbers(SPACE),
        algo=tpe.suggest,
        max_evals=evals,
        trials=Trials(),
        rstate=np.random.default_rng(3),
        show_progressbar=False,
        verbose=False,
    )
    _, seen = run(hill, evals=evals, seed=3, parallelism=parallelism)
    assert [params for _, params, _ in seen] == expected


@LIBRARIES
def test_a_search_learns(library: Any):
    """The second half is better than the first, which was random for the most part."""
    _, seen = run(hill, evals=80, library=library, parallelism=2)
    scores = [score for _, _, score in seen]
    assert np.median(scores[40:]) > np.median(scores[:20])


def test_only_what_the_chosen_option_needs_is_drawn_and_likely_values_stay_likely():
    space = {
        "kind": hp.pchoice(
            "kind", [(0.9, {"depth": hp.quniform("d", 2, 8, 2)}), (0.1, {"rate": hp.normal("r", 5, 1)})]
        ),
        "leaf": hp.qloguniform("leaf", math.log(10), math.log(1000), 5),
        "shape": hp.lognormal("shape", 0, 0.5),
        "skip": hp.randint("skip", 3, 6),
    }
    seen: list[dict[str, Any]] = []

    def score(params: dict[str, Any]) -> float:
        seen.append(params)
        return 0.5

    run(score, space=space, evals=100, library="optuna")
    kinds = [params["kind"] for params in seen]
    assert 80 <= sum("depth" in kind for kind in kinds) < 100
    assert all(len(kind) == 1 for kind in kinds)
    assert {kind["depth"] for kind in kinds if "depth" in kind} == {2, 4, 6, 8}
    assert all(1 < kind["rate"] < 9 for kind in kinds if "rate" in kind)
    assert all(params["leaf"] % 5 == 0 and 10 <= params["leaf"] <= 1000 for params in seen)
    assert np.median([params["leaf"] for params in seen]) < 250
    assert 0.5 < np.median([params["shape"] for params in seen]) < 2
    assert {params["skip"] for params in seen} == {3, 4, 5}


def test_trials_without_hope_are_pruned_and_told():
    ran: list[tuple[int, float]] = []
    pruned: list[tuple[int, float]] = []

    def score(attempt: Attempt) -> float:
        ran.append((attempt.number, attempt.share))
        return hill(attempt.params)

    seen: list[int] = []
    result = search(
        SPACE,
        in_turn(score),
        SearchSettings(max_evals=20, library="optuna", pruning=True),
        seed=1,
        greater_is_better=True,
        told=Told(lambda number, *_: seen.append(number), on_pruned=lambda n, _, share, __: pruned.append((n, share))),
        steps=STEPS,
    )
    assert result.pruned == len(pruned) > 2
    assert len(seen) + len(pruned) == result.trials == 20
    assert sorted([*seen, *(number for number, _ in pruned)]) == list(range(20))
    # The first ones are what others are compared with; a pruned trial was never fitted on all rows.
    assert not {number for number, _ in pruned} & {0, 1, 2, 3}
    whole = {number for number, share in ran if share == 1}
    assert whole == set(seen)
    assert result.params["depth"] == 2


def test_a_trial_that_fails_on_a_share_of_the_rows_is_tried_on_all_of_them():
    """A share may lack a class that all of them have; what fails on all rows has failed."""
    ran: list[tuple[int, float]] = []
    failed: list[int] = []
    seen: list[int] = []

    def score(attempt: Attempt) -> float:
        ran.append((attempt.number, attempt.share))
        if attempt.share < 1 or attempt.params["depth"] == 4:
            raise ValueError("This solver needs samples of at least 2 classes")
        return hill(attempt.params)

    result = search(
        SPACE,
        in_turn(score),
        SearchSettings(max_evals=12, library="optuna", pruning=True),
        seed=1,
        greater_is_better=True,
        told=Told(lambda number, *_: seen.append(number), lambda number, *_: failed.append(number)),
        steps=STEPS,
    )
    assert ran.count((0, 1.0)) == ran.count((0, STEPS[0])) == 1
    assert sorted([*seen, *failed]) == list(range(12))
    assert failed
    assert (result.pruned, len(result.failed)) == (0, len(failed))


def test_a_trial_whose_process_ended_on_a_share_is_not_tried_on_more():
    ran: list[float] = []

    def run_attempts(attempts: Any) -> Any:
        for attempt in attempts:
            ran.append(attempt.share)
            yield Outcome.lost("process", MemoryError()) if attempt.number == 0 else Outcome(hill(attempt.params))

    result = search(
        SPACE,
        run_attempts,
        SearchSettings(max_evals=2, library="optuna", pruning=True),
        seed=1,
        greater_is_better=True,
        told=Told(lambda *_: None),
        steps=STEPS,
    )
    assert "its process ended" in result.failed[0].cause
    assert ran == [STEPS[0], *STEPS]


def test_a_library_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"training\.search\.library is optuna") as caught:
        run(hill, library="optuna")
    assert "mlplatform[optuna]" in caught.value.hint


def test_optuna_says_nothing_and_stays_as_it_was(capfd: pytest.CaptureFixture[str]):
    import optuna

    before = optuna.logging.get_verbosity()
    run(hill, library="optuna", evals=4)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
