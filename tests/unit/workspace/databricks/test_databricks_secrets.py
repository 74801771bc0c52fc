"""Secrets on Databricks' own compute come from `dbutils`; an error never tells a value."""

from __future__ import annotations

import sys
import traceback
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mlplatform.errors import ConfigError
from mlplatform.workspace.databricks.secrets import DatabricksSecrets

VALUE = "s3cr3t-value"


class Client:
    """No API call is expected of it."""

    config = SimpleNamespace(host="https://example.test")


@pytest.fixture
def dbutils(monkeypatch):
    """What the runtime offers: secrets by scope and key, or an exception to raise."""
    kept: dict[tuple[str, str], Any] = {}

    def get(scope: str, key: str) -> str:
        found = kept.get((scope, key), ValueError(f"Secret does not exist with scope: {scope} and key: {key}"))
        if isinstance(found, Exception):
            raise found
        return found

    runtime = ModuleType("databricks.sdk.runtime")
    runtime.dbutils = SimpleNamespace(secrets=SimpleNamespace(get=get))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", runtime)
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    return kept


def test_on_databricks_dbutils_is_asked(dbutils):
    dbutils["slack", "url"] = VALUE
    assert DatabricksSecrets(Client()).get("slack", "url") == VALUE


@pytest.mark.parametrize("value", ["", None])
def test_a_missing_secret_names_where_it_was_searched_and_the_command(dbutils, value):
    if value is not None:
        dbutils["slack", "url"] = value
    with pytest.raises(ConfigError) as caught:
        DatabricksSecrets(Client()).get("slack", "url")
    assert "slack/url is not set" in caught.value.message
    assert "dbutils.secrets" in caught.value.message
    assert "databricks secrets put-secret slack url" in caught.value.hint


def test_what_goes_wrong_tells_no_value(dbutils):
    dbutils["slack", "url"] = RuntimeError(f"could not decode {VALUE}")
    with pytest.raises(ConfigError) as caught:
        DatabricksSecrets(Client()).get("slack", "url")
    assert "cannot be read" in str(caught.value)
    assert VALUE not in "".join(traceback.format_exception(caught.value))
