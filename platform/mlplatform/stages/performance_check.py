"""The performance part of monitoring: estimated before labels, realised as they come, and how far the one missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.as_of import Duration
from mlplatform.medallion.spine import LABEL_KNOWN_AT, LABELS, SPINE
from mlplatform.models.scorer import PREDICTION, PREDICTIONS
from mlplatform.monitoring import alerts, performance
from mlplatform.monitoring.alerts import Finding, State
from mlplatform.monitoring.late_labels import Judged, join_labels
from mlplatform.monitoring.performance import PerformanceMetric
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.schemas import PERFORMANCE_METRICS
from mlplatform.stages.context import StageContext
from mlplatform.stages.drift_check import Window
from mlplatform.stages.reference import Reference
from mlplatform.workspace.protocols import Transaction

ESTIMATED, REALISED, RECENT = "estimated", "realised", "recent"


@dataclass
class PerformanceCheck:
    """What the check found.

    Attributes:
        findings: One a kind.
        alarms: Realised performance under its floor, in words.
        details: For the stage's record.
    """

    findings: list[Finding] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def estimate(context: StageContext, window: Window, reference: Reference) -> PerformanceCheck:
    """Estimate the performance of the window's predictions, whose labels are not known yet, and record it once."""
    settings = context.use_case.settings
    mine = window.of_version()
    predictions = np.asarray(mine.column(PREDICTION).to_numpy(), dtype=np.float64)
    found = performance.estimated(predictions, reference.calibration, settings)
    version = reference.version.version
    base = _Base(context, ESTIMATED, CHAMPION, version, window.start, window.end)
    _append(context, "estimate", base.rows(found, mine.num_rows))
    primary = next((item for item in found if item.metric == settings.training.metric), None)
    done = PerformanceCheck()
    if primary is None or primary.limit is None:
        return done
    if primary.value is not None:
        done.details["estimated"] = primary.value
    state: State = "violated" if primary.violated else "unknown"
    if not primary.violated and primary.value is not None and mine.num_rows >= settings.monitoring.min_rows:
        state = "ok"
    message = (
        f"estimated {primary.metric} of version {version}: {primary.value:.3f} on {mine.num_rows} predictions without "
        f"labels, limit {primary.limit:g}. The estimate {primary.note}"
        if primary.value is not None
        else ""
    )
    done.findings.append(Finding(alerts.ESTIMATED_PERFORMANCE, state, message, version))
    return done


def check(context: StageContext) -> PerformanceCheck:
    """Measure realised performance at `as_of` and record it, exactly once.

    Three views of it: the predictions whose labels became known in the last `performance_window`, all versions together
    and each apart (these are held against the limits), with slices; every window of predictions whose labels changed
    since it was last measured, beside what had been estimated for it; and the challenger's shadow predictions.
    """
    judged = predictions_with_labels(context, CHAMPION)
    shadow = predictions_with_labels(context, CHALLENGER)
    rows = [*_windows(context, judged)]
    done = PerformanceCheck()
    counted = judged.reconcile()
    done.details["labels"] = {**asdict(counted), "coverage": counted.coverage}
    start = Duration.parse(context.use_case.settings.monitoring.performance_window).before(context.as_of)
    recent = judged.between(start, context.as_of, LABEL_KNOWN_AT)
    done.details["labels_known"] = recent.rows.num_rows
    rows += _recent(context, recent, judged, start, done)
    of_shadow = shadow.between(start, context.as_of, LABEL_KNOWN_AT)
    for version in of_shadow.versions():
        base = _Base(context, RECENT, CHALLENGER, version, start, context.as_of, shadow.of_version(version))
        mine = of_shadow.of_version(version)
        found = performance.realised(*mine.vectors(), context.use_case.settings, judge=False)
        rows += base.rows(found, mine.rows.num_rows)
    _append(context, "performance", rows)
    return done


