"""Which home `open_workspace` opens, and what it hands over."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform import open_use_case, open_workspace
from mlplatform.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME = "DATABRICKS_RUNTIME_VERSION"


@pytest.fixture
def databricks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the Databricks workspace was asked to open with."""
    asked: list[dict[str, Any]] = []
    module = SimpleNamespace(
        DatabricksWorkspace=SimpleNamespace(open=lambda **given: asked.append(given) or "databricks")
    )
    monkeypatch.setitem(sys.modules, "mlplatform.workspace.databricks.workspace", module)
    return asked


@pytest.mark.parametrize("version", ["17.3", "client.4.9"])
def test_where_databricks_runs_python_it_is_the_databricks_workspace(databricks, monkeypatch, version: str):
    monkeypatch.setenv(RUNTIME, version)
    session = object()
    assert open_workspace(env="staging", prefix="dev_jo_", spark=session) == "databricks"
    assert databricks == [
        {"env": "staging", "catalog": None, "prefix": "dev_jo_", "experiment": None, "spark": session}
    ]


def test_elsewhere_it_is_the_local_one(databricks, monkeypatch, tmp_path: Path):
    monkeypatch.delenv(RUNTIME, raising=False)
    with open_workspace(root=tmp_path) as ws:
        assert ws.home == "local"
    assert databricks == []


def test_what_is_named_wins(databricks, monkeypatch, tmp_path: Path):
    monkeypatch.setenv(RUNTIME, "17.3")
    with open_workspace("local", root=tmp_path) as ws:
        assert ws.home == "local"
    monkeypatch.delenv(RUNTIME)
    assert open_workspace("databricks") == "databricks"


def test_a_session_that_was_given_is_used_and_not_stopped(tmp_path: Path):
    class Session:
        def stop(self):
            raise AssertionError("stopped")

    session = Session()
    with open_workspace("local", root=tmp_path, spark=session) as ws:
        assert ws.spark is session
    assert ws.spark is session


def test_a_use_case_that_there_is_not(tmp_path: Path):
    with open_workspace("local", root=tmp_path) as ws, pytest.raises(UsageError, match="credit_rsk") as raised:
        open_use_case(ws, "credit_rsk")
    assert "credit_risk" in raised.value.hint
