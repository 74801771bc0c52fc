"""What a model's page in MLflow shows of it: the tables that its run read, and metrics on the logged model itself."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mlplatform.protocols.registry import ModelVersion, TableRead

ROLE_TAG = "role"
_CONTEXT_TAG, _CONTEXT = "mlflow.data.context", "training"
_SOURCE_TYPE = "delta_table"
# What MLflow takes in the name of a metric.
_NOT_IN_A_NAME = re.compile(r"[^\w.\- /:]")


def log_tables(client: MlflowClient, run_id: str, tables: Sequence[TableRead]) -> None:
    """Log tables as the inputs of a run; the same again changes nothing.

    As `mlflow.log_input` does, but for two things: version 0 is kept, and no table is looked up on the way.

    Args:
        client: MLflow's.
        run_id: The run.
        tables: What it read.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for table in tables:
        source: dict[str, str | int | bool] = {"delta_table_name": table.name, "delta_table_version": table.version}
        if table.table_id:
            source |= {"is_databricks_uc_table": True, "delta_table_id": table.table_id}
        text = json.dumps(source, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        dataset = Dataset(name=table.name, digest=digest, source_type=_SOURCE_TYPE, source=text)
        inputs.append(DatasetInput(dataset, [InputTag(_CONTEXT_TAG, _CONTEXT), InputTag(ROLE_TAG, table.role)]))
    client.log_inputs(run_id, datasets=inputs)


def log_metrics(client: MlflowClient, version: ModelVersion, metrics: Mapping[str, float], at: datetime) -> None:
    """Log metrics on a version's logged model; on its run alone where MLflow knows of no logged model.

    Args:
        client: MLflow's.
        version: The version.
        metrics: Name -> value; what is not finite is left out, since not every store takes it.
        at: When they were measured, in data time: the same again changes nothing.
    """
    from mlflow.entities import Metric

    moment = int(at.timestamp() * 1000)
    model_id = _model_id(client, version)
    logged = [
        Metric(_NOT_IN_A_NAME.sub("_", name), float(value), moment, 0, model_id=model_id, run_id=version.run_id)
        for name, value in metrics.items()
        if math.isfinite(value)
    ]
    if logged:
        client.log_batch(version.run_id, metrics=logged)


def _model_id(client: MlflowClient, version: ModelVersion) -> str | None:
    model_id = client.get_model_version(version.name, str(version.version)).model_id
    if model_id:
        return str(model_id)
    outputs = client.get_run(version.run_id).outputs
    models = outputs.model_outputs if outputs is not None else []
    return str(models[-1].model_id) if models else None