def _recent(
    context: StageContext, recent: Judged, judged: Judged, start: datetime, done: PerformanceCheck
) -> list[dict[str, Any]]:
    """Measure what became known lately; labels are late, so that it is past champions too that are judged."""
    settings, count = context.use_case.settings, recent.rows.num_rows
    limits = settings.monitoring
    judges: dict[str, list[str]] = {}
    if limits.performance_floor is not None:
        judges[alerts.PERFORMANCE] = []
    if settings.task == "classification":
        judges[alerts.CALIBRATION] = []
    worst: dict[str, int] = {}
    enough = False
    rows: list[dict[str, Any]] = []
    if count:
        base = _Base(context, RECENT, CHAMPION, None, start, context.as_of, judged)
        found = performance.realised(*recent.vectors(), settings)
        rows += base.rows(found, count)
        for metric in found:
            if metric.metric in (settings.training.metric, performance.CALIBRATION_RATIO, "label_mean"):
                done.details[f"realised_{metric.metric}"] = metric.value
        rows += _slices(context, recent, base)
    for version in recent.versions():
        mine = recent.of_version(version)
        enough = enough or mine.rows.num_rows >= limits.min_rows
        base = _Base(context, RECENT, CHAMPION, version, start, context.as_of, judged.of_version(version))
        found = performance.realised(*mine.vectors(), settings)
        rows += base.rows(found, mine.rows.num_rows)
        for metric in found:
            if metric.violated and metric.value is not None and metric.limit is not None:
                kind = _kind(metric)
                worst.setdefault(kind, version)
                judges.setdefault(kind, []).append(
                    f"realised {metric.metric} of version {version}: {metric.value:.3f} on {mine.rows.num_rows} "
                    f"labels, limit {metric.limit:g}"
                )
    done.alarms = [f"{alerts.PERFORMANCE}: {text}" for text in judges.get(alerts.PERFORMANCE, ())]
    for kind, found_ill in judges.items():
        state: State = "violated" if found_ill else "ok" if enough else "unknown"
        done.findings.append(Finding(kind, state, "; ".join(found_ill), worst.get(kind)))
    return rows


def _kind(metric: PerformanceMetric) -> str:
    return alerts.CALIBRATION if metric.metric == performance.CALIBRATION_RATIO else alerts.PERFORMANCE


def _windows(context: StageContext, judged: Judged) -> list[dict[str, Any]]:
    """Measure again each window of predictions of which more, or other, labels are known than when it was last."""
    settings, earlier = context.use_case.settings, _recorded_windows(context)
    length = Duration.parse(settings.monitoring.window or settings.scoring.every)
    earlier.setdefault((length.before(context.as_of), context.as_of), _Earlier())
    rows: list[dict[str, Any]] = []
    ordered = judged.by_time()
    for (start, end), known in sorted(earlier.items()):
        if start < _looked_at_since(context):
            continue  # its labels are settled, and its last record stands
        mine = ordered.window(start, end)
        fingerprint = mine.fingerprint()
        if not mine.rows.num_rows or fingerprint == known.fingerprint:
            continue
        base = _Base(context, REALISED, CHAMPION, None, start, end, mine, fingerprint)
        labels, predictions = mine.vectors()
        coverage = PerformanceMetric(performance.COVERAGE, mine.reconcile().coverage, None, violated=False)
        found = [coverage]
        if labels.size:
            found += performance.realised(labels, predictions, settings, judge=False, estimates=known.estimates)
        rows += base.rows(found, labels.size)
    return rows


@dataclass
class _Earlier:
    fingerprint: str = ""
    estimates: dict[str, float] = field(default_factory=dict)


def _recorded_windows(context: StageContext) -> dict[tuple[datetime, datetime], _Earlier]:
    rows = context.ws.tables.to_arrow(
        context.namespace.ops("performance_metrics"),
        columns=["as_of", "basis", "window_start", "window_end", "metric", "value", "fingerprint"],
        filters=[
            ("use_case", "=", context.use_case.name),
            ("as_of", "<", context.as_of),
            ("basis", "in", [ESTIMATED, REALISED]),
            ("window_start", ">=", _looked_at_since(context)),
        ],
    ).sort_by([("as_of", "ascending")])
    found: dict[tuple[datetime, datetime], _Earlier] = {}
    for row in rows.to_pylist():
        window = found.setdefault((row["window_start"], row["window_end"]), _Earlier())
        if row["basis"] == ESTIMATED:
            if row["value"] is not None:
                window.estimates[row["metric"]] = row["value"]
        else:
            window.fingerprint = row["fingerprint"]
    return found


