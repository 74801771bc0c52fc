"""Boosters by themselves: what LightGBM and XGBoost call `Booster`, which their estimators hold and `fit` may return."""

from __future__ import annotations

from typing import Any

EXTRAS = ("lightgbm", "xgboost", "catboost")
"""The libraries of boosters, each an extra of the platform by the name of its module."""

_CLASSES = ("lightgbm.basic.Booster", "xgboost.core.Booster")


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
