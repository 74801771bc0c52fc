"""Hyperparameter search: trials in generations, each told in the order of its number.

A generation is suggested before any of its trials has run, so that they can run side by side, and the search gives the
same on one core and on many: its size is a setting, not the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from mlplatform.config.training import SearchSettings
from mlplatform.errors import NotFiniteError, PlatformError, StageError, in_one_line
from mlplatform.training.sampler import Sampler, open_sampler
from mlplatform.training.trials import Attempt, Outcome, Run

OnTrial = Callable[[int, dict[str, Any], float], None]
OnFailure = Callable[[int, dict[str, Any], str], None]
OnPruned = Callable[[int, dict[str, Any], float, float], None]

WHOLE = (1.0,)
STEPS = (1 / 9, 1 / 3, 1.0)
"""Shares of the fitted rows that a trial is fitted on, one after the other, where those without hope are pruned."""


@dataclass(frozen=True)
class FailedTrial:
    """A set of parameters that gave no score, and why."""

    number: int
    params: dict[str, Any]
    cause: str


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        params: The best parameters; none where with all of them predictions were no finite numbers: then the trainer's
            own are taken, and the gate decides about what they give.
        score: Theirs, on the validation rows; NaN without any.
        trials: How many were tried.
        failed: Those that gave no score.
        pruned: How many were ended before they had a score.
    """

    params: dict[str, Any]
    score: float
    trials: int
    failed: tuple[FailedTrial, ...] = ()
    pruned: int = 0


@dataclass(frozen=True)
class Told:
    """Who is told of the trials.

    Attributes:
        on_trial: Of each that gave a score: its number, parameters and score.
        on_failure: Of each that gave none: its number, parameters and what was wrong.
        on_pruned: Of each that was pruned: its number, parameters, the share of the fitted rows, and the score on them.
    """

    on_trial: OnTrial
    on_failure: OnFailure = lambda *_: None
    on_pruned: OnPruned = lambda *_: None


def search(
    space: Mapping[str, Any],
    run: Run,
    settings: SearchSettings,
    *,
    seed: int,
    greater_is_better: bool,
    told: Told,
    steps: Sequence[float] = WHOLE,
) -> SearchResult:
    """Search for the parameters with the best score.

    A trial that raises, or whose score is not finite, is told and passed over.

    Args:
        space: The hyperopt space, for either library; a stepped draw (`hp.quniform`) of whole steps gives whole
            numbers.
        run: Runs the trials, see `mlplatform.training.trials`.
        settings: Library, budget, and how many trials there are in a generation.
        seed: Of the search.
        greater_is_better: The score's direction.
        told: Who is told of the trials, in the order of their numbers.
        steps: The shares of the fitted rows that a trial is fitted on, one after the other; the last is 1.

    Raises:
        StageError: If no trial gave a finite score, with the first cause, and for another reason than predictions that
            are no finite numbers; or if the library refuses the space.
        MissingDependencyError: If the library is not installed.
    """
    with _space_in_our_words(space, settings.library):
        sampler = open_sampler(space, settings, seed=seed, greater_is_better=greater_is_better)
    deadline = None if settings.timeout_seconds is None else time.monotonic() + settings.timeout_seconds
    state = _Search(sampler, run, told, greater_is_better, steps, deadline)
    while state.count < settings.max_evals and not state.is_late:
        with _space_in_our_words(space, settings.library):
            generation = [sampler.ask() for _ in range(min(settings.parallelism, settings.max_evals - state.count))]
        state.run_generation(generation)
    return state.result()


@dataclass
class _Search:
    """A search on its way."""

    sampler: Sampler
    run: Run
    told: Told
    greater_is_better: bool
    steps: Sequence[float]
    deadline: float | None
    count: int = 0
    pruned: int = 0
    failed: list[FailedTrial] = field(default_factory=list)
    best: tuple[float, dict[str, Any]] | None = None
    first_error: Exception | None = None
    only_not_finite: bool = True

    @property
    def is_late(self) -> bool:
        # Whatever the limit is, one trial is run to its end.
        begun = self.best is not None or bool(self.failed)
        return begun and self.deadline is not None and time.monotonic() > self.deadline

    def run_generation(self, generation: Sequence[dict[str, Any]]) -> None:
        attempts = [Attempt(self.count + place, params) for place, params in enumerate(generation)]
        for step, share in enumerate(self.steps):
            hopeful: list[Attempt] = []
            attempts = [replace(attempt, share=share) for attempt in attempts]
            with closing(self.run(attempts)) as outcomes:
                for attempt, outcome in zip(attempts, outcomes, strict=False):
                    if not self._ended(attempt, outcome, step):
                        hopeful.append(attempt)
                    if self.is_late:
                        return
            attempts = hopeful

    def result(self) -> SearchResult:
        if self.best is None and self.failed and self.only_not_finite:
            return SearchResult({}, float("nan"), self.count, tuple(self.failed), self.pruned)
        if self.best is None:
            first = self.failed[0]
            raise StageError(
                f"None of {self.count} sets of parameters gave a finite score; the first, trial {first.number} with "
                f"{first.params}: {first.cause}",
                hint="Look at search_space() and estimator() of the trainer, and at the nested runs in MLflow. Does "
                "the validation part hold both classes? mlplatform --debug ... shows the whole of what was raised.",
            ) from self.first_error
        score, params = self.best
        return SearchResult(params, score, self.count, tuple(self.failed), self.pruned)

    def _ended(self, attempt: Attempt, outcome: Outcome, step: int) -> bool:
        """Take an outcome; return whether the trial has ended with it."""
        number, params = attempt.number, attempt.params
        if outcome.cause and not outcome.is_lost and step < len(self.steps) - 1:
            # A share of the rows may lack a class, or values of a column, that all of them have.
            return False
        if outcome.cause:
            self.sampler.tell(number, None)
            self.failed.append(FailedTrial(number, params, outcome.cause))
            self.first_error = self.first_error or outcome.error
            self.only_not_finite = self.only_not_finite and isinstance(outcome.error, NotFiniteError)
            self.told.on_failure(number, params, outcome.cause)
        elif step == len(self.steps) - 1:
            self.sampler.tell(number, outcome.score)
            if self.best is None or self._is_better(outcome.score, self.best[0]):
                self.best = outcome.score, params
            self.told.on_trial(number, params, outcome.score)
        elif self.sampler.prune(number, step, outcome.score):
            self.pruned += 1
            self.told.on_pruned(number, params, attempt.share, outcome.score)
        else:
            return False
        self.count += 1
        return True

    def _is_better(self, score: float, than: float) -> bool:
        return score > than if self.greater_is_better else score < than


@contextmanager
def _space_in_our_words(space: Mapping[str, Any], library: str) -> Iterator[None]:
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        raise StageError(
            f"{library} cannot search the space of {', '.join(map(str, space))}: {in_one_line(error)}",
            hint="Look at search_space() of the trainer: each label once, bounds in order. mlplatform --debug ... "
            "shows the whole of what was raised.",
        ) from error
