"""Where the platform runs. `open_workspace()` is the only door to the homes behind it, and loads them lazily."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.config.environments import STANDARD
from mlplatform.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlplatform.protocols.workspace import Workspace

WORKSPACES = ("local", "databricks")
RUNTIME = "DATABRICKS_RUNTIME_VERSION"
"""Set wherever Databricks itself runs Python: notebooks and jobs, on clusters and serverless."""


def open_workspace(  # noqa: PLR0913  (the last is the first one's old name)
    workspace: str | None = None,
    env: str = "dev",
    root: str | Path | None = None,
    *,
    catalog: str | None = None,
    prefix: str = "",
    experiment: str | None = None,
    spark: SparkSession | None = None,
    use_cases: str | Path | None = None,
    read_only: bool = False,
    home: str | None = None,
) -> Workspace:
    """Open a workspace.

    Args:
        workspace: `local` (a folder on this machine) or `databricks` (the workspace that the SDK's unified
            authentication leads to). Default: `databricks` where Databricks itself runs this process, else `local`.
        env: The environment: `dev`, `staging`, `prod`, or one that a use case's `config.yml` declares.
        root: Local only: the folder that holds all state, the command line's `--home`. Default: the setting
            `MLPLATFORM_HOME`, else `.mlplatform`.
        catalog: First level of the names of tables, models and functions. Default: the setting `catalog` of the first
            use case that is opened in the workspace, else the environment's name.
        prefix: Put before the names of schemas and models, as a bundle's development mode does.
        experiment: Databricks only: path of the MLflow experiment.
        spark: The session to work with, such as a notebook's own; it is never stopped. Default: on Databricks the one
            that is active, locally one that is started when first used.
        use_cases: A folder of use cases whose environments are known, too, beside those that are found anyway.
        read_only: Local only: nothing is written in the folder, which need not be writable, nor exist. It is for
            looking: what would write there fails.
        home: The old name of `workspace`, with a `DeprecationWarning`.

    Returns:
        The workspace; close it, or use it as a context manager.

    Raises:
        UsageError: If there is no such workspace, or no such environment.
        MissingDependencyError: If the workspace's packages are not installed.
        UnavailableError: If the Databricks workspace does not answer, or does not know who asks.
    """
    if home is not None:
        warnings.warn(
            "open_workspace(home=...) is called workspace= now; the folder, --home of the command line, is root=.",
            DeprecationWarning,
            stacklevel=2,
        )
        if workspace is not None:
            raise UsageError("workspace and home are one thing: give workspace only.", hint="home is its old name.")
    workspace = workspace or home or ("databricks" if os.environ.get(RUNTIME) else "local")
    if workspace not in WORKSPACES:
        raise UsageError(
            f"There is no workspace {workspace!r}.",
            hint=f"{did_you_mean(workspace, WORKSPACES)} The folder of the local workspace is root (--home).",
        )
    if env not in STANDARD:
        from mlplatform.config.folders import check_environment

        check_environment(env, use_cases)
    catalog = catalog or None
    if workspace == "local":
        from mlplatform.workspace.local.workspace import LocalWorkspace

        return LocalWorkspace.open(env=env, catalog=catalog, root=root, prefix=prefix, spark=spark, read_only=read_only)
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

    return DatabricksWorkspace.open(env=env, catalog=catalog, prefix=prefix, experiment=experiment, spark=spark)
