"""Both homes fill each protocol with the same signatures, and offer nothing more in common than it says."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

# Protocol -> the class of each home that fills it.
FILLED = {
    "registry.Registry": ("registry.LocalRegistry", "registry.DatabricksRegistry"),
    "tables.Tables": ("tables.LocalTables", "tables.DatabricksTables"),
    "functions.Functions": ("functions.LocalFunctions", "functions.DatabricksFunctions"),
    "operations.Jobs": ("jobs.LocalJobs", "jobs.DatabricksJobs"),
    "operations.Monitors": ("monitors.LocalMonitors", "monitors.DatabricksMonitors"),
    "operations.Access": ("access.LocalAccess", "access.DatabricksAccess"),
    "workspace.Secrets": ("secrets.LocalSecrets", "secrets.DatabricksSecrets"),
    "workspace.Workspace": ("workspace.LocalWorkspace", "workspace.DatabricksWorkspace"),
}
# What both offer to their own parts, or before there is anything to talk to.
NOT_SAID = {
    # The parts of a home that call MLflow themselves; stages do not.
    "registry.Registry": {"activate"},
    "workspace.Workspace": {"open"},
}


def classes(protocol: str) -> tuple[type, type, type]:
    """Return the protocol, and what fills it at home and on Databricks."""
    found = [_load("protocols", protocol)]
    for home, name in zip(("local", "databricks"), FILLED[protocol], strict=True):
        found.append(_load(f"workspace.{home}", name))
    said, local, databricks = found
    return said, local, databricks


def _load(room: str, name: str) -> type:
    module, _, attribute = name.partition(".")
    loaded: type = getattr(importlib.import_module(f"mlplatform.{room}.{module}"), attribute)
    return loaded


def public(cls: type) -> set[str]:
    """Return the names that a class offers; of a protocol also the attributes that it only declares."""
    annotated = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
    return {name for name in {*dir(cls), *annotated} if not name.startswith("_")}


def parameters(cls: type, name: str) -> list[tuple[str, Any, Any, Any]]:
    """Return name, kind, default and type of each parameter of a method."""
    signature = inspect.signature(getattr(cls, name))
    return [(item.name, item.kind, item.default, item.annotation) for item in signature.parameters.values()]


@pytest.mark.parametrize("protocol", FILLED)
def test_both_homes_fill_it_with_the_same_signatures(protocol):
    said, *homes = classes(protocol)
    methods = [name for name in public(said) if inspect.isfunction(getattr(said, name, None))]
    assert methods
    for home in homes:
        assert {name: parameters(home, name) for name in methods} == {name: parameters(said, name) for name in methods}


@pytest.mark.parametrize("protocol", FILLED)
def test_it_says_all_that_both_homes_offer(protocol):
    said, local, databricks = classes(protocol)
    assert (public(local) & public(databricks)) - public(said) == NOT_SAID.get(protocol, set())
