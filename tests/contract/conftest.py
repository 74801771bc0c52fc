"""The workspaces that the contract is put to: one a run, chosen by `--home`.

A process holds one kind of Spark session only: Spark Connect, which the local workspace uses, or the JVM's own. So
`make test` asks the local workspace, and `make parity` the Databricks workspace on JVM Spark and the stand-in.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import parity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import SparkSession

    from mlplatform.protocols.workspace import Workspace
    from tests.standin.home import Home

_HERE = Path(__file__).resolve().parent
_NUMBERS = itertools.count()
# Whole pipelines: seconds at home, on JVM Spark minutes each. There they run every night.
_LONG_ON_DATABRICKS = frozenset({"test_applied_edits.py", "test_lost_tables.py"})


@functools.cache
def _missing() -> str | None:
    from tests.standin import spark

    return spark.missing()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Put the chosen home into every test's name, and mark what only `make parity` runs."""
    if "home" in metafunc.fixturenames:
        home = metafunc.config.getoption("home")
        marks = parity.MARKS if home == "databricks" else ()
        metafunc.parametrize("home", [pytest.param(home, marks=marks)], indirect=True, scope="session")


# Before the marks are looked at by which tests are chosen.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is long on Databricks; where it cannot run, keep one test that says so and drop the others."""
    ours = [item for item in items if _HERE in item.path.parents and item.get_closest_marker("parity")]
    for item in ours:
        if item.path.name in _LONG_ON_DATABRICKS:
            item.add_marker(pytest.mark.slow)
    parity.keep_one(config, items, ours, _missing() if ours else None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where parity is required, fail before any fixture does, with the same line."""
    if item.get_closest_marker("parity"):
        parity.fail_where_required(_missing())


@pytest.fixture(scope="session")
def home(request: pytest.FixtureRequest) -> str:
    """`local` or `databricks`."""
    return str(request.param)


# Of this folder, not of the session: parity tests may follow in the same process, and open workspaces of their own.
@pytest.fixture(scope="package")
def databricks_home(delta_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The Databricks workspace, and the stand-in behind it."""
    from tests.standin.home import databricks_home

    with databricks_home(tmp_path_factory.mktemp("databricks"), delta_spark) as running:
        yield running


@pytest.fixture(scope="package")
def ws(home: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The workspace, one for all tests of this folder: each test brings its own tables and models."""
    if home == "databricks":
        yield request.getfixturevalue("databricks_home").ws
        return
    from mlplatform import open_workspace

    with open_workspace("local", root=tmp_path_factory.mktemp("local")) as opened:
        yield opened


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Give a three-level name that no other test has."""
    return lambda stem="t": f"dev.contract.{stem}{next(_NUMBERS)}"
