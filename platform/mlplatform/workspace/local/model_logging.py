"""Logging a model with the feature spec of its training set."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError
from mlplatform.features.signature import make_signature
from mlplatform.workspace.local.model_store import RAW_MODEL
from mlplatform.workspace.local.training_set import LocalTrainingSet

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.models.model import ModelInfo

    from mlplatform.workspace.local.registry import LocalRegistry

_EXPERIMENT = "feature_store_models"
_PACKAGES = {"sklearn": ("scikit-learn", "skops"), "python_function": ("cloudpickle",)}
_BASE = ("mlflow", "numpy", "pandas", "scipy")


def installed_requirements(flavor: str, extra: Sequence[str] = ()) -> list[str]:
    """Return pinned requirements of a model; MLflow's own guess takes ten seconds.

    Args:
        flavor: The flavor's name.
        extra: Further requirement lines.
    """
    pinned = []
    for package in (*_BASE, *_PACKAGES.get(flavor, (flavor,))):
        try:
            pinned.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            continue  # A flavor need not be named like its package; what is not installed was not used.
    return [*pinned, *extra]


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
    flavor_name = getattr(flavor, "FLAVOR_NAME", None)
    if not flavor_name or not hasattr(flavor, "save_model"):
        raise FeatureStoreError(
            f"flavor {flavor!r} is no MLflow flavor.", hint="Give a module such as mlflow.sklearn or mlflow.pyfunc."
        )
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
    requirements = kwargs.pop("pip_requirements", None)
    if requirements is None:
        requirements = installed_requirements(flavor_name, extra_pip_requirements or ())
    elif extra_pip_requirements:
        requirements = [*requirements, *extra_pip_requirements]
    registry.activate()
    import mlflow.pyfunc

    folder = scratch / "feature_store"
    folder.mkdir(parents=True)
    python_model = {"python_model": model} if flavor_name == mlflow.pyfunc.FLAVOR_NAME else {}
    positional = [] if python_model else [model]
    with _refusals_in_our_words():
        flavor.save_model(
            *positional, path=str(folder / RAW_MODEL), pip_requirements=requirements, **python_model, **kwargs
        )
    spec.save(folder)
    training_set.lineage.save(folder)
    with _run(registry), _refusals_in_our_words(), warnings.catch_warnings():
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


@contextmanager
def _refusals_in_our_words() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise FeatureStoreError(
            f"The model cannot be logged: {error}",
            hint="Change the model, or what is passed to its flavor.",
        ) from error


@contextmanager
def _run(registry: LocalRegistry) -> Iterator[None]:
    """Log inside the caller's run, or in one of our own."""
    import mlflow

    if mlflow.active_run() is not None:
        yield
        return
    with mlflow.start_run(experiment_id=registry.experiment(_EXPERIMENT)):
        yield
