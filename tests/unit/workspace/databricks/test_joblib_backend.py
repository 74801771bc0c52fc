"""Trials of a search go to the cluster where the runtime brings the means, and nowhere else."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from mlplatform.workspace.databricks.session import RUNTIME, joblib_backend


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    module = ModuleType("joblibspark")
    module.register_spark = lambda: calls.append("spark")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "joblibspark", module)
    return calls


def test_the_runtimes_own_backend_is_registered(registered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNTIME, "18.0")
    assert joblib_backend() == "spark"
    assert registered == ["spark"]


def test_from_a_laptop_the_cluster_would_lack_the_wheel(registered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUNTIME, raising=False)
    assert joblib_backend() is None
    assert registered == []


def test_a_runtime_without_it_uses_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNTIME, "18.0")
    monkeypatch.setitem(sys.modules, "joblibspark", None)
    assert joblib_backend() is None
