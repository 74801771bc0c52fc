"""Logging a model through the real client, with our record of where its features come from beside its feature spec.

Where the installed MLflow does not register what the client packaged, the model is packaged by ourselves, in the
client's layout, and registered by MLflow's own API, with its files and the tables and functions that it depends on. The
client scores it as it scores its own. What is lost is what only the client's packaging tells Unity Catalog and Model
Serving: single features as upstream of the version, and their automatic lookup in serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError, RegistryError
from mlplatform.protocols.lineage import Lineage
from mlplatform.workspace.databricks.feature_engineering import asked
from mlplatform.workspace.databricks.training_set import DatabricksTrainingSet
from mlplatform.workspace.shared.model_logging import (
    flavor_name,
    log_packaged,
    model_requirements,
    own_run,
    package,
    without_chatter,
)
from mlplatform.workspace.shared.model_signature import make_signature

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

    from mlplatform.workspace.databricks.registry import DatabricksRegistry


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
    registry: DatabricksRegistry,
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
    extra = list(dict.fromkeys([*training_set.extra_pip_requirements, *(extra_pip_requirements or ())]))
    requirements = model_requirements(flavor_name(flavor), kwargs.pop("pip_requirements", None), extra)
    # The client derives the same signature, and logs the model without one where it cannot; we refuse.
    signature = make_signature(
        training_set.feature_spec,
        training_set.label_types,
        output_schema=kwargs.pop("output_schema", None),
        given=kwargs.pop("signature", None),
    )
    registration: dict[str, Any] = {"registered_model_name": registered_model_name}
    if await_registration_for is not None:
        registration["await_registration_for"] = await_registration_for
    registry.activate()
    if registered_model_name is not None and registry.feature_model_refusal():
        return _log_packaged(
            registry,
            model,
            artifact_path,
            flavor=flavor,
            training_set=training_set,
            requirements=requirements,
            signature=signature,
            infer_input_example=infer_input_example,
            registration=registration,
            **kwargs,
        )
    with own_run(registry), asked("Logging the model"), without_chatter():
        info: ModelInfo = client.log_model(
            model=model,
            artifact_path=artifact_path,
            flavor=_WithLineage(flavor, training_set.lineage),
            training_set=training_set.real,
            infer_input_example=infer_input_example,
            output_schema=signature.outputs,
            pip_requirements=requirements,
            **registration,
            **kwargs,
        )
    if registered_model_name is not None:
        info.registered_model_version = _version(registry, registered_model_name, info.run_id)
    return info


def _log_packaged(  # noqa: PLR0913  (what a model is made of)
    registry: DatabricksRegistry,
    model: Any,
    artifact_path: str,
    *,
    flavor: Any,
    training_set: DatabricksTrainingSet,
    requirements: Sequence[str],
    signature: ModelSignature,
    infer_input_example: bool,
    registration: dict[str, Any],
    **kwargs: Any,
) -> ModelInfo:
    from mlflow.models.resources import DatabricksFunction, DatabricksTable

    spec = training_set.feature_spec
    example = kwargs.pop("input_example", None)
    if example is None and infer_input_example:
        example = training_set.example()
    with TemporaryDirectory() as part:
        folder = Path(part) / "feature_store"
        package(
            folder,
            model,
            flavor=flavor,
            spec=spec,
            lineage=training_set.lineage,
            pip_requirements=requirements,
            **kwargs,
        )
        with own_run(registry), asked("Logging the model"), without_chatter():
            info = log_packaged(
                folder,
                artifact_path,
                pip_requirements=list(requirements),
                signature=signature,
                input_example=example,
                resources=[
                    *(DatabricksTable(table_name=table.table_name) for table in spec.tables),
                    *(DatabricksFunction(function_name=name) for name in spec.functions),
                ],
                **registration,
            )
    info.registered_model_version = _version(registry, registration["registered_model_name"], info.run_id)
    return info


def _version(registry: DatabricksRegistry, model: str, run_id: str) -> int:
    """Return the version that a run made; the client does not say."""
    made = [item.version for item in registry.versions(model) if item.run_id == run_id]
    if not made:
        raise RegistryError(
            f"The model of run {run_id} was logged, but {model} has no version of it.",
            hint="Was the registration refused? Look at the registered model, and train again.",
        )
    return made[-1]
