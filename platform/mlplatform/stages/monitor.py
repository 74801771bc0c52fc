"""Monitor: the scored window against the champion's reference, and predictions against labels that became known."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.as_of import Duration
from mlplatform.medallion.spine import LABEL_KNOWN_AT, LABELS, SPINE
from mlplatform.models.scorer import PREDICTION, PREDICTIONS
from mlplatform.monitoring import drift, performance, profiles
from mlplatform.monitoring.drift import DriftMetric
from mlplatform.monitoring.performance import PerformanceMetric
from mlplatform.naming import CHAMPION
from mlplatform.ops.schemas import ALERTS, DRIFT_METRICS, PERFORMANCE_METRICS
from mlplatform.ops.stage_runs import StageResult, utc_now
from mlplatform.stages.context import StageContext
from mlplatform.stages.train import PROFILE_FILE
from mlplatform.workspace.protocols import ModelVersion, Transaction

NAME = "monitor"


def run(context: StageContext) -> StageResult:
    """Measure drift and realised performance at `as_of`, and raise alerts; each written exactly once."""
    ws, use_case, namespace = context.ws, context.use_case, context.namespace
    if not ws.tables.exists(namespace.gold(PREDICTIONS)):
        return StageResult(skipped="nothing has been scored yet")
    result = StageResult(details={"alarms": []})
    window = ws.tables.to_arrow(
        namespace.gold(PREDICTIONS), filters=[("as_of", "=", context.as_of), ("alias", "=", CHAMPION)]
    )
    alerts: list[dict[str, Any]] = []
    if window.num_rows:
        version = int(window.column("model_version")[0].as_py())
        found = _measure_drift(context, ws.registry.get(use_case.model, version), window)
        worst = max(
            (metric for metric in found if metric.metric == "psi" and metric.value is not None),
            key=_value,
            default=None,
        )
        drifted = [metric for metric in found if metric.violated]
        result.details["worst_drift"] = asdict(worst) if worst else None
        if drifted:
            listed = ", ".join(
                f"{metric.column} ({_shown(metric)})" for metric in sorted(drifted, key=_value, reverse=True)[:5]
            )
            alerts.append(_alert(context, "drift", version, f"{len(drifted)} limit(s) of drift violated: {listed}"))
    realised, rows = _measure_performance(context)
    result.rows_in, result.rows_out = window.num_rows, rows
    for metric in realised:
        if metric.metric in (use_case.settings.training.metric, performance.CALIBRATION_RATIO):
            result.details[f"realised_{metric.metric}"] = metric.value
        if metric.metric == "label_mean":
            result.details["realised_label_mean"] = metric.value
        if metric.violated:
            kind = "calibration" if metric.metric == performance.CALIBRATION_RATIO else "performance"
            message = f"realised {metric.metric} {metric.value:.3f} on {rows} labels, limit {metric.limit:g}"
            alerts.append(_alert(context, kind, _champion(context), message))
            result.details["alarms"].append(f"{kind}: {message}")
    result.details["labels_known"] = rows
    if alerts:
        once = Transaction(f"monitor:{use_case.name}:{context.as_of.isoformat()}")
        ws.tables.append(namespace.ops("alerts"), pa.Table.from_pylist(alerts, schema=ALERTS), transactions=[once])
    result.details["alerts"] = [{key: alert[key] for key in ("kind", "severity", "message")} for alert in alerts]
    return result


def _measure_drift(context: StageContext, version: ModelVersion, window: pa.Table) -> list[DriftMetric]:
    import mlflow

    ws, use_case = context.ws, context.use_case
    ws.registry.activate()
    reference = profiles.from_dict(mlflow.artifacts.load_dict(f"runs:/{version.run_id}/{PROFILE_FILE}"))
    ignored = set(use_case.monitor.ignored_columns)
    reference = {name: profile for name, profile in reference.items() if name not in ignored}
    inputs = _window_inputs(context, window)
    found = drift.compare(reference, inputs, use_case.settings.monitoring)
    times = window.column(use_case.label_spine().prediction_time).to_pylist()
    common = {
        "use_case": use_case.name,
        "as_of": context.as_of,
        "model_version": version.version,
        "window_start": min(times),
        "window_end": max(times),
        "rows": window.num_rows,
    }
    rows = [{**common, **asdict(metric)} for metric in found]
    ws.tables.append(
        context.namespace.ops("drift_metrics"),
        pa.Table.from_pylist(rows, schema=DRIFT_METRICS),
        transactions=[Transaction(f"monitor:{use_case.name}:{context.as_of.isoformat()}")],
    )
    return found


def _window_inputs(context: StageContext, window: pa.Table) -> pa.Table:
    """Return the inputs of the scored rows as of their own prediction times, with the prediction."""
    spine, trainer = context.use_case.label_spine(), context.use_case.model_trainer()
    keys = list(spine.keys)
    scored = window.select([*keys, PREDICTION])
    time = spine.prediction_time
    times = scored.column(time).to_pylist()
    rows = context.ws.tables.to_arrow(
        context.namespace.gold(SPINE), filters=[(time, ">=", min(times)), (time, "<=", max(times))]
    )
    rows = rows.join(scored.select(keys), keys=keys, join_type="left semi").select(rows.column_names)
    inputs = context.ws.fe.create_training_set(
        df=rows, feature_lookups=list(trainer.lookups()), label=None, exclude_columns=list(trainer.exclude_columns)
    ).to_arrow()
    return inputs.join(scored, keys=keys, join_type="inner")


def _measure_performance(context: StageContext) -> tuple[list[PerformanceMetric], int]:
    """Measure the champion's predictions whose labels became known in the last stretch."""
    ws, use_case, namespace = context.ws, context.use_case, context.namespace
    spine, settings = use_case.label_spine(), use_case.settings
    keys = list(spine.keys)
    start = Duration.parse(settings.monitoring.performance_window).before(context.as_of)
    made = ws.tables.to_arrow(
        namespace.gold(PREDICTIONS),
        columns=[*keys, PREDICTION, "as_of"],
        filters=[("alias", "=", CHAMPION), ("as_of", "<=", context.as_of)],
    )
    # Scored twice (after a rescore with a newer champion): the first prediction is the one that was acted on.
    made = made.sort_by("as_of").group_by(keys, use_threads=False).aggregate([(PREDICTION, "first")])
    made = made.rename_columns([*keys, PREDICTION])
    labels = ws.tables.to_arrow(
        namespace.gold(LABELS),
        columns=[*keys, spine.label, LABEL_KNOWN_AT],
        filters=[(LABEL_KNOWN_AT, "<=", context.as_of)],
    )
    known = made.join(labels, keys=keys, join_type="inner")
    coverage = known.num_rows / made.num_rows if made.num_rows else 0.0
    recent = known.filter(_after(known, start))
    values = recent.column(spine.label).to_numpy().astype(np.float64)
    predictions = recent.column(PREDICTION).to_numpy().astype(np.float64)
    if not values.size:
        return [], 0
    found = performance.realised(values, predictions, settings)
    common = {
        "use_case": use_case.name,
        "as_of": context.as_of,
        "model_version": _champion(context),
        "window_start": start,
        "window_end": context.as_of,
        "rows": values.size,
        "coverage": coverage,
    }
    ws.tables.append(
        namespace.ops("performance_metrics"),
        pa.Table.from_pylist([{**common, **asdict(metric)} for metric in found], schema=PERFORMANCE_METRICS),
        transactions=[Transaction(f"monitor:{use_case.name}:{context.as_of.isoformat()}")],
    )
    return found, int(values.size)


def _after(rows: pa.Table, start: datetime) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.greater(rows.column(LABEL_KNOWN_AT), pa.scalar(start, pa.timestamp("us", tz="UTC")))


def _champion(context: StageContext) -> int:
    return context.ws.registry.aliases(context.use_case.model).get(CHAMPION, 0)


def _alert(context: StageContext, kind: str, version: int, message: str) -> dict[str, Any]:
    identity = f"{context.use_case.name}|{kind}|{context.as_of.isoformat()}"
    return {
        "alert_id": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "use_case": context.use_case.name,
        "as_of": context.as_of,
        "kind": kind,
        "severity": context.use_case.monitor(context.use_case.settings).severity(kind),
        "message": message,
        "model_version": version,
        "raised_at": utc_now(),
    }


def _value(metric: DriftMetric) -> float:
    return metric.value if metric.value is not None else float("inf")


def _shown(metric: DriftMetric) -> str:
    return f"{metric.metric} {metric.value:.2f}" if metric.value is not None else "missing"
