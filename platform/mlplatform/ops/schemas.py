"""Schemas of the platform's own tables."""

from __future__ import annotations

import pyarrow as pa

from mlplatform.naming import Namespace
from mlplatform.protocols.workspace import Workspace

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


def _note(name: str, kind: pa.DataType, comment: str, *, required: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"comment": comment})


DRIFT_METRICS = pa.schema(
    [
        _required("use_case", pa.string()),
        _required("as_of", _TIME),
        _note("baseline", pa.string(), "Compared with: training, previous window, none", required=True),
        _required("model_version", pa.int64()),
        _note("window_start", _TIME, "Prediction times after this", required=True),
        _note("window_end", _TIME, "Prediction times up to this", required=True),
        _note("column", pa.string(), "The input, prediction, or a feature table", required=True),
        _required("metric", pa.string()),
        pa.field("value", pa.float64()),
        _note("limit", pa.float64(), "Null: recorded, not judged (too few rows, or no limit is set)"),
        _note("p_value", pa.float64(), "Of such a distance without change, corrected for the number of columns"),
        _required("violated", pa.bool_()),
        _required("rows", pa.int64()),
    ]
)
WINDOW_COUNTS = pa.schema(
    [
        _required("use_case", pa.string()),
        _required("as_of", _TIME),
        _note("model_version", pa.int64(), "In whose reference profile's cells the rows are counted", required=True),
        _required("window_start", _TIME),
        _required("window_end", _TIME),
        _required("rows", pa.int64()),
        _note("counts", pa.string(), "JSON: format; column -> rows, nulls, rows in each cell, moments", required=True),
    ]
)
PERFORMANCE_METRICS = pa.schema(
    [
        _required("use_case", pa.string()),
        _required("as_of", _TIME),
        _note(
            "basis",
            pa.string(),
            "estimated: predictions of the window, before labels; realised: the same predictions, with the labels "
            "known by as_of; recent: predictions whose labels became known in the window",
            required=True,
        ),
        _note("alias", pa.string(), "Predictions of champion or (shadow) challenger", required=True),
        _note("model_version", pa.int64(), "Who predicted; null: all versions"),
        _required("window_start", _TIME),
        _required("window_end", _TIME),
        _note("slice", pa.string(), "column=value; null: all rows"),
        _note(
            "metric",
            pa.string(),
            "Of the model; baseline_<metric>: of the training labels' median or mean; gain_over_baseline: of the two",
            required=True,
        ),
        pa.field("value", pa.float64()),
        _note("low", pa.float64(), "Lower end of the 95% interval"),
        _note("high", pa.float64(), "Upper end of the 95% interval"),
        _note(
            "estimate",
            pa.float64(),
            "What was estimated for the same predictions before labels; blind to a shift of the base rate",
        ),
        _note("limit", pa.float64(), "Null: recorded, not judged (too few rows, or no limit is set)"),
        _required("violated", pa.bool_()),
        _note("rows", pa.int64(), "Rows the value is computed on", required=True),
        _note("scored", pa.int64(), "Predictions of the window = known + waiting + never"),
        _note("known", pa.int64(), "Their label is known at as_of"),
        _note("waiting", pa.int64(), "Their label may still come"),
        _note("never", pa.int64(), "Horizon and grace have passed without a label"),
        _note("coverage", pa.float64(), "known / scored", required=True),
        _note("fingerprint", pa.string(), "Changes when a label of the window does: then it is measured again"),
        _note("note", pa.string(), "Why there is no value, why it was not judged, or what an estimate is blind to"),
    ]
)
ALERTS = pa.schema(
    [
        _required("alert_id", pa.string()),
        _required("use_case", pa.string()),
        _required("as_of", _TIME),
        _required("kind", pa.string()),
        _note("event", pa.string(), "raised, repeated (lasting, not sent again), recovered", required=True),
        _required("severity", pa.string()),
        _required("message", pa.string()),
        _note("model_version", pa.int64(), "Whom it is about; null: no version"),
        _note("runbook", pa.string(), "Where to read what to do", required=True),
        _note("channels", pa.string(), "Where it is to be told: log, webhook", required=True),
        _required("raised_at", _TIME),
    ]
)
ALERT_DELIVERIES = pa.schema(
    [
        _required("alert_id", pa.string()),
        _required("use_case", pa.string()),
        _required("channel", pa.string()),
        _required("attempted_at", _TIME),
        _note("status", pa.string(), "delivered, failed (tried again in the next run), given up", required=True),
        _note("attempts", pa.int64(), "Tries in this run", required=True),
        _note("detail", pa.string(), "What the last try gave; never the address"),
    ]
)

TABLES = {
    "stage_runs": (STAGE_RUNS, "One row a stage of a run"),
    "gate_decisions": (GATE_DECISIONS, "Events of the gate: decided, applied, stale; append-only"),
    "drift_metrics": (
        DRIFT_METRICS,
        "Distance of scored windows from the champion's reference and the window before",
    ),
    "window_counts": (WINDOW_COUNTS, "Counts of each monitored window, which the next one is compared with"),
    "performance_metrics": (PERFORMANCE_METRICS, "Performance of predictions: estimated, then realised as labels come"),
    "alerts": (ALERTS, "Events of alerts: raised, repeated, recovered; append-only"),
    "alert_deliveries": (ALERT_DELIVERIES, "Every try to send an alert; append-only"),
}


WRITTEN_BY = {
    "gate_decisions": "gate",
    "drift_metrics": "monitor",
    "window_counts": "monitor",
    "performance_metrics": "monitor",
}
"""Tables that a stage writes to in every run that ends well, so that it is noticed when they are gone."""


def ensure(ws: Workspace, namespace: Namespace) -> list[str]:
    """Create the platform's tables of this environment where they are missing; return the names of those made."""
    present = set(ws.tables.list(namespace.catalog, namespace.ops("stage_runs").schema))
    for name, (schema, description) in TABLES.items():
        if name not in present:
            ws.tables.create(namespace.ops(name), schema, description=description)
    return [name for name in TABLES if name not in present]
