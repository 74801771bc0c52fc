"""A candidate becomes a registered version: recorded, logged, tagged, and given the alias challenger."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from mlplatform.as_of import shown
from mlplatform.features import artifacts
from mlplatform.features.model_classes import CLASSES
from mlplatform.features.probabilities import profiled
from mlplatform.naming import CHALLENGER, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.protocols.registry import ModelVersion, TableRead, TrainingRun
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import SPINE
from mlplatform.statistics import baseline, estimate, profiles
from mlplatform.statistics.class_metrics import loggable
from mlplatform.statistics.metrics import Vector
from mlplatform.statistics.prior_shift import ScoreCounts
from mlplatform.training.candidate import Candidate, TrainingData, known_classes, train
from mlplatform.training.importance import CONFIDENCE
from mlplatform.training.label_frame import LabelFrame
from mlplatform.training.reference import PROFILE_FILE
from mlplatform.training.search import Told
from mlplatform.training.source_version import source_version
from mlplatform.training.split import split_of
from mlplatform.training.stored_form import stored_form
from mlplatform.training.trainer import Trainer
from mlplatform.training.version_tags import (
    KEY_TAG,
    KNOWN_ROWS_TAG,
    LEARNED_EVENTS_TAG,
    TRAINED_AS_OF_TAG,
    TRAINED_THROUGH_TAG,
    TRAINING_ROWS_TAG,
)

FAILURE_TAG = "failure"
IMPORTANCE_FILE = "feature_importance.json"
TOLD_FILE = "training.json"
"""What a training says of itself in its record, which its process may not live to write."""
UNCALIBRATED = "holdout_uncalibrated_"
"""Begins the names of the holdout's metrics before the calibration."""
PART = "on_part_of_rows"
"""Ends the name of the metric of a trial that was pruned."""
ROUNDS = "rounds_until_it_stopped_early"
_LONGEST = 500
_SHOWN = 20  # of hundreds of features
_HOLDOUT = "holdout_"
NOT_FINITE = f"{_HOLDOUT}not_finite"
"""Name of the metric: how many predictions for the holdout are no finite numbers; not logged where all are."""


def make_challenger(ws: Workspace, model: ObjectName, version: int) -> None:
    """Give a version the alias challenger, unless it has an alias already."""
    if version not in ws.registry.aliases(model).values():
        ws.registry.set_alias(model, CHALLENGER, version)


def read_versions(frame: LabelFrame, data: TrainingData) -> dict[str, int]:
    """Return table -> Delta version of what labelled rows and their weights were read from."""
    weights = data.weights_read
    return frame.versions if weights is None else {**frame.versions, weights.name: weights.version}


