"""The fingerprint of all that decides what a training gives: with the same one nothing is trained again."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mlplatform.code_digest import code_digest
from mlplatform.config.settings import UseCaseSettings
from mlplatform.config.training import TRAINING_ROWS, SearchSettings, TrainingSettings
from mlplatform.errors import StageError
from mlplatform.protocols.lineage import RULE
from mlplatform.training.fitting import make_estimator
from mlplatform.training.model_requirements import libraries

if TYPE_CHECKING:
    from mlplatform.training.candidate import TrainingData
    from mlplatform.training.trainer import Trainer

# Settings of the search that came later: models trained before keep their keys.
_UNSET = {name: SearchSettings.model_fields[name].default for name in ("library", "parallelism", "pruning")}


def training_key(trainer: Trainer, data: TrainingData, settings: UseCaseSettings) -> str:
    """Return a fingerprint of all that decides what a training gives: data, settings, code, libraries.

    Training again with the same key would give the same model, and does not happen.
    """
    import sklearn

    parts = [
        data.digest,
        _what_counts(settings.training),
        code_digest(type(trainer)),
        sklearn.__version__,
        # A model that was fitted on other types is another model.
        RULE,
    ]
    # A quantile of another level is another model, whatever its parameters are called.
    if settings.kind_of_task.level is not None:
        parts.append({"quantile": settings.kind_of_task.level})
    if settings.kind_of_task.is_multiclass:
        parts.append({"classes": list(settings.kind_of_task.classes)})
    # Models of scikit-learn alone keep the keys that they had before there were others.
    parts += [f"{name}=={version(name)}" for name in _libraries(trainer)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _libraries(trainer: Trainer) -> list[str]:
    try:
        estimator = make_estimator(trainer, trainer.default_params)
    except StageError:  # it may need what is searched; the training tells, if it fails there as well
        return []
    return libraries(estimator)


def _what_counts(options: TrainingSettings) -> dict[str, Any]:
    """Return the settings as they go into the key; the default bound as before there was one.

    Which rows it lets through shows in the data's digest, and models trained before keep their keys.
    """
    content = options.model_dump(mode="json")
    # Where trials run, and what is measured of the model, changes nothing of it.
    del content["search"]["workers"], content["importance_rows"]
    for name, value in _UNSET.items():
        if content["search"][name] == value:
            del content["search"][name]
    for name in ("calibrate", "immature_rows"):
        if content[name] == "none":
            del content[name]
    unset = max(TRAINING_ROWS, options.min_rows)
    return content | {"max_rows": None} if options.max_rows == unset else content
