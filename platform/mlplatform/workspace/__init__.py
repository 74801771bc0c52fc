"""Where the platform runs. `open_workspace()` is the only door to the homes behind it, and loads them lazily."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from mlplatform.workspace.protocols import Workspace

HOMES = ("local",)


def open_workspace(home: str = "local", env: str = "dev", root: str | Path | None = None) -> Workspace:
    """Open a workspace.

    Args:
        home: `local` (a folder on this machine). `databricks` follows; see the README.
        env: The environment: `dev`, `staging`, `prod`. It names the catalog.
        root: Local only: the folder that holds all state. Default: the setting `MLPLATFORM_HOME`, else `.mlplatform`.

    Returns:
        The workspace; close it, or use it as a context manager.

    Raises:
        UsageError: If there is no such home.
        MissingDependencyError: If the home's packages are not installed.
    """
    if home == "local":
        from mlplatform.workspace.local.workspace import LocalWorkspace

        return LocalWorkspace.open(env=env, root=root)
    raise UsageError(f"There is no workspace {home!r}.", hint=did_you_mean(home, HOMES))
