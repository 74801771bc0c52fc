"""Feature tables as the real client reads them: their declarations, Unity Catalog's ids, and their newest versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlplatform.protocols.lineage import TableVersion
from mlplatform.workspace.databricks.feature_engineering import asked

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

    from mlplatform.protocols.tables import TableInfo, Tables


@dataclass(frozen=True)
class UnityTable:
    """A feature table in Unity Catalog."""

    info: TableInfo
    tables: UnityFeatureTables

    @property
    def table_id(self) -> str:
        """Unity Catalog's id, asked for when it is needed."""
        return self.tables.id(self.info.name)


@dataclass(frozen=True)
class UnityFeatureTables:
    """The feature tables of a workspace."""

    tables: Tables
    client: WorkspaceClient

    def open(self, names: Iterable[str]) -> dict[str, UnityTable]:
        """Return tables by name.

        Raises:
            TableError: If one does not exist.
        """
        return {name: UnityTable(replace(self.tables.describe(name), name=name), self) for name in dict.fromkeys(names)}

    def id(self, name: str) -> str:
        """Return Unity Catalog's id: another one when a table was dropped and made again.

        Raises:
            TableError: If the table does not exist.
            FeatureStoreError: If it cannot be read.
        """
        from databricks.sdk.errors import NotFound

        with asked(f"Reading the id of {name}"):
            try:
                return self.client.tables.get(name).table_id or ""
            except NotFound:
                self.tables.version(name)
                raise

    def newest(self, names: Iterable[str]) -> dict[str, TableVersion]:
        """Return ids and newest versions."""
        return {name: TableVersion(name, self.id(name), self.tables.version(name)) for name in names}
