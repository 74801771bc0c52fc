"""Training one challenger: training set, time-ordered split, search, fit, evaluation on the holdout."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import shown
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError, LabelError, did_you_mean
from mlplatform.features.model_frame import model_frame
from mlplatform.protocols.registry import TableRead
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LABEL_KNOWN_AT, LabelSpine
from mlplatform.statistics import metrics
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task
from mlplatform.training.calibration import FEWEST_ISOTONIC, calibrated
from mlplatform.training.check_labels import check_labels
from mlplatform.training.fit_arguments import rounds_of, stops_early
from mlplatform.training.fit_rows import FitRows, group_numbers
from mlplatform.training.fitting import (
    columns_without_values,
    fit,
    in_our_words,
    make_estimator,
    not_finite,
    predict,
    refuse_ranker,
)
from mlplatform.training.immature_rows import ImmatureRows
from mlplatform.training.importance import Importance, importances, rows_within
from mlplatform.training.label_frame import LabelFrame, table_digest
from mlplatform.training.present_classes import NO_CLASSES, PresentClasses
from mlplatform.training.search import SearchResult, Told
from mlplatform.training.split import TimeSplit, split_of
from mlplatform.training.trainer import Trainer
from mlplatform.training.trials import Note
from mlplatform.training.tuning import tune
from mlplatform.training.weights import WEIGHT, WeightColumn, checked_weights, looked_up_weights

if TYPE_CHECKING:
    import pandas as pd

    from mlplatform.protocols.feature_client import TrainingSet


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
        weights_read: The silver table that they were looked up in; None: none was.
        groups: Which rows belong together, shape (rows,); None: none do.
        categorical: The inputs that are categories.
        immature: Rows that are not mature, which the last fit takes as well; None: there are none.
        event_weights: How much mature rows count beside them, shape (rows,).
        learned_events_through: The newest prediction time among them.
    """

    training_set: TrainingSet
    rows: pa.Table
    inputs: pd.DataFrame
    labels: Vector
    times: np.ndarray[Any, np.dtype[np.datetime64]]
    digest: str
    weights: Vector | None = None
    weights_read: TableRead | None = None
    groups: np.ndarray[Any, np.dtype[Any]] | None = None
    categorical: tuple[str, ...] = ()
    immature: FitRows | None = None
    event_weights: Vector | None = None
    learned_events_through: datetime | None = None

    def fit_rows(self, rows: slice, validation: slice | None = None, *, rounds: int | None = None) -> FitRows:
        """Return what an estimator is fitted on: of groups that go on in newer rows, none.

        Args:
            rows: The rows to fit on.
            validation: Newer ones, to stop early by.
            rounds: After how many rounds it stopped by them before.

        Raises:
            LabelError: If every group goes on in newer rows.
        """
        whole = FitRows(self.inputs, self.labels, self.weights, self.groups, self.categorical)
        return replace(
            whole.part(self.whole_groups(rows)),
            validation=None if validation is None else whole.part(self.whole_groups(validation)),
            rounds=rounds,
        )

    def last_fit_rows(self, rows: slice, *, rounds: int | None = None) -> FitRows:
        """Return what the registered model is fitted on: with the rows that are not mature, where there are such."""
        import pandas as pd

        mature, young = self.fit_rows(rows, rounds=rounds), self.immature
        if young is None or self.event_weights is None:
            return mature
        weights = self.event_weights[self.whole_groups(rows)] * (1.0 if mature.weights is None else mature.weights)
        groups = None
        if mature.groups is not None and young.groups is not None:
            groups = np.concatenate([mature.groups, young.groups])
        return replace(
            mature,
            inputs=pd.concat([mature.inputs, young.inputs], ignore_index=True),
            labels=np.concatenate([mature.labels, young.labels]),
            weights=np.concatenate([weights, young.weights if young.weights is not None else np.ones(len(young))]),
            groups=groups,
        )

    def whole_groups(self, rows: slice) -> slice | npt.NDArray[np.intp]:
        """Return which of some rows are of groups that end among them; all, where there are no groups.

        What a model knows of a group must not help it with other rows of the group, which it is judged by.

        Args:
            rows: A part of the rows.

        Raises:
            LabelError: If no group ends among them.
        """
        if self.groups is None:
            return rows
        numbers = group_numbers(self.groups)
        last = np.zeros(int(numbers.max()) + 1, dtype=np.intp)
        last[numbers] = np.arange(numbers.size)  # of several rows of a group the last one stays
        kept = np.arange(rows.start, rows.stop, dtype=np.intp)
        kept = kept[last[numbers[kept]] < rows.stop]
        if not kept.size:
            raise LabelError(
                f"Each group of the {rows.stop - rows.start} labelled rows from {shown(self.time_at(rows.start))} to "
                f"{shown(self.time_at(rows.stop - 1))} goes on in newer rows: nothing is left to learn from.",
                hint="Name groups that end, such as a session or a day, in group_column of the trainer; or leave it "
                "out: rows of one group are then on both sides of the split by time.",
            )
        return np.asarray(kept, dtype=np.intp)

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
        importance_cut: Why it is measured by fewer rows than wanted, or not at all, in words; empty where it is not so.
        not_finite: Which predictions for the holdout are no finite numbers, in words: then it has no metrics, and the
            gate refuses it. Empty where all are.
        known: The classes that it was fitted on, where there are several.
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
    importance_cut: str = ""
    not_finite: str = ""
    known: PresentClasses = NO_CLASSES


