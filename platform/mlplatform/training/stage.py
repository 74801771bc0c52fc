"""Train: the labels known by `as_of` give a model, evaluated on its newest labels, registered as `@challenger`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from mlplatform.errors import RegistryError
from mlplatform.features.functions import FeatureFunctionSpec, register_functions
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LABELS, SPINE, LabelSpine
from mlplatform.statistics.metrics import Vector
from mlplatform.training.candidate import Candidate, training_data
from mlplatform.training.challenger import TOLD_FILE, Registration, make_challenger, read_versions
from mlplatform.training.immature_rows import immature_rows
from mlplatform.training.importance import Importance
from mlplatform.training.label_frame import LabelFrame, known_labels, training_start
from mlplatform.training.search import FailedTrial
from mlplatform.training.trainer import Trainer
from mlplatform.training.training_key import training_key

NAME = "train"
_OF_THE_TRAINING = (
    "metrics",
    "params",
    "rounds",
    "columns_without_values",
    "failed_trials",
    "failed_trial_count",
    "pruned_trial_count",
    "importance",
    "no_better_than_noise",
    "not_finite",
    "feature_tables",
)
_MOST_FAILED = 20
_MOST_FEATURES = 100
_FEW = 1000


class TrainDetails(Details):
    """What training says of itself.

    Attributes:
        packaged_without_client: Why the feature client could not register the model.
        metrics: Metric -> value on the holdout; None: not defined there.
        params: The parameters that were chosen.
        rounds: After how many rounds the boosting stopped early, which the model has; None: it does not stop early.
        columns_without_values: Part of the rows (`fitted`, `holdout`) -> columns without any value there.
        failed_trials: The first trials of the search that gave no score.
        failed_trial_count: How many those were in all.
        pruned_trial_count: How many trials were ended early.
        importance: What the features are worth on the holdout, the most important ones first.
        not_finite: Which predictions for the holdout are no finite numbers, in words; empty where all are.
        no_better_than_noise: The features without which the model does no worse, for all that the holdout can tell.
        reused: The same training had been done before.
        version: Of the registered model.
        run_id: The training's run in MLflow.
        dataset_version: Fingerprint of inputs and labels.
        training_rows: Labelled rows that it was trained and evaluated on.
        known_rows: Labelled rows that were known; more, where it was trained on a sample.
        immature_rows: Rows that were not mature and whose event counted already.
        feature_tables: Feature table -> Delta version that it was trained on.
        asked_for: Why the stage `retrain` asked for it; not set where it was due, or asked for by somebody.
    """

    internal: ClassVar[frozenset[str]] = Details.internal | {"importance", "feature_tables"}

    packaged_without_client: str = ""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    params: dict[str, Any] = Field(default_factory=dict)
    rounds: int | None = None
    columns_without_values: dict[str, list[str]] = Field(default_factory=dict)
    failed_trials: list[FailedTrial] = Field(default_factory=list)
    failed_trial_count: int = 0
    pruned_trial_count: int = 0
    importance: list[Importance] = Field(default_factory=list)
    no_better_than_noise: list[str] = Field(default_factory=list)
    not_finite: str = ""
    reused: bool = False
    version: int | None = None
    run_id: str = ""
    dataset_version: str = ""
    training_rows: int = 0
    known_rows: int = 0
    immature_rows: int = 0
    feature_tables: dict[str, int] = Field(default_factory=dict)
    asked_for: list[str] = Field(default_factory=list)

    def warn_of_few(self, frame: LabelFrame, labels: Vector, classes: int = 2) -> None:
        """Say aloud when a classification's sample holds few rows of a class: it is drawn whatever the label.

        Args:
            frame: The sample.
            labels: Its labels, shape (rows,), from 0 on.
            classes: How many there are.
        """
        rarer = int(min((labels == place).sum() for place in range(classes)))
        if rarer < _FEW:
            which = "rarer" if classes == 2 else "rarest"  # noqa: PLR2004
            self.note(
                f"The training's sample, {frame}, holds only {rarer} rows of the {which} class, for it is drawn "
                "whatever the label: raise training.max_rows."
            )

    def of_the_training(self) -> dict[str, Any]:
        """Return what only the process that trains knows, as plain data: it is kept with the run."""
        return {name: value for name, value in self.to_json().items() if name in _OF_THE_TRAINING}

    def take_over(self, told: Mapping[str, Any]) -> None:
        """Say what a training that had been done before said: its process may have died before its record.

        Args:
            told: As `of_the_training` gave it.
        """
        earlier = TrainDetails.model_validate({name: told[name] for name in _OF_THE_TRAINING if name in told})
        for name in earlier.model_fields_set:
            setattr(self, name, getattr(earlier, name))

    def describe(self, candidate: Candidate) -> None:
        """Take over what is worth recording of a candidate."""
        self.metrics = dict(candidate.metrics)
        self.params = _plain(candidate.params)
        self.rounds = candidate.rounds
        if candidate.not_finite:
            self.not_finite = candidate.not_finite
            self.note(f"On the holdout {candidate.not_finite}. The version has no metrics, and the gate refuses it.")
        if candidate.importance_cut:
            self.note(candidate.importance_cut)
        if candidate.importances:
            self.importance = candidate.importances[:_MOST_FEATURES]
            noise = [item.feature for item in candidate.importances if item.is_noise]
            self.no_better_than_noise = noise[:_MOST_FEATURES]
        if candidate.without_values:
            self.columns_without_values = candidate.without_values
        if candidate.search and candidate.search.failed:
            first = candidate.search.failed[:_MOST_FAILED]
            self.failed_trials = [replace(trial, params=_plain(trial.params)) for trial in first]
            self.failed_trial_count = len(candidate.search.failed)
        if candidate.search and candidate.search.pruned:
            self.pruned_trial_count = candidate.search.pruned


@dataclass(frozen=True)
class Train(Stage[TrainDetails]):
    """A training set becomes a model version, registered as challenger.

    Attributes:
        trainer: Declares lookups, estimator and search space.
        spine: Whom to predict for, when, and the label.
        folder: The use case's, whose source version is recorded with the model.
        champion: Gives the champion's version, None where there has never been one; raises where one has vanished.
        functions: The feature functions that the lookups name.
        register_only: Leave the alias to whoever evaluates the version: moving aliases takes more rights.
        asked_for: Why the stage `retrain` asks for it.
    """

    name: ClassVar[str] = NAME

    trainer: Trainer
    spine: LabelSpine
    folder: Path
    champion: Callable[[Workspace, Namespace], int | None]
    functions: tuple[FeatureFunctionSpec, ...] = ()
    register_only: bool = False
    asked_for: tuple[str, ...] = ()

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables that the label frame is made of; the lookups name the feature tables."""
        return names.gold(SPINE), names.gold(LABELS)

    def due(self, context: StageContext) -> Self | None:
        """Training is due while there is no champion; later it is what retraining is for."""
        return self if self.champion(context.ws, context.namespace) is None else None

    def run(self, context: StageContext) -> StageResult[TrainDetails]:
        """Train a challenger, unless the same training has been done before.

        Raises:
            LabelError: If too few labels are known.
            RegistryError: If the registered model does not exist, where training may not create it; or if MLflow fails.
        """
        ws, options = context.ws, context.settings.training
        # Before anything is read: whether what will be trained can be registered.
        ws.registry.require_model(context.model)
        refusal = ws.registry.feature_model_refusal()
        if refusal:
            context.progress(f"{refusal}: it is packaged and registered without the client")
        after = training_start(options, context.as_of)
        frame = known_labels(ws, context.namespace, self.spine, context.as_of, after=after)
        context.progress(f"training set: {frame}")
        register_functions(ws, context.namespace, self.functions)
        young = None
        if options.immature_rows == "weighted":
            young = immature_rows(ws, context.namespace, self.spine, context.as_of, frame, after)
            context.progress(f"{0 if young is None else young.frame.rows.num_rows} events of rows that are not mature")
        data = training_data(ws, self.trainer, self.spine, frame, context.settings, young)
        key = training_key(self.trainer, data, context.settings)
        details = TrainDetails(training_rows=data.labels.size, known_rows=frame.known_rows)
        if young is not None:
            details.immature_rows = young.frame.rows.num_rows
        if frame.is_sample and context.settings.kind_of_task.predicts_probabilities:
            details.warn_of_few(frame, data.labels, max(2, len(context.settings.kind_of_task.classes)))
        if refusal:
            details.packaged_without_client = refusal
        if self.asked_for:
            details.asked_for = list(self.asked_for)
        registration = Registration(context, self.trainer, self.folder, frame, data, key)
        with ws.lock(f"train {context.model}"):
            version = registration.earlier()
            if version is None:
                details.feature_tables = {it.name: it.version for it in data.training_set.lineage.tables}

                def told(candidate: Candidate) -> dict[str, Any]:
                    details.describe(candidate)
                    return details.of_the_training()

                version = registration.train(told)
            else:
                details.reused = True
                self._take_over(ws, version, details)
            registration.finish(version)
            if not self.register_only:
                make_challenger(ws, context.model, version.version)
        details.version, details.run_id, details.dataset_version = version.version, version.run_id, data.digest
        return StageResult(
            details,
            inputs=read_versions(frame, data),
            outputs={str(context.model): version.version},
            rows_in=frame.known_rows,
            rows_out=data.labels.size,
        )

    def _take_over(self, ws: Workspace, version: ModelVersion, details: TrainDetails) -> None:
        try:
            details.take_over(ws.registry.load_json(version, TOLD_FILE))
        except (RegistryError, ValidationError) as error:
            details.note(
                f"Version {version.version} had been trained before; what its training said of itself cannot be read, "
                f"as of one with an earlier version of the platform: {error}"
            )


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as plain data: what is searched may be any object; the record says which, in its own words."""
    plain: dict[str, Any] = json.loads(json.dumps(params, default=str))
    return plain
