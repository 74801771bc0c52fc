"""What `Trainer.fit` does unless overridden: each library's estimators get what they take beside columns and labels.

An estimator is taken apart down to the one that learns: through pipelines, whose first steps are fitted before, so that
validation rows and names of categories arrive as that one sees them, and through `TransformedTargetRegressor`, whose
transformed labels it is fitted on.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlplatform.errors import StageError
from mlplatform.training.boosters import library, ranks
from mlplatform.training.estimators import WITH_VALUES
from mlplatform.training.fit_rows import FitRows, group_numbers

_OVERRIDE = "Override fit(estimator, rows) in the trainer, and pass it there."
# How the libraries call the number of rounds, and what makes them stop early.
_ROUNDS = {
    "lightgbm": ("n_estimators", "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round",
                 "num_rounds", "nrounds", "num_boost_round", "max_iter"),
    "xgboost": ("n_estimators",),
    "catboost": ("iterations", "n_estimators", "num_boost_round", "num_trees"),
    "sklearn": ("max_iter",),
}  # fmt: skip
_STOPPING = {
    "lightgbm": ("early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change"),
    "xgboost": ("early_stopping_rounds",),
    "catboost": ("early_stopping_rounds", "od_wait", "od_type", "od_pval", "use_best_model"),
}


def learner(estimator: Any) -> Any:
    """Return the estimator that learns: the last of a pipeline, the one within a `TransformedTargetRegressor`."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, FrozenEstimator):
        return learner(estimator.estimator)

    if isinstance(estimator, Pipeline):
        return learner(estimator.steps[-1][1])
    if isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is not None:
        return learner(estimator.regressor)
    return estimator


def stops_early(estimator: Any) -> bool:
    """Tell whether an estimator is told to stop by rows that it is not fitted on.

    Of scikit-learn's those that take such rows, with `early_stopping=True`; by `"auto"` they choose rows of their own.
    """
    model = learner(estimator)
    kind = library(model)
    if kind == "sklearn":
        return getattr(model, "early_stopping", None) is True and _takes(model, "X_val")
    params = _params(model)
    # Nothing, zero and False are how the libraries say that they do not.
    return any(params.get(name) for name in _STOPPING.get(kind, ()))


def rounds_of(estimator: Any) -> int | None:
    """Return after how many rounds a fitted estimator that stops early was at its best; None: it does not say."""
    model = learner(estimator)
    kind = library(model)
    if kind == "lightgbm":
        best = int(getattr(model, "best_iteration_", 0) or 0)
    elif kind == "xgboost":
        best = int(getattr(model, "best_iteration", -1)) + 1
    elif kind == "catboost":
        iteration = model.get_best_iteration()
        best = 0 if iteration is None else int(iteration) + 1
    else:
        best = int(getattr(model, "n_iter_", 0) or 0)
    return best or None


def fit_with_arguments(estimator: Any, rows: FitRows) -> Any:
    """Return an estimator fitted on rows, with all of what they hold that it takes.

    Args:
        estimator: An estimator or pipeline of scikit-learn, LightGBM, XGBoost or CatBoost; of other libraries too,
            where there is nothing to pass but inputs, labels and weights.
        rows: What it is fitted on.

    Raises:
        StageError: If it cannot be given weights, categories or validation rows that there are; if it ranks rows within
            groups, and there are none.
    """
    model = learner(estimator)
    if ranks(model) and rows.groups is None:
        raise StageError(
            f"{type(model).__name__} ranks rows within groups, and the trainer declares none.",
            hint="Name the column that says which rows belong together: group_column of the trainer.",
        )
    if ranks(model) or library(model) == "catboost":
        # Both count on the rows of a group to stand beside each other.
        rows = rows.by_group()
    if rows.rounds is not None:
        _take_rounds(model, rows.rounds)
    # CatBoost keeps what it was told of stopping, and does not ask for it without validation rows.
    stops = rows.rounds is None and stops_early(estimator)
    plain = rows.weights is None and rows.groups is None and not rows.categorical and not stops
    if plain and library(model) in ("sklearn", ""):
        # As any estimator is fitted, whatever it is made of.
        fitted = estimator.fit(rows.inputs, rows.labels)
        return estimator if fitted is None else fitted
    if stops and rows.validation is None:
        raise StageError(
            f"{type(model).__name__} stops early, and there are no rows to stop by.",
            hint="The platform counts the rounds by the validation rows, and fits again with as many. Does a fit() of "
            "your own take rows.rounds?",
        )
    return _fit(estimator, _Prepared(rows, rows.inputs, rows.labels, tuple(map(str, rows.inputs.columns))), stops)


