"""The check of performance: estimated before labels, realised as they come, and how far the one missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import narwhals as nw

from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import alerts, base_rate, baseline
from mlplatform.monitoring import performance_metrics as metrics
from mlplatform.monitoring.alerts import State, Verdict, too_few
from mlplatform.monitoring.base_rate import Rate
from mlplatform.monitoring.baseline import Baselines, Beside
from mlplatform.monitoring.judging import AnyJudged, predictions_with_labels
from mlplatform.monitoring.late_labels import Judged, Reconciled, Span, looked_at_since, slice_column
from mlplatform.monitoring.performance_metrics import PerformanceMetric
from mlplatform.monitoring.performance_records import RecordBase, append
from mlplatform.monitoring.window import Window, length
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import PERFORMANCE_METRICS, PerformanceRecord
from mlplatform.refine.spine import LABEL_KNOWN_AT, LabelSpine
from mlplatform.statistics.baseline import Compared
from mlplatform.statistics.class_metrics import ACCURACY, kind_of
from mlplatform.statistics.quantile_metrics import COVERAGE as QUANTILE_COVERAGE
from mlplatform.training.reference import Reference

ESTIMATED, REALISED, RECENT = "estimated", "realised", "recent"
_MOST_MARKS = 100_000


@dataclass(frozen=True)
class Estimate:
    """What is known of a window before labels.

    Attributes:
        value: The primary metric as estimated; None where there is no estimate, or no floor to hold it against.
        verdict: What is said of it; None where there is none.
        base_rate: The base rate that the scores alone tell of; None where no probabilities are predicted.
    """

    value: float | None
    verdict: Verdict | None
    base_rate: PerformanceMetric | None = None


def estimate(context: StageContext, window: Window, reference: Reference) -> Estimate:
    """Estimate performance and base rate of the window's predictions without labels, and record them once."""
    settings, rows = context.settings, window.rows_of_version
    estimated = metrics.estimated(window.predictions(), reference.calibration, settings, rows=rows)
    version = reference.version.version
    base = RecordBase(context, ESTIMATED, CHAMPION, version, window.start, window.end)
    append(context, "estimate", base.records(estimated, rows))
    seen = base_rate.witness(context, window, reference)
    if seen is not None:
        append(context, "base rate", replace(base, basis=base_rate.BASIS).records([seen], rows))
    found = Estimate(None, None, seen)
    primary = next((item for item in estimated if item.metric == settings.training.metric), None)
    if primary is None or primary.value is None or settings.monitoring.performance_floor is None:
        return found
    state: State = "violated" if primary.violated else "ok" if primary.limit is not None else "unknown"
    message = too_few(rows, settings.monitoring.min_rows)
    if primary.limit is not None:
        message = (
            f"estimated {primary.metric} of version {version}: {primary.value:.3f} on {rows} predictions "
            f"without labels, limit {primary.limit:g}. The estimate {primary.note}{_shift(seen)}"
        )
    return Estimate(primary.value, Verdict(alerts.ESTIMATED_PERFORMANCE, state, message, version), seen)


