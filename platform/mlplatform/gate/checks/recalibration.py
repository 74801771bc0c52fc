"""A challenger that is the champion with its probabilities moved: judged by what a move can change.

Moved up or down, probabilities rank the same rows in the same order: a ranking metric would see neither a gain nor a
loss. What a move is for are the probabilities, and proper scores judge these: nobody does better in one by saying
something else than what he expects (Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation",
JASA 2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck, histogram, told
from mlplatform.gate.checks.calibration import BrierScore, CalibrationError, CalibrationSlope
from mlplatform.gate.checks.guards import Guard
from mlplatform.gate.checks.performance import BeatsChampion, BeatsTrivial, Floor
from mlplatform.gate.checks.slices import Slices
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import PairedDifference
from mlplatform.statistics.intervals import losses
from mlplatform.statistics.metric import Metric, OfDraw, Vector
from mlplatform.task import RANKING_METRICS

PROPER_SCORES = ("brier", "log_loss")
_OF_ITS_OWN = (Floor, BeatsTrivial, BeatsChampion)
_BY_OUTCOMES = (Guard, CalibrationError, BrierScore, CalibrationSlope, Slices)
_TIE = 1e-9


def of_a_recalibration(settings: UseCaseSettings, checks: Sequence[GateCheck], evidence: Evidence) -> list[GateCheck]:
    """Return the checks of a recalibrated challenger: those of a model of its own are replaced.

    Args:
        settings: The use case's.
        checks: The gate's, a use case's own among them: these stay.
        evidence: What is judged; where labels are rates that are expected, what needs outcomes is skipped, and says so.
    """
    rest = [check for check in checks if type(check) not in _OF_ITS_OWN]
    if evidence.champion is not None and _same_order(evidence.champion, evidence.challenger):
        # Of equals none is surely better: what may not be lost is not, where the order is the same.
        rest = [_without_loss(settings, check) for check in rest]
    if evidence.expected:
        why = "labels are rates that are expected, not outcomes: the proper scores judge by them"
        rest = [_Skipped(settings, check, why) if isinstance(check, _BY_OUTCOMES) else check for check in rest]
    return [SameRanking(settings), *(ProperScore(settings, name) for name in PROPER_SCORES), *rest]


class ProperScore(GateCheck):
    """A proper score of the moved probabilities is surely better: the lower end of the gain's interval lies above zero.

    Rows are drawn whatever their label, unlike for other checks: how many events there are is the very question. Where
    rates are expected, the gain must be sure at the lowest and at the highest that they may be.
    """

    def __init__(self, settings: UseCaseSettings, score: str) -> None:
        """Take the settings and the score's name."""
        super().__init__(settings)
        self.score, self.name = score, f"recalibrated_{score}"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compare by the paired bootstrap."""
        found = evidence.recalibration
        if evidence.champion is None or found is None:
            raise ValueError("a recalibrated challenger is compared with the champion that it was made of")
        metric = _weighted(self.score, found.weights)
        value = self.value_of(metric, evidence.labels, evidence.challenger)
        other = self.value_of(metric, evidence.labels, evidence.champion)
        difference = self._difference(evidence, metric, evidence.labels)
        numbers = {**difference.numbers(), "challenger": value, "champion": other}
        lowest, doubt = difference.low, ""
        for end, rates in (("lowest", found.low), ("highest", found.high)):
            if rates is not None:
                at_end = self._difference(evidence, metric, rates)
                numbers[f"low_at_the_{end}_rates"] = at_end.low
                lowest = min(lowest, at_end.low)
                doubt = f"; at the lowest and the highest rates that are expected at least {lowest:+.5f}"
        shown = f"{self.score} {value:.5f} against {other:.5f} of version {found.origin} unmoved"
        result = self.verdict(
            lowest > 0, f"{shown}: {told(difference)}{doubt} (surely better is needed)", lowest, 0.0, **numbers
        )
        return replace(result, histogram=histogram(difference))

    def _difference(self, evidence: Evidence, metric: Metric, labels: Vector) -> PairedDifference:
        assert evidence.champion is not None
        return self.compare(evidence, metric, evidence.challenger, evidence.champion, labels=labels, stratify=False)


class SameRanking(GateCheck):
    """The primary metric is no worse: rows rank as they did, or what it lost is surely below `recalibration.max_loss`.

    A move of the odds keeps every order, which is looked at row by row. A curve makes ties: then the metric is compared
    by the paired bootstrap, as is one that is not about the ranking.
    """

    name = "not_worse"

    def run(self, evidence: Evidence) -> CheckResult:
        """Look at the order; where it is not the same, compare."""
        if evidence.champion is None:
            raise ValueError("a recalibrated challenger is compared with the champion that it was made of")
        if self.metric.name in RANKING_METRICS and _same_order(evidence.champion, evidence.challenger):
            detail = f"{self.metric.name} is the champion's: all {evidence.labels.size} rows rank as they did"
            return self.verdict(True, detail, 0.0, 0.0)
        limit = self.settings.recalibration.max_loss
        if evidence.expected:
            if self.metric.name not in PROPER_SCORES:
                raise ValueError(
                    f"rows do not rank as they did, and expected rates cannot tell what {self.metric.name} lost"
                )
            return self.skipped(f"{self.metric.name} is a proper score, which is compared below")
        difference = self.compare(
            evidence, self.metric, evidence.challenger, evidence.champion, stratify=self.metric.name in RANKING_METRICS
        )
        value = self.value_of(self.metric, evidence.labels, evidence.challenger)
        detail = f"{self.metric.name} {value:.4f}: {told(difference)} (a loss surely below {limit:g} is needed)"
        result = self.verdict(difference.low > -limit, detail, difference.low, 0.0 - limit, **difference.numbers())
        return replace(result, histogram=histogram(difference))


class _Skipped(GateCheck):
    """A check of which nothing can be told, or need be."""

    def __init__(self, settings: UseCaseSettings, check: GateCheck, why: str) -> None:
        super().__init__(settings)
        self.name, self.why = check.name, why

    def run(self, evidence: Evidence) -> CheckResult:  # noqa: ARG002  (whatever it is)
        """Say why."""
        return self.skipped(self.why)


def _without_loss(settings: UseCaseSettings, check: GateCheck) -> GateCheck:
    """Return a guard of a ranking without its limit to losses; any other check as it is."""
    if not isinstance(check, Guard) or check.metric.name not in RANKING_METRICS:
        return check
    if check.guard.floor is None:
        return _Skipped(settings, check, "all rows rank as they did")
    return Guard(settings, check.guard.model_copy(update={"max_loss": None}))


def _same_order(before: Vector, after: Vector) -> bool:
    """Tell whether whoever ranked above whom still does, and who was level is; to within the last digits of a float."""
    order = np.argsort(before, kind="stable")
    ranked, moved = before[order], after[order]
    gap, risen, last_digits = np.diff(ranked), np.diff(moved), _TIE * np.abs(moved[1:])
    apart = gap > _TIE * np.abs(ranked[1:])
    return bool((risen >= -last_digits).all() and (risen[apart] > 0).all() and (risen <= last_digits)[gap == 0].all())


def _weighted(name: str, weights: Vector) -> Metric:
    """Return a proper score as a mean weighted by what rows are worth; of rates, what is expected of it."""

    def of_rows(labels: Vector, predictions: Vector) -> Vector:
        if name == "brier":
            return np.asarray(labels * (1 - predictions) ** 2 + (1 - labels) * predictions**2)
        found = losses(name, labels, predictions)
        assert found is not None
        return found

    def compute(labels: Vector, predictions: Vector) -> float:
        total = float(weights.sum())
        return float(weights @ of_rows(labels, predictions) / total) if total > 0 else math.nan

    def draws(labels: Vector, predictions: Vector) -> OfDraw:
        loss = weights * of_rows(labels, predictions)

        def of_draw(counts: npt.NDArray[np.int64]) -> float:
            return float((counts * loss).sum() / (counts * weights).sum())

        return of_draw

    return Metric(name, compute, greater_is_better=metrics.get(name).greater_is_better, fast_draws=draws)
