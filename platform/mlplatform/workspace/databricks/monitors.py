"""Data profiling of prediction tables, by the data quality API."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlplatform.errors import DeploymentError, did_you_mean
from mlplatform.naming import ObjectName
from mlplatform.protocols.operations import InferenceProfile
from mlplatform.workspace.databricks.connection import retrying, translated
from mlplatform.workspace.databricks.registry_errors import redacted

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.dataquality import AggregationGranularity, DataProfilingConfig

LOG = logging.getLogger(__name__)
CREATED, CHANGED, EXISTS = "created", "changed", "exists"
STARTED, UNDER_WAY, NO_PROFILE = "started", "under way", "no profile"
NO_TABLE, OFF = "no table yet", "switched off here"
ASSETS = "/Shared/mlplatform"
_TABLE = "table"
_PREFIX = "AGGREGATION_GRANULARITY_"
# What may change of an existing profile; the rest follows from its table.
_CONFIG = "data_profiling_config"
_CHANGING = ("schedule", "baseline_table_name", "inference_log", "slicing_exprs")
# The API answers so where a workspace or region has none, or an administrator switched it off.
_OFF_CODES = frozenset({"ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "NOT_IMPLEMENTED", "UNIMPLEMENTED"})
_MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "TABLE_DOES_NOT_EXIST"})
_OFF_TEXT = re.compile(r"(?i)not (?:enabled|available|supported)|is disabled|no api found")


class DatabricksMonitors:
    """Data profiling; see `mlplatform.protocols.operations.Monitors`."""

    offered = True

    def __init__(self, client: WorkspaceClient) -> None:
        """Take the SDK's client; nothing is asked yet."""
        self._client = client

    def ensure(self, table: ObjectName | str, profile: InferenceProfile) -> str:
        """Make sure that the table is profiled in exactly this way; its metrics tables lie in its own schema."""
        name = ObjectName.parse(table)
        granularities = [_granularity(item) for item in profile.granularities]
        with translated(f"Setting up data profiling of {name}", DeploymentError):
            return _unless_off(name, lambda: retrying(lambda: self._ensure(name, profile, granularities)))

    def refresh(self, table: ObjectName | str) -> str:
        """Start to recompute the table's metrics."""
        name = ObjectName.parse(table)
        with translated(f"Refreshing the data profile of {name}", DeploymentError):
            return _unless_off(name, lambda: self._refresh(name))

    def _ensure(self, name: ObjectName, profile: InferenceProfile, granularities: list[AggregationGranularity]) -> str:
        from databricks.sdk.errors import AlreadyExists, NotFound, ResourceConflict
        from databricks.sdk.service.dataquality import Monitor

        client = self._client
        table_id = self._table_id(name)
        if table_id is None:
            return NO_TABLE
        schema_id = client.schemas.get(f"{name.catalog}.{name.schema}").schema_id
        if not schema_id:
            raise DeploymentError(f"Unity Catalog gives no id of the schema {name.catalog}.{name.schema}.")
        config = _config(name, profile, schema_id, granularities)
        monitor = Monitor(object_type=_TABLE, object_id=table_id, data_profiling_config=config)
        try:
            existing = client.data_quality.get_monitor(_TABLE, table_id)
        except NotFound as error:
            if _is_off(error):
                raise
            try:
                client.data_quality.create_monitor(monitor)
            except (AlreadyExists, ResourceConflict):
                return EXISTS
            return CREATED
        changed = _changed(existing.data_profiling_config, config)
        if not changed:
            return EXISTS
        mask = ",".join(f"{_CONFIG}.{part}" for part in changed)
        client.data_quality.update_monitor(_TABLE, table_id, monitor, mask)
        return CHANGED

    def _refresh(self, name: ObjectName) -> str:
        from databricks.sdk.errors import Aborted, AlreadyExists, InvalidState, NotFound, ResourceConflict
        from databricks.sdk.service.dataquality import Refresh

        table_id = self._table_id(name)
        if table_id is None:
            return NO_TABLE
        try:
            self._client.data_quality.create_refresh(_TABLE, table_id, Refresh(_TABLE, table_id))
        except (Aborted, AlreadyExists, InvalidState, ResourceConflict):
            return UNDER_WAY
        except NotFound as error:
            if _is_off(error):
                raise
            return NO_PROFILE
        return STARTED

    def _table_id(self, name: ObjectName) -> str | None:
        from databricks.sdk.errors import NotFound

        try:
            table_id: str | None = retrying(lambda: self._client.tables.get(str(name))).table_id
        except NotFound:
            return None
        if not table_id:
            raise DeploymentError(f"Unity Catalog gives no id of {name}.")
        return table_id


def _unless_off(name: ObjectName, ask: Callable[[], str]) -> str:
    from databricks.sdk.errors.base import DatabricksError

    try:
        return ask()
    except DatabricksError as error:
        if not _is_off(error):
            raise
        LOG.warning(
            "Data profiling is switched off in this workspace, so that %s is not profiled (%s). The platform's own "
            "monitoring does not need it.",
            name,
            redacted(str(error)),
        )
        return OFF


def _is_off(error: Exception) -> bool:
    code = str(getattr(error, "error_code", "") or "")
    return code in _OFF_CODES or (code not in _MISSING and bool(_OFF_TEXT.search(str(error))))


def _changed(existing: DataProfilingConfig | None, config: DataProfilingConfig) -> list[str]:
    """Return which parts of a profile are to be changed."""
    current, desired = (existing.as_dict() if existing else {}), config.as_dict()
    current.get("schedule", {}).pop("pause_status", None)  # only the service writes it
    # A baseline is taken away by nobody here: it is named as soon as there is one.
    return [
        part
        for part in _CHANGING
        if current.get(part) != desired.get(part) and not (part == "baseline_table_name" and part not in desired)
    ]


def _config(
    name: ObjectName, profile: InferenceProfile, schema_id: str, granularities: list[AggregationGranularity]
) -> DataProfilingConfig:
    from databricks.sdk.service.dataquality import (
        CronSchedule,
        DataProfilingConfig,
        InferenceLogConfig,
        InferenceProblemType,
    )

    return DataProfilingConfig(
        output_schema_id=schema_id,
        assets_dir=f"{ASSETS}/{name.catalog}/{name.schema}/profiling",
        baseline_table_name=str(ObjectName.parse(profile.baseline)) if profile.baseline else None,
        schedule=CronSchedule(profile.schedule, profile.timezone) if profile.schedule else None,
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

    granularities = {
        item.value.removeprefix(_PREFIX).replace("_", " ").lower(): item for item in AggregationGranularity
    }
    if text not in granularities:
        raise DeploymentError(f"Data profiling has no windows of {text!r}.", hint=did_you_mean(text, granularities))
    return granularities[text]