def _shift(seen: PerformanceMetric | None) -> str:
    """Return what the scores alone say of the base rate, where they say that it has moved."""
    rate = None if seen is None or not seen.violated else base_rate.rate_of(base_rate.BASIS, [seen])
    if seen is None or rate is None or seen.limit is None:
        return ""
    return f". {str(rate).capitalize()} tell of another base rate than training's {seen.limit:.1%}"


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
        disagreements: Windows, as days, whose labels and whose scores tell of different base rates -> in words.
    """

    labels: Reconciled
    labels_known: int
    realised: dict[str, float | None] = field(default_factory=dict)
    compared: Compared | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    disagreements: dict[str, str] = field(default_factory=dict)


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
    baselines = Baselines(context, spine)
    start = Duration.parse(context.settings.monitoring.performance_window).before(context.as_of)
    with predictions_with_labels(context, spine, slices) as of_alias:
        judged, shadow = of_alias[CHAMPION], of_alias[CHALLENGER]
        recent = judged.between(start, context.as_of, LABEL_KNOWN_AT)
        outcome = PerformanceCheck(judged.reconcile(), recent.labelled)
        records = _windows(context, judged, baselines, outcome)
        whole = RecordBase(context, RECENT, CHAMPION, None, start, context.as_of, judged.reconcile())
        records += _recent(recent, judged, whole, outcome, baselines)
        records += _slices(slices, recent, whole)
        of_shadow = shadow.between(start, context.as_of, LABEL_KNOWN_AT)
        for version in of_shadow.versions():
            counted = shadow.of_version(version).reconcile()
            base = RecordBase(context, RECENT, CHALLENGER, version, start, context.as_of, counted)
            records += _realised(of_shadow.of_version(version).load(), base, judge=False)
    append(context, "performance", records)
    return outcome


def _realised(
    known: Judged, base: RecordBase, *, judge: bool, estimates: Mapping[str, float] | None = None
) -> list[PerformanceRecord]:
    return base.records(_measured(known, base.context.settings, judge=judge, estimates=estimates), known.labelled)


def _measured(
    known: Judged, settings: UseCaseSettings, *, judge: bool = True, estimates: Mapping[str, float] | None = None
) -> list[PerformanceMetric]:
    return metrics.realised(*known.vectors(), settings, judge=judge, estimates=estimates, whole=known.whole)


def _recent(
    recent: AnyJudged, judged: AnyJudged, whole: RecordBase, outcome: PerformanceCheck, baselines: Baselines
) -> list[PerformanceRecord]:
    """Measure what became known lately; labels are late, so that it is past champions too that are judged."""
    settings = whole.context.settings
    versions = [
        _OfVersion(
            version,
            known.labelled,
            _measured(known, settings),
            baseline.measure(known, baselines, settings),
        )
        for version in recent.versions()
        for known in [recent.of_version(version).load()]
    ]
    compared = {item.version: item.beside for item in versions}
    worse = baseline.surely_worse(compared, settings)
    records = _together(recent, versions, whole, outcome, baselines, bool(worse))
    for item in versions:
        base = replace(whole, version=item.version, counted=judged.of_version(item.version).reconcile())
        records += base.records(item.metrics, item.rows)
        records += _beside(base, item.beside, judge=True, violated=item.version in worse)
    outcome.verdicts = [_with_witness(_against_limits(kind, versions, settings), outcome) for kind in _kinds(settings)]
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
    rows: int
    metrics: list[PerformanceMetric]
    beside: Beside


def _together(
    recent: AnyJudged,
    versions: Sequence[_OfVersion],
    base: RecordBase,
    outcome: PerformanceCheck,
    baselines: Baselines,
    one_is_worse: bool,
) -> list[PerformanceRecord]:
    """Measure all versions as one."""
    settings = base.context.settings
    if not versions:
        return []
    if len(versions) == 1:
        rows, measured, beside = versions[0].rows, versions[0].metrics, versions[0].beside
    else:
        known = recent.load()
        rows, measured = known.labelled, _measured(known, settings)
        beside = baseline.measure(known, baselines, settings)
    outcome.realised = {
        item.metric: item.value
        for item in measured
        if item.metric in (settings.training.metric, "label_mean", ACCURACY) or _of_the_level(item.metric)
    }
    outcome.compared = beside.compared
    return [*base.records(measured, rows), *_beside(base, beside, judge=True, violated=one_is_worse)]


def _with_witness(verdict: Verdict, outcome: PerformanceCheck) -> Verdict:
    """Add to an alert of calibration what the scores alone had told of the windows whose labels came now."""
    if verdict.kind != alerts.CALIBRATION or verdict.state != "violated" or not outcome.disagreements:
        return verdict
    window, text = max(outcome.disagreements.items())
    many = len(outcome.disagreements)
    others = f", as in {many - 1} more of the windows measured now" if many > 1 else ""
    return replace(verdict, message=f"{verdict.message}; of the window to {window} two bases {text}{others}")


def _kinds(settings: UseCaseSettings) -> list[str]:
    kinds = [alerts.PERFORMANCE] if settings.monitoring.performance_floor is not None else []
    return [*kinds, alerts.CALIBRATION] if settings.kind_of_task.level_is_watched else kinds


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
    without_value = [
        f"{metrics.undefined(metric.metric)}: {item.rows:,} labels of version {item.version}"
        for item in versions
        for metric in item.metrics
        if metric.value is None and item.rows >= least and _kind(metric) == kind and _is_judged(metric, settings)
    ]
    if without_value:
        return Verdict(kind, "unknown", "; ".join(without_value))
    if most >= least:
        return Verdict(kind, "ok")
    return Verdict(kind, "unknown", too_few(most, least, "label") if versions else baseline.no_labels(settings))


def _beside(
    base: RecordBase, beside: Beside, *, judge: bool = False, violated: bool = False
) -> list[PerformanceRecord]:
    """Return the records of the baseline's metrics, and of the model's gain over it."""
    return base.records([*beside.metrics, baseline.gain(beside, judge=judge, violated=violated)], beside.rows)


def _under(metric: PerformanceMetric, version: int, rows: int) -> str:
    told = f"realised {metric.metric} of version {version}: {metric.value:.3f} on {rows} labels"
    if metric.metric == QUANTILE_COVERAGE:
        return f"{told}, {metric.note}: a gap of {metric.limit:g} is allowed"
    return f"{told}, limit {metric.limit:g}"


def _is_judged(metric: PerformanceMetric, settings: UseCaseSettings) -> bool:
    return metric.metric == settings.training.metric or _of_the_level(metric.metric)


def _kind(metric: PerformanceMetric) -> str:
    return alerts.CALIBRATION if _of_the_level(metric.metric) else alerts.PERFORMANCE


def _of_the_level(name: str) -> bool:
    """Tell whether a metric says that predictions, or those of one class, are too high or too low on the whole."""
    return kind_of(name) in (metrics.CALIBRATION_RATIO, QUANTILE_COVERAGE)


def _windows(
    context: StageContext, judged: AnyJudged, baselines: Baselines, outcome: PerformanceCheck
) -> list[PerformanceRecord]:
    """Measure again each window of predictions of which more, or other, labels are known than when it was last."""
    settings, since = context.settings, looked_at_since(context.settings, context.as_of)
    earlier = _recorded_windows(context, since)
    earlier.setdefault((length(settings).before(context.as_of), context.as_of), _Earlier())
    records: list[PerformanceRecord] = []
    # Of those that began before, the labels are settled, and their last record stands.
    for span, window in judged.windows(span for span in sorted(earlier) if span[0] >= since):
        before, fingerprint = earlier[span], window.fingerprint()
        if fingerprint == before.fingerprint:
            continue
        known, counted = window.load(), window.reconcile()
        base = RecordBase(context, REALISED, CHAMPION, None, *span, counted, fingerprint)
        measured = [PerformanceMetric(metrics.COVERAGE, counted.coverage, None, violated=False)]
        if known.labelled:
            measured += _measured(known, settings, judge=False, estimates=before.estimates)
            measured = _beside_witness(measured, before.witness, span[1], outcome)
        records += base.records(measured, known.labelled)
        if known.labelled:
            records += _beside(base, baseline.measure(known, baselines, settings))
    return records


def _beside_witness(
    measured: list[PerformanceMetric], seen: Rate | None, end: datetime, outcome: PerformanceCheck
) -> list[PerformanceMetric]:
    """Note with the realised rate of a window where its scores alone had told of another one."""
    realised = base_rate.rate_of(REALISED, measured)
    for text in base_rate.disagreements(seen, [] if realised is None else [realised]):
        outcome.disagreements[f"{end:%Y-%m-%d}"] = text
        measured = [
            replace(item, note=metrics.said(item.note, text)) if item.metric == base_rate.RATE else item
            for item in measured
        ]
    return measured


@dataclass
class _Earlier:
    """What is on record of a window: how its labels were when it was last measured, and what had been estimated.

    Attributes:
        fingerprint: Of the labels.
        estimates: Metric -> its estimate.
        witness: The base rate that its scores alone had told of; None where they told of none.
    """

    fingerprint: str | None = ""
    estimates: dict[str, float] = field(default_factory=dict)
    witness: Rate | None = None


def _recorded_windows(context: StageContext, since: datetime) -> dict[Span, _Earlier]:
    frame = PERFORMANCE_METRICS.frame(
        context.ws,
        context.namespace,
        [
            ("as_of", "<", context.as_of),
            ("basis", "in", [ESTIMATED, REALISED, base_rate.BASIS]),
            ("window_start", ">=", since),
        ],
    )
    # Each time that a window was measured again, the coverage was, too; only the last time counts.
    marks = frame.filter((nw.col("basis") != REALISED) | (nw.col("metric") == metrics.COVERAGE))
    newest = marks.unique(subset=["window_start", "window_end", "basis", "metric"], keep="last", order_by=["as_of"])
    rows = context.ws.frames.collect(newest, at_most=_MOST_MARKS, what="what is on record of windows")
    windows: dict[Span, _Earlier] = {}
    for record in PERFORMANCE_METRICS.records(rows):
        window = windows.setdefault((record.window_start, record.window_end), _Earlier())
        if record.basis == REALISED:
            window.fingerprint = record.fingerprint
        elif record.basis == base_rate.BASIS:
            if record.value is not None and record.low is not None and record.high is not None:
                window.witness = Rate(base_rate.BASIS, record.value, record.low, record.high)
        elif record.value is not None:
            window.estimates[record.metric] = record.value
    return windows


def _slices(columns: Sequence[str], recent: AnyJudged, base: RecordBase) -> list[PerformanceRecord]:
    records: list[PerformanceRecord] = []
    if not recent.labelled:
        return records
    for column in columns:
        for value, part in recent.parts(slice_column(column), base.context.settings.monitoring.min_rows):
            of_slice = replace(base, slice=f"{column}={value}", counted=part.reconcile())
            records += _realised(part.load(), of_slice, judge=False)
    return records
