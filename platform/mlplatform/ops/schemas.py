"""Schemas of the platform's own tables."""

from __future__ import annotations

import pyarrow as pa

from mlplatform.naming import Namespace
from mlplatform.workspace.protocols import Workspace

_TIME = pa.timestamp("us", tz="UTC")


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


STAGE_RUNS = pa.schema(
    [
        _required("run_id", pa.string()),
        _required("use_case", pa.string()),
        _required("stage", pa.string()),
        _required("as_of", _TIME),
        _required("status", pa.string()),
        _required("started_at", _TIME),
        _required("seconds", pa.float64()),
        pa.field("rows_in", pa.int64()),
        pa.field("rows_out", pa.int64()),
        pa.field("rows_quarantined", pa.int64()),
        pa.field("inputs", pa.string(), metadata={"comment": "JSON: table -> Delta version read"}),
        pa.field("outputs", pa.string(), metadata={"comment": "JSON: table -> Delta version after the stage"}),
        pa.field("details", pa.string(), metadata={"comment": "JSON: what else the stage says of itself"}),
        pa.field("message", pa.string(), metadata={"comment": "Why it was skipped or failed"}),
        _required("platform_version", pa.string()),
    ]
)
GATE_DECISIONS = pa.schema(
    [
        _required("decision_id", pa.string()),
        _required("event", pa.string()),
        _required("kind", pa.string()),
        _required("use_case", pa.string()),
        _required("model", pa.string()),
        _required("as_of", _TIME),
        _required("outcome", pa.string()),
        _required("reason", pa.string()),
        _required("challenger_version", pa.int64()),
        pa.field("champion_version", pa.int64()),
        pa.field("evaluation", pa.string(), metadata={"comment": "JSON: the frozen label frame: table versions, rows"}),
        pa.field("checks", pa.string(), metadata={"comment": "JSON: every check with its numbers and limit"}),
        pa.field("decided_by", pa.string(), metadata={"comment": "Who ran the command"}),
        _required("recorded_at", _TIME),
    ]
)
DRIFT_METRICS = pa.schema(
    [
        _required("use_case", pa.string()),
        _required("as_of", _TIME),
        _required("model_version", pa.int64()),
        _required("window_start", _TIME),
        _required("window_end", _TIME),
        _required("column", pa.string()),
        _required("metric", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("limit", pa.float64()),
        _required("violated", pa.bool_()),
        _required("rows", pa.int64()),
    ]
)
PERFORMANCE_METRICS = pa.schema(
    [
        _required("use_case", pa.string()),
        _required("as_of", _TIME),
        pa.field("model_version", pa.int64(), metadata={"comment": "Who predicted; null: all versions"}),
        _required("window_start", _TIME),
        _required("window_end", _TIME),
        _required("metric", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("limit", pa.float64()),
        _required("violated", pa.bool_()),
        _required("rows", pa.int64()),
        _required("coverage", pa.float64()),
    ]
)
ALERTS = pa.schema(
    [
        _required("alert_id", pa.string()),
        _required("use_case", pa.string()),
        _required("as_of", _TIME),
        _required("kind", pa.string()),
        _required("severity", pa.string()),
        _required("message", pa.string()),
        _required("model_version", pa.int64()),
        _required("raised_at", _TIME),
    ]
)

TABLES = {
    "stage_runs": (STAGE_RUNS, "One row a stage of a run"),
    "gate_decisions": (GATE_DECISIONS, "Events of the gate: decided, applied, stale; append-only"),
    "drift_metrics": (DRIFT_METRICS, "Distance of scored windows from the champion's reference profile"),
    "performance_metrics": (PERFORMANCE_METRICS, "Realised performance on labels that became known"),
    "alerts": (ALERTS, "Alerts raised by the monitor"),
}


def ensure(ws: Workspace, namespace: Namespace) -> None:
    """Create the platform's tables of this environment where they are missing."""
    present = set(ws.tables.list(namespace.catalog, "ops"))
    for name, (schema, description) in TABLES.items():
        if name not in present:
            ws.tables.create(namespace.ops(name), schema, description=description)