@dataclass(frozen=True)
class _Prepared:
    """Rows as an estimator within another one sees them.

    Attributes:
        rows: Where they come from: weights, groups, categories.
        inputs: As it sees them.
        labels: As it sees them.
        names: The names of the inputs; empty where a step before does not tell them.
        validation: Inputs and labels of the validation rows, as it sees them; None: those of `rows`.
    """

    rows: FitRows
    inputs: Any
    labels: Any
    names: tuple[str, ...]
    validation: tuple[Any, Any] | None = None

    @property
    def eval_set(self) -> tuple[Any, Any] | None:
        """Inputs and labels of the validation rows."""
        if self.validation is not None:
            return self.validation
        rows = self.rows.validation
        return None if rows is None else (rows.inputs, rows.labels)

    @property
    def eval_weights(self) -> Any:
        """Weights of the validation rows."""
        return None if self.rows.validation is None else self.rows.validation.weights

    def places(self, model: Any) -> list[int]:
        """Return where the categorical columns are; those that were left out, for they hold no value, are nowhere.

        Raises:
            StageError: If it is not known.
        """
        if not self.rows.categorical:
            return []
        unknown = [name for name in self.rows.categorical if name not in self.rows.inputs.columns]
        if unknown or not self.names:
            raise StageError(
                f"{type(model).__name__} cannot be told which columns are categories: "
                + (
                    f"{', '.join(unknown)} is no column that the model is given."
                    if unknown
                    else "a step before it does not name what it gives."
                ),
                hint=f"Look at categorical_columns of the trainer. {_OVERRIDE}",
            )
        wanted, original = set(self.rows.categorical), set(self.rows.inputs.columns)
        # A ColumnTransformer puts the name of a part and two underscores before each name.
        names = [name if name in original else name.partition("__")[2] for name in self.names]
        return [place for place, name in enumerate(names) if name in wanted]


def _fit(estimator: Any, given: _Prepared, stops: bool) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        return _fit_pipeline(estimator, given, stops)
    if isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is not None:
        return _fit_transformed(estimator, given, stops)
    by_library = {"lightgbm": _fit_lightgbm, "xgboost": _fit_xgboost, "catboost": _fit_catboost}
    fit = by_library.get(library(estimator), _fit_other)
    fitted = fit(estimator, given, stops)
    return estimator if fitted is None else fitted


def _fit_pipeline(pipeline: Any, given: _Prepared, stops: bool) -> Any:
    """Fit a pipeline step by step, so that its last step can be given what belongs to its own inputs."""
    name, last = pipeline.steps[-1]
    if len(pipeline.steps) > 1:
        before = pipeline[:-1]
        inputs = before.fit_transform(given.inputs, given.labels)
        validation = given.eval_set if stops else None
        if validation is not None:
            validation = before.transform(validation[0]), validation[1]
        names = _names(before, given.names) if given.rows.categorical else ()
        pipeline.steps[:-1] = before.steps
        given = replace(given, inputs=inputs, names=names, validation=validation)
    pipeline.steps[-1] = (name, _fit(last, given, stops))
    return pipeline


