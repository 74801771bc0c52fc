"""Fixtures of the parity tests: the judge, and what to do where it cannot run."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.parity import requirements_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from mlplatform.workspace.protocols import Workspace
    from tests.parity.judge import Judge
    from tests.standin.server import StandIn

_HERE = Path(__file__).resolve().parent
_REQUIRED = "MLPLATFORM_REQUIRE_PARITY"

# Only tests are collected, for doctests too: the other modules import what may not be installed.
collect_ignore = [path.name for path in _HERE.glob("*.py") if not path.name.startswith("test_")]

_missing = functools.cache(requirements_check.missing)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test of this folder; where the judge cannot run, keep one that says so and drop the others.

    A skip for each of hundreds of tests would bury the reason, so they become one line.
    """
    ours = [item for item in items if _HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.parity)
        # MLflow and its dependencies warn a lot when models are logged; a warning of theirs says nothing about parity.
        item.add_marker(pytest.mark.filterwarnings("ignore"))
    reason = _missing() if ours else None
    if reason is None:
        return
    first, *others = ours
    if not _required():
        first.add_marker(pytest.mark.skip(reason=f"{reason}; {len(ours)} tests not run"))
    dropped = set(others)
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=others)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where parity is required, fail before any fixture does, with the same line."""
    reason = _missing()
    if reason is not None and _required():
        pytest.fail(f"{_REQUIRED}=1, but {reason}", pytrace=False)


def _required() -> bool:
    return os.environ.get(_REQUIRED) == "1"


@pytest.fixture(scope="package")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """The real client, one long-lived process for all tests of this folder."""
    from tests.parity.judge import Judge

    with Judge(tmp_path_factory.mktemp("judge")) as running:
        yield running


@pytest.fixture(scope="package")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Our local workspace, one for all tests of this folder: each case brings its own schema."""
    from mlplatform import open_workspace

    with open_workspace("local", root=tmp_path_factory.mktemp("workspace")) as workspace:
        yield workspace


@pytest.fixture(scope="session")
def delta_spark(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    """JVM Spark with Delta, one for the whole process: it cannot be started twice."""
    from tests.standin import jars, spark

    reason = jars.missing()
    if reason is not None:
        message = f"tests of the Databricks workspace need {reason}"
        if _required():
            pytest.fail(f"{_REQUIRED}=1, but {message}", pytrace=False)
        pytest.skip(message)
    return spark.start_delta_session(tmp_path_factory.mktemp("spark"))


@pytest.fixture(scope="package")
def standin(delta_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """The stand-in workspace on the tables of JVM Spark."""
    from tests.standin.server import StandIn
    from tests.standin.spark import SparkTables

    with StandIn(tmp_path_factory.mktemp("standin"), SparkTables(delta_spark)) as server:
        yield server


@pytest.fixture(scope="package")
def databricks(delta_spark: SparkSession, standin: StandIn) -> DatabricksWorkspace:
    """The Databricks workspace: the real SDK against the stand-in, JVM Spark for the session."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.standin.intercepted_sql import InterceptedSql

    config = Config(
        host=standin.url, token=standin.token, auth_type="pat", retry_timeout_seconds=5, http_timeout_seconds=10
    )
    return DatabricksWorkspace(
        "dev",
        WorkspaceClient(config=config),
        spark=lambda: delta_spark,
        sql=InterceptedSql(lambda: delta_spark, standin.metastore),
        volumes=standin.scratch / "files" / "Volumes",
    )


@pytest.fixture(scope="module")
def features(databricks: DatabricksWorkspace, standin: StandIn) -> Iterator[DatabricksWorkspace]:
    """The Databricks workspace for the real feature client, with what open-source Spark and MLflow lack replaced.

    That is a catalog's existence (`DESCRIBE CATALOG`), the call of a function of Unity Catalog, and the registration of
    the client's models; the rest is the client's.
    """
    from unittest import mock

    from pyspark.sql import functions as F  # noqa: N812

    from tests.standin.environment import environment
    from tests.standin.feature_models import registrable_feature_models

    def call(udf_name: str, arguments: list[str]) -> Any:
        function = databricks.functions.get(udf_name)
        # Not through Arrow: a pickled call passes plain Python values, as a Unity Catalog function gets them.
        udf = F.udf(function.fn, function.returns, useArrow=False)
        return udf(*(F.col(f"`{argument}`") for argument in arguments))

    client = "databricks.ml_features._spark_client._spark_client.SparkClient"
    with (
        environment(standin),
        registrable_feature_models(),
        mock.patch(f"{client}.catalog_exists", return_value=True),
        mock.patch("databricks.ml_features.utils.on_demand_utils._udf_expr", call),
    ):
        yield databricks
