"""Monitor: drift of the scored window, performance estimated and realised, and the alerts that follow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Self, TypeVar

from mlplatform import stopping
from mlplatform.errors import PlatformError
from mlplatform.features.functions import FeatureFunctionSpec
from mlplatform.features.spec_lookups import spec_of, tables_of
from mlplatform.gate import champion as champions
from mlplatform.monitoring import alerts, base_rate, canary, delivery, details, drift, immature, performance, profiling
from mlplatform.monitoring.alerts import Verdict, too_few
from mlplatform.monitoring.base_rate import Rate
from mlplatform.monitoring.details import AlertEvent, BaseRate, JudgedKind, LabelCounts, MonitorDetails, SentAlerts
from mlplatform.monitoring.drift import DriftMetric
from mlplatform.monitoring.monitor import Monitor
from mlplatform.monitoring.window import Window, read_window
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops.context import StageContext
from mlplatform.ops.records import AlertRecord
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.lookups import FeatureLookup
from mlplatform.refine.event_spine import EVENTS, EventSpine
from mlplatform.refine.spine import LABELS, SPINE, LabelSpine
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.training import reference
from mlplatform.training.trainer import Trainer

LOG = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class MonitorStage(Stage[MonitorDetails]):
    """Predictions are held against what was learned, and against the labels that have become known.

    Attributes:
        monitor: What is watched.
        spine: The label spine.
        trainer: Which inputs are looked up.
        functions: The feature functions.
    """

    name: ClassVar[str] = details.STAGE

    monitor: Monitor
    spine: LabelSpine
    trainer: Trainer
    functions: tuple[FeatureFunctionSpec, ...] = ()

    def reads(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return predictions, spine, labels and events; the feature tables are those that models look up."""
        events = (names.gold(EVENTS),) if isinstance(self.spine, EventSpine) else ()
        return names.gold(PREDICTIONS), names.gold(SPINE), names.gold(LABELS), *events

    def due(self, context: StageContext) -> Self | None:
        """Monitoring is due once for each `as_of` as of which there was a champion."""
        if context.log.ended_well_at(self.name, context.as_of):
            return None
        return self if champions.standing(context).number is not None else None

    def run(self, context: StageContext) -> StageResult[MonitorDetails]:
        """Measure drift and performance at `as_of`, record them and the alerts, and send the alerts.

        Each check stands alone: one that cannot be made is an alert of the kind `monitor`, never "all well", and does
        not keep the others from being made. Everything is written exactly once for each `as_of`; alerts before they
        are sent.
        """
        if not context.ws.tables.exists(context.namespace.gold(PREDICTIONS)):
            return StageResult(details=MonitorDetails(), skipped="nothing has been scored yet")
        checks = _Checks(context)
        report = MonitorDetails(alarms=[], worst_drift=None)
        result = StageResult(details=report)
        window = checks.attempt("the window", lambda: self._window(context))
        if window is not None and window.version is not None:
            self._check_window(context, checks, window, window.version, report)
        elif window is not None:
            checks.verdicts += drift.unknown()
        realised = checks.attempt(
            "realised performance", lambda: performance.check(context, self.spine, self.monitor.slices)
        )
        if realised is not None:
            checks.verdicts += realised.verdicts
            _note_realised(report, realised)
        self._check_immature(context, checks, report)
        compared = checks.attempt("the canary", lambda: canary.check(context, self.spine))
        if compared is not None:
            report.canary, of_canary = compared
            checks.verdicts.append(of_canary)
        trusted = self.trainer.trusted_types
        profiled = checks.attempt("data profiling", lambda: profiling.update(context, self.spine, trusted))
        if profiled is not None:
            report.profiling = profiled
        result.rows_in = window.rows if window is not None else None
        result.rows_out = report.labels_known
        if window is not None and window.version is not None:
            checks.verdicts.append(_unjudged(context, checks.verdicts, window, report))
        checks.verdicts.append(checks.own())
        _note_verdicts(report, checks.verdicts)
        events = alerts.record(context, checks.verdicts, self.monitor.severity)
        report.alerts = [_event(alert) for alert in events if alert.event != alerts.RECOVERED]
        report.recovered = [_event(alert) for alert in events if alert.event == alerts.RECOVERED]
        sent = delivery.send_pending(context.ws, context.namespace, context.settings.monitoring.alerts.webhook)
        report.sent = SentAlerts(delivered=sent.delivered, failed=sent.failed)
        return result

    def _check_immature(self, context: StageContext, checks: _Checks, report: MonitorDetails) -> None:
        spine = self.spine
        if not isinstance(spine, EventSpine) or not context.settings.kind_of_task.is_binary:
            return
        found = checks.attempt("immature performance", lambda: immature.check(context, spine, self.monitor.slices))
        if found is not None:
            checks.verdicts += found.verdicts
            report.immature = found.summary
            report.disagreements = report.disagreements | _beside_scores(context, report)

    def _window(self, context: StageContext) -> Window:
        tables = {
            ObjectName.parse(it.table_name).name for it in self.trainer.lookups() if isinstance(it, FeatureLookup)
        }
        number = champions.standing(context).number
        if number is not None:
            # It may read other versions of tables than what is trained next.
            champion = context.ws.registry.get(context.model, number)
            tables |= {table.name for table in tables_of(spec_of(context.ws, champion))}
        return read_window(context, self.spine, context.as_of, tables=tables)

    def _check_window(
        self, context: StageContext, checks: _Checks, window: Window, version: int, report: MonitorDetails
    ) -> None:
        described = checks.attempt(
            "the reference profile",
            lambda: reference.load(context.ws, context.ws.registry.get(context.model, version)),
        )
        if described is None:
            return
        drifted = checks.attempt(
            "drift",
            lambda: drift.check(context, self.spine, self.functions, self.monitor, window, described),
        )
        if drifted is not None:
            checks.verdicts += drifted.verdicts
            report.worst_drift = _worst(drifted.metrics)
        estimated = checks.attempt(
            "the estimate before labels", lambda: performance.estimate(context, window, described)
        )
        if estimated is None:
            return
        if estimated.verdict is not None:
            checks.verdicts.append(estimated.verdict)
            report.estimated = estimated.value
        seen = estimated.base_rate
        if seen is not None and seen.value is not None and seen.low is not None and seen.high is not None:
            report.base_rate = BaseRate(
                value=seen.value, low=seen.low, high=seen.high, p_value=seen.p_value, training=seen.limit
            )


