"""The estimators that a new use case may begin with: their classes, parameters, and what the search tries."""

from __future__ import annotations

from typing import Any

from mlplatform.task import Task, task_of

HISTGB = "histgb"
ESTIMATORS = (HISTGB, "lightgbm", "xgboost", "linear")
"""scikit-learn's gradient boosting, two libraries of boosters, and a linear model."""

PACKAGES = {"lightgbm": "lightgbm", "xgboost": "xgboost-cpu"}
"""Estimator -> the package of its library, which is an extra of the platform."""

_CLASSES = {
    "histgb": ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor"),
    "xgboost": ("XGBClassifier", "XGBRegressor"),
    "linear": ("LogisticRegression", "Ridge"),
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
        >>> of_estimator("lightgbm", "regression")["model_class"]
        'LGBMRegressor'
    """
    (classifier, regressor), is_classifier = _CLASSES[estimator], task_of(task).predicts_probabilities
    values = {
        "estimator": estimator,
        "package": PACKAGES.get(estimator, ""),
        "model_class": classifier if is_classifier else regressor,
    }
    if estimator == "linear":
        strength = "C" if is_classifier else "alpha"
        return values | {"strength": strength, "default_params": f'{{"{strength}": 1.0}}', "choices": {}}
    rounds, (least, default, tried) = _ROUNDS.get(estimator, "n_estimators"), _LEAST[estimator]
    params = f'{{"{rounds}": 100, "learning_rate": 0.05, "{least}": {default}}}'
    return values | {"default_params": params, "choices": {rounds: [50, 100, 200], least: tried}, "strength": ""}
