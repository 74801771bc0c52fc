"""Metrics of more rows than are taken into memory: from sums, and from a fine histogram of the scores.

What is a mean of the rows is exact. The area under the ROC curve is computed from bins of scores; how far off it may be
follows from the bins: within a bin the order of its events and non-events is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.protocols.frames import Frame
from mlplatform.statistics import metrics
from mlplatform.statistics.count_metrics import DEVIANCE, EXPLAINED, SMALLEST, share_explained
from mlplatform.statistics.intervals import NORMAL, Interval, interval, wilson
from mlplatform.statistics.metric import Metric, Vector
from mlplatform.statistics.quantile_metrics import COVERAGE, GAP, PINBALL
from mlplatform.task import TASKS, Task

KNOTS, STEPS = 64, 200
_TAIL = (0.99, 0.995, 0.999, 0.9999)
_SHARES = tuple(sorted({*(place / KNOTS for place in range(KNOTS + 1)), *_TAIL, *(1 - share for share in _TAIL)}))
BINS = (len(_SHARES) - 1) * STEPS
"""Between quantiles of the scores, closer to each other in both tails, lie `STEPS` bins each: so many to collect, of
however many rows."""
MOST_GROUPS = 20_000
"""Of bins and tenths: what is collected at most."""
_BIN, _TENTH, _ROWS, _EVENTS, _LOWEST, _HIGHEST = "_bin", "_tenth", "_rows", "_events", "_lowest", "_highest"
AREAS = ("roc_auc", "event_roc_auc")
"""Metrics that are an area under the ROC curve."""
_OWN, _TINY = "own_logarithm", 1e-300
_MOST_HEAVY = 100
"""Each is a term of the expression that every row goes through."""
_MEANS = ("brier", "log_loss", "mae", "label_mean", "prediction_mean", PINBALL, COVERAGE, DEVIANCE)


@dataclass(frozen=True)
class ScoreBins:
    """Bins of scores: about as many rows in each, and a score that many rows share does not lie among others.

    Attributes:
        knots: Distinct quantiles of the scores, ascending.
        heavy: Scores that are taken out of the bin they would share with others.
    """

    knots: tuple[float, ...]
    heavy: tuple[float, ...]

    @classmethod
    def of(cls, scores: Vector) -> ScoreBins:
        """Return bins for scores like those of a sample, shape (rows,); not empty.

        Examples:
            >>> bins = ScoreBins.of(np.array([0.5] * 9 + [0.25]))
            >>> bins.knots, bins.heavy
            ((0.25, 0.5), ())
        """
        values, counts = np.unique(scores, return_counts=True)
        knots = values if values.size <= KNOTS else np.unique(np.quantile(scores, _SHARES))
        bins = _numbers(knots, values)
        # Pairs of rows in one bin, which the area does not see the order of: how many fewer without a score.
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        before = np.concatenate([[0], np.cumsum(counts)[:-1]])
        sizes = np.diff(starts, append=values.size)
        rows = np.repeat(np.add.reduceat(counts, starts), sizes).astype(np.float64)
        below = (before - np.repeat(before[starts], sizes)).astype(np.float64)
        saved = rows**2 - below**2 - (rows - below - counts) ** 2
        common = (counts >= max(2, scores.size // BINS)) & (counts < rows)
        heaviest = np.flatnonzero(common)[np.argsort(-saved[common], kind="stable")[:_MOST_HEAVY]]
        return cls(tuple(knots.tolist()), tuple(np.sort(values[heaviest]).tolist()))

    def expression(self, score: nw.Expr) -> nw.Expr:
        """Return the number of a score's bin; it never falls as the score rises, in whatever engine."""
        # Whole numbers are added: in whatever order, the sum is exact.
        terms = [
            (((score - low) / (high - low)).clip(0.0, 1.0) * float(STEPS)).floor()
            for low, high in zip(self.knots, self.knots[1:], strict=False)
        ]
        apart = [(score >= value).cast(nw.Float64) + (score > value).cast(nw.Float64) for value in self.heavy]
        # Scores beyond those the bins were cut by lie apart from the lowest and the highest of these.
        ends = [(score >= self.knots[0]).cast(nw.Float64), (score > self.knots[-1]).cast(nw.Float64)]
        return _sum([*terms, *apart, *ends])


