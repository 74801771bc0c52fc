"""MLflow on SQLite: tracking, three-level registered models, aliases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import RegistryError
from mlplatform.naming import ObjectName
from mlplatform.workspace.local import moved
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
        return f"sqlite:///{plain_path(self._root) / 'mlflow.db'}"

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

    def _connect(self) -> MlflowClient:
        if self._client is None:
            self._mlflow()
            from mlflow import MlflowClient

            database = self._root / "mlflow.db"
            if not database.exists() and self.artifacts.is_dir() and any(self.artifacts.iterdir()):
                raise RegistryError(
                    f"The registry's database {database} is gone, while its models' files still exist.",
                    hint="Restore it; or, to begin anew without a champion, move the folder artifacts away.",
                )
            if self._files is None:
                self.artifacts.mkdir(parents=True, exist_ok=True)
            # The first client creates the database's tables; two doing so at once would collide.
            with file_lock(self._root / ".locks", "mlflow database"), self._translated("open the registry"):
                moved.follow(database, self.artifacts)
                client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
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