def training_data(
    ws: Workspace,
    trainer: Trainer,
    spine: LabelSpine,
    frame: LabelFrame,
    settings: UseCaseSettings,
    immature: ImmatureRows | None = None,
) -> TrainingData:
    """Look the features of a label frame up.

    Args:
        ws: The workspace.
        trainer: Declares the lookups.
        spine: Declares keys, time and label.
        frame: The labelled rows.
        settings: For `training.min_rows`.
        immature: Rows that are not mature, which the last fit takes as well.

    Raises:
        LabelError: If there are too few rows, labels are none of the task's, or a classification's are all alike.
        ConfigError: If a column of weights or groups is none of theirs, or weights are not numbers of zero and more.
    """
    if frame.rows.num_rows < settings.training.min_rows:
        raise LabelError(
            f"{frame.rows.num_rows} labelled rows are known, training needs {settings.training.min_rows}.",
            hint="Choose a later --as-of, or lower training.min_rows.",
        )
    never = [*spine.entity_keys, spine.prediction_time, LABEL_KNOWN_AT]
    # Two training sets of the same lookups: the model's own leaves keys and times out, ours needs them to sort by.
    whole = _looked_up(ws, trainer, spine, frame.rows)
    for name in trainer.beside:
        if name not in whole.column_names or name == spine.label:
            raise ConfigError(
                f"{type(trainer).__name__} names {name!r} as its column of weights or groups, and the training set has "
                "no such column.",
                hint=f"Name a column of the spine, or a looked-up feature. {did_you_mean(name, whole.column_names)}",
            )
    left_out = [name for name in trainer.left_out if name not in never]
    logged = ws.fe.create_training_set(
        df=frame.rows,
        feature_lookups=list(trainer.lookups()),
        label=spine.label,
        exclude_columns=[*never, *left_out],
    )
    labels = whole.column(spine.label).to_numpy().astype(np.float64)
    check_labels(settings.kind_of_task, whole, spine)
    if settings.kind_of_task.is_binary and np.unique(labels).size == 1:
        raise LabelError(
            f"All {labels.size} known labels are {labels[0]:g}; there is nothing to learn.",
            hint="Choose a later --as-of.",
        )
    beside = [*never, spine.label, *(name for name in trainer.beside if name not in never)]
    inputs = whole.drop_columns(beside)
    weights, weights_read = _weights(ws, trainer, spine, frame, whole)
    dataset = whole if weights_read is None or weights is None else whole.append_column(WEIGHT, pa.array(weights))
    data = TrainingData(
        training_set=logged,
        rows=inputs,
        inputs=model_frame(inputs),
        labels=labels,
        times=whole.column(spine.prediction_time).to_numpy().astype("datetime64[us]"),
        digest=table_digest(dataset),
        weights=weights,
        weights_read=weights_read,
        groups=_groups(whole, trainer, spine) if trainer.group_column else None,
        categorical=tuple(trainer.categorical_columns),
    )
    return data if immature is None else _with_immature(ws, trainer, spine, data, immature, beside)


def _looked_up(ws: Workspace, trainer: Trainer, spine: LabelSpine, rows: pa.Table) -> pa.Table:
    """Return labelled rows with their features, in the spine's order."""
    looked_up = ws.fe.create_training_set(
        df=rows,
        feature_lookups=list(trainer.lookups()),
        label=spine.label,
        exclude_columns=[name for name in trainer.exclude_columns if name not in trainer.beside],
    )
    return looked_up.to_arrow().sort_by(spine.order).combine_chunks()