@dataclass(frozen=True)
class Totals:
    """What was added up over all rows.

    Attributes:
        rows: How many.
        sums: Name -> sum over the rows; see `totals_of`.
        calibration_gap: Sum over ten equal-width bins of the absolute difference of predictions and labels.
        events: Rows with an event in each bin of scores, by rising score.
        others: Rows without one.
        single: Whether a bin holds one score only.
        task: What is predicted.
    """

    rows: int
    sums: Mapping[str, float]
    calibration_gap: float
    events: Vector
    others: Vector
    single: Vector
    task: Task = TASKS["classification"]

    def value(self, name: str) -> float | None:
        """Return a metric over all rows; None where it cannot be told from sums, NaN where it is not defined."""
        if name in AREAS:
            return self._area()
        if name == "expected_calibration_error":
            return self.calibration_gap / self.rows
        if name == "rmse":
            return float(np.sqrt(self.mean("brier")))
        if name == EXPLAINED:
            return share_explained(self.mean(DEVIANCE), self.mean(_OWN), self.mean("label_mean"))
        if name == GAP and self.task.level is not None:
            return abs(self.mean(COVERAGE) - self.task.level)
        return self.mean(name) if name in _MEANS else None

    def mean(self, name: str) -> float:
        """Return the mean of what was added up under a name."""
        return self.sums[name] / self.rows

    def interval(self, name: str) -> Interval | None:
        """Return the 95% interval of a metric that `value` gives, as `intervals.interval` does from rows."""
        if name == "label_mean" and self.sums["not_binary"] == 0:
            return wilson(self.mean("label_mean"), self.rows)
        if name == COVERAGE:
            return wilson(self.mean(COVERAGE), self.rows)
        if name in _MEANS or name == "rmse":
            of = "brier" if name == "rmse" else name
            middle = self.mean(of)
            variance = max(0.0, self.sums[f"{of}_squares"] / self.rows - middle**2) * self.rows / (self.rows - 1)
            half = NORMAL * float(np.sqrt(variance / self.rows))
            low, high = middle - half, middle + half
            return (float(np.sqrt(max(low, 0.0))), float(np.sqrt(high))) if name == "rmse" else (low, high)
        if name == "roc_auc":
            return self._interval_of_area()
        return None

    @property
    def area_error(self) -> float:
        """How far the area under the ROC curve may be off: half of the pairs that lie in one bin of several scores."""
        events, others = self.events.sum(), self.others.sum()
        if not events or not others:
            return 0.0
        pairs = (self.events * self.others)[self.single == 0].sum()
        return float(pairs / events / others / 2)

    def _area(self) -> float:
        events, others = self.events.sum(), self.others.sum()
        if not events or not others:
            return float("nan")
        below = np.cumsum(self.others) - self.others / 2
        return float((self.events * below).sum() / events / others)

    def _interval_of_area(self) -> Interval | None:
        # DeLong's placements, of a bin's rows together.
        up, down = float(self.events.sum()), float(self.others.sum())
        if min(up, down) < 2:  # noqa: PLR2004  (one row has no spread)
            return None
        above = (np.cumsum(self.others) - self.others / 2) / down
        below = 1 - (np.cumsum(self.events) - self.events / 2) / up
        area = float((self.events * above).sum() / up)
        of_events = float((self.events * (above - area) ** 2).sum() / (up - 1))
        of_others = float((self.others * (below - area) ** 2).sum() / (down - 1))
        half = NORMAL * float(np.sqrt(of_events / up + of_others / down))
        return max(0.0, area - half), min(1.0, area + half)


def expressions(
    label: nw.Expr, prediction: nw.Expr, *, event_above: float | None = None, task: Task = TASKS["classification"]
) -> list[nw.Expr]:
    """Return what is to be added up over rows, for `totals_of`.

    Args:
        label: The label's column.
        prediction: The prediction's.
        event_above: A label above this is an event; None: a label of 1 is.
        task: What is predicted.
    """
    clipped = prediction.clip(1e-15, 1 - 1e-15)
    event = (label > event_above) if event_above is not None else (label == 1.0)
    losses = {
        "brier": (prediction - label) ** 2,
        "log_loss": (label * clipped.log() + (1.0 - label) * (1.0 - clipped).log()) * -1.0,
        "mae": (prediction - label).abs(),
        "label_mean": label,
        "prediction_mean": prediction,
    }
    if task.level is not None:
        above = label - prediction
        losses[PINBALL] = above.clip(0.0, None) * task.level - above.clip(None, 0.0) * (1 - task.level)
        losses[COVERAGE] = (label <= prediction).cast(nw.Float64)
    if task.predicts_counts:
        # Nothing times the logarithm of something small is nothing, as it is to be where the label is 0.
        expected, logarithm = prediction.clip(SMALLEST, None), label.clip(_TINY, None).log()
        losses[DEVIANCE] = (label * (logarithm - expected.log()) - label + expected) * 2.0
        losses[_OWN] = label * logarithm
    squares = {f"{name}_squares": loss * loss for name, loss in losses.items()}
    others = {
        "noise": prediction * (1.0 - prediction),
        "not_binary": ((label != 0.0) & (label != 1.0)).cast(nw.Float64),
    }
    return [
        nw.len().alias(_ROWS),
        event.cast(nw.Int64).sum().alias(_EVENTS),
        prediction.min().alias(_LOWEST),
        prediction.max().alias(_HIGHEST),
        *(term.sum().alias(name) for name, term in {**losses, **squares, **others}.items()),
    ]


