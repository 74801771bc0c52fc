"""The Databricks workspace: its parts, created when first used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.workspace.databricks.connection import connect
from mlplatform.workspace.databricks.session import open_session
from mlplatform.workspace.databricks.unity import VOLUMES, Unity
from mlplatform.workspace.shared.workspace import SharedWorkspace

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from pyspark.sql import SparkSession

    from mlplatform.protocols.operations import Upload
    from mlplatform.workspace.databricks.access import DatabricksAccess
    from mlplatform.workspace.databricks.auto_loader import DatabricksAutoLoader
    from mlplatform.workspace.databricks.feature_client import DatabricksFeatureClient
    from mlplatform.workspace.databricks.frames import DatabricksFrames
    from mlplatform.workspace.databricks.functions import DatabricksFunctions
    from mlplatform.workspace.databricks.jobs import DatabricksJobs
    from mlplatform.workspace.databricks.maintenance import DatabricksMaintenance
    from mlplatform.workspace.databricks.monitors import DatabricksMonitors
    from mlplatform.workspace.databricks.registry import DatabricksRegistry
    from mlplatform.workspace.databricks.secrets import DatabricksSecrets
    from mlplatform.workspace.databricks.tables import DatabricksTables
    from mlplatform.workspace.databricks.unity_sql import UnitySql


class DatabricksWorkspace(SharedWorkspace):
    """A Databricks workspace; see `mlplatform.protocols.workspace.Workspace`.

    Attributes:
        unity: The connection, of which each part takes what it needs.
    """

    home = "databricks"

    def __init__(
        self,
        env: str,
        client: WorkspaceClient,
        *,
        catalog: str | None = None,
        prefix: str = "",
        experiment: str | None = None,
        spark: Callable[[], SparkSession] = open_session,
        sql: UnitySql | None = None,
        volumes: Path = VOLUMES,
    ) -> None:
        """Use `DatabricksWorkspace.open` instead; tests bring their own session, statements and volumes.

        Args:
            env: The environment.
            client: The SDK's client.
            catalog: First level of every name; default: by the first use case that is opened.
            prefix: Put before the names of schemas and models.
            experiment: Path of the MLflow experiment; default `/Shared/mlplatform/<catalog>/<use case>`.
            spark: Gives the Spark session.
            sql: Where statements go that only Databricks' Spark knows; default: to the session.
            volumes: Where the volumes are mounted.
        """
        super().__init__(env, catalog, prefix)
        self._experiment = experiment
        self.unity = Unity(client, self, spark=spark, sql=sql, volumes=volumes)

    @classmethod
    def open(
        cls,
        *,
        env: str = "dev",
        catalog: str | None = None,
        prefix: str = "",
        experiment: str | None = None,
        spark: SparkSession | None = None,
    ) -> DatabricksWorkspace:
        """Open the workspace that the SDK's unified authentication leads to.

        Args:
            env: The environment.
            catalog: First level of every name; default: by the first use case that is opened.
            prefix: Put before the names of schemas and models.
            experiment: Path of the MLflow experiment.
            spark: The session to work with; default: the active one.

        Raises:
            UnavailableError: If it does not answer in seconds, or does not know who asks.
            MissingDependencyError: If a package of the extra `databricks` is not installed.
        """
        session = open_session if spark is None else lambda: spark
        return cls(env, connect(), catalog=catalog, prefix=prefix, experiment=experiment, spark=session)

    @property
    def client(self) -> WorkspaceClient:
        """The SDK's client."""
        return self.unity.client

    @property
    def spark(self) -> SparkSession:
        """The active session, else one of Databricks Connect; never stopped by us."""
        return self.unity.spark

    @property
    def sql(self) -> UnitySql:
        """Where statements go that only Databricks' Spark knows."""
        return self.unity.sql

    @cached_property
    def tables(self) -> DatabricksTables:
        """Unity Catalog's tables."""
        from mlplatform.workspace.databricks.tables import DatabricksTables

        return DatabricksTables(self.unity)

    @property
    def frames(self) -> DatabricksFrames:
        """Spark DataFrames."""
        return self.tables.frames

    @cached_property
    def maintenance(self) -> DatabricksMaintenance:
        """OPTIMIZE and VACUUM, or predictive optimization."""
        from mlplatform.workspace.databricks.maintenance import DatabricksMaintenance

        return DatabricksMaintenance(self.unity)

    @cached_property
    def auto_loader(self) -> DatabricksAutoLoader:
        """Auto Loader."""
        from mlplatform.workspace.databricks.auto_loader import DatabricksAutoLoader

        return DatabricksAutoLoader(self.unity)

    @cached_property
    def fe(self) -> DatabricksFeatureClient:
        """The real feature engineering client, behind the contract's face."""
        from mlplatform.workspace.databricks.feature_client import DatabricksFeatureClient

        return DatabricksFeatureClient(
            tables=self.tables,
            registry=self.registry,
            functions=self.functions,
            client=self.client,
            spark=lambda: self.spark,
            prefix=self.prefix,
        )

    @cached_property
    def registry(self) -> DatabricksRegistry:
        """MLflow in Unity Catalog."""
        from mlplatform.workspace.databricks.registry import DatabricksRegistry

        return DatabricksRegistry(self.client, self, self._experiment)

    @cached_property
    def functions(self) -> DatabricksFunctions:
        """Unity Catalog's Python functions."""
        from mlplatform.workspace.databricks.functions import DatabricksFunctions

        return DatabricksFunctions(self.unity)

    @cached_property
    def secrets(self) -> DatabricksSecrets:
        """Secret scopes."""
        from mlplatform.workspace.databricks.secrets import DatabricksSecrets

        return DatabricksSecrets(self.client)

    @cached_property
    def jobs(self) -> DatabricksJobs:
        """The Jobs API."""
        from mlplatform.workspace.databricks.jobs import DatabricksJobs

        return DatabricksJobs(self.client)

    @cached_property
    def monitors(self) -> DatabricksMonitors:
        """Data profiling."""
        from mlplatform.workspace.databricks.monitors import DatabricksMonitors

        return DatabricksMonitors(self.client)

    @cached_property
    def access(self) -> DatabricksAccess:
        """Grants."""
        from mlplatform.workspace.databricks.access import DatabricksAccess

        return DatabricksAccess(self.unity, self.registry)

    @property
    def user(self) -> str:
        """Who the workspace says we are."""
        return self.unity.user

    def joblib_backend(self) -> str | None:
        """Return the runtime's own joblib backend, which runs what it is given as Spark jobs; None: it has none."""
        from mlplatform.workspace.databricks.session import joblib_backend

        return joblib_backend()

    def landing(self, use_case: str) -> Path:
        """Return the volume where a use case's files land: `/Volumes/<catalog>/<prefix><use case>/landing`."""
        return self.unity.volumes / self.catalog / f"{self.prefix}{use_case}" / "landing"

    def upload(self, folder: Path, files: Sequence[Path], landing: Path, *, overwrite: bool = False) -> Upload:
        """Send files to the volume where they land; those there with the same size are left alone."""
        from mlplatform.workspace.databricks.uploads import upload

        return upload(self.client, folder, files, landing, overwrite=overwrite)

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Let one process at a time do what `name` says."""
        from mlplatform.workspace.databricks.locks import lease

        return lease(self.unity, name)

    def renew_engine(self) -> None:
        """Keep Spark: it is not ours to stop."""

    def turn(self, name: str) -> AbstractContextManager[None]:
        """Wait for nobody: the job runs once at a time.

        A lease costs seconds, and who waits for it gives up after minutes, where a training may take hours.
        """
        del name
        return nullcontext()

    def files(self, name: str) -> Path:
        """Return a folder for files that are no tables, in a volume."""
        folder = self.unity.ops_volume / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def close(self) -> None:
        """Leave: the session is somebody else's, and goes on."""
