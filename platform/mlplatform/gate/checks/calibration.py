"""Calibration: whether predicted probabilities (or values) can be taken at their word."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck
from mlplatform.statistics import count_metrics, metrics, quantile_metrics

_SMALLEST, _LEAST_EXPECTED = 1e-9, 0.5


class CalibrationError(GateCheck):
    """Expected calibration error, of several classes of the predicted one: at most `gate.max_calibration_error`."""

    name = "calibration"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compute it, and hold it against its limit."""
        task = self.settings.kind_of_task
        if not task.predicts_probabilities:
            return self.skipped(f"no limit is set: it is for probabilities, and this is {task.noun}")
        value = self.value_of(metrics.get("expected_calibration_error", task), evidence.labels, evidence.challenger)
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
        if not task.predicts_probabilities:
            return self.skipped(f"no limit is set: it is for probabilities, and this is {task.noun}")
        value = self.value_of(metrics.get("brier", task), evidence.labels, evidence.challenger)
        limit = self.limits.max_brier
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


class ClassRatios(GateCheck):
    """The probabilities of each class add up to how often it came: no ratio is surely beyond the limit.

    Surely: the interval of the ratio lies above `gate.max_calibration_ratio` or below its inverse. One of several
    classes is off by chance now and then, so each is tested at the gate's one-sided level divided by their number
    (Bonferroni). So far out no number of draws reaches; the interval is the ratio plus and minus Student's quantile
    times the standard error. That is the bootstrap's, but at least what right probabilities would have: of a class that
    hardly came, all draws are alike. Of a class that is never predicted half a row is taken for expected.
    """

    name = "class_ratios"

    def run(self, evidence: Evidence) -> CheckResult:
        """Add up class by class, and hold the intervals against the limit."""
        from scipy.stats import t

        classes, limit = self.settings.kind_of_task.classes, self.limits.max_calibration_ratio
        tail = (1 - self.limits.confidence) / 2 / len(classes)
        parts: list[dict[str, Any]] = []
        for place, name in enumerate(classes):
            came = replace(evidence, labels=np.asarray(evidence.labels == place, dtype=np.float64))
            given = evidence.challenger[:, place]
            given = given + max(0.0, _LEAST_EXPECTED - float(given.sum())) / given.size
            found = self.estimate(came, count_metrics.RATIO, given)
            chance = float(np.sqrt((given * (1 - given)).clip(0).sum())) / float(given.sum())
            spread = float(t.ppf(1 - tail, max(found.units, 2) - 1)) * max(found.error, chance)
            parts.append(
                {"class": name, "rows": int(came.labels.sum()), "ratio": found.value}
                | {"low": found.value - spread, "high": found.value + spread}
            )
        worst = max(parts, key=lambda part: abs(math.log(max(part["ratio"], _SMALLEST))))
        told = f"observed over predicted of {worst['class']} {worst['ratio']:.3f}, the farthest from 1"
        if limit is None:
            return replace(self.skipped(f"no limit is set ({told})"), parts=parts)
        off = [part for part in parts if not (part["low"] <= limit and part["high"] >= 1 / limit)]
        listed = ", ".join(f"{part['class']} ({part['ratio']:.3f})" for part in off)
        detail = f"surely beyond {limit:g} either way: {listed}" if off else f"{told}; none is surely beyond {limit:g}"
        return replace(self.verdict(not off, detail, worst["ratio"], limit), parts=parts)
