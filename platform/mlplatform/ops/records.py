"""What the platform records of itself: a typed record for each row of each of its own tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlplatform.naming import Namespace
from mlplatform.ops import schema_mark
from mlplatform.ops.migrations import registry
from mlplatform.ops.record_table import RecordTable, noted
from mlplatform.ops.schema_mark import SchemaMark
from mlplatform.protocols import judged_models
from mlplatform.protocols.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One stage of a run, also of one that failed; `mlplatform.ops.stage_runs` gives it with typed details."""

    run_id: str
    use_case: str
    stage: str
    as_of: datetime
    status: str
    started_at: datetime
    seconds: float
    rows_in: int | None = None
    rows_out: int | None = None
    rows_quarantined: int | None = None
    inputs: dict[str, int] = noted("JSON: table -> Delta version read", factory=dict)
    outputs: dict[str, int] = noted("JSON: table -> Delta version after the stage", factory=dict)
    details: Mapping[str, Any] = noted("JSON: what else the stage says of itself", factory=dict)
    message: str = noted("Why it was skipped or failed", default="", nullable=True)
    platform_version: str = ""


@dataclass(frozen=True, kw_only=True)
class GateEvent:
    """What became of a decision of the gate: it was decided, applied, found stale, or waits."""

    decision_id: str
    event: str
    kind: str
    use_case: str
    model: str
    as_of: datetime
    outcome: str
    reason: str
    challenger_version: int
    champion_version: int | None = None
    evaluation: dict[str, Any] = noted("JSON: the frozen label frame: table versions, rows", factory=dict)
    checks: list[dict[str, Any]] = noted("JSON: every check with its numbers and limit", factory=list)
    decided_by: str | None = noted("Who ran the command", default=None)
    artifact_digest: str | None = noted(
        "Digest of the version's files as they were judged; null: by an earlier release", default=None
    )
    spending: dict[str, Any] = noted(
        "JSON: error of the comparison with the champion: level, per decision or year, allowed, spent before; empty: "
        "nothing was compared",
        factory=dict,
    )
    recorded_at: datetime


@dataclass(frozen=True, kw_only=True)
class DriftRecord:
    """A distance of one column in one window of scored rows."""

    use_case: str
    as_of: datetime
    baseline: str = noted("Compared with: training, previous window, none")
    model_version: int
    window_start: datetime = noted("Prediction times after this")
    window_end: datetime = noted("Prediction times up to this")
    column: str = noted("The input, prediction, or a feature table")
    metric: str
    value: float | None = None
    limit: float | None = noted("Null: recorded, not judged (too few rows, or no limit is set)", default=None)
    p_value: float | None = noted(
        "Of such a distance without change, corrected for the number of columns", default=None
    )
    violated: bool
    rows: int


@dataclass(frozen=True, kw_only=True)
class WindowRecord:
    """The counts of one monitored window."""

    use_case: str
    as_of: datetime
    model_version: int = noted("In whose reference profile's cells the rows are counted")
    window_start: datetime
    window_end: datetime
    rows: int
    counts: dict[str, Any] = noted("JSON: format; column -> rows, nulls, rows in each cell, moments", nullable=False)


@dataclass(frozen=True, kw_only=True)
class PerformanceRecord:
    """One metric of the predictions of one window."""

    use_case: str
    as_of: datetime
    basis: str = noted(
        "estimated: predictions of the window, before labels; realised: the same predictions, with the labels "
        "known by as_of; recent: predictions whose labels became known in the window; immature: predictions whose "
        "labels are not mature, from dated events; prior_shift: the base rate that the scores of the window alone tell "
        "of; canary: those for whom a challenger decided, beside those for whom the champion did"
    )
    alias: str = noted("Predictions of champion or (shadow) challenger")
    model_version: int | None = noted("Who predicted; null: all versions", default=None)
    window_start: datetime
    window_end: datetime
    slice: str | None = noted("column=value; null: all rows", default=None)
    metric: str = noted(
        "Of the model; baseline_<metric>: of the training labels' median or mean; gain_over_baseline: of the two; "
        "canary_gain: of a challenger's decisions over the champion's; canary_label_difference: of their mean labels"
    )
    value: float | None = None
    low: float | None = noted("Lower end of the 95% interval", default=None)
    high: float | None = noted("Upper end of the 95% interval", default=None)
    estimate: float | None = noted(
        "What was estimated for the same predictions before labels; blind to a shift of the base rate", default=None
    )
    limit: float | None = noted("Null: recorded, not judged (too few rows, or no limit is set)", default=None)
    p_value: float | None = noted("Of a value so far from its limit by chance; null: not tested", default=None)
    violated: bool
    rows: int = noted("Rows the value is computed on")
    scored: int | None = noted("Predictions of the window = known + waiting + never", default=None)
    known: int | None = noted("Their label is known at as_of", default=None)
    waiting: int | None = noted("Their label may still come", default=None)
    never: int | None = noted("Horizon and grace have passed without a label", default=None)
    coverage: float = noted("known / scored")
    fingerprint: str | None = noted("Changes when a label of the window does: then it is measured again", default=None)
    note: str | None = noted(
        "Why there is no value, why it was not judged, or what an estimate is blind to", default=None
    )