def _with_immature(
    ws: Workspace,
    trainer: Trainer,
    spine: LabelSpine,
    data: TrainingData,
    immature: ImmatureRows,
    beside: Sequence[str],
) -> TrainingData:
    """Return the data with rows that are not mature; what of groups that mature rows are of is left out of these."""
    whole = _looked_up(ws, trainer, spine, immature.frame.rows)
    own, _ = _weights(ws, trainer, spine, immature.frame, whole)
    groups = _groups(whole, trainer, spine) if trainer.group_column else None
    kept = np.ones(whole.num_rows, dtype=bool)
    if groups is not None and data.groups is not None:
        kept = ~np.isin(groups, data.groups)
    young = FitRows(
        inputs=model_frame(whole.drop_columns(list(beside))),
        labels=whole.column(spine.label).to_numpy().astype(np.float64),
        weights=immature.weights if own is None else immature.weights * own,
        groups=groups,
        categorical=data.categorical,
    ).part(np.flatnonzero(kept))
    if not len(young):
        return data
    assert young.weights is not None, "they are weighted for censoring"
    weights = [table_digest(whole), young.weights.tobytes().hex(), immature.of_frame.tobytes().hex()]
    return replace(
        data,
        digest=hashlib.sha256("|".join([data.digest, *weights]).encode()).hexdigest()[:16],
        immature=young,
        event_weights=immature.of_frame,
        learned_events_through=pc.max(whole.column(spine.prediction_time).filter(pa.array(kept))).as_py(),
    )


def _weights(
    ws: Workspace, trainer: Trainer, spine: LabelSpine, frame: LabelFrame, whole: pa.Table
) -> tuple[Vector | None, TableRead | None]:
    """Return the weights of rows, and the table that they were looked up in."""
    declared = trainer.weight_column
    if isinstance(declared, WeightColumn):
        return looked_up_weights(
            ws, trainer.namespace, spine, declared, frame.rows.sort_by(spine.order).combine_chunks(), frame.as_of
        )
    if not declared:
        return None, None
    return checked_weights(whole.column(declared), whole.select(list(spine.primary_keys)), repr(declared)), None


