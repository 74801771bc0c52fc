"""Monitor: the scored window against the champion's reference, and predictions against labels that became known."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration
from mlplatform.medallion.spine import LABEL_KNOWN_AT, LABELS, SPINE
from mlplatform.models.metrics import Vector
from mlplatform.models.scorer import PREDICTION, PREDICTIONS
from mlplatform.monitoring import drift, performance, profiles
from mlplatform.monitoring.drift import DriftMetric
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
        # One version scores an as_of; after a rescore by a newer champion, it is the newer one's rows that count.
        version = int(pc.max(window.column("model_version")).as_py())
        window = window.filter(pc.equal(window.column("model_version"), version))
        found = _measure_drift(context, ws.registry.get(use_case.model, version), window)
        worst = max((metric for metric in found if metric.metric == "psi"), key=_value, default=None)
        drifted = sorted((metric for metric in found if metric.violated), key=_value, reverse=True)
        result.details["worst_drift"] = asdict(worst) if worst else None
        if drifted:
            listed = ", ".join(f"{metric.column} ({_shown(metric)})" for metric in drifted[:5])
            alerts.append(_alert(context, "drift", version, f"{len(drifted)} limit(s) of drift violated: {listed}"))
    judged = _newly_judged(context)
    alerts.extend(_measure_performance(context, judged, result))
    result.rows_in, result.rows_out = window.num_rows, judged.labels.size
    if alerts:
        ws.tables.append(
            namespace.ops("alerts"), pa.Table.from_pylist(alerts, schema=ALERTS), transactions=[_once(context)]
        )
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
        transactions=[_once(context)],
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


@dataclass(frozen=True)
class _Judged:
    """The champion's predictions whose labels became known in the last stretch, with the versions that made them."""

    labels: Vector
    predictions: Vector
    versions: Vector
    start: datetime
    coverage: float


def _newly_judged(context: StageContext) -> _Judged:
    ws, use_case, namespace = context.ws, context.use_case, context.namespace
    spine = use_case.label_spine()
    keys = list(spine.keys)
    start = Duration.parse(use_case.settings.monitoring.performance_window).before(context.as_of)
    made = ws.tables.to_arrow(
        namespace.gold(PREDICTIONS),
        columns=[*keys, PREDICTION, "model_version", "as_of"],
        filters=[("alias", "=", CHAMPION), ("as_of", "<=", context.as_of)],
    )
    # Scored twice (after a rescore with a newer champion): the first prediction is the one that was acted on.
    made = made.sort_by([("as_of", "ascending"), ("model_version", "ascending")])
    made = made.group_by(keys, use_threads=False).aggregate([(PREDICTION, "first"), ("model_version", "first")])
    made = made.rename_columns([*keys, PREDICTION, "model_version"])
    labels = ws.tables.to_arrow(
        namespace.gold(LABELS),
        columns=[*keys, spine.label, LABEL_KNOWN_AT],
        filters=[(LABEL_KNOWN_AT, "<=", context.as_of)],
    )
    known = made.join(labels, keys=keys, join_type="inner")
    moment = pa.scalar(start, pa.timestamp("us", tz="UTC"))
    recent = known.filter(pc.greater(known.column(LABEL_KNOWN_AT), moment))

    def vector(name: str) -> Vector:
        return np.asarray(recent.column(name).to_numpy(), dtype=np.float64)

    return _Judged(
        labels=vector(spine.label),
        predictions=vector(PREDICTION),
        versions=vector("model_version"),
        start=start,
        coverage=known.num_rows / made.num_rows if made.num_rows else 0.0,
    )


def _measure_performance(context: StageContext, judged: _Judged, result: StageResult) -> list[dict[str, Any]]:
    """Record realised metrics of each version that made the predictions; return the alerts they raise.

    Labels are late: what is judged are the predictions of past champions as well, and each alert names its version.
    """
    use_case, settings = context.use_case, context.use_case.settings
    result.details["labels_known"] = int(judged.labels.size)
    if not judged.labels.size:
        return []
    common = {
        "use_case": use_case.name,
        "as_of": context.as_of,
        "window_start": judged.start,
        "window_end": context.as_of,
        "coverage": judged.coverage,
    }
    rows: list[dict[str, Any]] = []
    alerts: list[dict[str, Any]] = []
    for metric in performance.realised(judged.labels, judged.predictions, settings):
        rows.append({**common, "model_version": None, "rows": judged.labels.size, **asdict(metric)})
        if metric.metric in (settings.training.metric, performance.CALIBRATION_RATIO, "label_mean"):
            result.details[f"realised_{metric.metric}"] = metric.value
    for number in np.unique(judged.versions):
        version, mine = int(number), judged.versions == number
        count = int(mine.sum())
        for metric in performance.realised(judged.labels[mine], judged.predictions[mine], settings):
            rows.append({**common, "model_version": version, "rows": count, **asdict(metric)})
            if metric.violated:
                kind = "calibration" if metric.metric == performance.CALIBRATION_RATIO else "performance"
                message = (
                    f"realised {metric.metric} of version {version}: {metric.value:.3f} on {count} labels, "
                    f"limit {metric.limit:g}"
                )
                alerts.append(_alert(context, kind, version, message))
                result.details["alarms"].append(f"{kind}: {message}")
    context.ws.tables.append(
        context.namespace.ops("performance_metrics"),
        pa.Table.from_pylist(rows, schema=PERFORMANCE_METRICS),
        transactions=[_once(context)],
    )
    return alerts


def _once(context: StageContext) -> Transaction:
    return Transaction(f"monitor:{context.use_case.name}:{context.as_of.isoformat()}")


def _alert(context: StageContext, kind: str, version: int, message: str) -> dict[str, Any]:
    identity = f"{context.use_case.name}|{kind}|{version}|{context.as_of.isoformat()}"
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
