"""Logging a model through the real client, with our record of where its features come from beside its feature spec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError, RegistryError
from mlplatform.features.lineage import Lineage
from mlplatform.features.signature import make_signature
from mlplatform.workspace.databricks.feature_engineering import asked
from mlplatform.workspace.databricks.training_set import DatabricksTrainingSet
from mlplatform.workspace.model_logging import flavor_name, model_requirements, own_run, without_chatter

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from mlplatform.workspace.protocols import Registry


class _WithLineage:
    """A flavor that also writes the lineage, into the folder in which the real client puts feature spec and model."""

    def __init__(self, flavor: Any, lineage: Lineage) -> None:
        self._flavor = flavor
        self._lineage = lineage
        self.FLAVOR_NAME = flavor.FLAVOR_NAME
        self.__name__ = flavor.__name__

    def save_model(self, *arguments: Any, **named: Any) -> None:
        """Save the model, and the lineage beside it.

        The real client calls `save_model(model, path, ...)`, for a pyfunc `save_model(path, python_model=..., ...)`.
        """
        self._flavor.save_model(*arguments, **named)
        self._lineage.save(Path(arguments[-1]).parent)


def log_model(  # noqa: PLR0913  (the real client's arguments)
    registry: Registry,
    client: Any,
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
    """Log and register a model; see `DatabricksFeatureClient.log_model`."""
    if not isinstance(training_set, DatabricksTrainingSet):
        raise FeatureStoreError(
            "log_model needs the training set that the model was fitted on; "
            f"training_set is a {type(training_set).__name__}.",
            hint="Pass what create_training_set returned.",
        )
    requirements = model_requirements(flavor_name(flavor), kwargs.pop("pip_requirements", None), extra_pip_requirements)
    # The client derives the same signature, and logs the model without one where it cannot; we refuse.
    signature = make_signature(
        training_set.feature_spec,
        training_set.label_types,
        output_schema=kwargs.pop("output_schema", None),
        given=kwargs.pop("signature", None),
    )
    if await_registration_for is not None:
        kwargs["await_registration_for"] = await_registration_for
    registry.activate()
    with own_run(registry), asked("Logging the model"), without_chatter():
        info: ModelInfo = client.log_model(
            model=model,
            artifact_path=artifact_path,
            flavor=_WithLineage(flavor, training_set.lineage),
            training_set=training_set.real,
            registered_model_name=registered_model_name,
            infer_input_example=infer_input_example,
            output_schema=signature.outputs,
            pip_requirements=requirements,
            **kwargs,
        )
    if registered_model_name is not None:
        info.registered_model_version = _version(registry, registered_model_name, info.run_id)
    return info


def _version(registry: Registry, model: str, run_id: str) -> int:
    """Return the version that a run made; the client does not say."""
    made = [item.version for item in registry.versions(model) if item.run_id == run_id]
    if not made:
        raise RegistryError(
            f"The model of run {run_id} was logged, but {model} has no version of it.",
            hint="Was the registration refused? Look at the registered model, and train again.",
        )
    return made[-1]