def _note_realised(report: MonitorDetails, realised: performance.PerformanceCheck) -> None:
    report.alarms = realised.alarms
    report.labels = LabelCounts(**asdict(realised.labels), coverage=realised.labels.coverage)
    report.labels_known = realised.labels_known
    report.realised = realised.realised
    if realised.disagreements:
        report.disagreements = realised.disagreements
    if realised.compared is not None:
        report.baseline = realised.compared


def _beside_scores(context: StageContext, report: MonitorDetails) -> dict[str, str]:
    """Hold the rate that is expected of the newest window against the one that its scores alone tell of."""
    expected, seen = report.immature, report.base_rate
    if expected is None or seen is None or expected.window_end != context.as_of:
        return {}
    if expected.expected_rate is None or expected.low is None or expected.high is None:
        return {}
    of_events = Rate(immature.IMMATURE, expected.expected_rate, expected.low, expected.high)
    of_scores = Rate(base_rate.BASIS, seen.value, seen.low, seen.high)
    return {f"{context.as_of:%Y-%m-%d}": text for text in base_rate.disagreements(of_scores, [of_events])}


def _note_verdicts(report: MonitorDetails, verdicts: list[Verdict]) -> None:
    report.windows = {
        verdict.kind: JudgedKind(violated=verdict.state == "violated", model_version=verdict.model_version)
        for verdict in verdicts
        if verdict.state != "unknown"
    }
    # Neither well nor ill: kept apart, and said.
    report.not_judged = {
        verdict.kind: verdict.message for verdict in verdicts if verdict.state == "unknown" and verdict.message
    }


def _unjudged(context: StageContext, verdicts: list[Verdict], window: Window, report: MonitorDetails) -> Verdict:
    """Return what is to be said of windows that were not judged: drift would go unseen as long as none is."""
    limits, rows = context.settings.monitoring, window.rows
    drifted = next((verdict for verdict in verdicts if verdict.kind == alerts.DRIFT), None)
    if drifted is None:
        return Verdict(alerts.NOT_JUDGED, "unknown")  # not made, of which the alert `monitor` tells
    if drifted.state != "unknown":
        return Verdict(alerts.NOT_JUDGED, "ok", model_version=window.version)
    context.log.look_again()
    runs = context.log.runs_of(details.STAGE, MonitorDetails, until=context.as_of)
    report.unjudged_windows = details.unjudged_in_a_row(runs, context.as_of) + 1
    if report.unjudged_windows < limits.unjudged_windows:
        return Verdict(alerts.NOT_JUDGED, "unknown")
    message = (
        f"the newest {report.unjudged_windows} windows were not judged: {too_few(rows, limits.min_rows)} "
        "(monitoring.min_rows). As long as none is, drift raises no alert"
    )
    return Verdict(alerts.NOT_JUDGED, "violated", message, window.version)


@dataclass
class _Checks:
    """Makes checks, and keeps what they say and which of them could not be made."""

    context: StageContext
    verdicts: list[Verdict] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def attempt(self, what: str, check: Callable[[], T]) -> T | None:
        """Return what a check returns; None when it failed, which is an alert."""
        try:
            return check()
        except Exception as error:
            stopping.check()  # a Ctrl-C is no alert
            text = error.message if isinstance(error, PlatformError) else str(error)
            self.failed.append(f"{what}: {type(error).__name__}: {text}")
            LOG.warning("%s at %s could not be checked", what, self.context.as_of, exc_info=True)
            return None

    def own(self) -> Verdict:
        """Return what is to be said of the monitor itself."""
        if not self.failed:
            return Verdict(alerts.MONITOR, "ok")
        return Verdict(alerts.MONITOR, "violated", f"could not be checked: {'; '.join(self.failed)}")


def _event(alert: AlertRecord) -> AlertEvent:
    return AlertEvent(kind=alert.kind, severity=alert.severity, message=alert.message, event=alert.event)


def _worst(metrics: list[DriftMetric]) -> DriftMetric | None:
    psi = [item for item in metrics if item.baseline == drift.TRAINING and item.metric in ("psi", "missing")]
    return max(psi, key=lambda item: item.value if item.value is not None else float("inf"), default=None)
