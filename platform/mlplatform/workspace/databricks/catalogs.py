"""Whether the workspace's catalog is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlplatform.errors import DeploymentError
from mlplatform.workspace.databricks.connection import retrying, translated

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace


def owner_of_catalog(ws: DatabricksWorkspace) -> str | None:
    """Return who owns the workspace's catalog; None: there is none of that name, or we may not see it.

    Raises:
        DeploymentError: If the workspace cannot be asked.
    """
    from databricks.sdk.errors import NotFound

    with translated(f"Looking for the catalog {ws.catalog}", DeploymentError):
        try:
            return str(retrying(lambda: ws.client.catalogs.get(ws.catalog)).owner or "somebody")
        except NotFound:
            return None