def _slices(context: StageContext, recent: Judged, base: _Base) -> list[dict[str, Any]]:
    columns = context.use_case.monitor.slices
    if not columns:
        return []
    spine, settings = context.use_case.label_spine(), context.use_case.settings
    keys, time = list(spine.keys), spine.prediction_time
    facts = context.ws.tables.to_arrow(
        context.namespace.gold(SPINE), columns=[*keys, *columns], filters=[(time, ">", _looked_at_since(context))]
    )
    joined = recent.rows.join(facts, keys=keys, join_type="left outer")
    rows: list[dict[str, Any]] = []
    for column in columns:
        values = joined.column(column).cast(pa.string())
        for value in sorted(item for item in set(values.to_pylist()) if item is not None):
            mine = replace(recent, rows=joined.filter(pa.compute.equal(values, value)))
            if mine.rows.num_rows < settings.monitoring.min_rows:
                continue
            found = performance.realised(*mine.vectors(), settings, judge=False)
            rows += replace(base, slice=f"{column}={value}", judged=mine).rows(found, mine.rows.num_rows)
    return rows


def _looked_at_since(context: StageContext) -> datetime:
    """Return the prediction time before which no label can come any more that would be judged now."""
    limits = context.use_case.settings.monitoring
    return Duration.parse(limits.performance_window).before(_settled(context))


def _settled(context: StageContext) -> datetime:
    settings = context.use_case.settings
    grace, horizon = Duration.parse(settings.monitoring.label_grace), Duration.parse(settings.label.horizon)
    return horizon.before(grace.before(context.as_of))


def predictions_with_labels(context: StageContext, alias: str) -> Judged:
    """Return what was predicted under an alias, with the labels known by `as_of`."""
    spine, tables = context.use_case.label_spine(), context.ws.tables
    keys, time, since = list(spine.keys), spine.prediction_time, _looked_at_since(context)
    made = tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        columns=[*keys, PREDICTION, "model_version", "as_of"],
        filters=[("alias", "=", alias), ("as_of", "<=", context.as_of), (time, ">", since)],
    )
    labels = tables.to_arrow(
        context.namespace.gold(LABELS),
        columns=[*keys, spine.label, LABEL_KNOWN_AT],
        filters=[(LABEL_KNOWN_AT, "<=", context.as_of), (time, ">", since)],
    )
    if alias == CHALLENGER:
        # Several challengers may have scored a row: each is a prediction of its own.
        parts = [made.filter(pa.compute.equal(made.column("model_version"), version)) for version in _versions(made)]
        joined = [join_labels(part, labels, keys, time, context.as_of, _settled(context)) for part in parts]
        if joined:
            return replace(joined[0], rows=pa.concat_tables([item.rows for item in joined]))
    return join_labels(made, labels, keys, time, context.as_of, _settled(context))


def _versions(made: pa.Table) -> Iterable[int]:
    return sorted(pa.compute.unique(made.column("model_version")).to_pylist())


@dataclass(frozen=True)
class _Base:
    """What the rows of one window have in common."""

    context: StageContext
    basis: str
    alias: str
    version: int | None
    start: datetime
    end: datetime
    judged: Judged | None = None
    fingerprint: str | None = None
    slice: str | None = None

    def rows(self, found: Sequence[PerformanceMetric], count: int) -> list[dict[str, Any]]:
        """Return the table's rows of metrics."""
        counted = self.judged.reconcile() if self.judged is not None else None
        common = {
            "use_case": self.context.use_case.name,
            "as_of": self.context.as_of,
            "basis": self.basis,
            "alias": self.alias,
            "model_version": self.version,
            "window_start": self.start,
            "window_end": self.end,
            "slice": self.slice,
            "rows": count,
            "fingerprint": self.fingerprint,
            **(asdict(counted) if counted else {}),
            "coverage": counted.coverage if counted else 0.0,
        }
        return [{**common, **asdict(metric)} for metric in found]


def _append(context: StageContext, part: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        once = Transaction(f"monitor:{context.use_case.name}:{context.as_of.isoformat()}:{part}")
        frame = pa.Table.from_pylist(rows, schema=PERFORMANCE_METRICS)
        context.ws.tables.append(context.namespace.ops("performance_metrics"), frame, transactions=[once])
