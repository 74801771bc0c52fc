"""What logging a model with its features takes in any home: packaging, requirements, a run, refusals in our words."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mlplatform.errors import FeatureStoreError
from mlplatform.workspace.shared.model_store import RAW_MODEL

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from mlplatform.protocols.feature_spec import FeatureSpec
    from mlplatform.protocols.lineage import Lineage
    from mlplatform.protocols.registry import Registry

# What MLflow loads for a model that we packaged ourselves.
LOADER = "mlplatform.features.packaged"

_EXPERIMENT = "feature_store_models"
_PACKAGES = {"sklearn": ("scikit-learn", "skops"), "python_function": ("cloudpickle",)}
_CHATTER = ("Registered model '", "Successfully registered model '", "Created version '", "🔗 View ")
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


def package(
    folder: Path,
    model: Any,
    *,
    flavor: Any,
    spec: FeatureSpec,
    lineage: Lineage,
    pip_requirements: Sequence[str],
    **kwargs: Any,
) -> None:
    """Write a model beside its feature spec and lineage, laid out as the real client does.

    Args:
        folder: Where to; it is made.
        model: The fitted model.
        flavor: An MLflow flavor.
        spec: Its feature spec.
        lineage: Where its features come from.
        pip_requirements: Its requirements.
        **kwargs: For the flavor's `save_model`.

    Raises:
        FeatureStoreError: If MLflow refuses the model.
    """
    import mlflow.pyfunc

    folder.mkdir(parents=True)
    python_model = {"python_model": model} if flavor_name(flavor) == mlflow.pyfunc.FLAVOR_NAME else {}
    positional = [] if python_model else [model]
    with refusals_in_our_words():
        flavor.save_model(
            *positional,
            path=str(folder / RAW_MODEL),
            pip_requirements=list(pip_requirements),
            **python_model,
            **kwargs,
        )
    spec.save(folder)
    lineage.save(folder)


def log_packaged(folder: Path, name: str, **kwargs: Any) -> ModelInfo:
    """Log a packaged model in the active run, through MLflow alone; with `registered_model_name` register it.

    Args:
        folder: What `package` wrote.
        name: The model's name within the run.
        **kwargs: For `mlflow.pyfunc.log_model`.
    """
    import mlflow.pyfunc

    with warnings.catch_warnings():
        # The signature comes from the feature spec; an example is the caller's choice.
        warnings.filterwarnings("ignore", message=".*input example was not provided.*")
        info: ModelInfo = mlflow.pyfunc.log_model(name=name, loader_module=LOADER, data_path=str(folder), **kwargs)
    return info


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


class _WithoutChatter(io.TextIOBase):
    """Standard error without the lines that MLflow prints past its logger each time a version is registered."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self._dropped = False

    def write(self, text: str) -> int:
        if self._dropped and text == "\n":  # print writes the end of a line by itself
            self._dropped = False
            return len(text)
        self._dropped = text.startswith(_CHATTER)
        if self._dropped:
            self._dropped = not text.endswith("\n")
            return len(text)
        return self._inner.write(text)

    def flush(self) -> None:
        self._inner.flush()

    def isatty(self) -> bool:
        return self._inner.isatty()


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep MLflow from printing that a model "already exists" and the like; what it warns of is still told."""
    with contextlib.redirect_stderr(_WithoutChatter(sys.stderr)):
        yield


@contextmanager
def own_run(registry: Registry) -> Iterator[None]:
    """Log inside the caller's run, or in one of our own."""
    import mlflow

    if mlflow.active_run() is not None:
        yield
        return
    with mlflow.start_run(experiment_id=registry.experiment(_EXPERIMENT)):
        yield
