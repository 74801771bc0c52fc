"""MLflow in Unity Catalog: tracking `databricks`, registry `databricks-uc`, three-level models, aliases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlplatform.errors import RegistryError
from mlplatform.naming import ObjectName
from mlplatform.workspace.databricks import feature_models
from mlplatform.workspace.databricks.connection import cause
from mlplatform.workspace.databricks.registry_errors import registry_error
from mlplatform.workspace.shared.model_logging import log_packaged
from mlplatform.workspace.shared.model_store import SPEC_FOLDER
from mlplatform.workspace.shared.registry import MlflowRegistry
from mlplatform.workspace.shared.registry_errors import EXISTS, code_of

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

    from mlplatform.protocols.registry import ModelVersion, TableRead
    from mlplatform.workspace.shared.place import Place

TRACKING_URI = "databricks"
REGISTRY_URI = "databricks-uc"
EXPERIMENTS = "/Shared/mlplatform"
_TRUSTED_SECONDS = 30.0
# MLflow's own defaults would wait for minutes on a host that does not answer.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT": "30",
}


class DatabricksRegistry(MlflowRegistry):
    """Registered models in Unity Catalog; see `mlplatform.protocols.registry.Registry`.

    MLflow retries what a busy service refuses.
    """

    def __init__(self, workspace: WorkspaceClient, place: Place, experiment: str | None = None) -> None:
        """Take what it needs; nothing is asked yet.

        Args:
            workspace: The SDK's client.
            place: Where in the workspace: environment, catalog, prefix.
            experiment: Path of the MLflow experiment; default `/Shared/mlplatform/<catalog>/<use case>`.
        """
        super().__init__(TRACKING_URI, REGISTRY_URI, extra="databricks", settings=_SETTINGS)
        self._workspace = workspace
        self._place = place
        self._experiment = experiment
        self._answered: float | None = None
        self._refusal: str | None = None

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created if it does not exist.

        Args:
            name: As in `/dev/credit_risk`; it is kept at `/Shared/mlplatform/dev/credit_risk`, unless the workspace was
                opened with an experiment of its own.

        Raises:
            RegistryError: If it cannot be read or created, or was deleted.
        """
        path = self._experiment or self._path(name)
        client = self._connect()
        with self._translated(f"read the experiment {path}", needs="CAN EDIT on it, and on its folder"):
            experiment = client.get_experiment_by_name(path)
            if experiment is None:
                self._workspace.workspace.mkdirs(path.rpartition("/")[0])
                experiment = self._created(client, path)
        if experiment.lifecycle_stage == "deleted":
            raise RegistryError(
                f"The experiment {path} was deleted.",
                hint="Restore it in the workspace, or choose another one with --experiment.",
            )
        return str(experiment.experiment_id)

    def require_model(self, model: ObjectName | str) -> None:
        """Make sure that the model exists: training does not create it.

        Raises:
            RegistryError: If it does not exist, with the command that creates it; or if it cannot be read.
        """
        if self._registered(model) is None:
            raise self._absent(model)

    def set_deployment_job(self, model: ObjectName | str, job_id: str | None) -> None:
        """Link the job that evaluates, approves and promotes new versions; None unlinks."""
        registered = self._registered(model)
        if registered is None:
            raise self._absent(model)
        name = str(ObjectName.parse(model))
        current, desired = str(registered.deployment_job_id or ""), str(job_id or "")
        # A linked job is taken away before another one is linked: the service refuses to replace it at once.
        if current and desired and current != desired:
            self._link(name, "")
        if current != desired:
            self._link(name, desired)

    def copy_version(self, version: ModelVersion, model: ObjectName | str) -> ModelVersion:
        """Register a version's files and tags as a new version of another model, which exists.

        What the feature client packaged, and the installed MLflow does not register, is packaged anew, in a run of its
        own. A copy whose answer was lost may be there without the caller's knowing: a second one is then made.
        """
        self.require_model(model)
        name = str(ObjectName.parse(model))
        self.activate()
        needs = f"EXECUTE on the model {version.name}, CREATE MODEL VERSION on {name}"
        with self._translated(f"copy {version.uri} to {name}", needs=needs):
            try:
                copied = self._connect().copy_model_version(version.uri, name)
            except Exception as error:
                # Raised before anything was sent.
                if not feature_models.is_refusal(str(error)):
                    raise
                return self._packaged_anew(version, name)
        return self.get(name, int(copied.version))

    def feature_model_refusal(self) -> str:
        """Return why the installed MLflow does not register models that the feature client packaged; empty: it does."""
        if self._refusal is None:
            client = self._connect()
            self.activate()
            self._refusal = feature_models.refusal(client, self._place.catalog)
        return self._refusal

    def log_tables(self, run_id: str, tables: Sequence[TableRead]) -> None:
        """Log the tables that a run read as its inputs, with Unity Catalog's ids: lineage goes by them."""
        needs = "SELECT on the tables"
        with self._translated(f"look up the tables that run {run_id} read", needs=needs):
            identified = [
                table
                if table.table_id
                else replace(table, table_id=self._workspace.tables.get(table.name).table_id or "")
                for table in tables
            ]
        super().log_tables(run_id, identified)

    def _packaged_anew(self, version: ModelVersion, name: str) -> ModelVersion:
        """Register the files of another version, with a loader that MLflow registers."""
        from mlflow.models import Model
        from mlflow.pyfunc import get_model_dependencies

        mlflow, target = self._mlflow(), ObjectName.parse(name)
        experiment = self.experiment(f"/{target.catalog}/{target.schema.removeprefix(self._place.prefix)}")
        with TemporaryDirectory() as part:
            folder = Path(mlflow.artifacts.download_artifacts(version.uri, dst_path=part))
            with mlflow.start_run(experiment_id=experiment, run_name=f"copy of {version.uri}", tags=dict(version.tags)):
                info = log_packaged(
                    folder / SPEC_FOLDER,
                    "model",
                    signature=Model.load(str(folder)).signature,
                    pip_requirements=get_model_dependencies(str(folder)),
                    registered_model_name=name,
                )
        assert info.registered_model_version is not None  # it was logged under a registered name
        copied = int(info.registered_model_version)
        self.set_tags(name, copied, version.tags)
        return self.get(name, copied)

    def _link(self, name: str, job_id: str) -> None:
        self._write(
            f"link the deployment job {job_id} to {name}" if job_id else f"unlink the deployment job of {name}",
            lambda client: client.update_registered_model(name, deployment_job_id=job_id),
            done=lambda: self._deployment_job(name) == job_id,
            needs=f"ownership of the model {name}, and CAN MANAGE RUN on the job",
        )

    def _deployment_job(self, name: str) -> str:
        registered = self._registered(name)
        return str(registered.deployment_job_id or "") if registered is not None else ""

    def _path(self, name: str) -> str:
        parent, _, last = f"/{name.strip('/')}".rpartition("/")
        return f"{EXPERIMENTS}{parent}/{self._place.prefix}{last}"

    @staticmethod
    def _created(client: MlflowClient, path: str) -> Any:
        try:
            client.create_experiment(path)
        except Exception as error:
            # Another process was faster, or the answer to our own first try was lost.
            if code_of(error) not in EXISTS:
                raise
        return client.get_experiment_by_name(path)

    def _connect(self) -> MlflowClient:
        self._look_at_host()
        if self._client is None:
            self._mlflow()
            from mlflow import MlflowClient

            with self._translated("open the registry"):
                self._client = MlflowClient(tracking_uri=TRACKING_URI, registry_uri=REGISTRY_URI)
        return self._client

    def _look_at_host(self) -> None:
        """Ask our own client first: MLflow makes one without limits for each request, which waits for five minutes."""
        if self._answered is not None and time.monotonic() - self._answered < _TRUSTED_SECONDS:
            return
        client = self._workspace
        with self._translated(f"reach {client.config.host}"):
            client.current_user.me()
        self._answered = time.monotonic()

    def _with_tags(self, client: MlflowClient, items: list[MlflowVersion]) -> list[MlflowVersion]:
        # What a search gives carries no tags in Unity Catalog.
        return [client.get_model_version(item.name, str(item.version)) for item in items]

    def _failure(self, doing: str, error: BaseException, needs: str) -> RegistryError:
        return registry_error(doing, error, needs=needs)

    def _cause(self, error: Exception) -> Exception | None:
        return cause(error)

    def _absent(self, model: ObjectName | str) -> RegistryError:
        name, env = ObjectName.parse(model), self._place.env
        where = f"--env {env}" + (f" --catalog {name.catalog}" if name.catalog != env else "")
        return RegistryError(
            f"The registered model {name} does not exist, and training does not create it.",
            hint=f"Create it, with its grants, by: mlplatform setup USE_CASE --workspace databricks {where}",
        )
