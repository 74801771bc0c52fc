"""The Databricks workspace of the tests: the real clients on the stand-in, JVM Spark for the session.

Two things that open-source Spark lacks are replaced, and named here and nowhere else: a catalog's existence (`DESCRIBE
CATALOG`), and the call of a function of Unity Catalog. What only Databricks' SQL knows goes to `InterceptedSql`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

from tests.standin.environment import environment
from tests.standin.intercepted_sql import InterceptedSql
from tests.standin.server import StandIn
from tests.standin.spark import SparkTables

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import Column, SparkSession

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

_CATALOG_EXISTS = "databricks.ml_features._spark_client._spark_client.SparkClient.catalog_exists"
_FUNCTION_CALL = "databricks.ml_features.utils.on_demand_utils._udf_expr"


@dataclass(frozen=True)
class Home:
    """A Databricks workspace, and the stand-in behind it."""

    ws: DatabricksWorkspace
    standin: StandIn


@contextmanager
def databricks_home(scratch: Path, spark: SparkSession) -> Iterator[Home]:
    """Open a Databricks workspace over JVM Spark and a stand-in server of its own; it owns the environment meanwhile.

    Args:
        scratch: A folder for whatever is written.
        spark: The session, from `spark.start_delta_session`; it stays, without the tables of a workspace before.
    """
    from mlplatform.workspace.databricks.connection import connect
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

    _forget_tables(spark)
    with ExitStack() as cleanup:
        standin = cleanup.enter_context(StandIn(scratch, SparkTables(spark)))
        cleanup.enter_context(environment(standin))
        ws = DatabricksWorkspace(
            "dev",
            connect(),
            spark=lambda: spark,
            sql=InterceptedSql(lambda: spark, standin.metastore),
            volumes=standin.scratch / "files" / "Volumes",
        )

        def call(udf_name: str, arguments: list[str]) -> Column:
            from pyspark.sql import functions

            function = ws.functions.get(udf_name)
            # Not through Arrow: a pickled call passes plain Python values, as a Unity Catalog function gets them.
            udf = functions.udf(function.fn, function.returns, useArrow=False)
            return udf(*(functions.col(f"`{argument}`") for argument in arguments))

        cleanup.enter_context(mock.patch(_CATALOG_EXISTS, return_value=True))
        cleanup.enter_context(mock.patch(_FUNCTION_CALL, call))
        with ws:
            yield Home(ws, standin)
        assert not standin.unexpected, f"The stand-in has no answer to {standin.unexpected}."


def _forget_tables(spark: SparkSession) -> None:
    """Drop what an earlier workspace left in the session: its keys, tags and models went with its stand-in."""
    for (schema,) in spark.sql("SHOW SCHEMAS").collect():
        if schema != "default":
            spark.sql(f"DROP SCHEMA `{schema}` CASCADE")
