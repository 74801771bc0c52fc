"""Registered models: versions, aliases, tags, and what is logged with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mlplatform.naming import ObjectName


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: int
    run_id: str
    tags: Mapping[str, str]
    created_at: datetime

    @property
    def uri(self) -> str:
        """Where MLflow finds it."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class TableRead:
    """A table that a training read.

    Attributes:
        name: Its three-level name.
        version: Its Delta version.
        role: What it was to the training: `spine`, `labels`, `features` or `weights`.
        table_id: Unity Catalog's id; empty: not known, or there is none.
    """

    name: str
    version: int
    role: str
    table_id: str = ""


@dataclass(frozen=True)
class ModelSignature:
    """What a model takes and gives.

    Attributes:
        required: Column -> type that a row must bring.
        optional: Column -> type that a row may bring; looked up or computed otherwise.
        outputs: Types of what it gives, in order.
    """

    required: Mapping[str, str]
    optional: Mapping[str, str]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class RunRecord:
    """What is on record of the run that made a version.

    Attributes:
        tags: Its tags.
        metrics: Its metrics, each by its newest value.
    """

    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@runtime_checkable
class TrainingRun(Protocol):
    """A training while it is being recorded: what is logged belongs to its run."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log the hyperparameters that were chosen."""
        ...

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics; what is not a number is left out."""
        ...

    def log_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a JSON file with the run; `Registry.load_json` reads it."""
        ...

    def log_trial(self, number: int, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Record a trial of the search as a run of its own within this one."""
        ...

    def log_failed_trial(self, number: int, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Record a trial that failed; the tags say why."""
        ...


@runtime_checkable
class Registry(Protocol):
    """Registered models: versions, tags and aliases, their files, and the runs that make them."""

    def experiment(self, name: str) -> str:
        """Return the id of the MLflow experiment of this name; it is created if it does not exist."""
        ...

    def training_run(
        self, experiment: str, name: str, tags: Mapping[str, str], *, parent: str = ""
    ) -> AbstractContextManager[TrainingRun]:
        """Record a training; a model that `fe.log_model` logs within belongs to it.

        Args:
            experiment: The experiment's name, as in `/dev/credit_risk`.
            name: The run's name.
            tags: Tags of the run, and of its trials.
            parent: Id of the run that it goes on from, whose child it is; empty: none.

        Raises:
            RegistryError: If the registry refuses what is recorded.
        """
        ...

    def run(self, version: ModelVersion) -> RunRecord:
        """Return what is on record of the run that made a version.

        Raises:
            RegistryError: If it cannot be read.
        """
        ...

    def infer_signature(self, inputs: pd.DataFrame, outputs: np.ndarray) -> Any:
        """Return the signature of sample data, as `fe.log_model` takes it.

        Args:
            inputs: A few rows of what the model is given.
            outputs: What it predicts for as many rows, shape (rows,).
        """
        ...

    def signature(self, version: ModelVersion) -> ModelSignature | None:
        """Return a version's signature; None if it was logged without inputs or outputs.

        Raises:
            RegistryError: If it cannot be read.
        """
        ...

    def download(self, version: ModelVersion, folder: Path, part: str = "") -> Path:
        """Bring a version's files to this machine; nothing in them is loaded.

        Args:
            version: The version.
            folder: Where to.
            part: A file or folder among them, as in `data/feature_store`; default: all.

        Returns:
            Where they lie now.

        Raises:
            RegistryError: If they cannot be fetched.
        """
        ...

    def load_json(self, version: ModelVersion, name: str) -> dict[str, Any]:
        """Return a JSON file that is kept with the run that made a version.

        Raises:
            RegistryError: If it does not exist, or cannot be read.
        """
        ...

    def aliases(self, model: ObjectName | str) -> dict[str, int]:
        """Return alias -> version, read from the registered model itself; empty when the model does not exist.

        Raises:
            RegistryError: If the registry cannot be read; never taken for "no alias".
        """
        ...

    def get(self, model: ObjectName | str, version: int) -> ModelVersion:
        """Return one version with its tags.

        Raises:
            MissingVersionError: If the registry answers that there is no such version, or no such model.
            RegistryError: If the registry cannot be read.
        """
        ...

    def versions(self, model: ObjectName | str) -> list[ModelVersion]:
        """Return all versions, oldest first; empty when the model does not exist."""
        ...

    def set_alias(self, model: ObjectName | str, alias: str, version: int) -> None:
        """Move an alias to a version, and read it back."""
        ...

    def delete_alias(self, model: ObjectName | str, alias: str) -> None:
        """Take an alias away; no error if it does not exist."""
        ...

    def set_tags(self, model: ObjectName | str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        ...

    def lost(self) -> str:
        """Return what is wrong with a registry that there was, and is lost; empty where it can be used, or asked.

        On Databricks it is a service, which is never lost: models in it may be.

        Raises:
            RegistryError: If it cannot be read now.
        """
        ...

    def set_aside(self) -> str:
        """Keep what is left of a registry that is lost aside, so that a new one begins; return where it is kept.

        Returns:
            Where; empty where the registry is not lost, and nothing was done.
        """
        ...

    def ensure_model(self, model: ObjectName | str, *, description: str = "") -> None:
        """Create the registered model if it does not exist; training never does on its own.

        Raises:
            RegistryError: If it cannot be read or created.
        """
        ...

    def require_model(self, model: ObjectName | str) -> None:
        """Make sure that the model exists: locally it is created on the spot, on Databricks by `setup`.

        Raises:
            RegistryError: If it does not exist, with the command that creates it; or if it cannot be read.
        """
        ...

    def feature_model_refusal(self) -> str:
        """Return why models that the real feature client packaged are not registered from here; empty: they are.

        Where they are not, `fe.log_model` packages and registers models without the client. Found out in seconds, once,
        by trying it with files that hold no model; nothing is created.

        Raises:
            RegistryError: If the registry does not answer.
        """
        ...

    def copy_version(self, version: ModelVersion, model: ObjectName | str) -> ModelVersion:
        """Register a version's files and tags as a new version of another registered model, which exists.

        Raises:
            RegistryError: If it cannot be read or copied.
        """
        ...

    def set_deployment_job(self, model: ObjectName | str, job_id: str | None) -> None:
        """Link the job that evaluates, approves and promotes new versions; None unlinks. Local: kept as a tag.

        Raises:
            RegistryError: If the model does not exist, or the registry refuses.
        """
        ...

    def log_files(self, version: ModelVersion, folder: str, files: Mapping[str, str]) -> None:
        """Keep text files with the run that made a version; the same names again replace them.

        Args:
            version: The version.
            folder: Folder among the run's artifacts, as in `gate/<decision id>`.
            files: File name -> content.

        Raises:
            RegistryError: If they cannot be stored.
        """
        ...

    def log_tables(self, run_id: str, tables: Sequence[TableRead]) -> None:
        """Log the tables that a run read as its inputs: before it registers a model, so that lineage follows.

        Raises:
            RegistryError: If they cannot be logged.
        """
        ...

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float], at: datetime) -> None:
        """Log metrics on the logged model behind a version, and on its run; the same again changes nothing.

        Args:
            version: The version.
            metrics: Name -> value; what is not finite is left out.
            at: When they were measured, in data time.

        Raises:
            RegistryError: If they cannot be logged.
        """
        ...
