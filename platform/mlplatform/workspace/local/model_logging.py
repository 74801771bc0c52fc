"""Logging a model with the feature spec of its training set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError
from mlplatform.workspace.local.training_set import LocalTrainingSet
from mlplatform.workspace.shared.model_logging import (
    flavor_name,
    log_packaged,
    model_requirements,
    own_run,
    package,
    refusals_in_our_words,
    without_chatter,
)
from mlplatform.workspace.shared.model_signature import make_signature

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
    extra = list(dict.fromkeys([*training_set.extra_pip_requirements, *(extra_pip_requirements or ())]))
    requirements = model_requirements(name_of_flavor, kwargs.pop("pip_requirements", None), extra)
    registry.activate()
    folder = scratch / "feature_store"
    package(
        folder,
        model,
        flavor=flavor,
        spec=spec,
        lineage=training_set.lineage,
        pip_requirements=requirements,
        **kwargs,
    )
    with own_run(registry), refusals_in_our_words(), without_chatter():
        return log_packaged(
            folder,
            artifact_path,
            pip_requirements=requirements,
            signature=signature,
            input_example=example,
            registered_model_name=registered_model_name,
            await_registration_for=await_registration_for or 0,
        )
