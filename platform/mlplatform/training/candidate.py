"""Training one challenger: training set, time-ordered split, search, fit, evaluation on the holdout."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlplatform.code_digest import code_digest
from mlplatform.config.settings import TRAINING_ROWS, SearchSettings, TrainingSettings, UseCaseSettings
from mlplatform.errors import ConfigError, LabelError, StageError, did_you_mean
from mlplatform.features.model_frame import model_frame
from mlplatform.protocols.lineage import RULE
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LABEL_KNOWN_AT, LabelSpine
from mlplatform.statistics import metrics
from mlplatform.statistics.metrics import Vector
from mlplatform.training.calibration import FEWEST_ISOTONIC, calibrated
from mlplatform.training.fit_arguments import rounds_of, stops_early
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import columns_without_values, fit, in_our_words, make_estimator, not_finite, predict
from mlplatform.training.importance import Importance, importances
from mlplatform.training.label_frame import LabelFrame, table_digest
from mlplatform.training.model_requirements import libraries
from mlplatform.training.search import SearchResult, Told
from mlplatform.training.split import TimeSplit, time_split
from mlplatform.training.trainer import Trainer
from mlplatform.training.trials import Note
from mlplatform.training.tuning import tune
from mlplatform.types import is_number, spark_type

if TYPE_CHECKING:
    import pandas as pd

    from mlplatform.protocols.feature_client import TrainingSet


# Settings of the search that came later: models trained before keep their keys.
_UNSET = {name: SearchSettings.model_fields[name].default for name in ("library", "parallelism", "pruning")}


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained on.

    Attributes:
        training_set: Carries the feature spec that is logged with the model.
        rows: The model's input columns in their declared types, sorted by prediction time and keys.
        inputs: The same, as the model is given them.
        labels: Shape (rows,).
        times: Prediction times, shape (rows,), ascending.
        digest: Fingerprint of inputs, labels, weights and groups: the version of the dataset.
        weights: How much each row counts in the fit, shape (rows,); None: all the same.
        groups: Which rows belong together, shape (rows,); None: none do.
        categorical: The inputs that are categories.
    """

    training_set: TrainingSet
    rows: pa.Table
    inputs: pd.DataFrame
    labels: Vector
    times: np.ndarray[Any, np.dtype[np.datetime64]]
    digest: str
    weights: Vector | None = None
    groups: np.ndarray[Any, np.dtype[Any]] | None = None
    categorical: tuple[str, ...] = ()

    def fit_rows(self, rows: slice, validation: slice | None = None, *, rounds: int | None = None) -> FitRows:
        """Return what an estimator is fitted on.

        Args:
            rows: The rows to fit on.
            validation: Newer ones, to stop early by.
            rounds: After how many rounds it stopped by them before.
        """
        whole = FitRows(self.inputs, self.labels, self.weights, self.groups, self.categorical)
        return replace(
            whole.part(rows), validation=None if validation is None else whole.part(validation), rounds=rounds
        )

    def time_at(self, row: int) -> datetime:
        """Return a row's prediction time."""
        moment = self.times[row].astype("datetime64[us]").astype(datetime)
        return moment.replace(tzinfo=UTC)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Candidate:
    """A fitted challenger, its parameters, its search, and its metrics on the holdout.

    Attributes:
        without_values: Of the parts `fitted` and `holdout`, the columns that hold no value there; empty parts left out.
        rounds: After how many rounds it stopped early by the validation rows; None: it does not stop early.
        uncalibrated: The metrics before the calibration; empty without one.
        importances: What each feature is worth on the holdout, the most important one first; empty where it is not
            measured.
        not_finite: Which predictions for the holdout are no finite numbers, in words: then it has no metrics, and the
            gate refuses it. Empty where all are.
    """

    estimator: Any
    params: dict[str, Any]
    search: SearchResult | None
    split: TimeSplit
    metrics: dict[str, float]
    holdout_predictions: Vector
    without_values: dict[str, list[str]]
    rounds: int | None = None
    uncalibrated: dict[str, float] = field(default_factory=dict)
    importances: list[Importance] = field(default_factory=list)
    not_finite: str = ""


