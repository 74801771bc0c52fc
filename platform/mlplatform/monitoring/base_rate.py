"""A second witness beside the estimate: which base rate a window's scores tell of, and where another basis disagrees.

The estimate before labels takes each score at its word, and is blind to a shift of the base rate. This one asks which
base rate mixes the scores of events and of others as the window does; see `statistics.prior_shift`. Neither sees rows
that have become events more often while they look as ever: only outcomes tell of those. So what the two say is held
against every other basis that has a rate for the same window, and what they do not agree on is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlplatform.features.training_set import PREDICTION
from mlplatform.monitoring.performance_metrics import PerformanceMetric, not_judged, said
from mlplatform.monitoring.window import Window
from mlplatform.ops.context import StageContext
from mlplatform.statistics import prior_shift
from mlplatform.statistics.prior_shift import ASSUMPTION, PriorEstimate, ScoreCounts
from mlplatform.training.reference import Reference

BASIS = "prior_shift"
RATE = "label_mean"
DISAGREE = "disagree on the base rate"
"""Begins what is said of two bases that do."""
NO_SCORES = "not available: the model version was registered before scores were kept with it; train again"
TELLS_NOTHING = "not available: the scores tell the classes apart in no way"


@dataclass(frozen=True)
class Rate:
    """A base rate of one window, as one basis has it.

    Attributes:
        basis: Which one, as in the record: `prior_shift`, `realised`, ...
        value: The rate.
        low: Lower end of its 95% interval.
        high: Its upper end.
    """

    basis: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return it in words."""
        name = "the scores alone" if self.basis == BASIS else f"{self.basis} outcomes"
        return f"{name} {self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def disagreement(witness: Rate, other: Rate) -> str:
    """Return what is to be said where two bases have different rates for one window; empty where they may agree.

    They disagree where their 95% intervals have nothing in common, which chance makes of one in a hundred at most.

    Examples:
        >>> disagreement(Rate("prior_shift", 0.02, 0.015, 0.03), Rate("realised", 0.025, 0.02, 0.03))
        ''
        >>> print(disagreement(Rate("prior_shift", 0.02, 0.015, 0.03), Rate("realised", 0.06, 0.05, 0.07)))
        disagree on the base rate: the scores alone 2.0% (1.5% to 3.0%), realised outcomes 6.0% (5.0% to 7.0%); so ...
    """
    if witness.low <= other.high and other.low <= witness.high:
        return ""
    return (
        f"{DISAGREE}: {witness}, {other}; so what changed is not only how many events there are, but "
        "which rows become events"
    )


def disagreements(witness: Rate | None, others: Iterable[Rate]) -> list[str]:
    """Return what is to be said of every basis that disagrees with the witness; whichever bases there are."""
    return [] if witness is None else [text for other in others if (text := disagreement(witness, other))]


def rate_of(basis: str, metrics: Iterable[PerformanceMetric]) -> Rate | None:
    """Return the rate that a basis measured; None where it has none, or no interval."""
    for item in metrics:
        if item.metric == RATE and item.value is not None and item.low is not None and item.high is not None:
            return Rate(basis, item.value, item.low, item.high)
    return None


def witness(context: StageContext, window: Window, reference: Reference) -> PerformanceMetric | None:
    """Estimate the base rate of a window's predictions from their scores alone.

    Args:
        context: The run.
        window: The window.
        reference: Of the version that predicted.

    Returns:
        The rate with its interval, held against the training rate; None where no probability of an event is predicted.
    """
    if not context.settings.kind_of_task.is_binary:
        return None
    if reference.scores is None or reference.calibration is None:
        return PerformanceMetric(RATE, None, None, violated=False, note=NO_SCORES)
    found = prior_shift.estimate_prior(_counts(context, window), reference.scores, reference.calibration)
    if found is None:
        return PerformanceMetric(RATE, None, None, violated=False, note=TELLS_NOTHING)
    return _held_against(found, context)


def _held_against(found: PriorEstimate, context: StageContext) -> PerformanceMetric:
    limits = context.settings.monitoring
    judged = found.rows >= limits.min_rows
    note = ASSUMPTION if judged else said(not_judged(found.rows, context.settings), ASSUMPTION)
    return PerformanceMetric(
        RATE,
        found.rate,
        found.training_rate if judged else None,
        violated=judged and found.p_value < limits.false_alarm_rate,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        note=note,
    )


def _counts(context: StageContext, window: Window) -> ScoreCounts:
    """Return how the scores lie that the window's version predicted: of many rows counted by the engine."""
    if window.loaded is not None:
        return ScoreCounts.of(window.predictions())
    groups = context.ws.frames.collect(
        prior_shift.grouped(window.of_version, PREDICTION), at_most=prior_shift.MOST_BINS, what="scores by bin"
    )
    return ScoreCounts.of_groups(groups)
