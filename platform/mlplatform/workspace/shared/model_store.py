"""Models with their feature spec: how they lie in MLflow, how they are found by URI, and how they are loaded.

The layout is the real client's: `data/feature_store/feature_spec.yaml`, and the model itself in
`data/feature_store/raw_model`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError, PlatformError, RegistryError, did_you_mean
from mlplatform.features.artifacts import DIGEST_TAG, named, verify

if TYPE_CHECKING:
    from datetime import datetime

    from mlplatform.protocols.judged_models import JudgedModels
    from mlplatform.workspace.shared.registry import MlflowRegistry

SPEC_FOLDER = Path("data") / "feature_store"
RAW_MODEL = "raw_model"

_ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)")
_VERSION = re.compile(r"models:/([^/@]+)/(\d+)")
_OTHER = re.compile(r"models:/m-[0-9a-f]+|runs:/[^/]+/.+")
# Digests of models whose packages MLflow has compared with those installed, and warned of: once a process says it, and
# each time takes a tenth of a second.
_COMPARED: set[str] = set()
_FORMS = "models:/catalog.schema.model@alias, models:/catalog.schema.model/3, runs:/<run>/<name> or models:/m-<id>"


@dataclass(frozen=True)
class ModelArtifact:
    """A model's files on this machine, before anything in them has been loaded.

    Attributes:
        path: The folder of the whole model (`MLmodel` lies in it).
        uri: What was asked for.
        name: The registered model, or empty.
        version: Its version, or None.
        tags: The tags of the model version, or of the logged model.
        created_at: When the version was created; None where it is no registered one.
    """

    path: Path
    uri: str
    name: str = ""
    version: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None

    @property
    def exact_uri(self) -> str:
        """The URI of this very version, whatever an alias may point at later."""
        return f"models:/{self.name}/{self.version}" if self.name else self.uri

    @property
    def spec_folder(self) -> Path:
        """The folder that holds the feature spec and its lineage."""
        return self.path / SPEC_FOLDER

    @property
    def raw_model(self) -> Path:
        """The folder of the model as its flavor saved it."""
        return self.spec_folder / RAW_MODEL


@dataclass(frozen=True)
class Trust:
    """What a model may be, for whoever scores with it.

    Attributes:
        types: Types that it may hold beyond the platform's allow-list (fully qualified). Given, even empty, the model
            must be one that the platform registered. None: a model that neither a decision nor a digest of the platform
            is on record of was registered by somebody else, and is not looked into, as the real client does not.
        digest: Which files of it; empty: those on record.
    """

    types: Collection[str] | None = None
    digest: str = ""


def fetch(registry: MlflowRegistry, uri: str, scratch: Path) -> ModelArtifact:
    """Find a model and bring its files to this machine; nothing in them is loaded.

    Args:
        registry: The workspace's registry.
        uri: One of the forms that `score_batch` takes.
        scratch: Where downloaded files go.

    Raises:
        FeatureStoreError: If the URI has none of these forms, or the model has no such alias or version.
        RegistryError: If the registry or the artifact store cannot be read.
    """
    name, version = _resolve(registry, uri)
    registry.activate()
    tags: Mapping[str, str] = {}
    created_at: datetime | None = None
    if version is not None:
        registered = registry.get(name, version)
        tags, created_at = registered.tags, registered.created_at
    folder = scratch / "models" / uuid.uuid4().hex
    folder.mkdir(parents=True)
    import mlflow

    try:
        path = mlflow.artifacts.download_artifacts(f"models:/{name}/{version}" if name else uri, dst_path=str(folder))
        if uri.startswith("models:/m-"):
            tags = dict(mlflow.get_logged_model(uri.removeprefix("models:/")).tags or {})
    except PlatformError:
        raise
    except Exception as error:
        raise RegistryError(
            f"The files of model {uri} cannot be fetched: {error}", hint="Does the model exist, and its artifact store?"
        ) from error
    if not (Path(path) / "MLmodel").is_file():
        raise RegistryError(
            f"The files of model {uri} are gone: the registry knows it, and its artifact store holds no MLmodel of it.",
            hint="Restore the artifact store, or train again.",
        )
    return ModelArtifact(Path(path), uri, name, version, tags, created_at)


def _resolve(registry: MlflowRegistry, uri: str) -> tuple[str, int | None]:
    if not isinstance(uri, str):
        raise FeatureStoreError(f"model_uri is a {type(uri).__name__}.", hint=f"Give {_FORMS}.")
    if match := _ALIAS.fullmatch(uri):
        name, alias = match[1], match[2]
        aliases = registry.aliases(name)
        if alias not in aliases:
            raise FeatureStoreError(f"Model {name} has no alias {alias!r}.", hint=did_you_mean(alias, aliases))
        return name, aliases[alias]
    if match := _VERSION.fullmatch(uri):
        name, version = match[1], int(match[2])
        versions = [item.version for item in registry.versions(name)]
        if version not in versions:
            listed = ", ".join(map(str, versions)) or "none"
            raise FeatureStoreError(f"Model {name} has no version {version}.", hint=f"Its versions: {listed}.")
        return name, version
    if _OTHER.fullmatch(uri):
        return "", None
    raise FeatureStoreError(f"{uri!r} is not a model URI.", hint=f"Give {_FORMS}.")


def check_model(artifact: ModelArtifact, trust: Trust, judged: JudgedModels) -> None:
    """Refuse a model before anything in it is read or loaded.

    Args:
        artifact: The model's files.
        trust: What it may be.
        judged: The record of decisions: what one of them judged is what is loaded, whatever the version's tags say.

    Raises:
        RegistryError: If the files are not those judged or registered, or hold what is not loaded.
        TableError: If the record of decisions cannot be read.
        FeatureStoreError: If the folder holds no model of `log_model`.
    """
    recorded = ""
    if artifact.version is not None and artifact.created_at is not None:
        recorded = judged.digest(artifact.name, artifact.version, artifact.created_at)
    expected = trust.digest or recorded or artifact.tags.get(DIGEST_TAG, "")
    if expected or trust.types is not None:
        of = "that were judged" if recorded else "registered"
        with named(artifact.path, artifact.exact_uri):
            verify(artifact.path, expected, trust.types or (), of=of)
    if not (artifact.raw_model / "MLmodel").is_file():
        raise FeatureStoreError(
            f"Model {artifact.uri} carries no features: it has no {SPEC_FOLDER / RAW_MODEL}.",
            hint="Log models with ws.fe.log_model to score them with score_batch.",
        )


def load_model(artifact: ModelArtifact) -> Any:
    """Load a checked model's predictor, as its flavor would serve it (`predict`, or what `pyfunc_predict_fn` named).

    The raw model is logged without a signature, so that nothing is checked or converted again for every batch: the
    frame has been built from the feature spec.

    Args:
        artifact: The model's files, which `check_model` let pass.
    """
    import mlflow.pyfunc

    digest = artifact.tags.get(DIGEST_TAG, "")
    model = mlflow.pyfunc.load_model(str(artifact.raw_model), suppress_warnings=digest in _COMPARED)
    if digest:
        _COMPARED.add(digest)
    return model
