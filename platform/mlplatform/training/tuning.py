"""The search of a training: each trial is fitted on the oldest rows, and scored on the validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import StageError
from mlplatform.statistics import metrics
from mlplatform.statistics.metrics import Metric
from mlplatform.task import Task
from mlplatform.training.fit_rows import FitRows, group_numbers
from mlplatform.training.fitting import check_columns, fit, in_our_words, make_estimator, predict
from mlplatform.training.present_classes import PresentClasses
from mlplatform.training.search import STEPS, WHOLE, SearchResult, Told, search
from mlplatform.training.threads import releases_lock
from mlplatform.training.trainer import Trainer
from mlplatform.training.trials import Attempt, Note, TrialRunner

_FEWEST = 200
"""On fewer rows than this no trial is judged: it would be pruned by chance."""


@dataclass(frozen=True)
class TrialScore:
    """Fits with the parameters of an attempt, and gives the score on the validation rows.

    Attributes:
        trainer: Makes the estimator, and fits it.
        task: Of the use case.
        metric: The score.
        seed: By which the rows are drawn, where an attempt has a share of them only.
    """

    trainer: Trainer
    task: Task
    metric: Metric
    seed: int

    def __call__(self, rows: FitRows, attempt: Attempt) -> float:
        """Return the score; `rows` brings the validation rows.

        Raises:
            StageError: If the estimator or the metric fails.
        """
        assert rows.validation is not None
        params = {**self.trainer.default_params, **attempt.params}
        part = rows if attempt.share == 1 else rows.part(self._drawn(rows, attempt.share))
        known = PresentClasses.of(part, self.task)
        fitted = fit(self.trainer, params, known.renumbered(part), threads=attempt.threads)
        predicted = predict(fitted, rows.validation.inputs, self.task, known)
        with in_our_words(f"The metric {self.metric.name} on {len(rows.validation)} validation rows", params):
            return self.metric.compute(rows.validation.labels, predicted)

    def _drawn(self, rows: FitRows, share: float) -> npt.NDArray[np.intp]:
        """Return a share of the rows; where there are groups, of the groups, whole."""
        numbers = np.arange(len(rows)) if rows.groups is None else group_numbers(rows.groups)
        count = int(numbers.max()) + 1
        drawn = np.random.default_rng(self.seed).permutation(count)[: max(1, round(count * share))]
        return np.sort(drawn) if rows.groups is None else np.flatnonzero(np.isin(numbers, drawn))


def tune(
    trainer: Trainer,
    rows: FitRows,
    settings: UseCaseSettings,
    told: Told,
    *,
    cluster: str | None = None,
    note: Note = lambda _: None,
) -> SearchResult | None:
    """Search for parameters; None: the trainer names no space, or the settings leave nothing to search.

    Args:
        trainer: Makes the estimator, and names what is searched.
        rows: What trials are fitted on, with the validation rows that they are scored on.
        settings: Of the use case.
        told: Who is told of the trials.
        cluster: Name of the joblib backend that reaches a cluster; None: there is none.
        note: Is told how the trials run.

    Raises:
        StageError: If columns do not suit the estimator, or no set of parameters gave a finite score.
        MissingDependencyError: If the library that the settings name is not installed.
    """
    options = settings.training
    with in_our_words("Making the search space"):
        space = trainer.search_space()
    if not space or options.search.max_evals <= 1:
        return None
    metric = metrics.primary(settings)
    runner = TrialRunner(
        TrialScore(trainer, settings.kind_of_task, metric, options.seed),
        rows,
        data_bytes=_bytes(rows),
        at_once=min(options.search.parallelism, options.search.max_evals),
        total=options.search.max_evals,
        workers=options.search.workers,
        releases_lock=releases_lock(_checked(trainer, rows)),
        cluster=cluster,
        note=note,
    )
    with runner:
        return search(
            space,
            runner.run,
            options.search,
            seed=options.seed,
            greater_is_better=metric.greater_is_better,
            told=told,
            steps=_steps(len(rows)) if options.search.pruning else WHOLE,
        )


def _steps(rows: int) -> tuple[float, ...]:
    return tuple(share for share in STEPS if share == 1 or rows * share >= _FEWEST)


def _bytes(rows: FitRows) -> int:
    beside = sum(column.nbytes for column in (rows.labels, rows.weights, rows.groups) if column is not None)
    own = int(rows.inputs.memory_usage(index=True, deep=True).sum()) + beside
    return own + (_bytes(rows.validation) if rows.validation is not None else 0)


def _checked(trainer: Trainer, rows: FitRows) -> Any:
    """Return the estimator that the default parameters make; refuse columns once, and not trial by trial.

    Raises:
        StageError: If columns do not suit it.
    """
    try:
        estimator = make_estimator(trainer, trainer.default_params)
    except StageError:  # it may need what is searched; each trial looks for itself, and tells
        return None
    check_columns(estimator, rows.inputs)
    return estimator
