"""What logging a model with its features takes in any home: packaging, requirements, a run, refusals in our words."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mlplatform.errors import FeatureStoreError
from mlplatform.workspace.shared.model_signature import make_signature
from mlplatform.workspace.shared.model_store import RAW_MODEL

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

    from mlplatform.workspace.shared.registry import MlflowRegistry
    from mlplatform.workspace.shared.training_set import SpineWithFeatures

# What MLflow loads for a model that we packaged ourselves.
LOADER = "mlplatform.features.packaged"

_EXPERIMENT = "feature_store_models"
_PACKAGES = {"sklearn": ("scikit-learn", "skops"), "python_function": ("cloudpickle",)}
_CHATTER = ("Registered model '", "Successfully registered model '", "Created version '", "🔗 View ")
_BASE = ("mlflow", "numpy", "pandas", "scipy")


@dataclass(frozen=True)
class ModelToLog:
    """A fitted model, and what is logged with it.

    Attributes:
        model: The model.
        name: Its name within the run.
        flavor: An MLflow flavor.
        signature: Its signature.
        pip_requirements: Its requirements.
        registered_model_name: The registered model that gets a version; None: none does.
        await_registration_for: Seconds to wait for the registration; None: the home's default.
        infer_input_example: Whether the spine's first row is stored as an example.
        flavor_arguments: For the flavor's `save_model`.
    """

    model: Any
    name: str
    flavor: Any
    signature: ModelSignature
    pip_requirements: Sequence[str]
    registered_model_name: str | None
    await_registration_for: int | None
    infer_input_example: bool
    flavor_arguments: Mapping[str, Any]


def model_to_log(  # noqa: PLR0913  (the real client's arguments)
    model: Any,
    artifact_path: str,
    *,
    flavor: Any,
    training_set: SpineWithFeatures,
    registered_model_name: object,
    await_registration_for: int | None,
    infer_input_example: bool,
    extra_pip_requirements: Sequence[str] | None,
    arguments: Mapping[str, Any],
) -> ModelToLog:
    """Return what is logged; see `log_model` of the feature client.

    Raises:
        FeatureStoreError: If the flavor is not one, or no signature can be derived.
    """
    rest = dict(arguments)
    extra = list(dict.fromkeys([*training_set.extra_pip_requirements, *(extra_pip_requirements or ())]))
    requirements = model_requirements(flavor_name(flavor), rest.pop("pip_requirements", None), extra)
    signature = make_signature(
        training_set.feature_spec,
        training_set.label_types,
        output_schema=rest.pop("output_schema", None),
        given=rest.pop("signature", None),
    )
    return ModelToLog(
        model=model,
        name=artifact_path,
        flavor=flavor,
        signature=signature,
        pip_requirements=requirements,
        registered_model_name=None if registered_model_name is None else str(registered_model_name),
        await_registration_for=await_registration_for,
        infer_input_example=infer_input_example,
        flavor_arguments=rest,
    )


def flavor_name(flavor: Any) -> str:
    """Return the name of an MLflow flavor.

    Raises:
        FeatureStoreError: If it is not one.
    """
    name = getattr(flavor, "FLAVOR_NAME", None)
    if not name or not hasattr(flavor, "save_model"):
        raise FeatureStoreError(
            f"flavor {flavor!r} is not an MLflow flavor.", hint="Give a module such as mlflow.sklearn or mlflow.pyfunc."
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


def log_ourselves(
    registry: MlflowRegistry,
    request: ModelToLog,
    training_set: SpineWithFeatures,
    folder: Path,
    *,
    refusals: Callable[[], AbstractContextManager[None]],
    **kwargs: Any,
) -> ModelInfo:
    """Package a model as the real client lays it out, beside its feature spec and lineage, and log it by MLflow alone.

    Args:
        registry: The workspace's registry, activated.
        request: The model.
        training_set: What it was fitted on.
        folder: Where it is packaged; created.
        refusals: Turns what MLflow refuses into an error of ours.
        **kwargs: For `mlflow.pyfunc.log_model`.

    Raises:
        FeatureStoreError: If MLflow refuses the model.
    """
    arguments = dict(request.flavor_arguments)
    example = arguments.pop("input_example", None)
    if example is None and request.infer_input_example:
        example = training_set.example()
    _package(folder, request, training_set, arguments)
    with own_run(registry), refusals(), without_chatter():
        return log_packaged(
            folder,
            request.name,
            pip_requirements=list(request.pip_requirements),
            signature=request.signature,
            input_example=example,
            registered_model_name=request.registered_model_name,
            **kwargs,
        )


def log_derived(
    registry: MlflowRegistry,
    package: Path,
    name: str,
    original: Path,
    *,
    refusals: Callable[[], AbstractContextManager[None]],
    **kwargs: Any,
) -> ModelInfo:
    """Log a package that was made of another model's, with that one's signature and requirements.

    Args:
        registry: The workspace's registry, activated.
        package: Where feature spec, lineage and model lie.
        name: The model's name within the run.
        original: The other model, whole.
        refusals: Turns what MLflow refuses into an error of ours.
        **kwargs: For `mlflow.pyfunc.log_model`.

    Raises:
        FeatureStoreError: If MLflow refuses the model.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import get_model_dependencies

    with own_run(registry), refusals(), without_chatter():
        return log_packaged(
            package,
            name,
            signature=Model.load(str(original)).signature,
            pip_requirements=get_model_dependencies(str(original)),
            **kwargs,
        )


def _package(folder: Path, request: ModelToLog, training_set: SpineWithFeatures, arguments: Mapping[str, Any]) -> None:
    import mlflow.pyfunc

    folder.mkdir(parents=True)
    is_pyfunc = flavor_name(request.flavor) == mlflow.pyfunc.FLAVOR_NAME
    python_model = {"python_model": request.model} if is_pyfunc else {}
    positional = [] if is_pyfunc else [request.model]
    with refusals_in_our_words():
        request.flavor.save_model(
            *positional,
            path=str(folder / RAW_MODEL),
            pip_requirements=list(request.pip_requirements),
            **python_model,
            **arguments,
        )
    training_set.feature_spec.save(folder)
    training_set.lineage.save(folder)


def log_packaged(folder: Path, name: str, **kwargs: Any) -> ModelInfo:
    """Log a packaged model in the active run, through MLflow alone; with `registered_model_name` register it.

    Args:
        folder: Where feature spec, lineage and model lie.
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
def own_run(registry: MlflowRegistry) -> Iterator[None]:
    """Log inside the caller's run, or in one of our own."""
    import mlflow

    if mlflow.active_run() is not None:
        yield
        return
    with mlflow.start_run(experiment_id=registry.experiment(_EXPERIMENT)):
        yield