@dataclass(frozen=True)
class Registration:
    """One training, on its way to a registered version.

    Attributes:
        context: The run.
        trainer: Declares the model.
        folder: The use case's, whose source version is recorded.
        frame: The labelled rows.
        data: With their features.
        key: Fingerprint of all that decides what the training gives.
    """

    context: StageContext
    trainer: Trainer
    folder: Path
    frame: LabelFrame
    data: TrainingData
    key: str

    def earlier(self) -> ModelVersion | None:
        """Return the version that the same training gave before; None: there is none."""
        registry = self.context.ws.registry
        for version in reversed(registry.versions(self.context.model)):
            key = version.tags.get(KEY_TAG)
            if key == self.key:
                return version
            # Without a tag the training was interrupted after registering: the run says what it was.
            if key is None and registry.run(version).tags.get(KEY_TAG) == self.key:
                return version
        return None

    def train(self, told: Callable[[Candidate], Mapping[str, Any]]) -> ModelVersion:
        """Train on record, and register the model as a version.

        Args:
            told: Gives what the training says of itself: it is kept before the version exists, for whoever finds that.
        """
        context, settings, registry = self.context, self.context.settings, self.context.ws.registry
        tags = self._tags() | {KEY_TAG: self.key, "delta_versions": json.dumps(read_versions(self.frame, self.data))}
        experiment, name = f"/{context.namespace.catalog}/{context.name}", f"{context.name} {shown(context.as_of)}"
        trials = settings.training.search.max_evals
        with registry.training_run(experiment, name, tags) as run:
            # Before the model is registered: its lineage is built from the inputs that the run has by then.
            registry.log_tables(run.run_id, self._tables_read())

            def log_trial(number: int, params: dict[str, Any], score: float) -> None:
                run.log_trial(number, params, {f"validation_{settings.training.metric}": score})
                context.progress(f"trial {number + 1} of {trials}: {score:.4f}")

            def log_failure(number: int, params: dict[str, Any], cause: str) -> None:
                run.log_failed_trial(number, params, {FAILURE_TAG: cause[:_LONGEST]})
                context.progress(f"trial {number + 1} of {trials} failed: {cause}")

            def log_pruned(number: int, params: dict[str, Any], share: float, score: float) -> None:
                run.log_trial(number, params, {f"validation_{settings.training.metric}_{PART}": score})
                context.progress(f"trial {number + 1} of {trials} pruned on {share:.0%} of the rows: {score:.4f}")

            candidate = train(
                self.trainer,
                self.data,
                settings,
                Told(log_trial, log_failure, log_pruned),
                cluster=context.ws.joblib_backend(),
                note=context.progress,
            )
            for part, names in candidate.without_values.items():
                context.progress(f"no value among the {part} rows: {', '.join(names)}")
            run.log_params(candidate.params | ({} if candidate.rounds is None else {ROUNDS: candidate.rounds}))
            run.log_metrics(self._on_holdout(candidate))
            if candidate.not_finite:
                run.log_metrics({NOT_FINITE: float((~_finite(candidate.holdout_predictions)).sum())})
            self._log_calibration(run, candidate)
            self._log_importance(run, candidate)
            run.log_json(PROFILE_FILE, self._reference(candidate))
            run.log_json(TOLD_FILE, told(candidate))
            context.progress("logging and registering the model")
            self._log_model(candidate)
        return next(item for item in reversed(registry.versions(context.model)) if item.run_id == run.run_id)

    def finish(self, version: ModelVersion) -> None:
        """Log the metrics on the model and tag the version; again changes nothing, so that a training is completed."""
        if version.tags.get(KEY_TAG) == self.key:
            return
        registry, context = self.context.ws.registry, self.context
        metrics = {name: value for name, value in registry.run(version).metrics.items() if name.startswith(_HOLDOUT)}
        registry.log_metrics(version, metrics | self._rows(), context.as_of)
        with TemporaryDirectory() as folder:
            digest = artifacts.digest(registry.download(version, Path(folder)))
        options = context.settings.training
        split = split_of(self.data.times, options)
        registry.set_tags(
            context.model,
            version.version,
            self._tags()
            | {
                artifacts.DIGEST_TAG: digest,
                TRAINED_AS_OF_TAG: context.as_of.isoformat(),
                TRAINED_THROUGH_TAG: self.data.time_at(int(split.holdout.start) - 1).isoformat(),
                **self._events_tag(),
                # Last: its presence says that the others are set.
                KEY_TAG: self.key,
            },
        )

    def _events_tag(self) -> dict[str, str]:
        newest = self.data.learned_events_through
        return {} if newest is None else {LEARNED_EVENTS_TAG: newest.isoformat()}

    def _on_holdout(self, candidate: Candidate) -> dict[str, float]:
        """Return the metrics of the holdout under the names by which they are logged."""
        metrics = loggable(candidate.metrics, self.context.settings.kind_of_task.classes)
        return {f"{_HOLDOUT}{metric}": value for metric, value in metrics.items()}

    def _log_calibration(self, run: TrainingRun, candidate: Candidate) -> None:
        before, after = candidate.uncalibrated, candidate.metrics
        if before:
            run.log_metrics(
                {f"{UNCALIBRATED}{metric}": before[metric] for metric in self.context.settings.kind_of_task.metrics}
            )
            error = "expected_calibration_error"
            method = self.context.settings.training.calibrate
            self.context.progress(f"calibrated ({method}): {error} {before[error]:.4f} -> {after[error]:.4f}")

    def _log_importance(self, run: TrainingRun, candidate: Candidate) -> None:
        if candidate.importances:
            content = {"metric": self.context.settings.training.metric, "confidence": CONFIDENCE}
            run.log_json(IMPORTANCE_FILE, content | {"features": [asdict(item) for item in candidate.importances]})
        noise = [item.feature for item in candidate.importances if item.is_noise]
        if noise:
            more = f" and {len(noise) - _SHOWN} more" if len(noise) > _SHOWN else ""
            self.context.progress(f"no better than noise on the holdout: {', '.join(noise[:_SHOWN])}{more}")

    def _reference(self, candidate: Candidate) -> dict[str, Any]:
        labels, holdout = self.data.labels, candidate.split.holdout
        profile = profiles.profile_table(self.data.rows)
        predictions = candidate.holdout_predictions
        finite = _finite(predictions)
        calibration, scores, task = None, None, self.context.settings.kind_of_task
        profile |= profiles.profile_table(profiled(predictions, task, ~finite))
        if task.is_multiclass:
            calibration = estimate.fit_temperature(labels[holdout][finite], predictions[finite])
        if task.is_binary:
            calibration = estimate.fit_calibration(labels[holdout][finite], predictions[finite])
            scores = ScoreCounts.of(predictions)
        content = profiles.to_dict(profile, calibration, baseline.learn(labels[: holdout.start], task), scores)
        return content | self._rows()

    def _rows(self) -> dict[str, int]:
        """Return on how many labelled rows it was trained and evaluated, and how many were known."""
        return {TRAINING_ROWS_TAG: self.data.labels.size, KNOWN_ROWS_TAG: self.frame.known_rows}

    def _tables_read(self) -> list[TableRead]:
        spine = str(self.context.namespace.gold(SPINE))
        read = [
            TableRead(name, version, "spine" if name == spine else "labels")
            for name, version in self.frame.versions.items()
        ]
        features = self.data.training_set.lineage.tables
        if self.data.weights_read is not None:
            read.append(self.data.weights_read)
        return [*read, *(TableRead(table.name, table.version, "features", table.table_id) for table in features)]

    def _log_model(self, candidate: Candidate) -> None:
        ws = self.context.ws
        stored = stored_form(
            candidate.estimator,
            self.context.settings.kind_of_task,
            self.trainer,
            self.data.inputs.iloc[candidate.split.holdout],
            candidate.known,
        )
        # Of several classes the model gives a column for each that it knows.
        known, example = candidate.known.places, candidate.holdout_predictions[:5]
        given = example[:, list(known)] if known else example
        ws.fe.log_model(
            model=stored.model,
            artifact_path="model",
            flavor=stored.flavor,
            training_set=self.data.training_set,
            registered_model_name=str(self.context.model),
            signature=ws.registry.infer_signature(self.data.inputs.head(5), given),
            pip_requirements=stored.requirements,
            **stored.arguments,
        )

    def _classes(self) -> dict[str, str]:
        """Return the classes that the model gives probabilities of, in the order of its columns, for people to read."""
        if not self.context.settings.kind_of_task.is_multiclass:
            return {}
        known = known_classes(self.data, self.context.settings)
        return {CLASSES: json.dumps(list(known.names), ensure_ascii=False)}

    def _tags(self) -> dict[str, str]:
        context = self.context
        return {
            "dataset_version": self.data.digest,
            "git_sha": source_version(self.folder),
            **{name: str(count) for name, count in self._rows().items()},
            **self._classes(),
            **context.tags,
            "env": context.ws.env,
        }


def _finite(predictions: Vector) -> npt.NDArray[np.bool_]:
    """Return which rows have finite predictions, shape (rows,)."""
    return np.asarray(np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1))
