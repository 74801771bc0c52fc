"""Train: the labels known by `as_of` give a model, evaluated on its newest labels, registered as `@challenger`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import pyarrow as pa

from mlplatform.as_of import Duration, parse_as_of, shown
from mlplatform.config.settings import TrainingSettings
from mlplatform.features import artifacts
from mlplatform.naming import CHALLENGER, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.registry import ModelVersion, TableRead
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import SPINE
from mlplatform.statistics import baseline, estimate, profiles
from mlplatform.training import skops_flavor
from mlplatform.training.candidate import Trained, TrainingData, train, training_data, training_key
from mlplatform.training.fitting import in_our_words
from mlplatform.training.label_frame import LabelFrame, known_labels, sample
from mlplatform.training.reference import PROFILE_FILE
from mlplatform.training.source_version import source_version

NAME = "train"
KEY_TAG = "training_key"
TRAINED_AS_OF_TAG = "trained_as_of"
TRAINED_THROUGH_TAG = "trained_through"
FAILURE_TAG = "failure"
_LONGEST = 500
_HOLDOUT = "holdout_"
_MOST_FAILED = 20


def run(context: StageContext, *, register_only: bool = False) -> StageResult[Any]:
    """Train a challenger, unless the same training has been done before.

    Args:
        context: The run.
        register_only: Leave the alias to whoever evaluates the version: moving aliases takes more rights.

    Raises:
        LabelError: If too few labels are known.
        RegistryError: If the registered model does not exist, where training may not create it; or if MLflow fails.
    """
    use_case, ws = context.use_case, context.ws
    settings, spine, trainer = use_case.settings, use_case.label_spine(), use_case.model_trainer()
    # Before anything is read: whether what will be trained can be registered.
    ws.registry.require_model(use_case.model)
    refusal = ws.registry.feature_model_refusal()
    if refusal:
        context.progress(f"{refusal}: it is packaged and registered without the client")
    after = training_start(settings.training, context.as_of)
    frame = known_labels(ws, context.namespace, spine, context.as_of, after=after)
    known_rows = frame.rows.num_rows
    options = settings.training
    if options.max_rows is not None:
        frame = sample(frame, options.max_rows, options.seed)
    context.progress(f"training set of {frame.rows.num_rows} labelled rows, of {known_rows} known")
    use_case.register_functions(ws)
    data = training_data(ws, trainer, spine, frame, settings)
    key = training_key(trainer, data, settings)
    result: StageResult[Any] = StageResult(inputs=frame.versions, rows_in=known_rows, rows_out=data.labels.size)
    if refusal:
        result.details["packaged_without_client"] = refusal
    with ws.lock(f"train {use_case.model}"):
        known = _trained_before(context, key)
        if known is None:
            known, trained = _train_and_log(context, frame, data, key)
            result.details["metrics"] = trained.metrics
            result.details["params"] = trained.params
            if trained.without_values:
                result.details["columns_without_values"] = trained.without_values
            if trained.search and trained.search.failed:
                first = [asdict(trial) for trial in trained.search.failed[:_MOST_FAILED]]
                # What is searched may be any object; the record says which, in its own words.
                result.details["failed_trials"] = json.loads(json.dumps(first, default=str))
                result.details["failed_trial_count"] = len(trained.search.failed)
        else:
            result.details["reused"] = True
        _finish(context, known, data, key)
        if not register_only:
            make_challenger(ws, use_case.model, known.version)
    result.details.update(version=known.version, run_id=known.run_id, dataset_version=data.digest)
    result.outputs[str(use_case.model)] = known.version
    return result


def make_challenger(ws: Workspace, model: ObjectName, version: int) -> None:
    """Give a version the alias challenger, unless it has one already."""
    if version not in ws.registry.aliases(model).values():
        ws.registry.set_alias(model, CHALLENGER, version)


def training_start(options: TrainingSettings, as_of: datetime) -> datetime | None:
    """Return the time after which spine rows are trained on, by `training.since` and `training.window`; None: all."""
    after = parse_as_of(options.since) if options.since else None
    if options.window:
        start = Duration.parse(options.window).before(as_of)
        after = max(after, start) if after else start
    return after


def _train_and_log(
    context: StageContext, frame: LabelFrame, data: TrainingData, key: str
) -> tuple[ModelVersion, Trained]:
    use_case, settings, registry = context.use_case, context.use_case.settings, context.ws.registry
    tags = _tags(context, data) | {KEY_TAG: key, "delta_versions": json.dumps(frame.versions)}
    trainer = use_case.model_trainer()
    experiment, name = f"/{context.namespace.catalog}/{use_case.name}", f"{use_case.name} {shown(context.as_of)}"
    with registry.training_run(experiment, name, tags) as run:
        # Before the model is registered: its lineage is made of the inputs that the run has by then.
        registry.log_tables(run.run_id, _tables_read(context, frame, data))

        def log_trial(number: int, params: dict[str, Any], score: float) -> None:
            run.log_trial(number, params, {f"validation_{settings.training.metric}": score})
            context.progress(f"trial {number + 1} of {settings.training.search.max_evals}: {score:.4f}")

        def log_failure(number: int, params: dict[str, Any], cause: str) -> None:
            run.log_failed_trial(number, params, {FAILURE_TAG: cause[:_LONGEST]})
            context.progress(f"trial {number + 1} of {settings.training.search.max_evals} failed: {cause}")

        trained = train(trainer, data, settings, log_trial, log_failure)
        for part, names in trained.without_values.items():
            context.progress(f"no value among the {part} rows: {', '.join(names)}")
        run.log_params(trained.params)
        run.log_metrics({f"{_HOLDOUT}{name}": value for name, value in trained.metrics.items()})
        reference = profiles.profile_table(data.rows)
        reference |= profiles.profile_table(pa.table({"prediction": pa.array(trained.holdout_predictions)}))
        calibration = None
        if settings.task == "classification":
            calibration = estimate.fit_calibration(data.labels[trained.split.holdout], trained.holdout_predictions)
        learned = baseline.learn(data.labels[: trained.split.holdout.start])
        run.log_json(PROFILE_FILE, profiles.to_dict(reference, calibration, learned))
        context.progress("logging and registering the model")
        _log_model(context, data, trained)
    version = next(item for item in reversed(registry.versions(use_case.model)) if item.run_id == run.run_id)
    return version, trained


def _tables_read(context: StageContext, frame: LabelFrame, data: TrainingData) -> list[TableRead]:
    spine = str(context.namespace.gold(SPINE))
    read = [
        TableRead(name, version, "spine" if name == spine else "labels") for name, version in frame.versions.items()
    ]
    features = data.training_set.lineage.tables
    return [*read, *(TableRead(table.name, table.version, "features", table.table_id) for table in features)]


def _log_model(context: StageContext, data: TrainingData, trained: Trained) -> None:
    trainer = context.use_case.model_trainer()
    sample = data.inputs.head(5)
    classification = context.use_case.settings.task == "classification"
    context.ws.fe.log_model(
        model=trained.estimator,
        artifact_path="model",
        flavor=skops_flavor.flavor(),
        training_set=data.training_set,
        registered_model_name=str(context.use_case.model),
        signature=context.ws.registry.infer_signature(sample, trained.holdout_predictions[:5]),
        serialization_format="skops",
        skops_trusted_types=_model_types(trained.estimator, trainer.trusted_types),
        pip_requirements=_requirements(),
        pyfunc_predict_fn="predict_proba" if classification else "predict",
    )


def _finish(context: StageContext, version: ModelVersion, data: TrainingData, key: str) -> None:
    """Log the metrics on the model and tag the version; again changes nothing, so that a training is completed."""
    registry, model = context.ws.registry, context.use_case.model
    if version.tags.get(KEY_TAG) != key:
        measured = registry.run(version).metrics
        holdout = {name: value for name, value in measured.items() if name.startswith(_HOLDOUT)}
        registry.log_metrics(version, holdout, context.as_of)
        with TemporaryDirectory() as folder:
            digest = artifacts.digest(registry.download(version, Path(folder)))
        fitted = _holdout_start(context, data)
        registry.set_tags(
            model,
            version.version,
            _tags(context, data)
            | {
                artifacts.DIGEST_TAG: digest,
                TRAINED_AS_OF_TAG: context.as_of.isoformat(),
                TRAINED_THROUGH_TAG: data.time_at(fitted - 1).isoformat(),
                # Last: its presence says that the others are there.
                KEY_TAG: key,
            },
        )


def _holdout_start(context: StageContext, data: TrainingData) -> int:
    from mlplatform.training.split import time_split

    options = context.use_case.settings.training
    return int(time_split(data.times, holdout=options.holdout, validation=options.validation).holdout.start)


def _trained_before(context: StageContext, key: str) -> ModelVersion | None:
    registry = context.ws.registry
    for version in reversed(registry.versions(context.use_case.model)):
        tagged = version.tags.get(KEY_TAG)
        if tagged == key:
            return version
        # Without a tag the training was interrupted after registering: the run says what it was.
        if tagged is None and registry.run(version).tags.get(KEY_TAG) == key:
            return version
    return None


def _tags(context: StageContext, data: TrainingData) -> dict[str, str]:
    use_case = context.use_case
    return {
        "dataset_version": data.digest,
        "git_sha": source_version(use_case.folder),
        **context.tags,
        "env": context.ws.env,
    }


def _model_types(estimator: Any, trusted: tuple[str, ...]) -> list[str]:
    import skops.io

    with in_our_words("Storing the model in the skops format"):
        found = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    return [name for name in found if artifacts.allowed(name, trusted)]


def _requirements() -> list[str]:
    from importlib.metadata import version

    # The installed versions: MLflow would otherwise import the model in a child process to find out, for ten seconds.
    return [f"{name}=={version(name)}" for name in ("scikit-learn", "numpy", "pandas", "scipy", "skops")]


@dataclass(frozen=True)
class Train(Stage[Any]):
    """A training set becomes a model version, registered as challenger.

    Attributes:
        champion: Gives the champion's version, None where there has never been one; raises where one has vanished.
        register_only: Leave the alias to whoever evaluates the version: moving aliases takes more rights.
    """

    name: ClassVar[str] = NAME

    champion: Callable[[StageContext], int | None]
    register_only: bool = False

    def due(self, context: StageContext) -> Self | None:
        """Training is due while there is no champion; later it is what retraining is for."""
        return self if self.champion(context) is None else None

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context, register_only=self.register_only)
