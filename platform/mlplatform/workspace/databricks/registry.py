"""MLflow in Unity Catalog: tracking `databricks`, registry `databricks-uc`, three-level models, aliases."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlplatform.errors import MissingDependencyError, RegistryError
from mlplatform.naming import ObjectName
from mlplatform.protocols.registry import ModelVersion
from mlplatform.workspace.databricks import feature_models
from mlplatform.workspace.databricks.connection import cause
from mlplatform.workspace.databricks.registry_errors import EXISTS, MISSING, code_of, registry_error, translated
from mlplatform.workspace.shared import model_page
from mlplatform.workspace.shared.model_logging import log_packaged
from mlplatform.workspace.shared.model_store import SPEC_FOLDER, missing_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion
    from mlflow.entities.model_registry import RegisteredModel

    from mlplatform.protocols.registry import TableRead
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

TRACKING_URI = "databricks"
REGISTRY_URI = "databricks-uc"
EXPERIMENTS = "/Shared/mlplatform"
_READY = "READY"
_TRUSTED_SECONDS = 30.0
# What was set outside wins. MLflow's own defaults would wait for minutes on a host that does not answer.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT": "30",
}


class DatabricksRegistry:
    """Registered models in Unity Catalog; see `mlplatform.protocols.workspace.Registry`.

    MLflow retries what a busy service refuses. What still fails after the request was sent may have been done all the
    same: a write is then read back before it is called an error.
    """

    def __init__(self, ws: DatabricksWorkspace) -> None:
        """Take the workspace; nothing is asked yet."""
        self._ws = ws
        self._client: MlflowClient | None = None
        self._answered: float | None = None
        self._refusal: str | None = None

    def activate(self) -> None:
        """Point MLflow's tracking and registry at the workspace."""
        mlflow = self._mlflow()
        mlflow.set_tracking_uri(TRACKING_URI)
        mlflow.set_registry_uri(REGISTRY_URI)

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, made if need be.

        Args:
            name: As in `/dev/credit_risk`; it is kept at `/Shared/mlplatform/dev/credit_risk`, unless the workspace was
                opened with an experiment of its own.

        Raises:
            RegistryError: If it cannot be read or made, or was deleted.
        """
        path = self._ws.experiment or self._path(name)
        client = self._connect()
        with translated(f"read the experiment {path}", needs="CAN EDIT on it, and on its folder"):
            found = client.get_experiment_by_name(path)
            if found is None:
                self._ws.client.workspace.mkdirs(path.rpartition("/")[0])
                found = self._created(client, path)
        if found.lifecycle_stage == "deleted":
            raise RegistryError(
                f"The experiment {path} was deleted.",
                hint="Restore it in the workspace, or choose another one with --experiment.",
            )
        return str(found.experiment_id)

    def aliases(self, model: ObjectName | str) -> dict[str, int]:
        """Return alias -> version as the registered model itself says; empty when the model does not exist."""
        registered = self._registered(model)
        return {} if registered is None else {alias: int(number) for alias, number in registered.aliases.items()}

    def get(self, model: ObjectName | str, version: int) -> ModelVersion:
        """Return one version with its tags."""
        name = str(ObjectName.parse(model))
        with translated(f"read version {version} of {name}", needs=f"EXECUTE on the model {name}"):
            try:
                found = self._connect().get_model_version(name, str(version))
            except Exception as error:
                if code_of(error) in MISSING:
                    raise missing_version(name, version) from cause(error)
                raise
        if found.status != _READY:
            raise RegistryError(
                f"Version {version} of {name} is {found.status}: its registration was not completed.",
                hint="Train again; the version can be deleted.",
            )
        return _version(found)

    def versions(self, model: ObjectName | str) -> list[ModelVersion]:
        """Return the versions that are ready, oldest first; a registration that was cut off left none."""
        name = str(ObjectName.parse(model))
        if self._registered(name) is None:
            return []
        client = self._connect()
        numbers: list[int] = []
        with translated(f"list the versions of {name}", needs=f"EXECUTE on the model {name}"):
            token: str | None = None
            while True:
                page = client.search_model_versions(f"name='{name}'", page_token=token)
                numbers.extend(int(item.version) for item in page)
                token = page.token
                if not token:
                    break
            # What a search finds carries no tags in Unity Catalog.
            found = [client.get_model_version(name, str(number)) for number in sorted(numbers)]
        return [_version(item) for item in found if item.status == _READY]

    def set_alias(self, model: ObjectName | str, alias: str, version: int) -> None:
        """Move an alias, and read it back."""
        name = str(ObjectName.parse(model))
        self._write(
            f"set alias {alias} of {name} to version {version}",
            lambda client: client.set_registered_model_alias(name, alias, str(version)),
            done=lambda: self.aliases(name).get(alias) == version,
            needs=f"ownership of the model {name}",
        )
        now = self.aliases(name).get(alias)
        if now != version:
            raise RegistryError(
                f"Alias {alias} of {name} was set to version {version}, but reads {now}.",
                hint="Somebody else moved it at the same time; look at the history, and run the gate again.",
            )

    def delete_alias(self, model: ObjectName | str, alias: str) -> None:
        """Take an alias away; no error if it is not there."""
        name = str(ObjectName.parse(model))
        if alias in self.aliases(name):
            self._write(
                f"delete alias {alias} of {name}",
                lambda client: client.delete_registered_model_alias(name, alias),
                done=lambda: alias not in self.aliases(name),
                needs=f"ownership of the model {name}",
            )

    def set_tags(self, model: ObjectName | str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags on a version, in the order given."""
        name = str(ObjectName.parse(model))
        for key, value in tags.items():
            self._set_tag(name, version, key, str(value))

    def ensure_model(self, model: ObjectName | str, *, description: str = "") -> None:
        """Create the registered model if it does not exist."""
        name = ObjectName.parse(model)
        if self._registered(name) is None:
            self._write(
                f"create the model {name}",
                lambda client: client.create_registered_model(str(name), description=description or None),
                done=lambda: self._registered(name) is not None,
                needs=f"CREATE MODEL on the schema {name.catalog}.{name.schema}",
            )

    def require_model(self, model: ObjectName | str) -> None:
        """See to it that the model is there to train versions of: training does not create it.

        Raises:
            RegistryError: If it does not exist, with the command that creates it; or if it cannot be read.
        """
        if self._registered(model) is None:
            raise _no_model(model, self._ws)

    def set_deployment_job(self, model: ObjectName | str, job_id: str | None) -> None:
        """Link the job that evaluates, approves and promotes new versions; None unlinks."""
        registered = self._registered(model)
        if registered is None:
            raise _no_model(model, self._ws)
        name, now, wanted = str(ObjectName.parse(model)), str(registered.deployment_job_id or ""), str(job_id or "")
        # A linked job is taken away before another one is linked: the service refuses to replace it at once.
        if now and wanted and now != wanted:
            self._link(name, "")
        if now != wanted:
            self._link(name, wanted)

    def copy_version(self, version: ModelVersion, model: ObjectName | str) -> ModelVersion:
        """Register a version's files and tags as a new version of another model, which exists.

        What the feature client packaged, and the installed MLflow does not register, is packaged anew, in a run of its
        own. A copy whose answer was lost may be there without the caller's knowing: a second one is then made.
        """
        self.require_model(model)
        name = str(ObjectName.parse(model))
        self.activate()
        needs = f"EXECUTE on the model {version.name}, CREATE MODEL VERSION on {name}"
        with translated(f"copy {version.uri} to {name}", needs=needs):
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
            self._refusal = feature_models.refusal(client, self._ws.catalog)
        return self._refusal

    def log_files(self, version: ModelVersion, folder: str, files: Mapping[str, str]) -> None:
        """Keep text files with the run that made a version."""
        client = self._connect()
        doing = f"store files of version {version.version} of {version.name}"
        with translated(doing, needs="CAN EDIT on the experiment"), TemporaryDirectory() as part:
            for name, content in files.items():
                (Path(part) / name).write_text(content, encoding="utf-8")
            client.log_artifacts(version.run_id, part, folder)

    def log_tables(self, run_id: str, tables: Sequence[TableRead]) -> None:
        """Log the tables that a run read as its inputs, with Unity Catalog's ids: lineage goes by them."""
        with translated(f"log the inputs of run {run_id}", needs="CAN EDIT on the experiment, SELECT on the tables"):
            known = [
                table
                if table.table_id
                else replace(table, table_id=self._ws.client.tables.get(table.name).table_id or "")
                for table in tables
            ]
            model_page.log_tables(self._connect(), run_id, known)

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float], at: datetime) -> None:
        """Log metrics on the logged model behind a version, and on its run."""
        doing = f"log metrics of version {version.version} of {version.name}"
        with translated(doing, needs="CAN EDIT on the experiment"):
            model_page.log_metrics(self._connect(), version, metrics, at)

    def _packaged_anew(self, version: ModelVersion, name: str) -> ModelVersion:
        """Register the files of another version, with a loader that MLflow registers."""
        from mlflow.models import Model
        from mlflow.pyfunc import get_model_dependencies

        mlflow, target = self._mlflow(), ObjectName.parse(name)
        experiment = self.experiment(f"/{target.catalog}/{target.schema.removeprefix(self._ws.prefix)}")
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

    def _set_tag(self, name: str, version: int, key: str, value: str) -> None:
        self._write(
            f"tag version {version} of {name} with {key}",
            lambda client: client.set_model_version_tag(name, str(version), key, value),
            done=lambda: self.get(name, version).tags.get(key) == value,
            needs=f"ownership of the model {name}, or APPLY TAG on it",
        )

    def _write(self, doing: str, write: Callable[[MlflowClient], Any], *, done: Callable[[], bool], needs: str) -> None:
        """Write; when the answer is an error, look whether it was done all the same."""
        client = self._connect()
        try:
            write(client)
        except Exception as error:  # noqa: BLE001  (raised again, without what might be a credential)
            failure = registry_error(doing, error, needs=needs)
            try:
                took_effect = done()
            except RegistryError:
                raise failure from cause(error)
            if not took_effect:
                raise failure from cause(error)

    def _registered(self, model: ObjectName | str) -> RegisteredModel | None:
        """Return the registered model; None only when the registry itself says that it does not exist."""
        name = str(ObjectName.parse(model))
        client = self._connect()
        try:
            return client.get_registered_model(name)
        except Exception as error:  # noqa: BLE001  (raised again, without what might be a credential)
            if code_of(error) in MISSING:
                return None
            raise registry_error(
                f"read the model {name}",
                error,
                needs=f"EXECUTE on the model {name}, USE CATALOG and USE SCHEMA above it",
            ) from cause(error)

    def _deployment_job(self, name: str) -> str:
        registered = self._registered(name)
        return str(registered.deployment_job_id or "") if registered is not None else ""

    def _path(self, name: str) -> str:
        parent, _, last = f"/{name.strip('/')}".rpartition("/")
        return f"{EXPERIMENTS}{parent}/{self._ws.prefix}{last}"

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

            with translated("open the registry"):
                self._client = MlflowClient(tracking_uri=TRACKING_URI, registry_uri=REGISTRY_URI)
        return self._client

    def _look_at_host(self) -> None:
        """Ask our own client first: MLflow makes one without limits for each request, which waits for five minutes."""
        if self._answered is not None and time.monotonic() - self._answered < _TRUSTED_SECONDS:
            return
        client = self._ws.client
        with translated(f"reach {client.config.host}"):
            client.current_user.me()
        self._answered = time.monotonic()

    @staticmethod
    def _mlflow() -> Any:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            import mlflow
        except ImportError as error:
            raise MissingDependencyError(
                f"mlflow is not installed ({error}).", hint="pip install 'mlplatform[databricks]'"
            ) from error
        return mlflow


def _version(item: MlflowVersion) -> ModelVersion:
    return ModelVersion(
        name=item.name,
        version=int(item.version),
        run_id=item.run_id or "",
        tags=dict(item.tags or {}),
        created_at=datetime.fromtimestamp((item.creation_timestamp or 0) / 1000, UTC),
    )


def _no_model(model: ObjectName | str, ws: DatabricksWorkspace) -> RegistryError:
    name = ObjectName.parse(model)
    where = f"--env {ws.env}" + (f" --catalog {name.catalog}" if name.catalog != ws.env else "")
    return RegistryError(
        f"The registered model {name} does not exist, and training does not create it.",
        hint=f"Create it, with its grants, by: mlplatform setup USE_CASE --workspace databricks {where}",
    )
