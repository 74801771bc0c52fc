"""Where the platform runs. `open_workspace()` is the only door to the homes behind it, and loads them lazily."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.environments import STANDARD
from mlplatform.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlplatform.workspace.protocols import Workspace

HOMES = ("local", "databricks")
RUNTIME = "DATABRICKS_RUNTIME_VERSION"
"""Set wherever Databricks itself runs Python: notebooks and jobs, on clusters and serverless."""


def open_workspace(
    home: str | None = None,
    env: str = "dev",
    root: str | Path | None = None,
    *,
    catalog: str | None = None,
    prefix: str = "",
    experiment: str | None = None,
    spark: SparkSession | None = None,
    use_cases: str | Path | None = None,
) -> Workspace:
    """Open a workspace.

    Args:
        home: `local` (a folder on this machine) or `databricks` (the workspace that the SDK's unified authentication
            leads to). Default: `databricks` where Databricks itself runs this process, else `local`.
        env: The environment: `dev`, `staging`, `prod`, or one that a use case's `config.yml` declares.
        root: Local only: the folder that holds all state. Default: the setting `MLPLATFORM_HOME`, else `.mlplatform`.
        catalog: First level of the names of tables, models and functions. Default: the setting `catalog` of the first
            use case that is opened in the workspace, else the environment's name.
        prefix: Put before the names of schemas and models, as a bundle's development mode does.
        experiment: Databricks only: path of the MLflow experiment.
        spark: The session to work with, such as a notebook's own; it is never stopped. Default: on Databricks the one
            that is there, locally one that is started when first used.
        use_cases: A folder of use cases whose environments are known, too, beside those that are found anyway.

    Returns:
        The workspace; close it, or use it as a context manager.

    Raises:
        UsageError: If there is no such home, or no such environment.
        MissingDependencyError: If the home's packages are not installed.
        WorkspaceUnreachableError: If the Databricks workspace does not answer, or does not know who asks.
    """
    home = home or ("databricks" if os.environ.get(RUNTIME) else "local")
    if home not in HOMES:
        raise UsageError(f"There is no workspace {home!r}.", hint=did_you_mean(home, HOMES))
    if env not in STANDARD:
        from mlplatform import discovery

        discovery.check_environment(env, use_cases)
    catalog = catalog or None
    if home == "local":
        from mlplatform.workspace.local.workspace import LocalWorkspace

        return LocalWorkspace.open(env=env, catalog=catalog, root=root, prefix=prefix, spark=spark)
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

    return DatabricksWorkspace.open(env=env, catalog=catalog, prefix=prefix, experiment=experiment, spark=spark)