def _names(steps: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of what fitted steps give; empty: one of them does not tell."""
    for name, step in steps.steps:
        if name == WITH_VALUES:
            # Its last imputer fills in NaN, and takes for empty what it fills: the first one tells what is left out.
            fills = np.asarray(step.named_steps["marked"].statistics_, dtype=np.float64)
            names = tuple(name for name, fill in zip(names, fills, strict=True) if np.isfinite(fill))
        elif step != "passthrough":
            try:
                names = tuple(map(str, step.get_feature_names_out(names)))
            except (AttributeError, NotImplementedError, ValueError):
                return ()
    return names


def _fit_transformed(estimator: Any, given: _Prepared, stops: bool) -> Any:
    """Fit on transformed labels; the estimator then only learns the transformation, around what is fitted already."""
    from sklearn.base import clone
    from sklearn.dummy import DummyRegressor
    from sklearn.frozen import FrozenEstimator

    probe = clone(estimator).set_params(regressor=DummyRegressor())
    probe.fit(given.inputs, given.labels)

    def transformed(labels: Any) -> Any:
        return probe.transformer_.transform(np.asarray(labels).reshape(-1, 1)).ravel()

    validation = given.eval_set if stops else None
    if validation is not None:
        validation = validation[0], transformed(validation[1])
    inner = replace(given, labels=transformed(given.labels), validation=validation)
    fitted = _fit(clone(estimator.regressor), inner, stops)
    return estimator.set_params(regressor=FrozenEstimator(fitted)).fit(given.inputs, given.labels)


def _fit_lightgbm(model: Any, given: _Prepared, stops: bool) -> Any:
    arguments: dict[str, Any] = {"sample_weight": given.rows.weights}
    places = given.places(model)
    if places:
        arguments["categorical_feature"] = places
    if stops and given.eval_set is not None:
        if _takes(model, "eval_X"):  # from 4.7 on
            arguments["eval_X"], arguments["eval_y"] = ((part,) for part in given.eval_set)
        else:
            arguments["eval_set"] = [given.eval_set]
        arguments["eval_sample_weight"] = None if given.eval_weights is None else [given.eval_weights]
    if ranks(model):
        arguments["group"] = given.rows.group_sizes
        if stops and given.rows.validation is not None:
            arguments["eval_group"] = [given.rows.validation.group_sizes]
    if not any(name in _params(model) for name in ("verbosity", "verbose")):
        # It would print into the output of the command, which may be JSON.
        model.set_params(verbosity=-1)
    return model.fit(given.inputs, given.labels, **arguments)


def _fit_xgboost(model: Any, given: _Prepared, stops: bool) -> Any:
    rows, is_ranker = given.rows, ranks(model)
    weights, eval_weights = rows.weights, given.eval_weights
    if is_ranker:
        weights = _of_groups(model, rows)
        eval_weights = None if rows.validation is None else _of_groups(model, rows.validation)
    arguments: dict[str, Any] = {"sample_weight": weights, "verbose": False}
    places = set(given.places(model))
    if places:
        kinds = ["c" if place in places else "q" for place in range(len(given.names))]
        model.set_params(enable_categorical=True, feature_types=kinds)
    if stops:
        arguments["eval_set"] = [given.eval_set]
        arguments["sample_weight_eval_set"] = None if eval_weights is None else [eval_weights]
    if is_ranker:
        arguments["group"] = rows.group_sizes
        if stops and rows.validation is not None:
            arguments["eval_group"] = [rows.validation.group_sizes]
    return model.fit(given.inputs, given.labels, **arguments)


def _of_groups(model: Any, rows: FitRows) -> Any:
    """Return one weight for each group, which is what rankers of XGBoost and CatBoost take; None: there are none.

    Raises:
        StageError: If the rows of a group have several.
    """
    if rows.weights is None or rows.groups is None:
        return None
    numbers = group_numbers(rows.groups)
    of_group = np.zeros(int(numbers.max()) + 1)
    of_group[numbers] = rows.weights
    differing = np.flatnonzero(of_group[numbers] != rows.weights)
    if differing.size:
        raise StageError(
            f"{type(model).__name__} takes one weight for each group, and rows of the group "
            f"{rows.groups[differing[0]]!r} have several.",
            hint="Let all rows of a group have its weight, or take LGBMRanker, which takes one for each row.",
        )
    return of_group


def _fit_catboost(model: Any, given: _Prepared, stops: bool) -> Any:
    from catboost import Pool

    params = _params(model)
    if params.get("allow_writing_files") is None:
        # It would leave a folder of logs wherever the command was run.
        model.set_params(allow_writing_files=False)
    # Text can be nothing but a category.
    cat_features = params.get("cat_features") or sorted({*given.places(model), *_texts(given.inputs)})

    def pool(inputs: Any, labels: Any, rows: FitRows) -> Any:
        beside: dict[str, Any] = {"weight": rows.weights}
        if rows.groups is not None:
            beside["group_id"] = group_numbers(rows.groups)
        if ranks(model) and _of_groups(model, rows) is not None:
            # Most ranking losses leave weights of rows out without an error.
            beside["group_weight"] = beside.pop("weight")
        return Pool(inputs, labels, cat_features=cat_features, **beside)

    arguments: dict[str, Any] = {}
    if stops and given.eval_set is not None and given.rows.validation is not None:
        arguments["eval_set"] = pool(*given.eval_set, given.rows.validation)
    if not any(name in params for name in ("verbose", "verbose_eval", "silent", "logging_level")):
        arguments["verbose"] = False
    return model.fit(pool(given.inputs, given.labels, given.rows), **arguments)


def _texts(inputs: Any) -> list[int]:
    """Return where columns hold text."""
    columns = inputs.columns if hasattr(inputs, "columns") else range(np.asarray(inputs).shape[1])
    values = (
        inputs[name].to_numpy() if hasattr(inputs, "columns") else np.asarray(inputs)[:, name] for name in columns
    )
    return [
        place
        for place, column in enumerate(values)
        if column.dtype.kind not in "fiub" and any(isinstance(value, str) for value in column)
    ]


def _fit_other(model: Any, given: _Prepared, stops: bool) -> Any:
    """Fit one of scikit-learn's estimators, or one that is fitted as they are."""
    arguments: dict[str, Any] = {}
    places = given.places(model)
    if places:
        if "categorical_features" not in _params(model):
            raise _takes_none(model, "categorical columns")
        model.set_params(categorical_features=places)
    if given.rows.weights is not None:
        if not _takes(model, "sample_weight"):
            raise _takes_none(model, "weights")
        arguments["sample_weight"] = given.rows.weights
    if given.rows.groups is not None and _takes_groups(model):
        arguments["groups"] = given.rows.groups
    if stops and given.eval_set is not None:
        arguments["X_val"], arguments["y_val"] = given.eval_set
        if given.rows.weights is not None:
            arguments["sample_weight_val"] = given.eval_weights
    return model.fit(given.inputs, given.labels, **arguments)


def _take_rounds(model: Any, rounds: int) -> None:
    """Let an estimator take so many rounds, and not stop early."""
    kind, params = library(model), _params(model)
    names = _ROUNDS.get(kind, ())
    # The name under which the number was given, for two would contradict one another.
    given = [name for name in names if params.get(name) is not None]
    changed: dict[str, Any] = dict.fromkeys(given or names[:1], rounds)
    if kind in ("lightgbm", "xgboost"):
        changed |= {name: None for name in _STOPPING[kind] if params.get(name)}
    elif kind == "catboost" and params.get("use_best_model"):
        changed["use_best_model"] = False
    elif kind == "sklearn":
        changed["early_stopping"] = False
    model.set_params(**changed)


def _takes_none(model: Any, what: str) -> StageError:
    return StageError(f"{type(model).__name__} takes no {what}, and the trainer declares some.", hint=_OVERRIDE)


def _params(model: Any) -> dict[str, Any]:
    return dict(model.get_params(deep=False)) if hasattr(model, "get_params") else {}


def _takes_groups(model: Any) -> bool:
    """Tell whether an estimator takes groups, as those do that split rows themselves; a search takes them by name."""
    from sklearn.model_selection._search import BaseSearchCV

    return _takes(model, "groups") or isinstance(model, BaseSearchCV)


def _takes(model: Any, argument: str) -> bool:
    parameters = inspect.signature(model.fit).parameters
    return argument in parameters
