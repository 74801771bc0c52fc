"""The table of models that are loaded: exactly these loaders, settings and files. Nothing else is.

A line is one way in which a model is stored that carries no code. Whoever adds one says which settings `MLmodel` may
have, and looks into each file: MLflow imports the module that `MLmodel` names, and calls it with what lies there.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlplatform.errors import RegistryError
from mlplatform.features.booster_contents import check_catboost, check_lightgbm, check_xgboost
from mlplatform.features.file_contents import check_json, check_skops, check_text, check_yaml, refused
from mlplatform.statistics import recalibration

FUNCTION = "python_function"
RAW_MODEL = "data/feature_store/raw_model"
RECALIBRATED = "data/recalibrated/model"

Allows = Callable[[Any, Collection[str]], bool]
"""Tells whether a setting's value is allowed, None where it is missing; beside it the types that are trusted."""
Look = Callable[[Path, Collection[str]], None]
"""Looks into a file, and raises RegistryError; beside it the types that are trusted."""

_METHODS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "decision_function", "score")
_ENVIRONMENTS = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
# Beside scikit-learn's own classes: what fitted estimators hold of NumPy.
_TYPES = frozenset(
    {
        "numpy.dtype",
        "numpy.float32",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "numpy.random._generator.Generator",
        "numpy.random.mtrand.RandomState",
    }
)
# Boosters within a pipeline or another estimator. Each is restored from the text or bytes of its own library's format,
# and from plain values: none of their `__setstate__` calls or imports what a value names.
_BOOSTERS = frozenset(
    {
        "builtins.bytearray",
        "builtins.bytes",
        "catboost.core.CatBoostClassifier",
        "catboost.core.CatBoostRegressor",
        "collections.OrderedDict",
        "collections.defaultdict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
        "xgboost.sklearn.XGBRegressor",
    }
)


@dataclass(frozen=True)
class ModelFormat:
    """One way in which a model is stored.

    Attributes:
        name: What it is called in messages.
        loader: The module that MLflow imports to load it.
        function: Settings of `python_function` beside those of every model -> which values they may have.
        files: Files beside those of every model, `*` for one name -> how they are looked into; each must be there.
        flavor: The flavor that stands beside `python_function`; empty: none.
        settings: The settings of that flavor -> which values they may have.
        optional: Further files that may be there -> how they are looked into.
    """

    name: str
    loader: str
    function: Mapping[str, Allows]
    files: Mapping[str, Look]
    flavor: str = ""
    settings: Mapping[str, Allows] = field(default_factory=dict)
    optional: Mapping[str, Look] = field(default_factory=dict)

    def look_of(self, name: str) -> Look | None:
        """Return how a file is looked into, by its path within the model; None: it is no part of one."""
        return next((look for pattern, look in self.known.items() if matches(pattern, name)), None)

    @property
    def known(self) -> dict[str, Look]:
        """All files that may be there -> how they are looked into."""
        return {**OF_EVERY_MODEL, **self.optional, **self.files}


def allowed(name: str, trusted: Collection[str]) -> bool:
    """Tell whether a type may occur in a model: scikit-learn's classes, those of boosters, and what is trusted by name.

    Functions are not allowed, whatever library they are in: there are some in every library that run or load what they
    are given.

    Examples:
        >>> allowed("sklearn.linear_model._logistic.LogisticRegression", ())
        True
        >>> allowed("sklearn.datasets.load_files", ()), allowed("builtins.eval", ())
        (False, False)
        >>> allowed("lightgbm.sklearn.LGBMClassifier", ()), allowed("lightgbm.engine.train", ())
        (True, False)
    """
    return name in trusted or name in _TYPES or name in _BOOSTERS or (name.startswith("sklearn.") and _is_class(name))


def matches(pattern: str, name: str) -> bool:
    """Tell whether a path is of a pattern, in which `*` stands for one name.

    Examples:
        >>> matches("data/*/model.skops", "data/x1/model.skops"), matches("data/*/model.skops", "data/a/b/model.skops")
        (True, False)
    """
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]+"), name) is not None


