"""Guard metrics: what a challenger may not spoil while it gains in the primary metric."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mlplatform.config.gate import GuardSettings
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.checks.base import CheckResult, Evidence, GateCheck, histogram, told
from mlplatform.gate.checks.evidence import rarest_class
from mlplatform.statistics import metrics
from mlplatform.statistics.metrics import Vector


class Guard(GateCheck):
    """One entry of `gate.guards`: a floor, and a limit to the loss against the champion.

    With `event_above` the label becomes the event "above this", and the prediction the score that ranks it; then
    `gate.min_positives` of each kind are needed.
    """

    def __init__(self, settings: UseCaseSettings, guard: GuardSettings) -> None:
        """Take the settings and the guard."""
        super().__init__(settings)
        self.guard = guard
        self.name = guard.name
        self.metric = metrics.get(guard.metric, settings.kind_of_task)

    def run(self, evidence: Evidence) -> CheckResult:
        """Hold the metric against the floor, and its loss against the limit."""
        labels = self._labels(evidence)
        task = self.settings.kind_of_task
        binary = task.is_binary or self.guard.event_above is not None
        kind, rarest = "rarer kind", rarest_class(labels) if binary else 0
        if task.is_multiclass:
            name, rarest = evidence.rarest_of(task.classes)
            kind = f"rarest class ({name})"
        if (binary or task.is_multiclass) and not rarest >= self.limits.min_positives:
            detail = f"{rarest} rows of the {kind}, {self.limits.min_positives} are needed"
            return self.verdict(False, detail, rarest, self.limits.min_positives)
        value = self.value_of(self.metric, labels, evidence.challenger)
        floor, max_loss = self.guard.floor, self.guard.max_loss
        if floor is not None and not 0 <= self.metric.gain(value, floor) < math.inf:
            word = "at least" if self.metric.greater_is_better else "at most"
            detail = f"{self.metric.name} {value:.4f}, {word} {floor:g} is needed"
            return self.verdict(False, detail, value, floor, challenger=value)
        if evidence.champion is None or max_loss is None:
            if floor is None:
                return self.skipped("there is no champion to lose against, and no floor is set", challenger=value)
            return self.verdict(True, f"{self.metric.name} {value:.4f}", value, floor, challenger=value)
        other = self.value_of(self.metric, labels, evidence.champion)
        derived = labels if self.guard.event_above is not None else None
        difference = self.compare(evidence, self.metric, evidence.challenger, evidence.champion, labels=derived)
        detail = (
            f"{self.metric.name} {value:.4f} against the champion's {other:.4f}: {told(difference)} "
            f"(a loss surely below {max_loss:g} is needed)"
        )
        result = self.verdict(
            difference.low > -max_loss,
            detail,
            difference.low,
            0.0 - max_loss,
            **difference.numbers(),
            challenger=value,
            champion=other,
        )
        return replace(result, histogram=histogram(difference))

    def _labels(self, evidence: Evidence) -> Vector:
        if self.guard.event_above is None:
            return evidence.labels
        return np.asarray(evidence.labels > self.guard.event_above, dtype=np.float64)