def grouped(
    frame: Frame,
    label: str,
    prediction: str,
    bins: ScoreBins,
    event_above: float | None,
    task: Task = TASKS["classification"],
) -> Frame:
    """Return the sums of a frame's rows by bin of scores and by tenth; the rows that `totals_of` takes.

    Args:
        frame: Rows with label and prediction, both numbers; no nulls.
        label: The label's column.
        prediction: The prediction's.
        bins: The bins.
        event_above: As for `expressions`.
        task: What is predicted.
    """
    score = nw.col(prediction)
    tenth = (score.clip(0.0, 1.0) * 10.0).floor().clip(0.0, 9.0)
    binned = frame.select(label, prediction).with_columns(bins.expression(score).alias(_BIN), tenth.alias(_TENTH))
    return binned.group_by(_BIN, _TENTH).agg(*expressions(nw.col(label), score, event_above=event_above, task=task))


def totals_of(rows: pa.Table, task: Task = TASKS["classification"]) -> Totals:
    """Return the totals of what `grouped` gave.

    Args:
        rows: One row a bin and tenth, in any order.
        task: What is predicted.
    """
    rows = rows.sort_by([(_BIN, "ascending"), (_TENTH, "ascending")])
    columns = {name: np.asarray(rows.column(name).to_numpy(), dtype=np.float64) for name in rows.column_names}
    starts = np.flatnonzero(np.diff(columns[_BIN], prepend=-np.inf))
    events, count = np.add.reduceat(columns[_EVENTS], starts), np.add.reduceat(columns[_ROWS], starts)
    lowest, highest = np.minimum.reduceat(columns[_LOWEST], starts), np.maximum.reduceat(columns[_HIGHEST], starts)
    gaps = np.bincount(columns[_TENTH].astype(np.int64), weights=columns["prediction_mean"] - columns["label_mean"])
    ours = {_BIN, _TENTH, _ROWS, _EVENTS, _LOWEST, _HIGHEST}
    return Totals(
        rows=int(count.sum()),
        sums={name: float(values.sum()) for name, values in columns.items() if name not in ours},
        calibration_gap=float(np.abs(gaps).sum()),
        events=events,
        others=count - events,
        single=(lowest == highest).astype(np.float64),
        task=task,
    )


def rescaled(metric: Metric | str, value: float, labels: Vector, predictions: Vector, rows: int) -> Interval | None:
    """Return the interval of a metric over all rows by that of a sample: as wide as so many rows make it.

    Args:
        metric: The metric, or its name.
        value: Over all rows, or of the sample.
        labels: The sample's, shape (rows of the sample,).
        predictions: The sample's.
        rows: How many all rows are.
    """
    metric = metrics.get(metric) if isinstance(metric, str) else metric
    ends = interval(metric, labels, predictions, resample=True)
    if ends is None:
        return None
    middle = metric.compute(labels, predictions)
    narrower = float(np.sqrt(labels.size / rows))
    return value - (middle - ends[0]) * narrower, value + (ends[1] - middle) * narrower


def _numbers(knots: Vector, values: Vector) -> Vector:
    """Return the number of each value's bin, as the expression without heavy scores does."""
    if knots.size == 1:
        return np.zeros(values.size)
    place = np.clip(np.searchsorted(knots, values, side="right") - 1, 0, knots.size - 2)
    low, high = knots[place], knots[place + 1]
    return np.asarray(place * STEPS + np.floor(np.clip((values - low) / (high - low), 0.0, 1.0) * STEPS))


def _sum(terms: list[nw.Expr]) -> nw.Expr:
    # By pairs: one term after another would be an expression as deep as there are terms, which engines refuse.
    while len(terms) > 1:
        pairs = [left + right for left, right in zip(terms[::2], terms[1::2], strict=False)]
        terms = [*pairs, *terms[len(pairs) * 2 :]]
    return terms[0]
