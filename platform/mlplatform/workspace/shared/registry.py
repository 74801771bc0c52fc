"""The registry as both homes keep it, over MLflow: a home says where MLflow looks, and what its errors mean."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlplatform.errors import MissingDependencyError, PlatformError, RegistryError
from mlplatform.naming import ObjectName
from mlplatform.protocols.registry import ModelSignature, ModelVersion, RunRecord
from mlplatform.workspace.shared import model_page
from mlplatform.workspace.shared.registry_errors import MISSING, code_of, missing_version
from mlplatform.workspace.shared.training_run import MlflowRun

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion
    from mlflow.entities.model_registry import RegisteredModel

    from mlplatform.protocols.registry import TableRead

_PARENT = "mlflow.parentRunId"
_READY = "READY"
# What was set outside wins.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Else MLflow copies the project's own lock file into every model it finds one for.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOG_UV_FILES": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class MlflowRegistry(ABC):
    """Registered models in MLflow; see `mlplatform.protocols.registry.Registry`.

    A write whose answer is an error may have been done all the same: it is read back before it is called an error.
    """

    def __init__(self, tracking_uri: str, registry_uri: str, *, extra: str, settings: Mapping[str, str]) -> None:
        """Remember where MLflow looks; nothing is asked yet.

        Args:
            tracking_uri: Where runs are.
            registry_uri: Where registered models are.
            extra: The extra of this package that installs MLflow.
            settings: Environment variables for MLflow, beside those of both homes; what was set outside wins.
        """
        self._tracking_uri = tracking_uri
        self._registry_uri = registry_uri
        self._extra = extra
        self._settings = {**_SETTINGS, **settings}
        self._client: MlflowClient | None = None

    @abstractmethod
    def experiment(self, name: str) -> str:
        """Return the id of the experiment of this name; it is created if it does not exist."""

    @abstractmethod
    def _connect(self) -> MlflowClient:
        """Return MLflow's client."""

    @abstractmethod
    def _failure(self, doing: str, error: BaseException, needs: str) -> RegistryError:
        """Say what could not be done, why, and what helps; `needs` is the grant that it takes."""

    def _cause(self, error: Exception) -> Exception | None:
        """Return the error if a traceback may show it."""
        return error

    def activate(self) -> None:
        """Point MLflow's own functions at this workspace; they remember one place for the whole process."""
        mlflow = self._mlflow()
        mlflow.set_tracking_uri(self._tracking_uri)
        mlflow.set_registry_uri(self._registry_uri)

    def lost(self) -> str:
        """Return nothing: a service is not lost, though models in it may be."""
        return ""

    def set_aside(self) -> str:
        """Do nothing: a service is not lost."""
        return ""

    def aliases(self, model: ObjectName | str) -> dict[str, int]:
        """Return alias -> version as the registered model itself says; empty when the model does not exist."""
        registered = self._registered(model)
        return {} if registered is None else {alias: int(number) for alias, number in registered.aliases.items()}

    def get(self, model: ObjectName | str, version: int) -> ModelVersion:
        """Return one version with its tags."""
        name = str(ObjectName.parse(model))
        with self._translated(f"read version {version} of {name}", needs=f"EXECUTE on the model {name}"):
            try:
                item = self._connect().get_model_version(name, str(version))
            except Exception as error:
                if code_of(error) in MISSING:
                    raise missing_version(name, version) from self._cause(error)
                raise
        if item.status != _READY:
            raise RegistryError(
                f"Version {version} of {name} is {item.status}: its registration was not completed.",
                hint="Train again; the version can be deleted.",
            )
        return _version(item)

    def versions(self, model: ObjectName | str) -> list[ModelVersion]:
        """Return the versions that are ready, oldest first; a registration that was cut off left none."""
        name = str(ObjectName.parse(model))
        if self._registered(name) is None:
            return []
        client = self._connect()
        items: list[MlflowVersion] = []
        with self._translated(f"list the versions of {name}", needs=f"EXECUTE on the model {name}"):
            token: str | None = None
            while True:
                page = client.search_model_versions(f"name='{name}'", page_token=token)
                items.extend(page)
                token = page.token
                if not token:
                    break
            items = self._with_tags(client, items)
        versions = [_version(item) for item in items if item.status == _READY]
        return sorted(versions, key=lambda version: version.version)

    def _with_tags(self, client: MlflowClient, items: list[MlflowVersion]) -> list[MlflowVersion]:
        """Return the versions that a search gave, with their tags."""
        del client
        return items

    def set_alias(self, model: ObjectName | str, alias: str, version: int) -> None:
        """Move an alias, and read it back."""
        name = str(ObjectName.parse(model))
        self._write(
            f"set alias {alias} of {name} to version {version}",
            lambda client: client.set_registered_model_alias(name, alias, str(version)),
            done=lambda: self.aliases(name).get(alias) == version,
            needs=f"ownership of the model {name}",
        )
        current = self.aliases(name).get(alias)
        if current != version:
            raise RegistryError(
                f"Alias {alias} of {name} was set to version {version}, but reads {current}.",
                hint="Somebody else moved it at the same time; look at the history, and run the gate again.",
            )

    def delete_alias(self, model: ObjectName | str, alias: str) -> None:
        """Take an alias away; no error if it does not exist."""
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

    @contextmanager
    def training_run(
        self, experiment: str, name: str, tags: Mapping[str, str], *, parent: str = ""
    ) -> Iterator[MlflowRun]:
        """Record a training as an MLflow run; a model that is logged within belongs to it."""
        self.activate()
        import mlflow
        from mlflow.exceptions import MlflowException

        experiment_id = self.experiment(experiment)
        try:
            # As a tag, which asks nothing of the parent: it may lie in an experiment of somebody else's.
            beside = {_PARENT: parent} if parent else {}
            with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=dict(tags) | beside) as run:
                yield MlflowRun(run.info.run_id, experiment_id, tags)
        except MlflowException as error:
            message = self._failure("record the training", error, "CAN EDIT on the experiment").message
            raise RegistryError(
                message,
                hint="Run again when MLflow answers: what was registered by then is completed, else it is trained "
                "again.",
            ) from self._cause(error)

    def run(self, version: ModelVersion) -> RunRecord:
        """Return what is on record of the run that made a version."""
        doing = f"read the run of version {version.version} of {version.name}"
        with self._translated(doing, needs="CAN READ on the experiment"):
            data = self._connect().get_run(version.run_id).data
        return RunRecord(dict(data.tags), dict(data.metrics))

    def infer_signature(self, inputs: pd.DataFrame, outputs: np.ndarray) -> Any:
        """Return the signature of sample data, as MLflow infers it."""
        self._mlflow()
        from mlflow.models import infer_signature

        return infer_signature(inputs, outputs)

    def signature(self, version: ModelVersion) -> ModelSignature | None:
        """Return a version's signature; None if it was logged without inputs or outputs."""
        self.activate()
        import mlflow

        doing = f"read the signature of version {version.version} of {version.name}"
        with self._translated(doing, needs=f"EXECUTE on the model {version.name}"):
            logged = mlflow.models.get_model_info(version.uri).signature
        if logged is None or logged.inputs is None or logged.outputs is None:
            return None
        # The inputs of a model that takes arrays need not have names, and are all required.
        inputs = {item.name or "": (str(item.type), bool(getattr(item, "required", True))) for item in logged.inputs}
        return ModelSignature(
            required={name: kind for name, (kind, required) in inputs.items() if required},
            optional={name: kind for name, (kind, required) in inputs.items() if not required},
            outputs=tuple(str(column.type) for column in logged.outputs),
        )

    def download(self, version: ModelVersion, folder: Path, part: str = "") -> Path:
        """Bring a version's files to this machine; nothing in them is loaded."""
        self.activate()
        import mlflow

        uri = f"{version.uri}/{part}" if part else version.uri
        with self._translated(f"fetch the files of {uri}", needs=f"EXECUTE on the model {version.name}"):
            path = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        # Some stores answer with an empty folder where there is nothing.
        if not part and not (path / "MLmodel").is_file():
            raise RegistryError(
                f"The files of {uri} are gone: the artifact store holds no MLmodel of it.",
                hint="Restore the artifact store, or train a new version.",
            )
        return path

    def load_json(self, version: ModelVersion, name: str) -> dict[str, Any]:
        """Return a JSON file that is kept with the run that made a version."""
        self.activate()
        import mlflow

        doing = f"read {name} of the run of version {version.version} of {version.name}"
        with self._translated(doing, needs="CAN READ on the experiment"):
            return dict(mlflow.artifacts.load_dict(f"runs:/{version.run_id}/{name}"))

    def log_files(self, version: ModelVersion, folder: str, files: Mapping[str, str]) -> None:
        """Keep text files with the run that made a version."""
        client = self._connect()
        doing = f"store files of version {version.version} of {version.name}"
        with self._translated(doing, needs="CAN EDIT on the experiment"), TemporaryDirectory() as part:
            for name, content in files.items():
                (Path(part) / name).write_text(content, encoding="utf-8")
            self._store(client, version.run_id, Path(part), folder)

    def _store(self, client: MlflowClient, run_id: str, part: Path, folder: str) -> None:
        """Copy the files of a folder into a folder of a run."""
        client.log_artifacts(run_id, str(part), folder)

    def log_tables(self, run_id: str, tables: Sequence[TableRead]) -> None:
        """Log the tables that a run read as its inputs."""
        with self._translated(
            f"log the inputs of run {run_id}", needs="CAN EDIT on the experiment, SELECT on the tables"
        ):
            model_page.log_tables(self._connect(), run_id, tables)

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float], at: datetime) -> None:
        """Log metrics on the logged model behind a version, and on its run."""
        doing = f"log metrics of version {version.version} of {version.name}"
        with self._translated(doing, needs="CAN EDIT on the experiment"):
            model_page.log_metrics(self._connect(), version, metrics, at)

    def _registered(self, model: ObjectName | str) -> RegisteredModel | None:
        """Return the registered model; None only when the registry itself says that it does not exist."""
        name = str(ObjectName.parse(model))
        client = self._connect()
        needs = f"EXECUTE on the model {name}, USE CATALOG and USE SCHEMA above it"
        with self._translated(f"read the model {name}", needs=needs):
            try:
                return client.get_registered_model(name)
            except Exception as error:
                if code_of(error) in MISSING:
                    return None
                raise

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
            failure = self._failure(doing, error, needs)
            try:
                took_effect = done()
            except RegistryError:
                raise failure from self._cause(error)
            if not took_effect:
                raise failure from self._cause(error)

    @contextmanager
    def _translated(self, doing: str, *, needs: str = "") -> Iterator[None]:
        """Raise what goes wrong inside as a RegistryError."""
        try:
            yield
        except PlatformError:
            raise
        except Exception as error:  # noqa: BLE001  (raised again, without what might be a credential)
            raise self._failure(doing, error, needs) from self._cause(error)

    def _mlflow(self) -> Any:
        for name, value in self._settings.items():
            os.environ.setdefault(name, value)
        try:
            import mlflow
        except ImportError as error:
            raise MissingDependencyError(
                f"mlflow is not installed ({error}).", hint=f"pip install 'mlplatform[{self._extra}]'"
            ) from error
        # Its chatter only where it warns; importing it sets this anew.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        return mlflow


def _version(item: MlflowVersion) -> ModelVersion:
    return ModelVersion(
        name=item.name,
        version=int(item.version),
        run_id=item.run_id or "",
        tags=dict(item.tags or {}),
        created_at=datetime.fromtimestamp((item.creation_timestamp or 0) / 1000, UTC),
    )
