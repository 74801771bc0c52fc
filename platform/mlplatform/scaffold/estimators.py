"""The estimators that a new use case may begin with: their classes, parameters, and what the search tries."""

from __future__ import annotations

from typing import Any

from mlplatform.scaffold.layout import PythonCall
from mlplatform.task import Task, task_of

HISTGB = "histgb"
ESTIMATORS = (HISTGB, "lightgbm", "xgboost", "linear")
"""scikit-learn's gradient boosting, two libraries of boosters, and a linear model."""

PACKAGES = {"lightgbm": "lightgbm", "xgboost": "xgboost-cpu"}
"""Estimator -> the package of its library, which is an extra of the platform."""

_CLASSIFIERS = {
    "histgb": "HistGradientBoostingClassifier",
    "lightgbm": "LGBMClassifier",
    "xgboost": "XGBClassifier",
    "linear": "LogisticRegression",
}
_REGRESSORS = {"histgb": "HistGradientBoostingRegressor", "lightgbm": "LGBMRegressor", "xgboost": "XGBRegressor"}
_QUANTILE = "quantile=self.settings.label.quantile"
# What of a task makes the estimator aim at what is predicted, beside its class, as it stands in the call.
_LINEAR = {
    "amount": ("Ridge", ()),
    "quantile": ("QuantileRegressor", (_QUANTILE,)),
    "count": ("PoissonRegressor", ("max_iter=1000",)),
}
_AIMS = {
    "histgb": {
        "amount": ('loss="absolute_error"',),
        "quantile": ('loss="quantile"', _QUANTILE),
        "count": ('loss="poisson"',),
    },
    "lightgbm": {
        "amount": ('objective="mae"',),
        "quantile": ('objective="quantile"', "alpha=self.settings.label.quantile"),
        "count": ('objective="poisson"',),
    },
    "xgboost": {
        "amount": ('objective="reg:absoluteerror"',),
        "quantile": ('objective="reg:quantileerror"', "quantile_alpha=self.settings.label.quantile"),
        "count": ('objective="count:poisson"',),
    },
}
_COMMON = {
    "histgb": ("early_stopping=False", "random_state=seed"),
    "lightgbm": ("random_state=seed", "deterministic=True", "force_row_wise=True"),
    "xgboost": ("random_state=seed",),
}
_ROUNDS = {"histgb": "max_iter"}
_LEAST = {
    "histgb": ("min_samples_leaf", 20, [10, 20, 50]),
    "lightgbm": ("min_child_samples", 20, [10, 20, 50]),
    "xgboost": ("max_depth", 4, [3, 4, 6]),
}


def of_estimator(estimator: str, task: Task | str) -> dict[str, Any]:
    """Return what the templates need to know of an estimator.

    Args:
        estimator: One of `ESTIMATORS`.
        task: What is predicted, or its name.

    Examples:
        >>> of_estimator("lightgbm", "counts")["model_class"], of_estimator("linear", "regression")["made"]
        ('LGBMRegressor', 'model = Ridge(**params, random_state=self.settings.training.seed)')
    """
    task = task_of(task)
    name, aims = _aimed(estimator, task)
    values = {"estimator": estimator, "package": PACKAGES.get(estimator, ""), "model_class": name}
    if estimator == "linear":
        strength = "C" if task.predicts_probabilities else "alpha"
        values["made"] = PythonCall(f"model = {name}", ["**params", *aims]).laid_out(8, after="")
        # Of a quantile the penalty is one of absolute values, by the row: a strong one leaves a constant.
        weak = task.predicts_quantile
        return values | {
            "strength": strength,
            "default_params": f'{{"{strength}": {0.001 if weak else 1.0}}}',
            "range": (1e-5, 0.1) if weak else (0.01, 100),
            "choices": {},
        }
    values["made"] = PythonCall(f"boosting = {name}", ["**params", *aims]).laid_out(8, after="")
    rounds, (least, default, tried) = _ROUNDS.get(estimator, "n_estimators"), _LEAST[estimator]
    params = f'{{"{rounds}": 100, "learning_rate": 0.05, "{least}": {default}}}'
    return values | {"default_params": params, "choices": {rounds: [50, 100, 200], least: tried}, "strength": ""}


def _aimed(estimator: str, task: Task) -> tuple[str, list[str]]:
    """Return an estimator's class, and what it is made with so that it aims at what is predicted."""
    if estimator == "linear":
        if task.predicts_probabilities:
            return _CLASSIFIERS[estimator], ["max_iter=1000", "random_state=self.settings.training.seed"]
        name, aims = _LINEAR[task.predicts]
        return name, [*aims, *(["random_state=self.settings.training.seed"] if task.predicts == "amount" else [])]
    if task.predicts_probabilities:
        return _CLASSIFIERS[estimator], list(_COMMON[estimator])
    return _REGRESSORS[estimator], [*_AIMS[estimator][task.predicts], *_COMMON[estimator]]
