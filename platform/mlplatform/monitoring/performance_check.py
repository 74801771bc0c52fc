"""The performance part of monitoring: estimated before labels, realised as they come, and how far the one missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import alerts, baseline_check, performance
from mlplatform.monitoring.alerts import Finding, State, too_few
from mlplatform.monitoring.baseline_check import Baselines, Beside
from mlplatform.monitoring.drift_check import Window
from mlplatform.monitoring.late_labels import Judged, join_labels
from mlplatform.monitoring.performance import PerformanceMetric
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import PERFORMANCE_METRICS
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE
from mlplatform.scoring.scorer import PREDICTION, PREDICTIONS
from mlplatform.training.reference import Reference

ESTIMATED, REALISED, RECENT = "estimated", "realised", "recent"


@dataclass
class PerformanceCheck:
    """What the check found.

    Attributes:
        findings: One a kind.
        alarms: Realised performance under its floor, or worse than the trivial baseline, in words.
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
    if primary is None or primary.value is None or settings.monitoring.performance_floor is None:
        return done
    done.details["estimated"] = primary.value
    state: State = "violated" if primary.violated else "ok" if primary.limit is not None else "unknown"
    message = too_few(mine.num_rows, settings.monitoring.min_rows)
    if primary.limit is not None:
        message = (
            f"estimated {primary.metric} of version {version}: {primary.value:.3f} on {mine.num_rows} predictions "
            f"without labels, limit {primary.limit:g}. The estimate {primary.note}"
        )
    done.findings.append(Finding(alerts.ESTIMATED_PERFORMANCE, state, message, version))
    return done


def check(context: StageContext) -> PerformanceCheck:
    """Measure realised performance at `as_of` and record it, exactly once.

    Three views of it: the predictions whose labels became known in the last `performance_window`, all versions together
    and each apart (these are held against the limits), with slices; every window of predictions whose labels changed
    since it was last measured, beside what had been estimated for it; and the challenger's shadow predictions. Beside
    the champions' stands what the trivial baseline would have reached.
    """
    judged = predictions_with_labels(context, CHAMPION)
    shadow = predictions_with_labels(context, CHALLENGER)
    baselines = Baselines(context)
    rows = [*_windows(context, judged, baselines)]
    done = PerformanceCheck()
    counted = judged.reconcile()
    done.details["labels"] = {**asdict(counted), "coverage": counted.coverage}
    start = Duration.parse(context.use_case.settings.monitoring.performance_window).before(context.as_of)
    recent = judged.between(start, context.as_of, LABEL_KNOWN_AT)
    done.details["labels_known"] = recent.rows.num_rows
    rows += _recent(context, recent, judged, start, done, baselines)
    of_shadow = shadow.between(start, context.as_of, LABEL_KNOWN_AT)
    for version in of_shadow.versions():
        base = _Base(context, RECENT, CHALLENGER, version, start, context.as_of, shadow.of_version(version))
        mine = of_shadow.of_version(version)
        found = performance.realised(*mine.vectors(), context.use_case.settings, judge=False)
        rows += base.rows(found, mine.rows.num_rows)
    _append(context, "performance", rows)
    return done


def _recent(
    context: StageContext, recent: Judged, judged: Judged, start: datetime, done: PerformanceCheck, baselines: Baselines
) -> list[dict[str, Any]]:
    """Measure what became known lately; labels are late, so that it is past champions too that are judged."""
    settings, whole = context.use_case.settings, _Base(context, RECENT, CHAMPION, None, start, context.as_of, judged)
    versions = [
        _OfVersion(
            version,
            mine,
            performance.realised(*mine.vectors(), settings),
            baseline_check.measure(mine, baselines, settings),
        )
        for version in recent.versions()
        for mine in [recent.of_version(version)]
    ]
    compared = {item.version: item.beside for item in versions}
    worse = baseline_check.surely_worse(compared, settings)
    rows = _together(context, recent, whole, done, baseline_check.measure(recent, baselines, settings), bool(worse))
    for item in versions:
        base = replace(whole, version=item.version, judged=judged.of_version(item.version))
        rows += base.rows(item.metrics, item.rows)
        rows += _beside(base, item.beside, item.rows, judge=True, violated=item.version in worse)
    done.findings = [_against_limits(kind, versions, settings) for kind in _kinds(settings)]
    done.findings.append(baseline_check.finding(compared, {item.version: item.rows for item in versions}, settings))
    done.alarms = [
        f"{finding.kind}: {text}"
        for finding in done.findings
        if finding.state == "violated" and finding.kind in (alerts.PERFORMANCE, alerts.WORSE_THAN_BASELINE)
        for text in finding.message.split("; ")
    ]
    return rows


@dataclass(frozen=True)
class _OfVersion:
    version: int
    known: Judged
    metrics: list[PerformanceMetric]
    beside: Beside

    @property
    def rows(self) -> int:
        return int(self.known.rows.num_rows)