def training_data(
    ws: Workspace, trainer: Trainer, spine: LabelSpine, frame: LabelFrame, settings: UseCaseSettings
) -> TrainingData:
    """Look the features of a label frame up.

    Args:
        ws: The workspace.
        trainer: Declares the lookups.
        spine: Declares keys, time and label.
        frame: The labelled rows.
        settings: For `training.min_rows`.

    Raises:
        LabelError: If there are too few rows, or a classification's labels are all alike.
        ConfigError: If a column of weights or groups is none of theirs, or weights are not numbers of zero and more.
    """
    if frame.rows.num_rows < settings.training.min_rows:
        raise LabelError(
            f"{frame.rows.num_rows} labelled rows are known, training needs {settings.training.min_rows}.",
            hint="Choose a later --as-of, or lower training.min_rows.",
        )
    never = [*spine.entity_keys, spine.prediction_time, LABEL_KNOWN_AT]
    lookups = list(trainer.lookups())
    # Two training sets of the same lookups: the model's own leaves keys and times out, ours needs them to sort by.
    whole = ws.fe.create_training_set(
        df=frame.rows,
        feature_lookups=lookups,
        label=spine.label,
        exclude_columns=[name for name in trainer.exclude_columns if name not in trainer.beside],
    ).to_arrow()
    for name in trainer.beside:
        if name not in whole.column_names or name == spine.label:
            raise ConfigError(
                f"{type(trainer).__name__} names {name!r} as its column of weights or groups, and the training set has "
                "no such column.",
                hint=f"Name a column of the spine, or a looked-up feature. {did_you_mean(name, whole.column_names)}",
            )
    left_out = [name for name in trainer.left_out if name not in never]
    logged = ws.fe.create_training_set(
        df=frame.rows, feature_lookups=lookups, label=spine.label, exclude_columns=[*never, *left_out]
    )
    whole = whole.sort_by(spine.order).combine_chunks()
    labels = whole.column(spine.label).to_numpy().astype(np.float64)
    if settings.task == "classification" and np.unique(labels).size == 1:
        raise LabelError(
            f"All {labels.size} known labels are {labels[0]:g}; there is nothing to learn.",
            hint="Choose a later --as-of.",
        )
    inputs = whole.drop_columns([*never, spine.label, *(name for name in trainer.beside if name not in never)])
    return TrainingData(
        training_set=logged,
        rows=inputs,
        inputs=model_frame(inputs),
        labels=labels,
        times=whole.column(spine.prediction_time).to_numpy().astype("datetime64[us]"),
        digest=table_digest(whole),
        weights=_weights(whole.column(trainer.weight_column), trainer) if trainer.weight_column else None,
        groups=whole.column(trainer.group_column).to_numpy() if trainer.group_column else None,
        categorical=tuple(trainer.categorical_columns),
    )


def _weights(column: pa.ChunkedArray[Any], trainer: Trainer) -> Vector:
    """Return the weights of rows: numbers of zero and more, one for each row, not all of them zero."""
    name = trainer.weight_column
    if not is_number(column.type):
        raise ConfigError(
            f"{type(trainer).__name__}.weight_column is {name!r}, which is {spark_type(column.type)}.",
            hint="A weight is a number.",
        )
    weights = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    wrong = int((~(np.isfinite(weights) & (weights >= 0))).sum())
    if wrong or not weights.any():
        what = f"{wrong} of {weights.size} labelled rows have none, or one below zero" if wrong else "all are zero"
        raise ConfigError(
            f"The weights in {name!r} cannot be fitted with: {what}.",
            hint="Let the table's SQL say what such a row counts, or an expectation quarantine it.",
        )
    return weights


