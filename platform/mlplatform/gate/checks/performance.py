"""The primary metric: against its floor, against a predictor that knows nothing, against the champion."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mlplatform.errors import ConfigError, did_you_mean
from mlplatform.gate.checks.base import NO_CHAMPION, CheckResult, Evidence, GateCheck, group_frame, histogram, told
from mlplatform.gate.spending import alone
from mlplatform.statistics import baseline
from mlplatform.statistics.metrics import Vector
from mlplatform.statistics.spending import PER_YEAR

if TYPE_CHECKING:
    import pandas as pd


class Floor(GateCheck):
    """The primary metric reaches `gate.floor`."""

    name = "floor"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compare the value with its floor."""
        value, floor = self.value_of(self.metric, evidence.labels, evidence.challenger), self.limits.floor
        word = "at least" if self.metric.greater_is_better else "at most"
        detail = f"{self.metric.name} {value:.4f}, {word} {floor:.4f} is needed"
        return self.verdict(self.metric.gain(value, floor) >= 0, detail, value, floor)


class BeatsTrivial(GateCheck):
    """The challenger surely beats a predictor that knows nothing: a constant, or the mean of a row's group.

    Without `gate.baseline_by` the constant is the best there is for these very labels (median for mae, their own
    quantile for a quantile, of several classes how frequent each is, else mean), so that no constant at all would have
    done better. With it, that of the training labels of the row's group; of all training labels for a group that
    training did not know.
    """

    name = "beats_trivial"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compare by the paired bootstrap."""
        guesses, what = self._baseline(evidence)
        difference = self.compare(evidence, self.metric, evidence.challenger, guesses)
        detail = f"{told(difference)} over {what}"
        result = self.verdict(difference.low > 0, detail, difference.low, 0.0, **difference.numbers())
        return replace(result, histogram=histogram(difference))

    def _baseline(self, evidence: Evidence) -> tuple[Vector, str]:
        by, task = list(self.limits.baseline_by), self.settings.kind_of_task
        if not by:
            labels = evidence.labels
            best = baseline.best_constant(self.metric.name, labels, task)
            return baseline.for_all(best, labels.size), "the best constant"
        if evidence.training is None or not evidence.training.num_rows:
            raise ConfigError("gate.baseline_by is set, but the challenger's training labels are missing")
        for name in by:
            if name not in evidence.training.column_names:
                hint = did_you_mean(name, evidence.training.column_names)
                raise ConfigError(f"gate.baseline_by names the unknown spine column {name!r}", hint=hint)
        training = group_frame(evidence.training, by).assign(label=evidence.training.column("label").to_numpy())
        rows = group_frame(evidence.rows, by) if evidence.rows is not None else training[by].iloc[:0]
        if task.is_multiclass:
            values, unknown = _frequencies(training, rows, by, len(task.classes))
            return values, f"the training frequencies by {', '.join(by)} ({unknown} rows of unknown groups)"
        kind = baseline.kind_of_constant(self.metric.name)
        of_rows = training.groupby(by, dropna=False, observed=True)["label"]
        # pandas knows means and medians by their names, and fast.
        guesses = of_rows.agg(kind if task.level is None else partial(_lowest_quantile, task.level))
        groups = guesses.rename("baseline").reset_index()
        joined = rows.merge(groups, on=by, how="left")
        overall = float(baseline.best_constant(self.metric.name, training["label"].to_numpy(dtype=np.float64), task))
        unknown = int(joined["baseline"].isna().sum())
        values = joined["baseline"].fillna(overall).to_numpy(dtype=np.float64)
        return values, f"the training {kind} by {', '.join(by)} ({unknown} rows of unknown groups)"


class BeatsChampion(GateCheck):
    """Against the champion on the same rows: the whole interval of the gain lies above `-gate.margin`.

    With margin 0 this asks for superiority: at the default confidence of 0.9, challengers that are truly no better pass
    in at most about 5 % of years, whatever their number; with `gate.error_per: decision`, each in about 5 % of cases.
    With a margin it asks for non-inferiority.
    """

    name = "beats_champion"

    def run(self, evidence: Evidence) -> CheckResult:
        """Compare by the paired bootstrap."""
        if evidence.champion is None:
            return self.skipped(NO_CHAMPION)
        spending = evidence.spending or alone(self.limits)
        if not spending.level > 0:
            return self.verdict(False, f"nothing is left of the year's error to compare by: {spending.sentence}")
        difference = self.compare(evidence, self.metric, evidence.challenger, evidence.champion)
        if spending.per == PER_YEAR:
            difference = difference.leaving(spending.level)
        value = self.value_of(self.metric, evidence.labels, evidence.challenger)
        other = self.value_of(self.metric, evidence.labels, evidence.champion)
        margin = self.limits.margin
        asked = f"surely not worse by {margin:g}" if margin else "surely better"
        but_for = f", but for an error of {spending.sentence}" if spending.per == PER_YEAR else ""
        detail = (
            f"{self.metric.name} {value:.4f} against the champion's {other:.4f}: {told(difference)}, better in "
            f"{difference.probability_better:.0%} of draws ({asked} is needed{but_for})"
        )
        numbers = {**difference.numbers(), "challenger": value, "champion": other, "level": spending.level}
        result = self.verdict(difference.low > -margin, detail, difference.low, 0.0 - margin, **numbers)
        return replace(result, histogram=histogram(difference))


def _lowest_quantile(level: float, labels: pd.Series[float]) -> float:
    return baseline.lowest_quantile(np.asarray(labels, dtype=np.float64), level)


def _frequencies(training: pd.DataFrame, rows: pd.DataFrame, by: list[str], classes: int) -> tuple[Vector, int]:
    """Return the class frequencies of each row's group among the training labels, and how many rows have no such group.

    Shape (rows, classes): each group's, drawn to those of all as far as one row of them does.
    """
    import pandas as pd

    labels = training["label"].to_numpy(dtype=np.int64)
    numbers = training.groupby(by, dropna=False, observed=True, sort=False).ngroup().to_numpy()
    counts = np.zeros((int(numbers.max()) + 1, classes))
    np.add.at(counts, (numbers, labels), 1.0)
    overall = (counts.sum(axis=0) + 1) / (labels.size + classes)
    frequencies = (counts + overall) / (counts.sum(axis=1, keepdims=True) + 1)
    groups = training[by].assign(group=numbers).drop_duplicates("group")
    place = pd.to_numeric(rows.merge(groups, on=by, how="left")["group"]).to_numpy(dtype=np.float64)
    unknown = np.isnan(place)
    values = frequencies[np.where(unknown, 0, place).astype(np.int64)]
    values[unknown] = overall
    return values, int(unknown.sum())
