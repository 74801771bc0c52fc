"""Whether the MLflow that is installed registers what the feature client packages: asked of MLflow itself."""

from __future__ import annotations

import time

import pytest

from mlplatform.workspace.databricks import feature_models


@pytest.fixture
def client(monkeypatch):
    """MLflow's client of a workspace that does not answer."""
    from mlflow import MlflowClient

    monkeypatch.setenv("DATABRICKS_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("DATABRICKS_TOKEN", "none")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_ENABLE_DB_SDK", "false")
    return MlflowClient("databricks", "databricks-uc")


def test_mlflow_from_pypi_refuses_at_once_and_without_asking_anybody(client):
    before = time.perf_counter()
    assert "does not register models that the feature client packaged" in feature_models.refusal(client, "dev")
    assert time.perf_counter() - before < 10


def test_another_error_is_no_refusal(client, monkeypatch):
    """As where MLflow lets it pass, and the service then says no; here nobody answers."""
    asked = []

    def create(name, source, **_):
        asked.append(name)
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(client, "create_model_version", create)
    assert feature_models.refusal(client, "dev") == ""
    (name,) = asked
    assert name.startswith("dev.mlplatform_probe.none_")