def training_key(trainer: Trainer, data: TrainingData, settings: UseCaseSettings) -> str:
    """Return a fingerprint of all that decides what a training gives: data, settings, code, libraries.

    Training again with the same key would give the same model, and does not happen.
    """
    import sklearn

    parts = [
        data.digest,
        _what_counts(settings.training),
        code_digest(type(trainer)),
        sklearn.__version__,
        # A model that was fitted on other types is another model.
        RULE,
    ]
    # Models of scikit-learn alone keep the keys that they had before there were others.
    parts += [f"{name}=={version(name)}" for name in _libraries(trainer)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _libraries(trainer: Trainer) -> list[str]:
    try:
        estimator = make_estimator(trainer, trainer.default_params)
    except StageError:  # it may need what is searched; the training tells, if it fails there as well
        return []
    return libraries(estimator)


def _what_counts(options: TrainingSettings) -> dict[str, Any]:
    """Return the settings as they go into the key; the default bound as before there was one.

    Which rows it lets through shows in the data's digest, and models trained before keep their keys.
    """
    content = options.model_dump(mode="json")
    # Where trials run, and what is measured of the model, changes nothing of it.
    del content["search"]["workers"], content["importance_rows"]
    for name, value in _UNSET.items():
        if content["search"][name] == value:
            del content["search"][name]
    if content["calibrate"] == "none":
        del content["calibrate"]
    unset = max(TRAINING_ROWS, options.min_rows)
    return content | {"max_rows": None} if options.max_rows == unset else content


def train(
    trainer: Trainer,
    data: TrainingData,
    settings: UseCaseSettings,
    told: Told,
    *,
    cluster: str | None = None,
    note: Note = lambda _: None,
) -> Candidate:
    """Search, fit, and evaluate.

    The search fits on the oldest part and scores on the validation part; the model is then fitted on both with the best
    parameters (and, where it stops early, with as many rounds as it had on the oldest part), and evaluated on the
    holdout, which neither has seen. Where it is calibrated, it is fitted on the oldest part alone, and calibrated on
    the validation part.

    Args:
        trainer: Makes the estimator, and names what is searched.
        data: What it is trained on.
        settings: Of the use case.
        told: Who is told of the trials of the search.
        cluster: Name of the joblib backend that reaches a cluster; None: there is none.
        note: Is told how the trials run.

    Raises:
        LabelError: If the rows cannot be split by time.
        StageError: If columns do not suit the estimator, it fails, or no set of parameters gave a finite score.
    """
    options = settings.training
    split = time_split(data.times, holdout=options.holdout, validation=options.validation)
    calibrates = options.calibrate != "none"
    fitted_rows = split.fit if calibrates else slice(0, split.holdout.start)
    result = tune(trainer, data.fit_rows(split.fit, split.validation), settings, told, cluster=cluster, note=note)
    params = {**trainer.default_params, **(result.params if result else {})}
    rounds = _rounds(trainer, params, data, split)
    fitted = fit(trainer, params, data.fit_rows(fitted_rows, rounds=rounds))
    uncalibrated: dict[str, float] = {}
    holdout = data.inputs.iloc[split.holdout]
    if calibrates:
        rows = data.fit_rows(split.validation)
        judged = predict(fitted, rows.inputs, settings.task, finite=False)
        if wrong := not_finite(fitted, rows.inputs, judged):
            note(f"not calibrated: {wrong}")
        else:
            raw = predict(fitted, holdout, settings.task, finite=False)
            uncalibrated = metrics.evaluate(settings.task, data.labels[split.holdout], raw)
            if options.calibrate == "isotonic" and len(rows) < FEWEST_ISOTONIC:
                note(f"calibration: {len(rows)} validation rows are few for isotonic; sigmoid needs fewer")
            fitted = calibrated(fitted, options.calibrate, rows)
    # What is no finite number is no reason to end here: the version is registered as it is, and the gate refuses it.
    predicted = predict(fitted, holdout, settings.task, finite=False)
    with in_our_words(f"The metrics of the {predicted.size} rows of the holdout", params):
        measured = metrics.evaluate(
            settings.task, data.labels[split.holdout], predicted, event_above=settings.label.event_above
        )
    return Candidate(
        estimator=fitted,
        params=params,
        search=result,
        split=split,
        metrics=measured,
        holdout_predictions=predicted,
        without_values={
            part: names
            for part, rows in (("fitted", fitted_rows), ("holdout", split.holdout))
            if (names := columns_without_values(data.inputs.iloc[rows]))
        },
        rounds=rounds,
        uncalibrated=uncalibrated,
        importances=importances(
            lambda rows: predict(fitted, rows, settings.task, finite=False),
            holdout,
            data.labels[split.holdout],
            metrics.get(options.metric),
            most_rows=options.importance_rows,
            seed=options.seed,
        ),
        not_finite=not_finite(fitted, holdout, predicted),
    )


def _rounds(trainer: Trainer, params: dict[str, Any], data: TrainingData, split: TimeSplit) -> int | None:
    """Return after how many rounds an estimator stops by the validation rows; None: it does not stop early.

    The last fit has those rows among its own, and nothing newer but the holdout, which stays out. So the rounds are
    counted first, on the older rows, and then taken as they are.
    """
    if not stops_early(make_estimator(trainer, params)):
        return None
    return rounds_of(fit(trainer, params, data.fit_rows(split.fit, split.validation)))
