"""MLflow on SQLite: tracking, three-level registered models, aliases."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import LostRegistryError, RegistryError
from mlplatform.naming import ObjectName
from mlplatform.workspace.local import moved, registry_database
from mlplatform.workspace.local.locks import file_lock
from mlplatform.workspace.local.plain_path import plain_path
from mlplatform.workspace.shared.registry import MlflowRegistry
from mlplatform.workspace.shared.registry_errors import MISSING, MISSING_HINT, NOTHING_ASSUMED, code_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mlplatform.protocols.registry import ModelVersion

DEPLOYMENT_JOB_TAG = "deployment_job_id"


class LocalRegistry(MlflowRegistry):
    """Registered models of the local workspace; see `mlplatform.protocols.registry.Registry`."""

    def __init__(self, root: Path, *, files: Path | None = None) -> None:
        """Keep the database and the files of runs and models under a folder.

        Args:
            root: The folder.
            files: The folder of the files, where the database in `root` is a copy of theirs that nobody keeps; nothing
                is made there.
        """
        self._root, self._files = root, files
        super().__init__(self.uri, self.uri, extra="local", settings={})

    @property
    def uri(self) -> str:
        """The tracking and registry URI."""
        return _uri(self.database)

    @property
    def database(self) -> Path:
        """MLflow's database."""
        return self._root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The folder that holds the files of runs and models."""
        return self._files or self._root / "artifacts"

    def activate(self) -> None:
        """Point MLflow's own functions at this workspace's database, which is created if it does not exist."""
        self._connect()
        super().activate()

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created if it does not exist, with its files under our folder."""
        client = self._connect()
        with file_lock(self._root / ".locks", f"experiment {name}"), self._translated(f"read experiment {name}"):
            existing = client.get_experiment_by_name(name)
            if existing is not None:
                return str(existing.experiment_id)
            return str(client.create_experiment(name, artifact_location=self.artifacts.as_uri()))

    def require_model(self, model: ObjectName | str) -> None:
        """Create the registered model if it does not exist: nobody else has to, on this machine."""
        self.ensure_model(model)

    def set_deployment_job(self, model: ObjectName | str, job_id: str | None) -> None:
        """Keep the job that would decide about new versions as a tag of the model; None takes it away."""
        name = str(ObjectName.parse(model))
        with self._translated(f"link a deployment job to {name}"):
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
        with self._translated(f"copy {version.uri} to {name}"):
            # MLflow would create it, and with it whatever a misspelt name says.
            client.get_registered_model(name)
            copied = client.copy_model_version(version.uri, name)
        return self.get(name, int(copied.version))

    def lost(self) -> str:
        """Return what is wrong with the database of a registry that there was; empty where it can be used."""
        self._mlflow()
        try:
            with self._alone(), self._translated("open the registry"):
                self._prepare()
        except LostRegistryError as error:
            return error.message
        return ""

    def set_aside(self) -> str:
        """Keep what is left of a registry that is lost in a folder beside it; the next opening makes a new one."""
        self._mlflow()
        with self._alone(), self._translated("set what is left of the registry aside"):
            try:
                self._prepare()
            except LostRegistryError:
                self._client = None
                return str(registry_database.set_aside(self.database, self.artifacts))
        return ""

    def _alone(self) -> AbstractContextManager[None]:
        return file_lock(self._root / ".locks", "mlflow database")

    def _prepare(self) -> None:
        """Have a whole database; MLflow is loaded, and the lock held."""
        registry_database.prepare(self.database, self.artifacts, make=_make, upgrade=_upgrade)

    def _connect(self) -> MlflowClient:
        if self._client is None:
            self._mlflow()
            from mlplatform.workspace.local.remembering_client import RememberingClient

            # Made by one process at a time: the next one finds it whole.
            with self._alone(), self._translated("open the registry"):
                self._prepare()
                if self._files is None:
                    self.artifacts.mkdir(parents=True, exist_ok=True)
                moved.follow(self.database, self.artifacts)
                client = RememberingClient(self.database, self.uri)
                client.search_registered_models(max_results=1)
                self._client = client
        return self._client

    def _store(self, client: MlflowClient, run_id: str, part: Path, folder: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # The client's own method remembers a run's folder in the process, though its workspace may have moved.
        get_artifact_repository(client.get_run(run_id).info.artifact_uri).log_artifacts(str(part), folder)

    def _failure(self, doing: str, error: BaseException, needs: str) -> RegistryError:
        del needs  # no access control here
        hint = MISSING_HINT if code_of(error) in MISSING else NOTHING_ASSUMED
        return RegistryError(f"Could not {doing}: {error}", hint=hint)


def _uri(database: Path) -> str:
    return f"sqlite:///{plain_path(database.parent) / database.name}"


def _make(database: Path) -> None:
    from mlflow import MlflowClient

    # The first question makes the tables, those of runs and those of models.
    MlflowClient(tracking_uri=_uri(database), registry_uri=_uri(database)).search_registered_models(max_results=1)


def _upgrade(database: Path) -> None:
    from mlflow.db import upgrade

    assert upgrade.callback is not None  # it is what the command `mlflow db upgrade` does
    upgrade.callback(_uri(database))
