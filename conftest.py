"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os

# Before anything loads OpenMP: threads that spin while they wait would take the cores from the engines.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("mlplatform", deadline=None)
settings.load_profile("mlplatform")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.workspace.local.workspace import LocalWorkspace

# Warnings of others about themselves, which we can do nothing about; ours stay errors.
_NOISE = ("mlflow.*", "sqlalchemy.*")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose the workspace that the contract suite is put to."""
    parser.addoption(
        "--home", choices=("local", "databricks"), default="local", help="workspace of tests/contract (one a process)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let other people's warnings pass."""
    for module in _NOISE:
        config.addinivalue_line("filterwarnings", f"ignore:::{module}")


@pytest.fixture(scope="session", autouse=True)
def _registries_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from tests.support.registries import make_once

    with pytest.MonkeyPatch.context() as patch:
        make_once(patch, tmp_path_factory.mktemp("registry"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from tests.support.engines import share

    with pytest.MonkeyPatch.context() as patch:
        engines = share(patch, tmp_path_factory.mktemp("engine"))
        yield
        engines.stop()


@pytest.fixture
def own_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each workspace of a test start its own engine, as outside of tests."""
    from mlplatform.workspace.local import session
    from tests.support.engines import Engines

    if isinstance(session.SailServer, Engines):
        monkeypatch.setattr(session, "SailServer", session.SailServer.start)


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    """A local workspace of this module, in a folder of its own; its engine starts when first used."""
    from mlplatform.workspace.local.workspace import LocalWorkspace

    with LocalWorkspace.open(env="dev", root=tmp_path_factory.mktemp("workspace")) as workspace:
        yield workspace
