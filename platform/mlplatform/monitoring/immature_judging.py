"""Holding immature performance against the limits, so that the chance of a false alarm is bounded.

A version violates a limit where it is surely beyond: by one-sided tests, corrected for their number (Holm), at
`monitoring.false_alarm_rate`. Told is of the version that predicted last: those before it predict no more, and what is
found of them is on record. A value that is beyond a limit, and not surely, is neither well nor ill: it raises nothing,
and closes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import ClassVar

from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import alerts
from mlplatform.monitoring.alerts import Verdict, too_few
from mlplatform.monitoring.performance_metrics import PerformanceMetric, said
from mlplatform.refine.exposures import Counts
from mlplatform.statistics.baseline import LEAST_OF_CLASS
from mlplatform.statistics.concordance import Concordance
from mlplatform.statistics.distances import holm
from mlplatform.statistics.life_tables import ExpectedRate

EXPECTED_RATIO, CONCORDANCE = "expected_ratio", "concordance"
LEAST_EVENTS = LEAST_OF_CLASS
"""With fewer events nothing is judged."""
_CHANCE = 0.5
_NORMAL = NormalDist()
_95 = _NORMAL.inv_cdf(0.975)


@dataclass(frozen=True)
class OfVersion:
    """What is measured of the predictions of one version.

    Attributes:
        version: The version.
        counts: Its predictions that are not mature, with the sum of their scores.
        expected: The rate that is expected of them; None where it is not known.
        ordered: How well their scores order events so far; None where nothing tells.
    """

    version: int
    counts: Counts
    expected: ExpectedRate | None
    ordered: Concordance | None


class ImmatureKind(ABC):
    """One kind of alert.

    Attributes:
        name: The kind's.
    """

    name: ClassVar[str]

    def __init__(self, settings: UseCaseSettings) -> None:
        """Take the limits."""
        self.settings = settings

    @property
    @abstractmethod
    def limit(self) -> float | None:
        """What is held against; None: nothing is judged."""

    @abstractmethod
    def metric(self, item: OfVersion) -> PerformanceMetric:
        """Return what is measured, not judged."""

    @abstractmethod
    def unjudged(self, item: OfVersion) -> str:
        """Say why a version is not judged; empty where it is."""

    @abstractmethod
    def p_values(self, item: OfVersion, limit: float) -> Sequence[float]:
        """Return the one-sided p-values of what is beyond the limit."""

    @abstractmethod
    def is_beyond(self, value: float, limit: float) -> bool:
        """Tell whether a value is beyond the limit, surely or not."""

    @abstractmethod
    def tell(self, item: OfVersion) -> str:
        """Say of a version that is surely beyond the limit how far."""

    def judge(self, found: Sequence[OfVersion], newest: int) -> tuple[Verdict, dict[int, PerformanceMetric]]:
        """Judge versions; return what is to be told of the newest, and of each version the metric with its limit.

        Args:
            found: What was measured of each.
            newest: The version that predicted last; one of them.
        """
        verdict, metrics = Verdict(self.name, "unknown"), {}
        for item in found:
            metric, why = self.metric(item), self.unjudged(item)
            limit = None if why else self.limit
            violated = limit is not None and self._is_surely_beyond(item, limit)
            note = said(metric.note, f"not judged: {why}" if why and self.limit is not None else None)
            metrics[item.version] = replace(metric, limit=limit, violated=violated, note=note)
            if item.version == newest:
                verdict = self._verdict(item, metrics[newest], why)
        return verdict, metrics

    def _is_surely_beyond(self, item: OfVersion, limit: float) -> bool:
        return min(holm(self.p_values(item, limit))) < self.settings.monitoring.false_alarm_rate

    def _verdict(self, item: OfVersion, metric: PerformanceMetric, why: str) -> Verdict:
        if metric.violated:
            return Verdict(self.name, "violated", self.tell(item), item.version)
        if metric.limit is None or metric.value is None:
            return Verdict(self.name, "unknown", why)
        if self.is_beyond(metric.value, metric.limit):
            text = f"{metric.metric} of version {item.version} is {metric.value:.3g}, beyond {metric.limit:g}"
            return Verdict(self.name, "unknown", f"{text}, but not surely")
        return Verdict(self.name, "ok", model_version=item.version)

    def _too_few_rows(self, item: OfVersion) -> str:
        rows, least = round(item.counts.total), self.settings.monitoring.min_rows
        return too_few(rows, least) if rows < least else ""


class Calibration(ImmatureKind):
    """The rate that is expected within the horizon, over the mean score."""

    name = alerts.IMMATURE_CALIBRATION

    def __init__(self, settings: UseCaseSettings, events: int, unseen: str) -> None:
        """Take the limits, by how many events the present's risks are known, and what is not known of them."""
        super().__init__(settings)
        self.events, self.unseen = events, unseen

    @property
    def limit(self) -> float | None:
        """`monitoring.max_calibration_ratio`, and its inverse."""
        return self.settings.monitoring.max_calibration_ratio

    def metric(self, item: OfVersion) -> PerformanceMetric:
        """Return the ratio."""
        return ratio(item.counts, item.expected)

    def unjudged(self, item: OfVersion) -> str:
        """Too few rows or events, or an age whose risk is not known."""
        if few := self._too_few_rows(item):
            return few
        if self.events < LEAST_EVENTS:
            window = self.settings.monitoring.performance_window
            return f"{too_few(self.events, LEAST_EVENTS, 'event')} in the last {window}"
        if item.expected is None:
            return self.unseen
        return "" if item.counts.mean > 0 else "the mean score is zero"

    def p_values(self, item: OfVersion, limit: float) -> Sequence[float]:
        """Too high, and too low."""
        assert item.expected is not None, "only what has a rate is judged"
        mean = item.counts.mean
        return item.expected.p_above(limit * mean), item.expected.p_below(mean / limit)

    def is_beyond(self, value: float, limit: float) -> bool:
        """Tell whether the ratio is above the limit, or below its inverse."""
        return not 1 / limit <= value <= limit

    def tell(self, item: OfVersion) -> str:
        """Say what is expected, and what the scores say."""
        assert item.expected is not None, "only what has a rate is judged"
        low, high = item.expected.interval() or (float("nan"), float("nan"))
        mean, window = item.counts.mean, self.settings.monitoring.performance_window
        return (
            f"of {round(item.counts.total):,} predictions of version {item.version} that are not mature, "
            f"{item.expected.value:.2%} (95% {low:.2%} to {high:.2%}) are expected to have the event within "
            f"{self.settings.label.horizon}, if the risks of the last {window} stay as they are ({self.events:,} "
            f"events); their mean score is {mean:.2%}: ratio {item.expected.value / mean:.2f}, surely beyond the limit "
            f"{self.limit:g}"
        )


