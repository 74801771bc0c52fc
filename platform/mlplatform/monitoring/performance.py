"""The check of performance: estimated before labels, realised as they come, and how far the one missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings
from mlplatform.features.training_set import PREDICTION
from mlplatform.monitoring import alerts, baseline
from mlplatform.monitoring import performance_metrics as metrics
from mlplatform.monitoring.alerts import State, Verdict, too_few
from mlplatform.monitoring.baseline import Baselines, Beside
from mlplatform.monitoring.late_labels import Judged, Reconciled, looked_at_since, predictions_with_labels
from mlplatform.monitoring.performance_metrics import PerformanceMetric
from mlplatform.monitoring.window import Window, length
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import PERFORMANCE_METRICS, PerformanceRecord
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.spine import LABEL_KNOWN_AT, SPINE, LabelSpine
from mlplatform.statistics.baseline import Compared
from mlplatform.training.reference import Reference

ESTIMATED, REALISED, RECENT = "estimated", "realised", "recent"


@dataclass(frozen=True)
class Estimate:
    """The primary metric as estimated before labels, and what is said of it."""

    value: float
    verdict: Verdict


def estimate(context: StageContext, window: Window, reference: Reference) -> Estimate | None:
    """Estimate the performance of the window's predictions, whose labels are not known yet, and record it once.

    Returns:
        None where there is no estimate, or no floor to hold it against.
    """
    settings = context.settings
    rows = window.of_version()
    predictions = np.asarray(rows.column(PREDICTION).to_numpy(), dtype=np.float64)
    estimated = metrics.estimated(predictions, reference.calibration, settings)
    version = reference.version.version
    base = _Base(context, ESTIMATED, CHAMPION, version, window.start, window.end)
    _append(context, "estimate", base.records(estimated, rows.num_rows))
    primary = next((item for item in estimated if item.metric == settings.training.metric), None)
    if primary is None or primary.value is None or settings.monitoring.performance_floor is None:
        return None
    state: State = "violated" if primary.violated else "ok" if primary.limit is not None else "unknown"
    message = too_few(rows.num_rows, settings.monitoring.min_rows)
    if primary.limit is not None:
        message = (
            f"estimated {primary.metric} of version {version}: {primary.value:.3f} on {rows.num_rows} predictions "
            f"without labels, limit {primary.limit:g}. The estimate {primary.note}"
        )
    return Estimate(primary.value, Verdict(alerts.ESTIMATED_PERFORMANCE, state, message, version))


@dataclass
class PerformanceCheck:
    """What the check measured, and what it says.

    Attributes:
        labels: How many of the predictions have a label.
        labels_known: Labels that became known in the last `performance_window`.
        realised: Metric -> its value on these; the primary one and those of calibration.
        compared: The model beside the trivial baseline on these; None where they could not be compared.
        verdicts: One per kind.
        alarms: Realised performance under its floor, or worse than the trivial baseline, in words.
    """

    labels: Reconciled
    labels_known: int
    realised: dict[str, float | None] = field(default_factory=dict)
    compared: Compared | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)


def check(context: StageContext, spine: LabelSpine, slices: Sequence[str]) -> PerformanceCheck:
    """Measure realised performance at `as_of` and record it, exactly once.

    Three views of it: the predictions whose labels became known in the last `performance_window`, all versions together
    and each apart (these are held against the limits), with slices; every window of predictions whose labels changed
    since it was last measured, beside what had been estimated for it; and the challenger's shadow predictions. Beside
    the champions' stands what the trivial baseline would have reached.

    Args:
        context: The run.
        spine: The label spine.
        slices: Columns of the spine by whose values performance is measured apart.
    """
    judged = predictions_with_labels(context, spine, CHAMPION)
    shadow = predictions_with_labels(context, spine, CHALLENGER)
    baselines = Baselines(context, spine)
    records = _windows(context, judged, baselines)
    start = Duration.parse(context.settings.monitoring.performance_window).before(context.as_of)
    recent = judged.between(start, context.as_of, LABEL_KNOWN_AT)
    outcome = PerformanceCheck(judged.reconcile(), recent.rows.num_rows)
    whole = _Base(context, RECENT, CHAMPION, None, start, context.as_of, judged)
    records += _recent(recent, whole, outcome, baselines)
    if recent.rows.num_rows:
        records += _slices(context, spine, slices, recent, whole)
    of_shadow = shadow.between(start, context.as_of, LABEL_KNOWN_AT)
    for version in of_shadow.versions():
        base = _Base(context, RECENT, CHALLENGER, version, start, context.as_of, shadow.of_version(version))
        predictions = of_shadow.of_version(version)
        measured = metrics.realised(*predictions.vectors(), context.settings, judge=False)
        records += base.records(measured, predictions.rows.num_rows)
    _append(context, "performance", records)
    return outcome


def _recent(recent: Judged, whole: _Base, outcome: PerformanceCheck, baselines: Baselines) -> list[PerformanceRecord]:
    """Measure what became known lately; labels are late, so that it is past champions too that are judged."""
    settings, judged = whole.context.settings, whole.judged
    versions = [
        _OfVersion(
            version,
            predictions,
            metrics.realised(*predictions.vectors(), settings),
            baseline.measure(predictions, baselines, settings),
        )
        for version in recent.versions()
        for predictions in [recent.of_version(version)]
    ]
    compared = {item.version: item.beside for item in versions}
    worse = baseline.surely_worse(compared, settings)
    records = _together(recent, whole, outcome, baseline.measure(recent, baselines, settings), bool(worse))
    for item in versions:
        base = replace(whole, version=item.version, judged=judged.of_version(item.version) if judged else None)
        records += base.records(item.metrics, item.rows)
        records += _beside(base, item.beside, item.rows, judge=True, violated=item.version in worse)
    outcome.verdicts = [_against_limits(kind, versions, settings) for kind in _kinds(settings)]
    outcome.verdicts.append(baseline.verdict(compared, {item.version: item.rows for item in versions}, settings))
    outcome.alarms = [
        f"{verdict.kind}: {text}"
        for verdict in outcome.verdicts
        if verdict.state == "violated" and verdict.kind in (alerts.PERFORMANCE, alerts.WORSE_THAN_BASELINE)
        for text in verdict.message.split("; ")
    ]
    return records


@dataclass(frozen=True)
class _OfVersion:
    version: int
    labelled: Judged
    metrics: list[PerformanceMetric]
    beside: Beside

    @property
    def rows(self) -> int:
        return int(self.labelled.rows.num_rows)


def _together(
    recent: Judged, base: _Base, outcome: PerformanceCheck, beside: Beside, one_is_worse: bool
) -> list[PerformanceRecord]:
    """Measure all versions as one."""
    settings, count = base.context.settings, recent.rows.num_rows
    if not count:
        return []
    measured = metrics.realised(*recent.vectors(), settings)
    outcome.realised = {
        item.metric: item.value
        for item in measured
        if item.metric in (settings.training.metric, metrics.CALIBRATION_RATIO, "label_mean")
    }
    outcome.compared = beside.compared
    return [*base.records(measured, count), *_beside(base, beside, count, judge=True, violated=one_is_worse)]


def _kinds(settings: UseCaseSettings) -> list[str]:
    kinds = [alerts.PERFORMANCE] if settings.monitoring.performance_floor is not None else []
    return [*kinds, alerts.CALIBRATION] if settings.task == "classification" else kinds


def _against_limits(kind: str, versions: Sequence[_OfVersion], settings: UseCaseSettings) -> Verdict:
    """Return what is said of one kind, of all versions."""
    least, most = settings.monitoring.min_rows, max((item.rows for item in versions), default=0)
    ill = [
        (item.version, _under(metric, item.version, item.rows))
        for item in versions
        for metric in item.metrics
        if metric.violated and _kind(metric) == kind
    ]
    if ill:
        return Verdict(kind, "violated", "; ".join(text for _, text in ill), ill[0][0])
    if most >= least:
        return Verdict(kind, "ok")
    return Verdict(kind, "unknown", too_few(most, least, "label") if versions else baseline.no_labels(settings))


def _beside(
    base: _Base, beside: Beside, count: int, *, judge: bool = False, violated: bool = False
) -> list[PerformanceRecord]:
    """Return the records of the baseline's metrics, and of the model's gain over it."""
    return base.records([*beside.metrics, baseline.gain(beside, judge=judge, violated=violated)], count)


def _under(metric: PerformanceMetric, version: int, rows: int) -> str:
    return f"realised {metric.metric} of version {version}: {metric.value:.3f} on {rows} labels, limit {metric.limit:g}"


def _kind(metric: PerformanceMetric) -> str:
    return alerts.CALIBRATION if metric.metric == metrics.CALIBRATION_RATIO else alerts.PERFORMANCE


def _windows(context: StageContext, judged: Judged, baselines: Baselines) -> list[PerformanceRecord]:
    """Measure again each window of predictions of which more, or other, labels are known than when it was last."""
    settings, since = context.settings, looked_at_since(context.settings, context.as_of)
    earlier = _recorded_windows(context, since)
    earlier.setdefault((length(settings).before(context.as_of), context.as_of), _Earlier())
    records: list[PerformanceRecord] = []
    ordered = judged.by_time()
    for (start, end), before in sorted(earlier.items()):
        if start < since:
            continue  # its labels are settled, and its last record stands
        window = ordered.window(start, end)
        fingerprint = window.fingerprint()
        if not window.rows.num_rows or fingerprint == before.fingerprint:
            continue
        base = _Base(context, REALISED, CHAMPION, None, start, end, window, fingerprint)
        labels, predictions = window.vectors()
        measured = [PerformanceMetric(metrics.COVERAGE, window.reconcile().coverage, None, violated=False)]
        if labels.size:
            measured += metrics.realised(labels, predictions, settings, judge=False, estimates=before.estimates)
        records += base.records(measured, labels.size)
        if labels.size:
            records += _beside(base, baseline.measure(window, baselines, settings), labels.size)
    return records


@dataclass
class _Earlier:
    """What is on record of a window: how its labels were when it was last measured, and what had been estimated."""

    fingerprint: str | None = ""
    estimates: dict[str, float] = field(default_factory=dict)


def _recorded_windows(context: StageContext, since: datetime) -> dict[tuple[datetime, datetime], _Earlier]:
    records = PERFORMANCE_METRICS.read(
        context.ws,
        context.namespace,
        [("as_of", "<", context.as_of), ("basis", "in", [ESTIMATED, REALISED]), ("window_start", ">=", since)],
    )
    windows: dict[tuple[datetime, datetime], _Earlier] = {}
    for record in records:
        window = windows.setdefault((record.window_start, record.window_end), _Earlier())
        if record.basis == REALISED:
            window.fingerprint = record.fingerprint
        elif record.value is not None:
            window.estimates[record.metric] = record.value
    return windows


def _slices(
    context: StageContext, spine: LabelSpine, columns: Sequence[str], recent: Judged, base: _Base
) -> list[PerformanceRecord]:
    if not columns:
        return []
    settings, since = context.settings, looked_at_since(context.settings, context.as_of)
    keys, time = list(spine.primary_keys), spine.prediction_time
    facts = context.ws.tables.to_arrow(
        context.namespace.gold(SPINE), at_most=10**9, columns=[*keys, *columns], filters=[(time, ">", since)]
    )
    joined = recent.rows.join(facts, keys=keys, join_type="left outer")
    records: list[PerformanceRecord] = []
    for column in columns:
        values = joined.column(column).cast(pa.string())
        for value in sorted(item for item in set(values.to_pylist()) if item is not None):
            part = replace(recent, rows=joined.filter(pc.equal(values, pa.scalar(value))))
            if part.rows.num_rows < settings.monitoring.min_rows:
                continue
            measured = metrics.realised(*part.vectors(), settings, judge=False)
            records += replace(base, slice=f"{column}={value}", judged=part).records(measured, part.rows.num_rows)
    return records


@dataclass(frozen=True)
class _Base:
    """What the records of one window have in common."""

    context: StageContext
    basis: str
    alias: str
    version: int | None
    start: datetime
    end: datetime
    judged: Judged | None = None
    fingerprint: str | None = None
    slice: str | None = None

    def records(self, measured: Sequence[PerformanceMetric], count: int) -> list[PerformanceRecord]:
        """Return the records of metrics that were measured on so many rows."""
        counted = self.judged.reconcile() if self.judged is not None else None
        return [
            PerformanceRecord(
                use_case=self.context.name,
                as_of=self.context.as_of,
                basis=self.basis,
                alias=self.alias,
                model_version=self.version,
                window_start=self.start,
                window_end=self.end,
                slice=self.slice,
                rows=count,
                fingerprint=self.fingerprint,
                **(asdict(counted) if counted else {}),
                coverage=counted.coverage if counted else 0.0,
                **asdict(metric),
            )
            for metric in measured
        ]


def _append(context: StageContext, part: str, records: list[PerformanceRecord]) -> None:
    if records:
        once = Transaction(f"monitor:{context.name}:{context.as_of.isoformat()}:{part}")
        PERFORMANCE_METRICS.append(context.ws, context.namespace, records, transactions=[once])