def _groups(whole: pa.Table, trainer: Trainer, spine: LabelSpine) -> npt.NDArray[Any]:
    column = whole.column(str(trainer.group_column))
    if column.null_count:
        first = int(np.flatnonzero(np.asarray(column.is_null().to_numpy()))[0])
        (row,) = whole.select(list(spine.primary_keys)).slice(first, 1).to_pylist()
        raise ConfigError(
            f"{column.null_count} of {len(column)} labelled rows have no group in {trainer.group_column!r}; the first "
            f"is {', '.join(f'{name}={value}' for name, value in row.items())}.",
            hint="Let the table's SQL give them one, a group of their own for instance.",
        )
    return np.asarray(column.to_numpy())


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
    the validation part. Rows that are not mature are added to the last fit, and to nothing else: what is tuned and
    evaluated by is mature, and older than they are.

    Args:
        trainer: Makes the estimator, and names what is searched.
        data: What it is trained on.
        settings: Of the use case.
        told: Who is told of the trials of the search.
        cluster: Name of the joblib backend that reaches a cluster; None: there is none.
        note: Is told how the trials run.

    Raises:
        LabelError: If the rows cannot be split by time, or no group ends before the newer part begins.
        StageError: If columns do not suit the estimator, it fails, no set of parameters gave a finite score; or if it
            ranks rows, which no metric here judges.
    """
    options, task = settings.training, settings.kind_of_task
    refuse_ranker(trainer)
    split = split_of(data.times, options)
    calibrates = options.calibrate != "none"
    fitted_rows = split.fitted_on(options)
    _note_groups(data, fitted_rows, note)
    result = tune(trainer, data.fit_rows(split.fit, split.validation), settings, told, cluster=cluster, note=note)
    params = {**trainer.default_params, **(result.params if result else {})}
    rounds = _rounds(trainer, params, data, split, task)
    given = data.last_fit_rows(fitted_rows, rounds=rounds)
    known = PresentClasses.of(given, task)
    if known.missing:
        lacking = ", ".join(known.missing)
        note(f"classes: none of the {len(given)} fitted rows is {lacking}; its probability will be 0 everywhere")
    fitted = fit(trainer, params, known.renumbered(given))
    uncalibrated: dict[str, float] = {}
    holdout = data.inputs.iloc[split.holdout]
    if calibrates:
        rows = data.fit_rows(split.validation)
        judged = predict(fitted, rows.inputs, task, known, finite=False)
        if wrong := not_finite(fitted, rows.inputs, judged):
            note(f"not calibrated: {wrong}")
        else:
            raw = predict(fitted, holdout, task, known, finite=False)
            uncalibrated = _evaluated(settings, data.labels[split.holdout], raw)
            if options.calibrate == "isotonic" and len(rows) < FEWEST_ISOTONIC:
                note(f"calibration: {len(rows)} validation rows are few for isotonic; sigmoid needs fewer")
            fitted = calibrated(fitted, options.calibrate, known.renumbered(rows), known.names)
    # What is no finite number is no reason to end here: the version is registered as it is, and the gate refuses it.
    predicted = predict(fitted, holdout, task, known, finite=False)
    with in_our_words(f"The metrics of the {len(predicted)} rows of the holdout", params):
        measured = _evaluated(settings, data.labels[split.holdout], predicted)
    wanted, features = min(options.importance_rows, len(holdout)), holdout.shape[1]
    importance_rows = rows_within(wanted, features)
    importance_cut = ""
    if importance_rows < wanted:
        by = f"by {importance_rows} rows of the holdout" if importance_rows else "not at all"
        importance_cut = (
            f"What each of {features} features is worth is measured {by} instead of by {wanted}: each is shuffled in "
            "turn. What a lookup is worth as a whole, mlplatform ablate says."
        )
        note(importance_cut)
    return Candidate(
        estimator=fitted,
        params=params,
        search=result,
        split=split,
        metrics=measured,
        holdout_predictions=predicted,
        without_values={
            part: names
            for part, rows in (("fitted", data.whole_groups(fitted_rows)), ("holdout", split.holdout))
            if (names := columns_without_values(data.inputs.iloc[rows]))
        },
        rounds=rounds,
        uncalibrated=uncalibrated,
        importances=importances(
            lambda rows: predict(fitted, rows, task, known, finite=False),
            holdout,
            data.labels[split.holdout],
            metrics.primary(settings),
            most_rows=importance_rows,
            seed=options.seed,
        ),
        importance_cut=importance_cut,
        not_finite=not_finite(fitted, holdout, predicted),
        known=known,
    )


def known_classes(data: TrainingData, settings: UseCaseSettings) -> PresentClasses:
    """Return the classes that a model trained on this data knows, in the order of its columns."""
    fitted = split_of(data.times, settings.training).fitted_on(settings.training)
    return PresentClasses.of(data.fit_rows(fitted), settings.kind_of_task)


def _note_groups(data: TrainingData, rows: slice, note: Note) -> None:
    """Say how many rows are not fitted on because their groups go on in newer rows."""
    kept = data.whole_groups(rows)
    if isinstance(kept, np.ndarray) and kept.size < rows.stop:
        note(f"groups: {rows.stop - kept.size} of {rows.stop} rows are not fitted on, for their groups go on later")


def _evaluated(settings: UseCaseSettings, labels: Vector, predictions: Vector) -> dict[str, float]:
    """Return all metrics on the holdout; none of them is computed around predictions that are no finite numbers."""
    task, above = settings.kind_of_task, settings.label.event_above
    if np.isfinite(predictions).all():
        return metrics.evaluate(task, labels, predictions, event_above=above)
    # The names are those that any predictions have.
    names = metrics.evaluate(task, labels, np.zeros_like(predictions), event_above=above)
    return {name: value if name == "label_mean" else float("nan") for name, value in names.items()}


def _rounds(trainer: Trainer, params: dict[str, Any], data: TrainingData, split: TimeSplit, task: Task) -> int | None:
    """Return after how many rounds an estimator stops by the validation rows; None: it does not stop early.

    The last fit has those rows among its own, and nothing newer but the holdout, which stays out. So the rounds are
    counted first, on the older rows, and then taken as they are.
    """
    if not stops_early(make_estimator(trainer, params)):
        return None
    rows = data.fit_rows(split.fit, split.validation)
    return rounds_of(fit(trainer, params, PresentClasses.of(rows, task).renumbered(rows)))
