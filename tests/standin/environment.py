"""The environment in which the real clients find the stand-in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.standin.server import StandIn

# Whatever a developer's own machine says about a workspace, and about where MLflow is.
_STRAY = ("DATABRICKS_", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_")


def variables(standin: StandIn) -> dict[str, str]:
    """Return the variables that lead the SDK, MLflow and the feature engineering client to a stand-in."""
    return {
        "DATABRICKS_HOST": standin.url,
        "DATABRICKS_TOKEN": standin.token,
        "DATABRICKS_AUTH_TYPE": "pat",
        "DATABRICKS_CONFIG_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "MLFLOW_ENABLE_DB_SDK": "false",
        "MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT": "5",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }


@contextmanager
def environment(standin: StandIn) -> Iterator[dict[str, str]]:
    """Set the variables for a while, and take away what else would lead to a workspace; afterwards all is as before."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_STRAY):
            del os.environ[name]
    wanted = variables(standin)
    os.environ.update(wanted)
    try:
        yield wanted
    finally:
        os.environ.clear()
        os.environ.update(before)