class Ranking(ImmatureKind):
    """The concordance of scores with events so far."""

    name = alerts.IMMATURE_PERFORMANCE

    @property
    def limit(self) -> float | None:
        """The floor of an area under the curve, which a concordance is; of other metrics, chance."""
        return self.settings.monitoring.performance_floor if self.settings.training.metric == "roc_auc" else _CHANCE

    def metric(self, item: OfVersion) -> PerformanceMetric:
        """Return the concordance."""
        found = item.ordered
        if found is None:
            return PerformanceMetric(CONCORDANCE, None, None, violated=False)
        note = f"on {found.events:,} event{'' if found.events == 1 else 's'}"
        if found.error is None:
            return PerformanceMetric(CONCORDANCE, found.value, None, violated=False, note=note)
        low, high = max(0.0, found.value - _95 * found.error), min(1.0, found.value + _95 * found.error)
        return PerformanceMetric(CONCORDANCE, found.value, None, violated=False, low=low, high=high, note=note)

    def unjudged(self, item: OfVersion) -> str:
        """Too few rows, or too few events so far."""
        events = item.ordered.events if item.ordered is not None else 0
        few = f"{too_few(events, LEAST_EVENTS, 'event')} of predictions so far" if events < LEAST_EVENTS else ""
        return self._too_few_rows(item) or few

    def p_values(self, item: OfVersion, limit: float) -> Sequence[float]:
        """Too low."""
        found = item.ordered
        return (_NORMAL.cdf((found.value - limit) / found.error) if found is not None and found.error else 1.0,)

    def is_beyond(self, value: float, limit: float) -> bool:
        """Tell whether the concordance is under the floor."""
        return value < limit

    def tell(self, item: OfVersion) -> str:
        """Say how well scores order events so far."""
        metric = self.metric(item)
        return (
            f"concordance of version {item.version} so far: {metric.value:.3f} (95% {metric.low:.3f} to "
            f"{metric.high:.3f}) {metric.note} of predictions that are not mature, surely under {self.limit:g}"
        )


def ratio(counts: Counts, expected: ExpectedRate | None) -> PerformanceMetric:
    """Return the expected rate over the mean score, with its 95% interval."""
    if expected is None or not counts.mean > 0:
        return PerformanceMetric(EXPECTED_RATIO, None, None, violated=False)
    ends = expected.interval()
    low, high = (end / counts.mean for end in ends) if ends else (None, None)
    return PerformanceMetric(EXPECTED_RATIO, expected.value / counts.mean, None, violated=False, low=low, high=high)