def _together(
    context: StageContext, recent: Judged, base: _Base, done: PerformanceCheck, beside: Beside, one_is_worse: bool
) -> list[dict[str, Any]]:
    """Measure all versions as one, and the slices."""
    settings, count = context.use_case.settings, recent.rows.num_rows
    if not count:
        return []
    found = performance.realised(*recent.vectors(), settings)
    for metric in found:
        if metric.metric in (settings.training.metric, performance.CALIBRATION_RATIO, "label_mean"):
            done.details[f"realised_{metric.metric}"] = metric.value
    if beside.compared is not None:
        done.details["baseline"] = asdict(beside.compared)
    of_baseline = _beside(base, beside, count, judge=True, violated=one_is_worse)
    return [*base.rows(found, count), *of_baseline, *_slices(context, recent, base)]


def _kinds(settings: UseCaseSettings) -> list[str]:
    kinds = [alerts.PERFORMANCE] if settings.monitoring.performance_floor is not None else []
    return [*kinds, alerts.CALIBRATION] if settings.task == "classification" else kinds


def _against_limits(kind: str, versions: Sequence[_OfVersion], settings: UseCaseSettings) -> Finding:
    """Return what is found of one kind, of all versions."""
    least, most = settings.monitoring.min_rows, max((item.rows for item in versions), default=0)
    ill = [
        (item.version, _under(it, item.version, item.rows))
        for item in versions
        for it in item.metrics
        if it.violated and _kind(it) == kind
    ]
    if ill:
        return Finding(kind, "violated", "; ".join(text for _, text in ill), ill[0][0])
    if most >= least:
        return Finding(kind, "ok")
    return Finding(kind, "unknown", too_few(most, least, "label") if versions else baseline_check.no_labels(settings))


def _beside(
    base: _Base, beside: Beside, count: int, *, judge: bool = False, violated: bool = False
) -> list[dict[str, Any]]:
    """Return the rows with the baseline's metrics, and with the model's gain over it."""
    return base.rows([*beside.metrics, baseline_check.gain(beside, judge=judge, violated=violated)], count)


def _under(metric: PerformanceMetric, version: int, rows: int) -> str:
    return f"realised {metric.metric} of version {version}: {metric.value:.3f} on {rows} labels, limit {metric.limit:g}"


def _kind(metric: PerformanceMetric) -> str:
    return alerts.CALIBRATION if metric.metric == performance.CALIBRATION_RATIO else alerts.PERFORMANCE


def _windows(context: StageContext, judged: Judged, baselines: Baselines) -> list[dict[str, Any]]:
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
        if labels.size:
            rows += _beside(base, baseline_check.measure(mine, baselines, settings), labels.size)
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
    keys, time = list(spine.primary_keys), spine.prediction_time
    facts = context.ws.tables.to_arrow(
        context.namespace.gold(SPINE), columns=[*keys, *columns], filters=[(time, ">", _looked_at_since(context))]
    )
    joined = recent.rows.join(facts, keys=keys, join_type="left outer")
    rows: list[dict[str, Any]] = []
    for column in columns:
        values = joined.column(column).cast(pa.string())
        for value in sorted(item for item in set(values.to_pylist()) if item is not None):
            mine = replace(recent, rows=joined.filter(pc.equal(values, pa.scalar(value))))
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
    keys, time, since = list(spine.primary_keys), spine.prediction_time, _looked_at_since(context)
    made = tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        columns=[*keys, PREDICTION, "model_version", "as_of", "run_id"],
        filters=[("alias", "=", alias), ("as_of", "<=", context.as_of), (time, ">", since)],
    )
    made = _without_learned(context, made, time).drop_columns(["run_id"])
    labels = tables.to_arrow(
        context.namespace.gold(LABELS),
        columns=[*keys, spine.label, LABEL_KNOWN_AT],
        filters=[(LABEL_KNOWN_AT, "<=", context.as_of), (time, ">", since)],
    )
    if alias == CHALLENGER:
        # Several challengers may have scored a row: each is a prediction of its own.
        parts = [made.filter(pc.equal(made.column("model_version"), pa.scalar(version))) for version in _versions(made)]
        joined = [join_labels(part, labels, keys, time, context.as_of, _settled(context)) for part in parts]
        if joined:
            return replace(joined[0], rows=pa.concat_tables([item.rows for item in joined]))
    return join_labels(made, labels, keys, time, context.as_of, _settled(context))


def _without_learned(context: StageContext, made: pa.Table, time: str) -> pa.Table:
    """Leave out what was predicted long after its time by a version that had learned from it: no performance."""
    for row in context.log.rows("score"):
        through = row["details"].get("learned_through")
        if through:
            moment = pa.scalar(parse_as_of(through), made.schema.field(time).type)
            mine = pa.compute.equal(made.column("run_id"), row["run_id"])
            made = made.filter(
                pa.compute.invert(pa.compute.and_(mine, pa.compute.less_equal(made.column(time), moment)))
            )
    return made


def _versions(made: pa.Table) -> Iterable[int]:
    return sorted(set(cast("list[int]", made.column("model_version").to_pylist())))


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
        frame = pa.Table.from_pylist(rows, schema=PERFORMANCE_METRICS.schema)
        context.ws.tables.append(context.namespace.ops("performance_metrics"), frame, transactions=[once])
