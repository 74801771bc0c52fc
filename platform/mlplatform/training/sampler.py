"""Samplers: what suggests the parameters of the next trials, by the library that the settings name.

Both are asked and told in the order of the trials' numbers, so that a search gives the same whatever runs its trials,
and in whatever order they end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from mlplatform.config.training import SearchSettings
from mlplatform.errors import MissingDependencyError
from mlplatform.training.space import drawn_from, plain, whole_numbers

_STARTUP = 5
"""Trials that are never pruned: what later ones are compared with."""


class Sampler(Protocol):
    """Suggests parameters for one trial after another, and learns from their scores."""

    def ask(self) -> dict[str, Any]:
        """Return the parameters of the next trial; the first is number 0."""
        ...

    def tell(self, number: int, score: float | None) -> None:
        """Take the score of a trial; None: it gave none."""
        ...

    def prune(self, number: int, step: int, score: float) -> bool:
        """Take the score of a trial after a step, and tell whether it ends there; if so, it is told nothing more."""
        ...


def open_sampler(space: Mapping[str, Any], settings: SearchSettings, *, seed: int, greater_is_better: bool) -> Sampler:
    """Return the sampler that the settings name.

    Args:
        space: A hyperopt space, whichever library it is.
        settings: Name the library.
        seed: Of all that it draws.
        greater_is_better: The score's direction.

    Raises:
        MissingDependencyError: If the library is not installed.
        Exception: Whatever the library says of a space that it does not take.
    """
    expression = whole_numbers(space)
    if settings.library == "optuna":
        return OptunaSampler(expression, seed=seed, greater_is_better=greater_is_better, pruning=settings.pruning)
    return HyperoptSampler(expression, seed=seed, greater_is_better=greater_is_better)


class HyperoptSampler:
    """Tree-structured Parzen estimators, by hyperopt: what `hyperopt.fmin` would try, asked for one at a time."""

    def __init__(self, expression: Any, *, seed: int, greater_is_better: bool) -> None:
        """Take a space, see `whole_numbers`, the seed and the score's direction."""
        from hyperopt import Domain, Trials

        self._expression = expression
        # Nothing is evaluated by hyperopt: it only suggests.
        self._domain = Domain(lambda _: None, expression, pass_expr_memo_ctrl=False)
        self._trials = Trials()
        self._random = np.random.default_rng(seed)
        self._sign = -1.0 if greater_is_better else 1.0

    def ask(self) -> dict[str, Any]:
        """Return the parameters of the next trial; one that has no score yet counts as a bad one until it has."""
        from hyperopt import space_eval, tpe
        from hyperopt.base import spec_from_misc

        numbers = self._trials.new_trial_ids(1)
        seed = self._random.integers(2**31 - 1)
        self._trials.insert_trial_docs(tpe.suggest(numbers, self._domain, self._trials, seed, verbose=False))
        self._trials.refresh()
        drawn = spec_from_misc(self._trials.trials[-1]["misc"])
        params: dict[str, Any] = plain(space_eval(self._expression, drawn))
        return params

    def tell(self, number: int, score: float | None) -> None:
        """Take the score of a trial; None: it gave none."""
        from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK

        document = self._trials.trials[number]
        document["state"] = JOB_STATE_DONE
        document["result"] = (
            {"status": STATUS_FAIL} if score is None else {"status": STATUS_OK, "loss": self._sign * score}
        )
        self._trials.refresh()

    def prune(self, number: int, step: int, score: float) -> bool:
        """Go on: hyperopt has no pruning."""
        del number, step, score
        return False


class OptunaSampler:
    """Tree-structured Parzen estimators, by Optuna, from the very space that is declared for hyperopt."""

    def __init__(self, expression: Any, *, seed: int, greater_is_better: bool, pruning: bool) -> None:
        """Take a space, see `whole_numbers`, the seed, the score's direction, and whether trials may be ended early.

        Raises:
            MissingDependencyError: If Optuna is not installed.
        """
        from hyperopt import Domain

        # A label that stands twice is one draw to Optuna, and a mistake to hyperopt: the same spaces hold for both.
        Domain(lambda _: None, expression, pass_expr_memo_ctrl=False)
        self._optuna = _import_optuna()
        self._expression = expression
        optuna = self._optuna
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP) if pruning else optuna.pruners.NopPruner()
        told = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._study = optuna.create_study(
                direction="maximize" if greater_is_better else "minimize",
                sampler=optuna.samplers.TPESampler(seed=seed),
                pruner=pruner,
            )
        finally:
            optuna.logging.set_verbosity(told)
        self._trials: list[Any] = []

    def ask(self) -> dict[str, Any]:
        """Return the parameters of the next trial."""
        trial = self._study.ask()
        self._trials.append(trial)
        return drawn_from(self._expression, _OptunaDraws(trial))

    def tell(self, number: int, score: float | None) -> None:
        """Take the score of a trial; None: it gave none."""
        if score is None:
            self._study.tell(self._trials[number], state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._trials[number], score)

    def prune(self, number: int, step: int, score: float) -> bool:
        """Take the score of a trial after a step: it ends there if it is worse than the median of those before."""
        trial = self._trials[number]
        trial.report(score, step)
        if not trial.should_prune():
            return False
        self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
        return True


class _OptunaDraws:
    """The draws of one of Optuna's trials."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def option(self, label: str, count: int) -> int:
        return int(self._trial.suggest_categorical(label, list(range(count))))

    def whole(self, label: str, low: int, high: int) -> int:
        return int(self._trial.suggest_int(label, low, high))

    def number(self, label: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._trial.suggest_float(label, low, high, log=log))


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingDependencyError(
            "training.search.library is optuna, which is not installed.",
            hint="pip install 'mlplatform[optuna]', or leave training.search.library out for hyperopt.",
        ) from None
    return optuna
