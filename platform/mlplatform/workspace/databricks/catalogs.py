"""Whether a catalog exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlplatform.errors import DeploymentError
from mlplatform.workspace.databricks.connection import retrying, translated

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


def owner_of_catalog(client: WorkspaceClient, catalog: str) -> str | None:
    """Return who owns a catalog; None: there is none of that name, or we may not see it.

    Raises:
        DeploymentError: If the workspace cannot be asked.
    """
    from databricks.sdk.errors import NotFound

    with translated(f"Looking for the catalog {catalog}", DeploymentError):
        try:
            return str(retrying(lambda: client.catalogs.get(catalog)).owner or "somebody")
        except NotFound:
            return None