@dataclass(frozen=True, kw_only=True)
class AlertRecord:
    """An event of an alert."""

    alert_id: str
    use_case: str
    as_of: datetime
    kind: str
    event: str = noted("raised, repeated (lasting, not sent again), recovered")
    severity: str
    message: str
    model_version: int | None = noted("Whom it is about; null: no version", default=None)
    runbook: str = noted("Where to read what to do")
    channels: str = noted("Where it is to be told: log, webhook")
    raised_at: datetime


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One try to send an alert."""

    alert_id: str
    use_case: str
    channel: str
    attempted_at: datetime
    status: str = noted("delivered, failed (tried again in the next run), given up")
    attempts: int = noted("Tries in this run")
    detail: str | None = noted("What the last try gave; never the address", default=None)


@dataclass(frozen=True, kw_only=True)
class ChangeRecord:
    """What was decided about an edit: what it does, and of which tables versions are written from then on."""

    change_id: str
    use_case: str
    as_of: datetime
    kind: str = noted("What its gravest difference does: text only, additive, recompute, breaking")
    declared: str = noted("Digest of all that was declared")
    versions: dict[str, str] = noted("JSON: declared name -> version of it that is written and looked up", factory=dict)
    plan: dict[str, Any] = noted("JSON: the plan, as `mlplatform plan --json` gives it", factory=dict)
    given_up: list[str] = noted("JSON: what models in use read, and nothing computes on any more", factory=list)
    reason: str | None = noted("Why something breaking was done", default=None)
    decided_by: str | None = noted("Who ran the command", default=None)
    recorded_at: datetime


@dataclass(frozen=True, kw_only=True)
class CodeRecord:
    """The code that computed a use case's tables: what a model in use reads can be computed on after an edit."""

    use_case: str
    declared: str = noted("Digest of all that was declared")
    package: str = noted("Name of the use case's package")
    use_case_class: str = noted("Name of its class in the package")
    codes: dict[str, str] = noted("JSON: table or function -> digest of the code that computes it", factory=dict)
    versions: dict[str, str] = noted("JSON: declared name -> version of it that is written and looked up", factory=dict)
    files: dict[str, str] = noted("JSON: file of the package -> its text", factory=dict)
    platform_version: str = ""
    recorded_at: datetime


STAGE_RUNS = RecordTable("stage_runs", StageRecord, "One row a stage of a run", order_by="started_at", by_clock=True)
GATE_DECISIONS = RecordTable(
    judged_models.DECISIONS,
    GateEvent,
    "Events of the gate: decided, applied, stale; append-only",
    order_by="recorded_at",
    written_by="gate",
    by_clock=True,
)
DRIFT_METRICS = RecordTable(
    "drift_metrics",
    DriftRecord,
    "Distance of scored windows from the champion's reference and the window before",
    order_by="as_of",
    written_by="monitor",
)
WINDOW_COUNTS = RecordTable(
    "window_counts",
    WindowRecord,
    "Counts of each monitored window, which the next one is compared with",
    order_by="as_of",
    written_by="monitor",
)
PERFORMANCE_METRICS = RecordTable(
    "performance_metrics",
    PerformanceRecord,
    "Performance of predictions: estimated, then realised as labels come",
    order_by="as_of",
    written_by="monitor",
)
ALERTS = RecordTable(
    "alerts",
    AlertRecord,
    "Events of alerts: raised, repeated, recovered; append-only",
    order_by="raised_at",
    by_clock=True,
)
ALERT_DELIVERIES = RecordTable(
    "alert_deliveries",
    DeliveryRecord,
    "Every try to send an alert; append-only",
    order_by="attempted_at",
    by_clock=True,
)
CHANGES = RecordTable(
    "changes",
    ChangeRecord,
    "What edits did to tables and models in use, and why; append-only",
    order_by="recorded_at",
    by_clock=True,
)
CODE = RecordTable(
    "code",
    CodeRecord,
    "Code that computed tables, for models that go on reading them",
    order_by="recorded_at",
    by_clock=True,
)

TABLES: tuple[RecordTable[Any], ...] = (
    STAGE_RUNS,
    GATE_DECISIONS,
    DRIFT_METRICS,
    WINDOW_COUNTS,
    PERFORMANCE_METRICS,
    ALERTS,
    ALERT_DELIVERIES,
    CHANGES,
    CODE,
)


def ensure(ws: Workspace, namespace: Namespace) -> list[RecordTable[Any]]:
    """Give the platform's tables of this environment the schema that this version writes, and create those missing.

    Where nothing is to be done, it costs what a list of the tables costs: no table is read.

    Args:
        ws: The workspace.
        namespace: The use case's.

    Returns:
        The tables that were created.

    Raises:
        TableError: If a newer version of the platform wrote one of them, or one cannot be changed so.
    """
    found = check_not_newer(ws, namespace)
    missing = [table for table in TABLES if table.name not in found]
    for table in TABLES:
        name, mark = table.full_name(namespace), SchemaMark.of(table, registry.MIGRATIONS)
        if table in missing:
            properties = {schema_mark.PROPERTY: str(mark)}
            ws.tables.create(name, table.schema, description=table.description, properties=properties)
        elif not found[table.name].has(mark):
            schema_mark.bring_up_to_date(ws, name, table, registry.MIGRATIONS)
    return missing


def check_not_newer(ws: Workspace, namespace: Namespace) -> dict[str, SchemaMark]:
    """Return the marks of the platform's tables that exist, by bare name.

    Raises:
        TableError: If a newer version of the platform wrote one of them, in a way that this one does not know.
    """
    marks = ws.tables.properties(namespace.catalog, STAGE_RUNS.full_name(namespace).schema, schema_mark.PROPERTY)
    return {
        table.name: schema_mark.check_not_newer(
            table.full_name(namespace), marks[table.name], SchemaMark.of(table, registry.MIGRATIONS)
        )
        for table in TABLES
        if table.name in marks
    }
