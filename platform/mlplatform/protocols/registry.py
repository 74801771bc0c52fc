"""Registered models: versions, aliases, tags, and what is logged with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
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
        role: What it was to the training: `spine`, `labels` or `features`.
        table_id: Unity Catalog's id; empty: not known, or there is none.
    """

    name: str
    version: int
    role: str
    table_id: str = ""


@runtime_checkable
class Registry(Protocol):
    """Registered models: versions, tags and aliases."""

    def activate(self) -> None:
        """Point MLflow's tracking and registry at this workspace (for code that calls mlflow itself)."""
        ...

    def experiment(self, name: str) -> str:
        """Return the id of the MLflow experiment of this name; it is made if it does not exist."""
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
        """Take an alias away; no error if it is not there."""
        ...

    def set_tags(self, model: ObjectName | str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        ...

    def ensure_model(self, model: ObjectName | str, *, description: str = "") -> None:
        """Create the registered model if it does not exist; training never does on its own.

        Raises:
            RegistryError: If it cannot be read or created.
        """
        ...

    def require_model(self, model: ObjectName | str) -> None:
        """See to it that there is a model to train versions of: local made on the spot, on Databricks by `setup`.

        Raises:
            RegistryError: If there is none, with the command that creates it; or if it cannot be read.
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
