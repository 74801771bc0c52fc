"""Monitor: drift of the scored window, performance estimated and realised, and the alerts that follow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self, TypeVar

from mlplatform import stopping
from mlplatform.errors import PlatformError
from mlplatform.monitoring import alerting, alerts, drift_check, monitored, performance_check, profiling
from mlplatform.monitoring.alerts import Finding, too_few
from mlplatform.monitoring.drift import TRAINING, DriftMetric
from mlplatform.monitoring.drift_check import Window
from mlplatform.monitoring.performance_check import PerformanceCheck
from mlplatform.naming import CHAMPION
from mlplatform.ops import stage_runs
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.scoring.scorer import PREDICTIONS
from mlplatform.training import reference

NAME = monitored.STAGE
LOG = logging.getLogger(__name__)
T = TypeVar("T")


def run(context: StageContext) -> StageResult[Any]:
    """Measure drift and performance at `as_of`, record them and the alerts, and send the alerts.

    Each check stands alone: one that cannot be made is an alert of the kind `monitor`, never "all well", and does not
    keep the others from being made. Everything is written exactly once an `as_of`; alerts before they are sent.
    """
    if not context.ws.tables.exists(context.namespace.gold(PREDICTIONS)):
        return StageResult(skipped="nothing has been scored yet")
    checks = _Checks(context)
    result: StageResult[Any] = StageResult(details={"alarms": [], "worst_drift": None})
    window = checks.made("the window", lambda: drift_check.read_window(context, context.as_of))
    if window is not None and window.version is not None:
        _look_at_window(context, checks, window, result)
    elif window is not None:
        checks.findings += drift_check.unknown()
    performance = checks.made("realised performance", lambda: performance_check.check(context))
    if performance is not None:
        checks.findings += performance.findings
        result.details |= performance.details | {"alarms": performance.alarms}
    profiled = checks.made("data profiling", lambda: profiling.update(context))
    if profiled is not None:
        result.details["profiling"] = profiled
    result.rows_in = window.rows.num_rows if window is not None else None
    result.rows_out = performance.details["labels_known"] if performance is not None else None
    if window is not None and window.version is not None:
        checks.findings.append(_unjudged(context, checks.findings, window, result))
    checks.findings.append(checks.own())
    result.details["windows"] = {
        finding.kind: {"violated": finding.state == "violated", "model_version": finding.model_version}
        for finding in checks.findings
        if finding.state != "unknown"
    }
    # Neither well nor ill: kept apart, and said.
    result.details["not_judged"] = {
        finding.kind: finding.message for finding in checks.findings if finding.state == "unknown" and finding.message
    }
    events = alerting.record(context, checks.findings)
    told = [(alert, {key: getattr(alert, key) for key in ("kind", "severity", "message", "event")}) for alert in events]
    result.details["alerts"] = [plain for alert, plain in told if alert.event != "recovered"]
    result.details["recovered"] = [plain for alert, plain in told if alert.event == "recovered"]
    result.details["sent"] = asdict(alerting.send(context))
    return result


def _look_at_window(context: StageContext, checks: _Checks, window: Window, result: StageResult[Any]) -> None:
    assert window.version is not None
    number = window.version
    described = checks.made(
        "the reference profile",
        lambda: reference.load(context.ws, context.ws.registry.get(context.use_case.model, number)),
    )
    if described is None:
        return
    drifted = checks.made("drift", lambda: drift_check.check(context, window, described))
    if drifted is not None:
        checks.findings += drifted.findings
        result.details["worst_drift"] = _worst(drifted.metrics)
    estimated: PerformanceCheck | None = checks.made(
        "the estimate before labels", lambda: performance_check.estimate(context, window, described)
    )
    if estimated is not None:
        checks.findings += estimated.findings
        result.details |= estimated.details


def _unjudged(context: StageContext, findings: list[Finding], window: Window, result: StageResult[Any]) -> Finding:
    """Return what is to be said of windows that were not judged: drift would go unseen as long as none is."""
    limits, rows = context.use_case.settings.monitoring, window.rows.num_rows
    drifted = next((finding for finding in findings if finding.kind == alerts.DRIFT), None)
    if drifted is None:
        return Finding(alerts.NOT_JUDGED, "unknown")  # not made, of which the alert `monitor` tells
    if drifted.state != "unknown":
        return Finding(alerts.NOT_JUDGED, "ok", model_version=window.version)
    earlier = monitored.unjudged_in_a_row(stage_runs.read(context.ws, context.namespace), context.as_of)
    result.details["unjudged_windows"] = earlier + 1
    if earlier + 1 < limits.unjudged_windows:
        return Finding(alerts.NOT_JUDGED, "unknown")
    message = (
        f"the newest {earlier + 1} windows were not judged: {too_few(rows, limits.min_rows)} (monitoring.min_rows). "
        "As long as none is, drift raises no alert"
    )
    return Finding(alerts.NOT_JUDGED, "violated", message, window.version)


class _Checks:
    """Runs checks, and keeps what they found and which of them could not be made."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._failed: list[str] = []
        self.findings: list[Finding] = []

    def made(self, what: str, check: Callable[[], T]) -> T | None:
        """Return what a check returns; None when it failed, which is an alert."""
        try:
            return check()
        except Exception as error:
            stopping.check()  # a Ctrl-C is no alert
            text = error.message if isinstance(error, PlatformError) else str(error)
            self._failed.append(f"{what}: {type(error).__name__}: {text}")
            LOG.warning("%s at %s could not be checked", what, self._context.as_of, exc_info=True)
            return None

    def own(self) -> Finding:
        """Return what is to be said of the monitor itself."""
        if not self._failed:
            return Finding(alerts.MONITOR, "ok")
        return Finding(alerts.MONITOR, "violated", f"could not be checked: {'; '.join(self._failed)}")


def _worst(found: list[DriftMetric]) -> dict[str, Any] | None:
    psi = [item for item in found if item.baseline == TRAINING and item.metric in ("psi", "missing")]
    worst = max(psi, key=lambda item: item.value if item.value is not None else float("inf"), default=None)
    return asdict(worst) if worst else None


@dataclass(frozen=True)
class MonitorStage(Stage[Any]):
    """Predictions are held against what was learned, and against the labels that have become known."""

    name: ClassVar[str] = NAME

    def due(self, context: StageContext) -> Self | None:
        """Monitoring is due once for each `as_of` while there is a champion."""
        champion = CHAMPION in context.ws.registry.aliases(context.model)
        return self if champion and not context.log.done_at(NAME, context.as_of) else None

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context)
