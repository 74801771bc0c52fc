"""Boosters: which library an estimator is of, and the `Booster` that those of LightGBM and XGBoost hold."""

from __future__ import annotations

import json
from typing import Any

EXTRAS = ("lightgbm", "xgboost", "catboost")
"""The libraries of boosters, each an extra of the platform by the name of its module."""

_CLASSES = ("lightgbm.basic.Booster", "xgboost.core.Booster")
_RANKERS = ("LGBMRanker", "XGBRanker", "CatBoostRanker")
# How their names begin, in LightGBM and in XGBoost.
_RANKING = ("lambdarank", "rank_xendcg", "rank:")
_RANKING_LOSSES = (
    "YetiRank", "YetiRankPairwise", "StochasticFilter", "StochasticRank", "QueryCrossEntropy", "QueryRMSE",
    "GroupQuantile", "QuerySoftMax", "PairLogit", "PairLogitPairwise", "LambdaMart",
)  # fmt: skip


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


def ranks(model: Any) -> bool:
    """Tell whether a model learns an order within groups: then its scores are neither values nor probabilities.

    Rankers of LightGBM, XGBoost and CatBoost, and boosters that were fitted by such an objective.

    Args:
        model: An estimator or a booster, fitted or not.

    Examples:
        >>> from sklearn.linear_model import Ridge
        >>> ranks(Ridge())
        False
    """
    if is_booster(model):
        return _objective(model).startswith(_RANKING)
    if any(base.__name__ in _RANKERS for base in type(model).__mro__):
        return True
    if library(model) == "catboost":
        # The class for any loss.
        loss = model.get_params().get("loss_function")
        return isinstance(loss, str) and loss.partition(":")[0] in _RANKING_LOSSES
    return False


def _objective(booster: Any) -> str:
    """Return the objective that a booster of LightGBM or XGBoost was fitted by."""
    if type(booster).__module__.startswith("xgboost."):
        return str(json.loads(booster.save_config())["learner"]["objective"]["name"])
    return str(booster.dump_model(num_iteration=1).get("objective", ""))


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
