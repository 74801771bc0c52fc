"""Boosters: which library an estimator is of, and the `Booster` that those of LightGBM and XGBoost hold."""

from __future__ import annotations

from typing import Any

EXTRAS = ("lightgbm", "xgboost", "catboost")
"""The libraries of boosters, each an extra of the platform by the name of its module."""

_CLASSES = ("lightgbm.basic.Booster", "xgboost.core.Booster")


def library(estimator: Any) -> str:
    """Return the library that an estimator's class comes from, or that of the class that it extends.

    Examples:
        >>> from sklearn.linear_model import Ridge
        >>> class Ours(Ridge): ...
        >>> library(Ours()), library(object())
        ('sklearn', '')
    """
    known = ("lightgbm", "xgboost", "catboost", "sklearn")
    roots = (base.__module__.partition(".")[0] for base in type(estimator).__mro__)
    return next((root for root in roots if root in known), "")


def is_booster(model: Any) -> bool:
    """Tell whether a model is a `Booster` of LightGBM or XGBoost.

    Examples:
        >>> is_booster(object())
        False
    """
    return f"{type(model).__module__}.{type(model).__qualname__}" in _CLASSES


def predict_booster(model: Any, inputs: Any) -> Any:
    """Return what a `Booster` predicts, which its objective decides: of two classes, the probability of the second.

    Args:
        model: The booster.
        inputs: A pandas frame.
    """
    if type(model).__module__.startswith("xgboost."):
        from xgboost import DMatrix

        return model.predict(DMatrix(inputs))
    return model.predict(inputs)
