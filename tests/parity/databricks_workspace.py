"""A Databricks workspace on the stand-in, for tests that need no Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
from tests.standin.intercepted_sql import InterceptedSql

if TYPE_CHECKING:
    from tests.standin.server import StandIn


def open_on(standin: StandIn, **options: Any) -> DatabricksWorkspace:
    """Open a workspace whose client gives up within seconds, and whose statements reach the stand-in."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

    config = Config(host=standin.url, token=standin.token, retry_timeout_seconds=4, http_timeout_seconds=2)
    sql = InterceptedSql(no_spark, standin.metastore)
    return DatabricksWorkspace("dev", WorkspaceClient(config=config), sql=sql, **options)


def no_spark() -> NoReturn:
    """Fail: no Spark is expected to be asked for."""
    msg = "Spark was asked for."
    raise AssertionError(msg)
