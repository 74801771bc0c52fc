"""Logging a model with the feature spec of its training set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError
from mlplatform.features.signature import make_signature
from mlplatform.workspace.local.training_set import LocalTrainingSet
from mlplatform.workspace.model_logging import (
    flavor_name,
    model_requirements,
    own_run,
    refusals_in_our_words,
    without_chatter,
)
from mlplatform.workspace.model_store import RAW_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.models.model import ModelInfo

    from mlplatform.workspace.local.registry import LocalRegistry


def log_model(  # noqa: PLR0913  (the real client's arguments)
    registry: LocalRegistry,
    scratch: Path,
    model: Any,
    artifact_path: str,
    *,
    flavor: Any,
    training_set: Any,
    registered_model_name: str | None,
    await_registration_for: int | None,
    infer_input_example: bool,
    extra_pip_requirements: Sequence[str] | None,
    **kwargs: Any,
) -> ModelInfo:
    """Log and register a model; see `LocalFeatureClient.log_model`."""
    if not isinstance(training_set, LocalTrainingSet):
        raise FeatureStoreError(
            "log_model needs the training set that the model was fitted on; "
            f"training_set is a {type(training_set).__name__}.",
            hint="Pass what create_training_set returned.",
        )
    name_of_flavor = flavor_name(flavor)
    spec = training_set.feature_spec
    signature = make_signature(
        spec,
        training_set.label_types,
        output_schema=kwargs.pop("output_schema", None),
        given=kwargs.pop("signature", None),
    )
    example = kwargs.pop("input_example", None)
    if example is None and infer_input_example:
        example = training_set.spine_head.select([item.output_name for item in spec.sources]).to_pandas()
    requirements = model_requirements(name_of_flavor, kwargs.pop("pip_requirements", None), extra_pip_requirements)
    registry.activate()
    import mlflow.pyfunc

    folder = scratch / "feature_store"
    folder.mkdir(parents=True)
    python_model = {"python_model": model} if name_of_flavor == mlflow.pyfunc.FLAVOR_NAME else {}
    positional = [] if python_model else [model]
    with refusals_in_our_words():
        flavor.save_model(
            *positional, path=str(folder / RAW_MODEL), pip_requirements=requirements, **python_model, **kwargs
        )
    spec.save(folder)
    training_set.lineage.save(folder)
    with own_run(registry), refusals_in_our_words(), without_chatter(), warnings.catch_warnings():
        # The signature comes from the feature spec; an example is the caller's choice.
        warnings.filterwarnings("ignore", message=".*input example was not provided.*")
        info: ModelInfo = mlflow.pyfunc.log_model(
            name=artifact_path,
            loader_module="mlplatform.features.packaged",
            data_path=str(folder),
            pip_requirements=requirements,
            signature=signature,
            input_example=example,
            registered_model_name=registered_model_name,
            await_registration_for=await_registration_for or 0,
        )
    return info
