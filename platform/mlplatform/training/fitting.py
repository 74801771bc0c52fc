"""Fitting and predicting with a use case's estimator: looked at before, and what it raises told in our words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mlplatform.errors import MissingDependencyError, NotFiniteError, PlatformError, StageError, in_one_line
from mlplatform.features.scoring import without_left_out
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task, task_of
from mlplatform.training.boosters import EXTRAS, is_booster, predict_booster, ranks
from mlplatform.training.estimators import WITH_VALUES
from mlplatform.training.fit_arguments import learner
from mlplatform.training.present_classes import NO_CLASSES, PresentClasses
from mlplatform.training.threads import limit_threads

if TYPE_CHECKING:
    import pandas as pd

    from mlplatform.training.fit_rows import FitRows
    from mlplatform.training.trainer import Trainer

_CLASSES = 2
_TABLE = 2  # dimensions
_ROUNDED = 1e-3
_MOST_SHOWN = 12
_BY_PLACE = ("categorical_features", "monotonic_cst", "interaction_cst")
# What scikit-learn's meta estimators call the estimator within.
_WITHIN = ("regressor", "estimator", "base_estimator")
# Given a pandas frame: their own categorical type is not what a model is handed.
_NUMBERS_ONLY = ("lightgbm.", "xgboost.")
_WHOLE = "mlplatform --debug ... shows the whole of what was raised."


def columns_without_values(inputs: pd.DataFrame) -> list[str]:
    """Return the columns that hold no value at all."""
    return [str(name) for name in inputs.columns if bool(inputs[name].isna().all())]


def make_estimator(trainer: Trainer, params: Mapping[str, Any]) -> Any:
    """Return the use case's estimator, unfitted.

    Args:
        trainer: Makes it.
        params: Its parameters.

    Raises:
        MissingDependencyError: If its library is an extra of the platform that is not installed.
        StageError: If the trainer fails.
    """
    with in_our_words("Making the estimator", params):
        return trainer.estimator(dict(params))


def fit(trainer: Trainer, params: Mapping[str, Any], rows: FitRows, *, threads: int | None = None) -> Any:
    """Return the use case's estimator, fitted.

    Args:
        trainer: Makes the estimator, and fits it.
        params: Its parameters.
        rows: What it is fitted on.
        threads: How many threads it may use where it does not say so itself; None: as many as it likes.

    Raises:
        MissingDependencyError: If its library is an extra of the platform that is not installed.
        StageError: If columns do not suit the estimator, it fails, or what was fitted ranks rows within groups.
    """
    estimator = make_estimator(trainer, params)
    if threads is not None:
        limit_threads(estimator, threads)
    check_columns(estimator, rows.inputs)
    with in_our_words(f"Fitting on {len(rows)} rows", params, rows.inputs), without_left_out():
        fitted = trainer.fit(estimator, rows)
    if fitted is None:
        raise StageError(
            f"{type(trainer).__name__}.fit returned nothing.", hint="It returns what was fitted, which then predicts."
        )
    _refuse_ranks(fitted)
    return fitted


def predict(
    estimator: Any,
    inputs: pd.DataFrame,
    task: Task | str,
    known: PresentClasses = NO_CLASSES,
    *,
    finite: bool = True,
) -> Vector:
    """Return the probability of the positive class, or the predicted value; shape (rows,).

    Of several classes the probability of each of them, in the order in which they are declared; shape (rows, classes).

    Args:
        estimator: Fitted.
        inputs: The rows.
        task: The task, or its name.
        known: The classes that it was fitted on, where there are several.
        finite: Refuse predictions that are no finite numbers; False: whoever asks looks for them.

    Raises:
        NotFiniteError: If it predicts what is no finite number, where that is refused.
        StageError: If the estimator cannot predict that.
    """
    predictions = _predicted(estimator, inputs, task_of(task), known)
    if finite and (wrong := not_finite(estimator, inputs, predictions)):
        raise NotFiniteError(
            f"{wrong}.",
            hint="Does it take missing values? An imputer before it fills them; a scaler keeps numbers small.",
        )
    return predictions


def not_finite(estimator: Any, inputs: pd.DataFrame, predictions: Vector) -> str:
    """Return which predictions are no finite numbers, in words; empty where all are.

    Args:
        estimator: Whose.
        inputs: The rows.
        predictions: For them, shape (rows,) or (rows, classes).
    """
    wrong = np.flatnonzero(~np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1))
    if not wrong.size:
        return ""
    return (
        f"{type(estimator).__name__} predicts NaN or infinity for {wrong.size} of {len(inputs)} rows; "
        f"{_row(inputs, int(wrong[0]))}"
    )


def _predicted(estimator: Any, inputs: pd.DataFrame, task: Task, known: PresentClasses) -> Vector:
    if is_booster(estimator):
        return _of_a_booster(estimator, inputs, task, known)
    if task.predicts_probabilities and not hasattr(estimator, task.method):
        raise StageError(
            f"{type(estimator).__name__} has no {task.method}, and {task.noun} is judged by its probabilities.",
            hint="Take an estimator that has one, or wrap it: sklearn.calibration.CalibratedClassifierCV(estimator).",
        )
    with in_our_words(f"Predicting {len(inputs)} rows", None, inputs), without_left_out():
        predictions = np.asarray(getattr(estimator, task.method)(inputs), dtype=np.float64)
    if task.is_binary:
        if predictions.ndim != _TABLE or predictions.shape[1] != _CLASSES:
            raise StageError(
                f"{type(estimator).__name__}.predict_proba gave an array of shape {predictions.shape}, not one column "
                "for each of two classes.",
                hint="Labels are 0 and 1; both must be among the fitted rows.",
            )
        predictions = predictions[:, 1]
    if task.is_multiclass:
        return _of_classes(estimator, inputs, predictions, known)
    return _checked(estimator, inputs, predictions, task)


def _of_classes(estimator: Any, inputs: pd.DataFrame, given: Vector, known: PresentClasses) -> Vector:
    name, wanted = type(estimator).__name__, (len(inputs), len(known.places))
    classes = getattr(estimator, "classes_", None)
    if given.shape != wanted or (classes is not None and list(classes) != list(range(len(known.places)))):
        raise StageError(
            f"{name} gave probabilities of shape {given.shape}{'' if classes is None else f' for {list(classes)}'}, "
            f"not one column for each of the {len(known.places)} classes that it was fitted on.",
            hint="Its labels are the numbers of the classes, from 0 on; what fit() of the trainer returns must have a "
            "column for each, in that order. The objective of a booster: `multiclass` of LightGBM, `multi:softprob` of "
            "XGBoost.",
        )
    # What is not finite is for whoever asked to refuse.
    off = np.flatnonzero((given < 0).any(axis=1) | (np.abs(given.sum(axis=1) - 1) > _ROUNDED))
    if off.size:
        raise StageError(
            f"{name} gives {off.size} of {len(inputs)} rows what are no probabilities of several classes, such as "
            f"{given[off[0]].round(4).tolist()}; {_row(inputs, int(off[0]))}.",
            hint="Each is from 0 to 1, and all add up to 1.",
        )
    return known.declared_order(given)


def refuse_ranker(trainer: Trainer) -> None:
    """Refuse a trainer whose estimator ranks rows within groups, before anything is fitted.

    One that fits in its own way may make something else of a ranker, and is judged by what it returns.

    Raises:
        StageError: If it would come to a model that nothing here can judge.
    """
    from mlplatform.training.trainer import Trainer

    if getattr(type(trainer), "fit", None) is Trainer.fit:
        try:
            estimator = make_estimator(trainer, trainer.default_params)
        except StageError:  # it may need what is searched; each trial tells
            return
        _refuse_ranks(estimator)


def _refuse_ranks(estimator: Any) -> None:
    model = learner(estimator)
    if ranks(model):
        raise StageError(
            f"{type(model).__name__} ranks rows within their groups: what it predicts is neither a value nor a "
            "probability, and no metric of the platform (of any task) judges an order within groups.",
            hint="Take a classifier or a regressor of the same library, which may have groups, too. Or let fit() of "
            "the trainer return a model that makes values or probabilities of the ranks.",
        )


def _of_a_booster(booster: Any, inputs: pd.DataFrame, task: Task, known: PresentClasses) -> Vector:
    with in_our_words(f"Predicting {len(inputs)} rows", None, inputs):
        predictions = np.asarray(predict_booster(booster, inputs), dtype=np.float64)
    if task.is_binary and bool(((predictions < 0) | (predictions > 1)).any()):
        raise StageError(
            f"The {type(booster).__name__} predicts scores below 0 or above 1, and a classification is judged by its "
            "probabilities.",
            hint="Its objective must be one of two classes: `binary` of LightGBM, `binary:logistic` of XGBoost.",
        )
    if task.is_multiclass:
        return _of_classes(booster, inputs, predictions, known)
    return _checked(booster, inputs, predictions, task)


def _checked(estimator: Any, inputs: pd.DataFrame, predictions: Vector, task: Task) -> Vector:
    if predictions.shape != (len(inputs),):
        raise StageError(
            f"{type(estimator).__name__} gave predictions of shape {predictions.shape} for {len(inputs)} rows.",
            hint="One number per row is needed.",
        )
    lowest = task.smallest_prediction
    below = np.flatnonzero(predictions < lowest) if lowest is not None else np.empty(0, dtype=np.int64)
    if below.size:
        raise StageError(
            f"{type(estimator).__name__} predicts less than {lowest:g} for {below.size} of "
            f"{len(inputs)} rows, such as {predictions[below[0]]:g}; {_row(inputs, int(below[0]))}.",
            hint=f"{task.noun.capitalize()} is never below it. Take an estimator that knows counts, as by "
            'loss="poisson" (HistGradientBoostingRegressor), objective="poisson" (LightGBM), or PoissonRegressor.',
        )
    return predictions


def check_columns(estimator: Any, inputs: pd.DataFrame) -> None:
    """Refuse columns that cannot go through an estimator, before it is fitted.

    Only what is sure is refused here: text, dates and times that scikit-learn's estimator would be given as they are.

    Raises:
        StageError: Naming the columns, their types and the ways out.
    """
    unfit = [name for name in _as_they_are(estimator, inputs) if inputs[name].dtype.kind not in "fiub"]
    if unfit:
        listed = ", ".join(f"{name} ({_said(inputs[name])})" for name in unfit[:_MOST_SHOWN])
        raise StageError(
            f"The estimator would be given columns that are not numbers: {listed}.",
            hint="Name text among the CATEGORIES (of `coded`, or of an encoder), or leave the column out: "
            "exclude_columns of the trainer. A date or time says more as a number of days, in the table's SQL.",
        )
    empty = columns_without_values(inputs)
    if empty and (named := sorted(_named_by_place(estimator))):
        raise StageError(
            f"{', '.join(empty)}: no value in the fitted rows, so the estimator gets fewer columns, and its "
            f"{', '.join(named)} name them by their place.",
            hint="Leave the columns out (exclude_columns, or the lookup's features) until they have values.",
        )


@contextmanager
def in_our_words(
    what: str, params: Mapping[str, Any] | None = None, inputs: pd.DataFrame | None = None
) -> Iterator[None]:
    """Turn what an estimator, a metric or a search space raises into an error of ours.

    Args:
        what: What was being done, as the beginning of a sentence.
        params: With these parameters.
        inputs: With these columns.

    Raises:
        StageError: Around it; errors of ours pass.
        MissingDependencyError: If it is the lack of a library that is an extra of the platform.
    """
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
            raise MissingDependencyError(
                f"{error.name} is not installed, which the estimator needs.",
                hint=f"pip install 'mlplatform[{error.name}]'",
            ) from error
        given = f", with the parameters {dict(params)}" if params else ""
        raise StageError(
            f"{what} failed{given}: {in_one_line(error)}{'' if inputs is None else _columns(inputs)}",
            hint=_hint(inputs),
        ) from error


def _hint(inputs: pd.DataFrame | None) -> str:
    if inputs is None:
        return f"Look at estimator() and search_space() of the trainer. {_WHOLE}"
    ways = []
    if any(inputs[name].dtype.kind not in "fiub" for name in inputs.columns):
        ways.append("Text and times must be encoded (CATEGORIES) or left out (exclude_columns).")
    if columns_without_values(inputs):
        ways.append("A column without any value can be left out (exclude_columns); `coded` does so by itself.")
    if _lacking(inputs):
        ways.append("Missing values: put an imputer before the estimator, or take one that knows them, as trees do.")
    return " ".join([*(ways or ["Look at the trainer's estimator()."]), _WHOLE])


def _row(inputs: pd.DataFrame, place: int) -> str:
    """Tell of the first wrong row, counted from the oldest, what a model may stumble over: what it lacks."""
    row = inputs.iloc[place]
    lacking = [str(name) for name in inputs.columns if row[name] is None or row[name] != row[name]]
    given = {str(name): row[name] for name in inputs.columns if str(name) not in lacking}
    shown = ", ".join(f"{name}={str(value)[:40]}" for name, value in list(given.items())[:_MOST_SHOWN])
    return f"the first is row {place}, with {shown or 'no value'}" + (
        f", and without {_some(lacking)}" if lacking and shown else ""
    )


def _lacking(inputs: pd.DataFrame) -> dict[str, int]:
    """Return the columns that lack some values, but not all -> in how many rows."""
    counts = {str(name): int(inputs[name].isna().sum()) for name in inputs.columns}
    return {name: count for name, count in counts.items() if 0 < count < len(inputs)}


def _columns(inputs: pd.DataFrame) -> str:
    """Tell of the columns what an estimator may stumble over: no value, some without, no number, how many there are."""
    empty = columns_without_values(inputs)
    other = [name for name in inputs.columns if inputs[name].dtype.kind not in "fiub" and name not in empty]
    parts = [f"{len(inputs.columns)} columns: {_some(list(inputs.columns))}"]
    if other:
        parts.append("not numbers: " + _some([f"{name} ({_said(inputs[name])})" for name in other]))
    if empty:
        parts.append("without any value: " + _some(empty))
    if lacking := _lacking(inputs):
        listed = _some([f"{name} ({count} rows)" for name, count in lacking.items()])
        parts.append(f"lacking values in some of {len(inputs)} rows: {listed}")
    return f" ({'; '.join(parts)})"


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(map(str, names[:_MOST_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _said(column: pd.Series[Any]) -> str:
    if column.dtype.kind == "M":
        return "timestamp"
    example = next((value for value in column if value is not None and value == value), None)  # noqa: PLR0124
    kind = {"str": "string", "date": "date", "NoneType": "string"}.get(type(example).__name__, type(example).__name__)
    return kind if example is None else f"{kind}, such as {str(example)[:40]!r}"


def _as_they_are(estimator: Any, inputs: pd.DataFrame) -> list[str]:
    """Return the columns that one of scikit-learn's predictors would be given as they are; those of others unknown."""
    from sklearn.base import is_classifier, is_regressor
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.utils import get_tags

    if type(estimator).__module__.startswith(_NUMBERS_ONLY):
        return list(inputs.columns)
    for name in _WITHIN:
        inner = getattr(estimator, name, None)
        if hasattr(inner, "fit"):
            return _as_they_are(inner, inputs)
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        if not steps:
            return []
        if not isinstance(steps[0], ColumnTransformer):
            return _as_they_are(steps[0], inputs) if len(steps) == 1 else []
        last = steps[-1]
        return _passed_through(steps[0], inputs) if _is_ours_to_judge(last) else []
    if not _is_ours_to_judge(estimator) or not (is_classifier(estimator) or is_regressor(estimator)):
        return []
    tags = get_tags(estimator)
    takes_all = tags.no_validation or tags.input_tags.string or tags.input_tags.categorical
    return [] if takes_all else list(inputs.columns)