def _is_class(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        value = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(value, type)


def is_one_of(*values: Any) -> Allows:
    """Allow these values."""
    # By type as well: True is 1, and no setting means both.
    return lambda value, trusted: any(type(value) is type(item) and value == item for item in values)  # noqa: ARG005


def _is_environment(value: Any, trusted: Collection[str]) -> bool:
    """Allow the files of an environment by their usual names; older models name one of them only."""
    del trusted
    if isinstance(value, Mapping):
        return all(_ENVIRONMENTS.get(str(kind)) == name for kind, name in value.items())
    return value is None or value in tuple(_ENVIRONMENTS.values())


def _is_text(value: Any, trusted: Collection[str]) -> bool:
    del trusted
    return isinstance(value, str | int | float)


def _is_text_or_missing(value: Any, trusted: Collection[str]) -> bool:
    return value is None or _is_text(value, trusted)


def _are_allowed_types(value: Any, trusted: Collection[str]) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(name, str) and allowed(name, trusted) for name in value)
    )


def _is_folder_of_data(value: Any, trusted: Collection[str]) -> bool:
    del trusted
    return isinstance(value, str) and re.fullmatch(r"data/[0-9A-Za-z_-]+", value) is not None


def _skops(path: Path, trusted: Collection[str]) -> None:
    refused = [name for name in check_skops(path) if not allowed(name, trusted)]
    if refused:
        raise RegistryError(
            f"The model in {path.parent} holds types that are not allowed: {', '.join(refused)}.",
            hint="If the model needs them, list them in the Trainer's trusted_types, or pass trusted_types.",
        )


def _skops_options(path: Path, trusted: Collection[str]) -> None:
    """Look at what our own flavor keeps beside the model: which types it trusts, and the method that predicts."""
    options = check_json(path)
    if (
        not isinstance(options, dict)
        or options.keys() != {"trusted", "predict"}
        or options["predict"] not in _METHODS
        or not _are_allowed_types(options["trusted"], trusted)
    ):
        raise RegistryError(
            f"{path.name} of the model in {path.parent} names types or a method that are not allowed.",
            hint="The model was not loaded. If it needs the types, list them in the Trainer's trusted_types.",
        )


def _yaml(path: Path, trusted: Collection[str]) -> None:
    del trusted
    check_yaml(path)


def _json(path: Path, trusted: Collection[str]) -> None:
    del trusted
    check_json(path)


def _text(path: Path, trusted: Collection[str]) -> None:
    del trusted
    check_text(path)


def _lightgbm(path: Path, trusted: Collection[str]) -> None:
    del trusted
    check_lightgbm(path)


def _xgboost(path: Path, trusted: Collection[str]) -> None:
    del trusted
    check_xgboost(path)


def _catboost(path: Path, trusted: Collection[str]) -> None:
    del trusted
    check_catboost(path)


def _recalibration(path: Path, trusted: Collection[str]) -> None:
    del trusted
    try:
        recalibration.from_dict(check_json(path))
    except ValueError as error:
        raise refused(path, f"is no recalibration: {error}") from None


_METADATA: Mapping[str, Look] = {
    "conda.yaml": _yaml,
    "python_env.yaml": _yaml,
    "requirements.txt": _text,
    "MLmodel": _yaml,
}
OF_EVERY_MODEL: Mapping[str, Look] = {
    **_METADATA,
    # MLflow's copy of them, for sharing in Unity Catalog.
    **{f"metadata/{name}": look for name, look in _METADATA.items()},
    # Which registered version it was, beside a download.
    "registered_model_meta": _yaml,
    "input_example.json": _json,
    "serving_input_example.json": _json,
    "uv.lock": _text,
    "pyproject.toml": _text,
}
"""Files that any model may have -> how they are looked into; none of them is run or unpickled by whoever loads it."""

