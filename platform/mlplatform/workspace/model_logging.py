"""What logging a model with its features takes in any home: requirements, a run, refusals in our words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError

if TYPE_CHECKING:
    from mlplatform.workspace.protocols import Registry

_EXPERIMENT = "feature_store_models"
_PACKAGES = {"sklearn": ("scikit-learn", "skops"), "python_function": ("cloudpickle",)}
_BASE = ("mlflow", "numpy", "pandas", "scipy")


def flavor_name(flavor: Any) -> str:
    """Return the name of an MLflow flavor.

    Raises:
        FeatureStoreError: If it is none.
    """
    name = getattr(flavor, "FLAVOR_NAME", None)
    if not name or not hasattr(flavor, "save_model"):
        raise FeatureStoreError(
            f"flavor {flavor!r} is no MLflow flavor.", hint="Give a module such as mlflow.sklearn or mlflow.pyfunc."
        )
    return str(name)


def model_requirements(flavor: str, given: Sequence[str] | None, extra: Sequence[str] | None) -> list[str]:
    """Return the requirements of a model: those given, else what is installed (MLflow's own guess takes ten seconds).

    Args:
        flavor: The flavor's name.
        given: The caller's own list, if any.
        extra: Further requirement lines.
    """
    if given is not None:
        return [*given, *(extra or ())]
    pinned = []
    for package in (*_BASE, *_PACKAGES.get(flavor, (flavor,))):
        try:
            pinned.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            continue  # A flavor need not be named like its package; what is not installed was not used.
    return [*pinned, *(extra or ())]


@contextmanager
def refusals_in_our_words() -> Iterator[None]:
    """Turn what MLflow refuses into an error of ours.

    Raises:
        FeatureStoreError: If MLflow refuses the model.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise FeatureStoreError(
            f"The model cannot be logged: {error}",
            hint="Change the model, or what is passed to its flavor.",
        ) from error


@contextmanager
def own_run(registry: Registry) -> Iterator[None]:
    """Log inside the caller's run, or in one of our own."""
    import mlflow

    if mlflow.active_run() is not None:
        yield
        return
    with mlflow.start_run(experiment_id=registry.experiment(_EXPERIMENT)):
        yield