def _is_ours_to_judge(estimator: Any) -> bool:
    if type(estimator).__module__.startswith(_NUMBERS_ONLY):
        return True
    return type(estimator).__module__.startswith("sklearn.") and not type(estimator).__module__.startswith(
        "sklearn.dummy"
    )


def _passed_through(transformer: Any, inputs: pd.DataFrame) -> list[str]:
    named: set[str] = set()
    passed: list[str] = []
    for _, step, columns in transformer.transformers:
        if not isinstance(columns, (list, tuple)):
            return []  # By a mask, a slice or a function: what it names shows when it is fitted.
        named.update(columns)
        if step == "passthrough":
            passed += [name for name in columns if name in inputs.columns]
    if transformer.remainder == "passthrough":
        passed += [name for name in inputs.columns if name not in named]
    return passed


def _named_by_place(estimator: Any) -> set[str]:
    """Return the parameters of a `coded` model that name columns by their place."""
    from sklearn.pipeline import Pipeline

    for name in _WITHIN:
        if hasattr(inner := getattr(estimator, name, None), "fit"):
            return _named_by_place(inner)
    if not isinstance(estimator, Pipeline) or WITH_VALUES not in estimator.named_steps:
        return set()
    params = estimator.steps[-1][1].get_params(deep=False)
    return {name for name in _BY_PLACE if params.get(name) is not None and not isinstance(params[name], str)}
