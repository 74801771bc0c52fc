"""In which of MLflow's flavors a fitted model is stored: as text or values, never as a pickle.

A booster that stands alone is stored by its own library's flavor, in its own format: LightGBM's text, XGBoost's and
CatBoost's JSON. What it predicts is compared with what was judged, before it is taken. All else, such as a booster
within a pipeline, is stored by scikit-learn's flavor in the skops format, which holds the booster's own text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.features.model_classes import CLASSES
from mlplatform.features.model_formats import allowed
from mlplatform.task import Task, task_of
from mlplatform.training import skops_flavor
from mlplatform.training.boosters import is_booster, predict_booster
from mlplatform.training.fitting import in_our_words, predict
from mlplatform.training.model_requirements import model_requirements
from mlplatform.training.present_classes import NO_CLASSES, PresentClasses

if TYPE_CHECKING:
    import pandas as pd

    from mlplatform.training.trainer import Trainer

SKLEARN, LIGHTGBM, XGBOOST, CATBOOST = "sklearn", "lightgbm", "xgboost", "catboost"
_SAME = 1e-9


@dataclass(frozen=True)
class StoredForm:
    """How a model is stored.

    Attributes:
        model: What is stored: the fitted estimator, or the booster within it.
        flavor: MLflow's flavor.
        arguments: For the flavor's `save_model`.
        requirements: What the model needs where it is scored.
    """

    model: Any
    flavor: Any
    arguments: dict[str, Any]
    requirements: list[str]


def stored_form(
    estimator: Any,
    task: Task | str,
    trainer: Trainer,
    inputs: pd.DataFrame,
    known: PresentClasses = NO_CLASSES,
) -> StoredForm:
    """Return how a fitted estimator is stored.

    Args:
        estimator: The estimator.
        task: Of the use case, or its name.
        trainer: For its flavor, requirements and trusted types.
        inputs: Some rows, to compare predictions by.
        known: The classes that it was fitted on, where there are several: their names are stored with the model.

    Raises:
        ConfigError: If the trainer names a flavor that there is not, or that does not store such a model.
        StageError: If the model cannot be stored.
    """
    task, flavor = task_of(task), trainer.flavor
    beside: dict[str, Any] = {"metadata": {CLASSES: list(known.names)}} if task.is_multiclass else {}
    if flavor and flavor not in (SKLEARN, *_FORMS):
        raise ConfigError(
            f"{type(trainer).__name__}.flavor is {flavor!r}.", hint=did_you_mean(flavor, [SKLEARN, *_FORMS])
        )
    if flavor != SKLEARN:
        own = _own_form(estimator, flavor)
        if own is not None and _predicts_the_same(own, estimator, task, inputs, known):
            return StoredForm(
                own.booster,
                skops_flavor.flavor(own.flavor),
                dict(own.arguments) | beside,
                model_requirements(own.booster, own.flavor, trainer.requirements),
            )
        if flavor:
            raise ConfigError(
                f"{type(trainer).__name__}.flavor is {flavor!r}, and {type(estimator).__name__} cannot be stored so: "
                + ("what it stores predicts something else." if own else "it is no booster of that library, alone."),
                hint="Leave flavor out, and the platform chooses.",
            )
    return StoredForm(
        estimator,
        skops_flavor.flavor(),
        {
            "serialization_format": "skops",
            "skops_trusted_types": _types(estimator, trainer.trusted_types),
            "pyfunc_predict_fn": task.method,
            **beside,
        },
        model_requirements(estimator, SKLEARN, trainer.requirements),
    )


@dataclass(frozen=True)
class _Own:
    flavor: str
    booster: Any
    arguments: dict[str, Any]


def _own_form(estimator: Any, wanted: str) -> _Own | None:
    """Return an estimator as its own library stores it; None: it is none that stands alone."""
    root = type(estimator).__module__.partition(".")[0]
    form = _FORMS.get(root)
    return None if form is None or wanted not in ("", root) else form(estimator)


def _lightgbm(estimator: Any) -> _Own | None:
    booster = estimator if is_booster(estimator) else getattr(estimator, "booster_", None)
    return None if booster is None else _Own(LIGHTGBM, booster, {})


def _xgboost(estimator: Any) -> _Own | None:
    booster = estimator if is_booster(estimator) else estimator.get_booster()
    best = getattr(estimator, "best_iteration", None)
    if best is not None and not is_booster(estimator):
        # scikit-learn's interface predicts by the best rounds; the booster would by all.
        booster = booster[: int(best) + 1]
    return _Own(XGBOOST, booster, {"model_format": "json"})


def _catboost(estimator: Any) -> _Own | None:
    from catboost import CatBoostRegressor

    # MLflow's flavor asks a CatBoostClassifier for its classes.
    if not isinstance(estimator, CatBoostRegressor):
        return None
    return _Own(CATBOOST, estimator, {"format": "json"})


_FORMS: dict[str, Callable[[Any], _Own | None]] = {LIGHTGBM: _lightgbm, XGBOOST: _xgboost, CATBOOST: _catboost}


def _predicts_the_same(own: _Own, estimator: Any, task: Task, inputs: pd.DataFrame, known: PresentClasses) -> bool:
    """Tell whether what is stored predicts what was judged: an objective of the caller's own may need more."""
    if own.booster is estimator:
        return True
    given = np.asarray(predict_booster(own.booster, inputs))
    judged = predict(estimator, inputs, task, known, finite=False)
    if task.is_multiclass:
        judged = judged[:, list(known.places)]
    return given.shape == judged.shape and bool(np.allclose(given, judged, rtol=_SAME, atol=_SAME, equal_nan=True))


def _types(estimator: Any, trusted: tuple[str, ...]) -> list[str]:
    """Return the types that loading the model may make: those allowed; others are refused when it is loaded."""
    import skops.io

    with in_our_words("Storing the model in the skops format"):
        untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    return [name for name in untrusted if allowed(name, trusted)]
