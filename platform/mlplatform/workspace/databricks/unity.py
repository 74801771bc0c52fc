"""The connection that the parts of a Databricks workspace take: the SDK's client, the Spark session, statements."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.naming import OPS_SCHEMA, ObjectName, ops_table
from mlplatform.workspace.databricks.connection import user_name
from mlplatform.workspace.databricks.session import open_session
from mlplatform.workspace.databricks.unity_sql import DatabricksSql, UnitySql

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from pyspark.sql import SparkSession

    from mlplatform.workspace.shared.place import Place

VOLUMES = Path("/Volumes")


class Unity:
    """How Unity Catalog is reached, and where in it the workspace keeps what is its own.

    Attributes:
        client: The SDK's client; it knows who asks, by the SDK's unified authentication.
        place: Environment, catalog and prefix; the catalog may be settled later than the connection.
        sql: Where statements go that only Databricks' Spark knows.
        volumes: Where the volumes are mounted.
    """

    def __init__(
        self,
        client: WorkspaceClient,
        place: Place,
        *,
        spark: Callable[[], SparkSession] = open_session,
        sql: UnitySql | None = None,
        volumes: Path = VOLUMES,
    ) -> None:
        """Take what is given; nothing is opened yet."""
        self.client = client
        self.place = place
        self.volumes = volumes
        self._open_session = spark
        self._session: SparkSession | None = None
        self.sql: UnitySql = sql or DatabricksSql(lambda: self.spark)

    @property
    def spark(self) -> SparkSession:
        """The active session, else one of Databricks Connect; never stopped by us."""
        if self._session is None:
            self._session = self._open_session()
        return self._session

    @cached_property
    def user(self) -> str:
        """Who the workspace says we are."""
        return user_name(self.client)

    @property
    def ops_volume(self) -> Path:
        """The volume that holds the platform's own files: `/Volumes/<catalog>/<prefix>ops/files`."""
        return self.volumes / self.place.catalog / f"{self.place.prefix}{OPS_SCHEMA}" / "files"

    def ops_table(self, name: str) -> ObjectName:
        """Return the name of one of the platform's own tables."""
        return ops_table(self.place.catalog, name, self.place.prefix)
