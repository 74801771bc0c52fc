"""Logging a model through the real client, with our record of where its features come from beside its feature spec.

Where the installed MLflow does not register what the client packaged, the model is packaged by ourselves, in the
client's layout, and registered by MLflow's own API, with its files and the tables and functions that it depends on. The
client scores it as it scores its own. What is lost is what only the client's packaging tells Unity Catalog and Model
Serving: single features as upstream of the version, and their automatic lookup in serving.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlplatform.errors import RegistryError
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import Lineage
from mlplatform.workspace.databricks.feature_engineering import asked
from mlplatform.workspace.shared.model_logging import (
    ModelToLog,
    log_derived,
    log_ourselves,
    own_run,
    without_chatter,
)

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from mlplatform.workspace.databricks.registry import DatabricksRegistry
    from mlplatform.workspace.databricks.training_set import DatabricksTrainingSet


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


def log_model(
    registry: DatabricksRegistry, client: Any, request: ModelToLog, training_set: DatabricksTrainingSet
) -> ModelInfo:
    """Log and register a model; see `DatabricksFeatureClient.log_model`.

    Args:
        registry: The workspace's registry.
        client: The real client.
        request: The model.
        training_set: What it was fitted on.
    """
    name = request.registered_model_name
    registration: dict[str, Any] = {}
    if request.await_registration_for is not None:
        registration["await_registration_for"] = request.await_registration_for
    registry.activate()
    if name is not None and registry.feature_model_refusal():
        info = _log_packaged(registry, request, training_set, registration)
    else:
        with own_run(registry), asked("Logging the model"), without_chatter():
            info = client.log_model(
                model=request.model,
                artifact_path=request.name,
                flavor=_WithLineage(request.flavor, training_set.lineage),
                training_set=training_set.real,
                infer_input_example=request.infer_input_example,
                # The client derives the same signature, and logs the model without one where it cannot; we refuse.
                output_schema=request.signature.outputs,
                pip_requirements=request.pip_requirements,
                registered_model_name=name,
                **registration,
                **request.flavor_arguments,
            )
    if name is not None:
        info.registered_model_version = _version(registry, name, info.run_id)
    return info


def log_derived_model(
    registry: DatabricksRegistry, package: Path, name: str, original: Path, registered_model_name: str
) -> ModelInfo:
    """Log and register a model that was made of another one, by MLflow's own API: the client asks for a training set.

    Args:
        registry: The workspace's registry.
        package: Where feature spec, lineage and model lie.
        name: The model's name within the run.
        original: The model that it was made of, whole.
        registered_model_name: Gets a version.
    """
    registry.activate()
    info = log_derived(
        registry,
        package,
        name,
        original,
        refusals=lambda: asked("Logging the model"),
        resources=_resources(FeatureSpec.load(package)),
        registered_model_name=registered_model_name,
    )
    info.registered_model_version = _version(registry, registered_model_name, info.run_id)
    return info


def _resources(spec: FeatureSpec) -> list[Any]:
    """Return the tables and functions that a model depends on, as MLflow takes them."""
    from mlflow.models.resources import DatabricksFunction, DatabricksTable

    return [
        *(DatabricksTable(table_name=table.table_name) for table in spec.tables),
        *(DatabricksFunction(function_name=name) for name in spec.functions),
    ]


def _log_packaged(
    registry: DatabricksRegistry, request: ModelToLog, training_set: DatabricksTrainingSet, registration: dict[str, Any]
) -> ModelInfo:
    with TemporaryDirectory() as scratch:
        return log_ourselves(
            registry,
            request,
            training_set,
            Path(scratch) / "feature_store",
            refusals=lambda: asked("Logging the model"),
            resources=_resources(training_set.feature_spec),
            **registration,
        )


def _version(registry: DatabricksRegistry, model: str, run_id: str) -> int:
    """Return the version that a run made; the client does not say."""
    versions = [item.version for item in registry.versions(model) if item.run_id == run_id]
    if not versions:
        raise RegistryError(
            f"The model of run {run_id} was logged, but {model} has no version of it.",
            hint="Was the registration refused? Look at the registered model, and train again.",
        )
    return versions[-1]
