"""Calibration: whether predicted probabilities (or values) can be taken at their word."""

from __future__ import annotations

import math

from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck
from mlplatform.statistics import count_metrics, metrics, quantile_metrics


class CalibrationError(GateCheck):
    """Expected calibration error, at most `gate.max_calibration_error`."""

    name = "calibration"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compute it, and hold it against its limit."""
        task = self.settings.kind_of_task
        if not task.is_binary:
            return self.skipped(f"no limit is set: it is for probabilities, and this is {task.noun}")
        value = self.value_of(metrics.get("expected_calibration_error"), evidence.labels, evidence.challenger)
        limit = self.limits.max_calibration_error
        if limit is None:
            return self.skipped(f"no limit is set (expected calibration error {value:.4f})", value=value)
        detail = f"expected calibration error {value:.4f}, at most {limit:.4f} is needed"
        return self.verdict(value <= limit, detail, value, limit)


class BrierScore(GateCheck):
    """Brier score, at most `gate.max_brier`."""

    name = "brier"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compute it, and hold it against its limit."""
        task = self.settings.kind_of_task
        if not task.is_binary:
            return self.skipped(f"no limit is set: it is for probabilities, and this is {task.noun}")
        value, limit = self.value_of(metrics.get("brier"), evidence.labels, evidence.challenger), self.limits.max_brier
        if limit is None:
            return self.skipped(f"no limit is set (Brier score {value:.4f})", value=value)
        return self.verdict(value <= limit, f"Brier score {value:.4f}, at most {limit:.4f} is needed", value, limit)


class CalibrationSlope(GateCheck):
    """Calibration slope, between `gate.min_calibration_slope` and `gate.max_calibration_slope`."""

    name = "calibration_slope"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compute it, and hold it against its limits."""
        value = metrics.calibration_slope(
            evidence.labels, evidence.challenger, binary=self.settings.kind_of_task.is_binary
        )
        low, high = self.limits.min_calibration_slope, self.limits.max_calibration_slope
        if low is None and high is None:
            shown = f"slope {value:.4f}" if math.isfinite(value) else "no slope is defined"
            numbers = {"value": value} if math.isfinite(value) else {}
            return self.skipped(f"no limit is set ({shown})", **numbers)
        if not math.isfinite(value):
            raise ArithmeticError("the calibration slope is not defined: one class, one prediction, or no convergence")
        if low is not None and not value >= low:
            return self.verdict(False, f"slope {value:.4f}, at least {low:g} is needed", value, low)
        if high is not None and not value <= high:
            return self.verdict(False, f"slope {value:.4f}, at most {high:g} is needed", value, high)
        return self.verdict(True, f"slope {value:.4f}", value, low if low is not None else high)


class QuantileCoverage(GateCheck):
    """The share of labels at or below the predicted quantile is surely not farther than `gate.max_coverage_gap` off.

    Surely: the interval of the share, by the bootstrap that the gate's settings describe, lies apart from the level
    plus and minus the gap.
    """

    name = "coverage"

    def run(self, evidence: Evidence) -> CheckResult:
        """Count, and hold the interval against the limit."""
        level, limit = self.settings.label.quantile, self.limits.max_coverage_gap
        if level is None:
            raise ValueError("label.quantile is not set")
        found = self.estimate(evidence, quantile_metrics.SHARE, evidence.challenger)
        told = f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}] of labels at or below the quantile {level:g}"
        numbers = {"coverage": found.value, "low": found.low, "high": found.high, "level": level}
        if limit is None:
            return self.skipped(f"no limit is set ({told})", **numbers)
        passed = found.low <= level + limit and found.high >= level - limit
        detail = f"{told}, a gap that is not surely above {limit:g} is needed"
        return self.verdict(passed, detail, abs(found.value - level), limit, **numbers)


class TotalsRatio(GateCheck):
    """Predicted counts add up to the observed ones: the ratio is surely not beyond `gate.max_calibration_ratio`.

    Surely: the interval of the ratio, by the bootstrap that the gate's settings describe, lies above the limit or below
    its inverse. So counts may vary more than a Poisson distribution says.
    """

    name = "calibration"

    def run(self, evidence: Evidence) -> CheckResult:
        """Add up, and hold the interval against the limit."""
        limit = self.limits.max_calibration_ratio
        found = self.estimate(evidence, count_metrics.RATIO, evidence.challenger)
        told = f"observed over predicted sum {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        numbers = {"ratio": found.value, "low": found.low, "high": found.high}
        if limit is None:
            return self.skipped(f"no limit is set ({told})", **numbers)
        passed = found.low <= limit and found.high >= 1 / limit
        detail = f"{told}, one that is not surely beyond {limit:g} either way is needed"
        return self.verdict(passed, detail, found.value, limit, **numbers)
