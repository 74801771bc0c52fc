"""Loaded once by the server from which runs that are to be killed are forked: seconds each instead of half a minute."""

from __future__ import annotations

import importlib
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No thread may run here: it would be gone in what is forked.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

for name in (
    "hyperopt",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "sklearn.compose",
    "sklearn.impute",
    "sklearn.linear_model",
    "skops.io",
    "mlplatform.cli.main",
    "mlplatform.pipeline",
    "mlplatform.reporting.report",
    "mlplatform.simulation",
    "mlplatform.workspace.local.feature_client",
    "mlplatform.workspace.local.scoring",
    "tests.support.tiny_runs",
):
    importlib.import_module(name)