OF_EVERY_FUNCTION: Mapping[str, Allows] = {
    "loader_module": _is_text,  # which one, is asked first
    "python_version": _is_text_or_missing,
    "env": _is_environment,
    "code": is_one_of(None),
    "streamable": is_one_of(None, False, True),
}
"""Settings of `python_function` that any model may have -> which values."""


def _by_us(loader: str) -> ModelFormat:
    return ModelFormat(
        "scikit-learn in the skops format, by an MLflow that does not know it",
        loader=loader,
        function={"data": _is_folder_of_data},
        files={"data/*/model.skops": _skops, "data/*/options.json": _skops_options},
    )


def _with_features(loader: str) -> ModelFormat:
    return ModelFormat(
        "a model with its features",
        loader=loader,
        function={"data": is_one_of("data/feature_store")},
        files={"data/feature_store/feature_spec.yaml": _yaml},
        optional={"data/feature_store/lineage.json": _json},
    )


FORMATS: tuple[ModelFormat, ...] = (
    ModelFormat(
        "scikit-learn in the skops format",
        loader="mlflow.sklearn",
        # Without `data`: of a file that it names, MLflow does not ask for the format.
        function={"model_path": is_one_of("model.skops"), "predict_fn": is_one_of(None, *_METHODS)},
        flavor="sklearn",
        settings={
            "code": is_one_of(None),
            "pickled_model": is_one_of("model.skops"),
            "serialization_format": is_one_of("skops"),
            "sklearn_version": _is_text,
            "skops_trusted_types": _are_allowed_types,
        },
        files={"model.skops": _skops},
    ),
    ModelFormat(
        "LightGBM's text",
        loader="mlflow.lightgbm",
        function={"data": is_one_of("model.lgb")},
        flavor="lightgbm",
        settings={
            "code": is_one_of(None),
            "data": is_one_of("model.lgb"),
            "lgb_version": _is_text,
            # Of any other class MLflow unpickles the file, or reads it as skops; of this one it asks for no format.
            "model_class": is_one_of("lightgbm.basic.Booster"),
            "serialization_format": is_one_of(None, "skops", "cloudpickle", "pickle"),
            "skops_trusted_types": _are_allowed_types,
        },
        files={"model.lgb": _lightgbm},
    ),
    ModelFormat(
        "XGBoost's JSON",
        loader="mlflow.xgboost",
        function={"data": is_one_of("model.json")},
        flavor="xgboost",
        settings={
            "code": is_one_of(None),
            "data": is_one_of("model.json"),
            "model_class": is_one_of("xgboost.core.Booster"),
            "model_format": is_one_of("json"),
            "xgb_version": _is_text,
        },
        files={"model.json": _xgboost},
    ),
    ModelFormat(
        "CatBoost's JSON",
        loader="mlflow.catboost",
        function={"data": is_one_of("model.cb")},
        flavor="catboost",
        settings={
            "catboost_version": _is_text,
            "code": is_one_of(None),
            "data": is_one_of("model.cb"),
            "model_type": is_one_of("CatBoost", "CatBoostRegressor"),
            "save_format": is_one_of("json"),
        },
        files={"model.cb": _catboost},
    ),
    _by_us("mlplatform.training.skops_flavor"),
    _by_us("mlplatform.models.skops_flavor"),  # where it was in earlier releases
)
"""How the model itself may be stored."""

WRAPPERS: tuple[ModelFormat, ...] = (
    ModelFormat(
        "a recalibrated model",
        loader="mlplatform.training.recalibrated_flavor",
        function={"data": is_one_of("data/recalibrated")},
        files={"data/recalibrated/recalibration.json": _recalibration},
    ),
)
"""What may stand around a model of these formats: moves of its probabilities, as text."""

PACKAGES: tuple[ModelFormat, ...] = (
    _with_features("mlplatform.features.packaged"),
    _with_features("databricks.feature_store.mlflow_model"),
)
"""What may stand around a model: its feature spec, as we or the feature engineering client package it."""
