"""Settings of the training, and of its hyperparameter search."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from mlplatform.config.base import Settings
from mlplatform.config.values import MOST, MOST_DRAWS, PositiveText, TimeText

TRAINING_ROWS = 1_000_000
"""How many labelled rows a training takes at most, unless `training.max_rows` says otherwise."""


def _bounded_training(value: object) -> object:
    # null meant "all" before there was a bound.
    return TRAINING_ROWS if value is None else value


class SearchSettings(Settings):
    """The hyperparameter search: by which library, within which budget, and how its trials run."""

    library: Literal["hyperopt", "optuna"] = Field(
        default="hyperopt", description="What suggests parameters, from the same search_space(); optuna is an extra."
    )

    max_evals: int = Field(
        default=8, ge=1, le=MOST_DRAWS, description="Number of parameter sets tried; 1 takes the defaults only."
    )
    timeout_seconds: float | None = Field(default=None, gt=0, description="Stop the search after this long.")
    parallelism: int = Field(
        default=4,
        ge=1,
        le=256,
        description="So many trials are suggested together, and run at the same time where there are cores and memory. "
        "What is tried depends on it, and not on the cores; hyperopt's first 20 trials are the same whatever it is.",
    )
    workers: Literal["auto", "threads", "processes"] = Field(
        default="auto",
        description="How they run at the same time. auto: on the cluster of a Databricks runtime that offers it; in "
        "threads, where the estimator's library releases Python's lock; else in processes, once they save time.",
    )
    pruning: bool = Field(
        default=False,
        description="optuna only: fit each trial on a part of the rows first, and end it there if it is worse than the "
        "median of those before.",
    )

    @model_validator(mode="after")
    def _prunes_by_optuna(self) -> Self:
        if self.pruning and self.library != "optuna":
            raise ValueError(f"pruning needs library: optuna; {self.library} has none")
        return self


class TrainingSettings(Settings):
    """How a challenger is trained."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="Of all that is drawn: the same gives the same.")
    metric: str = Field(
        default="roc_auc",
        description="Primary metric: searched for, reported, and gated on. Where it is not set, the task's first: "
        "roc_auc, log_loss (multiclass), mae (regression), pinball_loss (quantile), poisson_deviance (counts).",
    )
    holdout: float = Field(default=0.25, gt=0, lt=1, description="Newest share of the label frame kept for evaluation.")
    validation: float = Field(default=0.25, gt=0, lt=1, description="Newest share of the rest, used by the search.")
    since: TimeText | None = Field(default=None, description="Ignore spine rows before this time.")
    window: PositiveText | None = Field(default=None, description="Train on the newest stretch of this length only.")
    min_rows: int = Field(default=500, ge=1, le=MOST, description="Fewer labelled rows than this: no training.")
    max_rows: Annotated[int, BeforeValidator(_bounded_training)] = Field(
        default=TRAINING_ROWS,
        ge=100,
        le=MOST,
        description="Of more labelled rows than this, train on a sample of so many, drawn by a hash of keys and seed.",
    )
    search: SearchSettings = SearchSettings()
    calibrate: Literal["none", "sigmoid", "isotonic"] = Field(
        default="none",
        description="Classification: map probabilities to how often the event happens, on the validation part, which "
        "the estimator is then not fitted on.",
    )
    immature_rows: Literal["none", "weighted"] = Field(
        default="none",
        description="weighted: where events are dated, those of rows that are not mature are fitted on as well, "
        "weighted for censoring. The search and the evaluation stay with mature rows.",
    )
    importance_rows: int = Field(
        default=5_000,
        ge=0,
        le=MOST,
        description="Rows of the holdout by which is measured which features are worth it; 0: it is not measured.",
    )
