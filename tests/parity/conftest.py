"""Fixtures of the parity tests: the judge, and what to do where it cannot run."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.parity import requirements_check
from tests.support import parity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from mlplatform.protocols.workspace import Workspace
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.parity.judge import Judge
    from tests.standin.home import Home
    from tests.standin.server import StandIn

_HERE = Path(__file__).resolve().parent

# Only tests are collected, for doctests too: the other modules import what may not be installed.
collect_ignore = [path.name for path in _HERE.glob("*.py") if not path.name.startswith("test_")]

_missing = functools.cache(requirements_check.missing)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test of this folder; where the judge cannot run, keep one that says so and drop the others."""
    ours = [item for item in items if _HERE in item.path.parents]
    for item in ours:
        for mark in parity.MARKS:
            item.add_marker(mark)
    parity.keep_one(config, items, ours, _missing() if ours else None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where parity is required, fail before any fixture does, with the same line."""
    parity.fail_where_required(_missing())


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


@pytest.fixture(scope="module")
def databricks_home(delta_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The Databricks workspace on JVM Spark and a stand-in; of one module, since it owns the environment meanwhile."""
    from tests.standin.home import databricks_home

    with databricks_home(tmp_path_factory.mktemp("standin"), delta_spark) as home:
        yield home


@pytest.fixture(scope="module")
def standin(databricks_home: Home) -> StandIn:
    """The stand-in workspace on the tables of JVM Spark."""
    return databricks_home.standin


@pytest.fixture(scope="module")
def databricks(databricks_home: Home) -> DatabricksWorkspace:
    """The Databricks workspace: the real clients against the stand-in, JVM Spark for the session."""
    return databricks_home.ws


@pytest.fixture(scope="module")
def features(databricks: DatabricksWorkspace) -> DatabricksWorkspace:
    """The same workspace, by the name that tests of its feature client use."""
    return databricks
