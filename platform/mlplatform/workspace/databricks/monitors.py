"""Data profiling of prediction tables, by the data quality API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlplatform.errors import MonitorError, did_you_mean
from mlplatform.naming import ObjectName
from mlplatform.workspace.databricks.connection import retrying, translated
from mlplatform.workspace.operation_protocols import InferenceProfile

if TYPE_CHECKING:
    from databricks.sdk.service.dataquality import AggregationGranularity, DataProfilingConfig

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

CREATED = "created"
EXISTS = "exists"
NO_TABLE = "no table yet"
ASSETS = "/Shared/mlplatform"
_TABLE = "table"
_PREFIX = "AGGREGATION_GRANULARITY_"


class DatabricksMonitors:
    """Data profiling; see `mlplatform.workspace.operation_protocols.Monitors`."""

    def __init__(self, ws: DatabricksWorkspace) -> None:
        """Take the workspace; nothing is asked yet."""
        self._ws = ws

    def ensure(self, table: ObjectName | str, profile: InferenceProfile) -> str:
        """See to it that the table is profiled; its metrics tables stand in its own schema."""
        name = ObjectName.parse(table)
        granularities = [_granularity(item) for item in profile.granularities]
        with translated(f"Setting up data profiling of {name}", MonitorError):
            return retrying(lambda: self._ensure(name, profile, granularities))

    def _ensure(self, name: ObjectName, profile: InferenceProfile, granularities: list[AggregationGranularity]) -> str:
        from databricks.sdk.errors import AlreadyExists, NotFound, ResourceConflict
        from databricks.sdk.service.dataquality import Monitor

        client = self._ws.client
        try:
            table_id = client.tables.get(str(name)).table_id
        except NotFound:
            return NO_TABLE
        schema_id = client.schemas.get(f"{name.catalog}.{name.schema}").schema_id
        if not table_id or not schema_id:
            raise MonitorError(f"Unity Catalog gives no id of {name} or of its schema.")
        try:
            client.data_quality.get_monitor(_TABLE, table_id)
        except NotFound:
            config = _config(name, profile, schema_id, granularities)
            monitor = Monitor(object_type=_TABLE, object_id=table_id, data_profiling_config=config)
            try:
                client.data_quality.create_monitor(monitor)
            except (AlreadyExists, ResourceConflict):
                return EXISTS
            return CREATED
        return EXISTS


def _config(
    name: ObjectName, profile: InferenceProfile, schema_id: str, granularities: list[AggregationGranularity]
) -> DataProfilingConfig:
    from databricks.sdk.service.dataquality import DataProfilingConfig, InferenceLogConfig, InferenceProblemType

    return DataProfilingConfig(
        output_schema_id=schema_id,
        assets_dir=f"{ASSETS}/{name.catalog}/{name.schema}/profiling",
        slicing_exprs=list(profile.slicing) or None,
        inference_log=InferenceLogConfig(
            problem_type=InferenceProblemType(f"INFERENCE_PROBLEM_TYPE_{profile.task.upper()}"),
            timestamp_column=profile.timestamp,
            granularities=granularities,
            prediction_column=profile.prediction,
            model_id_column=profile.model_version,
            label_column=profile.label,
        ),
    )


def _granularity(text: str) -> Any:
    from databricks.sdk.service.dataquality import AggregationGranularity

    known = {item.value.removeprefix(_PREFIX).replace("_", " ").lower(): item for item in AggregationGranularity}
    if text not in known:
        raise MonitorError(f"Data profiling has no windows of {text!r}.", hint=did_you_mean(text, known))
    return known[text]
