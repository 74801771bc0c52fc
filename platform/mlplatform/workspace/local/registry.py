"""MLflow on SQLite: tracking, three-level registered models, aliases."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlplatform.errors import MissingDependencyError, RegistryError
from mlplatform.naming import ObjectName
from mlplatform.protocols.registry import ModelVersion
from mlplatform.workspace.local.locks import file_lock
from mlplatform.workspace.shared import model_page
from mlplatform.workspace.shared.model_store import MISSING_HINT, missing_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

    from mlplatform.protocols.registry import TableRead

DEPLOYMENT_JOB_TAG = "deployment_job_id"
_MISSING = "RESOURCE_DOES_NOT_EXIST"
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Else MLflow copies the project's own lock file into every model it finds one for.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class LocalRegistry:
    """Registered models of the local workspace; see `mlplatform.protocols.workspace.Registry`."""

    def __init__(self, root: Path) -> None:
        """Keep the database and the artifacts under a folder."""
        self._root = root
        self._client: MlflowClient | None = None

    @property
    def uri(self) -> str:
        """The tracking and registry URI."""
        return f"sqlite:///{self._root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """The folder that holds runs' and models' files."""
        return self._root / "artifacts"

    def activate(self) -> None:
        """Point MLflow at this workspace's database."""
        mlflow = self._mlflow()
        self._connect()
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)

    def experiment(self, name: str) -> str:
        """Return the id of the experiment of this name, made if need be, with its files under our folder."""
        client = self._connect()
        with file_lock(self._root / ".locks", f"experiment {name}"), _translated(f"read experiment {name}"):
            found = client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            return str(client.create_experiment(name, artifact_location=self.artifacts.as_uri()))

    def aliases(self, model: ObjectName | str) -> dict[str, int]:
        """Return alias -> version as the registered model itself says; empty when the model does not exist."""
        from mlflow.exceptions import MlflowException

        name, client = str(ObjectName.parse(model)), self._connect()
        try:
            registered = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == _MISSING:
                return {}
            raise _registry_error(f"read the aliases of {name}", error) from error
        except Exception as error:
            raise _registry_error(f"read the aliases of {name}", error) from error
        return {alias: int(version) for alias, version in registered.aliases.items()}

    def get(self, model: ObjectName | str, version: int) -> ModelVersion:
        """Return one version with its tags."""
        from mlflow.exceptions import MlflowException

        name, client = str(ObjectName.parse(model)), self._connect()
        with _translated(f"read version {version} of {name}"):
            try:
                return _version(client.get_model_version(name, str(version)))
            except MlflowException as error:
                if error.error_code == _MISSING:
                    raise missing_version(name, version) from error
                raise

    def versions(self, model: ObjectName | str) -> list[ModelVersion]:
        """Return all versions, oldest first."""
        name, client = str(ObjectName.parse(model)), self._connect()
        with _translated(f"list the versions of {name}"):
            found: list[MlflowVersion] = []
            token: str | None = None
            while True:
                page = client.search_model_versions(f"name = '{name}'", page_token=token)
                found.extend(page)
                token = page.token
                if not token:
                    break
        return sorted((_version(item) for item in found), key=lambda item: item.version)

    def set_alias(self, model: ObjectName | str, alias: str, version: int) -> None:
        """Move an alias, and read it back."""
        name = str(ObjectName.parse(model))
        with _translated(f"set alias {alias} of {name} to version {version}"):
            self._connect().set_registered_model_alias(name, alias, str(version))
        now = self.aliases(name).get(alias)
        if now != version:
            raise RegistryError(
                f"Alias {alias} of {name} was set to version {version}, but reads {now}.",
                hint="Somebody else moved it at the same time; look at the history, and run the gate again.",
            )

    def delete_alias(self, model: ObjectName | str, alias: str) -> None:
        """Take an alias away."""
        name = str(ObjectName.parse(model))
        if alias in self.aliases(name):
            with _translated(f"delete alias {alias} of {name}"):
                self._connect().delete_registered_model_alias(name, alias)

    def set_tags(self, model: ObjectName | str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        name = str(ObjectName.parse(model))
        with _translated(f"tag version {version} of {name}"):
            for key, value in tags.items():
                self._connect().set_model_version_tag(name, str(version), key, str(value))

    def ensure_model(self, model: ObjectName | str, *, description: str = "") -> None:
        """Create the registered model if it does not exist."""
        from mlflow.exceptions import MlflowException

        name = str(ObjectName.parse(model))
        with _translated(f"create the model {name}"):
            try:
                self._connect().create_registered_model(name, description=description or None)
            except MlflowException as error:
                if error.error_code != _EXISTS:
                    raise

    def require_model(self, model: ObjectName | str) -> None:
        """Create the registered model if it does not exist: nobody else has to, on this machine."""
        self.ensure_model(model)

    def set_deployment_job(self, model: ObjectName | str, job_id: str | None) -> None:
        """Keep the job that would decide about new versions as a tag of the model; None takes it away."""
        name = str(ObjectName.parse(model))
        with _translated(f"link a deployment job to {name}"):
            client = self._connect()
            tagged = DEPLOYMENT_JOB_TAG in client.get_registered_model(name).tags
            if job_id is not None:
                client.set_registered_model_tag(name, DEPLOYMENT_JOB_TAG, job_id)
            elif tagged:
                client.delete_registered_model_tag(name, DEPLOYMENT_JOB_TAG)

    def feature_model_refusal(self) -> str:
        """Return nothing: there is no real client here, and SQLite registers any model."""
        return ""

    def copy_version(self, version: ModelVersion, model: ObjectName | str) -> ModelVersion:
        """Register a version's files and tags as a new version of another model, which exists."""
        name, client = str(ObjectName.parse(model)), self._connect()
        with _translated(f"copy {version.uri} to {name}"):
            # MLflow would create it, and with it whatever a misspelt name says.
            client.get_registered_model(name)
            return _version(client.copy_model_version(version.uri, name))

    def log_files(self, version: ModelVersion, folder: str, files: Mapping[str, str]) -> None:
        """Keep text files with the run that made a version."""
        client = self._connect()
        with _translated(f"store files of version {version.version} of {version.name}"), TemporaryDirectory() as part:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            for name, content in files.items():
                (Path(part) / name).write_text(content, encoding="utf-8")
            # The client's own log_text remembers a run's folder in the process, though its workspace may have moved.
            get_artifact_repository(client.get_run(version.run_id).info.artifact_uri).log_artifacts(part, folder)

    def log_tables(self, run_id: str, tables: Sequence[TableRead]) -> None:
        """Log the tables that a run read as its inputs."""
        with _translated(f"log the inputs of run {run_id}"):
            model_page.log_tables(self._connect(), run_id, tables)

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float], at: datetime) -> None:
        """Log metrics on the logged model behind a version, and on its run."""
        with _translated(f"log metrics of version {version.version} of {version.name}"):
            model_page.log_metrics(self._connect(), version, metrics, at)

    def _connect(self) -> MlflowClient:
        if self._client is None:
            self._mlflow()
            from mlflow import MlflowClient

            database = self._root / "mlflow.db"
            if not database.exists() and self.artifacts.is_dir() and any(self.artifacts.iterdir()):
                raise RegistryError(
                    f"The registry's database {database} is gone, while its models' files are there.",
                    hint="Restore it; or, to begin anew without a champion, move the folder artifacts away.",
                )
            self.artifacts.mkdir(parents=True, exist_ok=True)
            # The first client creates the database's tables; two doing so at once would collide.
            with file_lock(self._root / ".locks", "mlflow database"), _translated("open the registry"):
                client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                client.search_registered_models(max_results=1)
                self._client = client
        return self._client

    @staticmethod
    def _mlflow() -> Any:
        # No telemetry; no progress bars of its own between ours; no copy of our lock file in each model (its
        # requirements are logged); its chatter only where it warns.
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            import mlflow
        except ImportError as error:
            raise MissingDependencyError(
                f"mlflow is not installed ({error}).", hint="pip install 'mlplatform[local]'"
            ) from error
        return mlflow


def _version(item: MlflowVersion) -> ModelVersion:
    return ModelVersion(
        name=item.name,
        version=int(item.version),
        run_id=item.run_id or "",
        tags=dict(item.tags or {}),
        created_at=datetime.fromtimestamp(item.creation_timestamp / 1000, UTC),
    )


def _registry_error(doing: str, error: Exception) -> RegistryError:
    missing = getattr(error, "error_code", None) == _MISSING
    hint = MISSING_HINT if missing else "Nothing was assumed about it; run again when the registry answers."
    return RegistryError(f"Could not {doing}: {error}", hint=hint)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:
        raise _registry_error(doing, error) from error
