"""The base rate of rows without labels, from their scores alone: which mixture of the two classes' scores they are.

A change of the base rate with p(x | y) unchanged is called prior (or label) shift. Saerens, Latinne and Decaestecker,
"Adjusting the Outputs of a Classifier to New a Priori Probabilities: A Simple Procedure", Neural Computation 2002, find
the present rate by EM from calibrated probabilities and the rate that they were calibrated at. What EM converges to is
the maximum of the likelihood

    L(rate) = sum of log(1 + rate (r - 1)),  r = odds(probability) / odds(training rate),

where r is the density of a score among events over that among the others. It is concave: it is found here by bisection,
for many draws at once. Scores come as counts in fine bins, which an engine adds up over any number of rows.

What it assumes, and cannot see: that events look as they did, and the others too. Where the inputs shift for another
reason, a new kind of customer say, the shares of scores move as well, and it takes that for a change of the base rate;
where more of the same rows become events, the scores stay as they are, and it sees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.protocols.frames import Frame
from mlplatform.statistics.intervals import LEVEL
from mlplatform.statistics.metrics import Vector

STEPS = 32
"""Bins a unit of log odds. A bin is known by its mean score, so that what is lost is of second order: estimates from
the bins and from the rows differ by less than a thousandth of the rate (tests/unit/statistics/test_prior_shift.py)."""
FARTHEST = 20
"""Log odds beyond this count as this."""
MOST_BINS = 2 * STEPS * FARTHEST + 1
ASSUMPTION = (
    "assumes that events, and all others, look as they did in training, and only their shares changed: it takes other "
    "shifts of the inputs for such a change, and does not see that the same rows have become events more often"
)
_LOWEST = float(1 / (1 + np.exp(FARTHEST)))
_CLIP = 1e-6  # as the calibration of scores is fitted
_DRAWS, _SEED, _HALVINGS = 400, 0, 60
_LEAST_SPREAD = 1e-9
_BIN, _ROWS, _SUM = "_bin", "_rows", "_sum"


@dataclass(frozen=True)
class ScoreCounts:
    """How many rows lie in each bin of scores, and the mean score there; of bins that hold rows, by rising score.

    Attributes:
        rows: Rows in each.
        means: Mean score in each.
    """

    rows: tuple[int, ...]
    means: tuple[float, ...]

    @classmethod
    def of(cls, scores: Vector) -> ScoreCounts:
        """Count scores, shape (rows,), in [0, 1]; what is not finite is left out.

        Examples:
            >>> ScoreCounts.of(np.array([0.5, 0.5, 0.9])).rows
            (2, 1)
        """
        clipped = np.clip(scores[np.isfinite(scores)], _LOWEST, 1 - _LOWEST)
        numbers = np.floor((np.log(clipped) - np.log(1 - clipped)) * STEPS)
        _, place, rows = np.unique(numbers, return_inverse=True, return_counts=True)
        means = np.bincount(place, weights=clipped, minlength=rows.size) / np.maximum(rows, 1)
        return cls(tuple(rows.tolist()), tuple(means.tolist()))

    @classmethod
    def of_groups(cls, groups: pa.Table) -> ScoreCounts:
        """Return the counts of what `grouped` gave, in whatever order its rows are."""
        ordered = groups.sort_by(_BIN)
        rows = np.asarray(ordered.column(_ROWS).to_numpy(), dtype=np.int64)
        means = np.asarray(ordered.column(_SUM).to_numpy(), dtype=np.float64) / rows
        return cls(tuple(rows.tolist()), tuple(means.tolist()))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> ScoreCounts | None:
        """Read what `to_dict` wrote; None where nothing was written."""
        if not data:
            return None
        return cls(tuple(int(count) for count in data["rows"]), tuple(float(mean) for mean in data["means"]))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, for JSON."""
        return {"rows": list(self.rows), "means": list(self.means)}

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows)

    def mean_of(self, function: Callable[[Vector], Vector]) -> float:
        """Return the mean over the rows of a function of the score."""
        return float(np.asarray(self.rows) @ function(np.asarray(self.means)) / self.total)


@dataclass(frozen=True)
class PriorEstimate:
    """The base rate that scores tell of.

    Attributes:
        rate: The estimate.
        low: Lower end of its 95% interval.
        high: Its upper end.
        p_value: Probability of scores so far from those of training if nothing had shifted.
        training_rate: The rate that the scores were calibrated at.
        rows: How many rows.
    """

    rate: float
    low: float
    high: float
    p_value: float
    training_rate: float
    rows: int


def grouped(frame: Frame, score: str) -> Frame:
    """Return rows and sum of scores by bin, for `ScoreCounts.of_groups`: at most `MOST_BINS` rows.

    Args:
        frame: The rows.
        score: The column of scores; what is null or not finite is left out.
    """
    known = frame.filter(~nw.col(score).is_null()).select(nw.col(score).cast(nw.Float64).alias(_SUM))
    clipped = known.filter(nw.col(_SUM).is_finite()).select(nw.col(_SUM).clip(_LOWEST, 1 - _LOWEST))
    odds = nw.col(_SUM).log() - (1.0 - nw.col(_SUM)).log()
    binned = clipped.with_columns((odds * float(STEPS)).floor().alias(_BIN))
    return binned.group_by(_BIN).agg(nw.len().alias(_ROWS), nw.col(_SUM).sum())


def estimate_prior(
    window: ScoreCounts, reference: ScoreCounts, calibration: Mapping[str, float], *, draws: int = _DRAWS
) -> PriorEstimate | None:
    """Estimate the base rate of a window's rows, with an interval, and a test against the training rate.

    The interval is the percentile interval of a bootstrap over the counts: those of the window, those of the reference,
    and, where the calibration's error is known, its slope, on which the estimate depends most. The test is the
    likelihood ratio against the training rate. Under no shift the rate's own reference is a sample, too: the
    statistic is divided by 1 + rows / reference rows, by which the variance of its score grows, and is then
    chi-squared with one degree of freedom whatever the calibration is worth.

    Args:
        window: Scores without labels.
        reference: Scores of the rows that the calibration was fitted on.
        calibration: `slope` and `intercept` of the calibrated log odds, and perhaps `slope_error`, as
            `estimate.fit_calibration` gives them.
        draws: Of the bootstrap.

    Returns:
        None where the scores tell the classes apart in no way, or there is no row.

    Examples:
        >>> scores = np.repeat([0.1, 0.3], [500, 500])
        >>> same = estimate_prior(ScoreCounts.of(scores), ScoreCounts.of(scores), {"slope": 1.0, "intercept": 0.0})
        >>> round(same.rate, 3), round(same.training_rate, 3), same.p_value > 0.99
        (0.2, 0.2, True)
    """
    if not window.total or not reference.total:
        return None
    slope, intercept = calibration["slope"], calibration["intercept"]
    odds, known = _log_odds(window.means), _log_odds(reference.means)
    counts, known_counts = np.asarray(window.rows, dtype=np.float64), np.asarray(reference.rows, dtype=np.float64)
    if abs(slope) * np.ptp(known) < _LEAST_SPREAD:
        return None
    training = float(known_counts @ _expit(slope * known + intercept) / reference.total)
    ratios = _ratios(slope * odds + intercept, training)
    rate = float(_maximum(ratios[None, :], counts[None, :])[0])
    better = counts @ (np.log1p(rate * ratios) - np.log1p(training * ratios))
    statistic = max(0.0, 2 * float(better)) / (1 + window.total / reference.total)

    random = np.random.default_rng(_SEED)
    of_window = random.multinomial(window.total, counts / window.total, size=draws).astype(np.float64)
    of_reference = random.multinomial(reference.total, known_counts / reference.total, size=draws)
    slopes = slope + calibration.get("slope_error", 0.0) * random.standard_normal(draws)
    # The slope turns about the events' centre: there it says nothing of the level, which the reference keeps.
    weight = known_counts * _expit(slope * known + intercept) * _expit(-(slope * known + intercept))
    centre = float(weight @ known / weight.sum())
    levels = intercept - (slopes - slope) * centre
    rates = (of_reference * _expit(slopes[:, None] * known + levels[:, None])).sum(axis=1) / reference.total
    drawn = _maximum(_ratios(slopes[:, None] * odds + levels[:, None], rates[:, None]), of_window)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="weibull")
    from scipy.stats import chi2

    return PriorEstimate(
        rate=rate,
        low=min(float(low), rate),
        high=max(float(high), rate),
        p_value=float(chi2.sf(statistic, 1)),
        training_rate=training,
        rows=window.total,
    )


def likeliest_rate(probabilities: Vector, training_rate: float, rows: Vector | None = None) -> float:
    """Return the base rate that calibrated probabilities tell of: what EM converges to.

    Args:
        probabilities: Shape (bins,), calibrated at the training rate, in (0, 1).
        training_rate: In (0, 1).
        rows: How many rows have each, shape (bins,); None: one.

    Examples:
        >>> round(likeliest_rate(np.array([0.25, 0.75]), 0.5), 3)
        0.5
    """
    counts = np.ones(probabilities.size) if rows is None else rows
    ratios = _ratios(np.log(probabilities) - np.log1p(-probabilities), training_rate)
    return float(_maximum(ratios[None, :], counts[None, :])[0])


def _maximum(ratios: Vector, counts: Vector) -> Vector:
    """Return the rate at which each draw's likelihood is largest, shape (draws,).

    Args:
        ratios: Density among events over that among others, less one; shape (draws, bins).
        counts: Rows in each bin, shape (draws, bins).
    """
    low, high = np.zeros(ratios.shape[0]), np.ones(ratios.shape[0])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rising = (counts * ratios / (1 + middle[:, None] * ratios)).sum(axis=1) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.asarray((low + high) / 2)


def _ratios(odds: Vector, rate: Any) -> Vector:
    return np.asarray(np.expm1(np.clip(odds - (np.log(rate) - np.log1p(-rate)), -700, 700)))


def _log_odds(scores: Sequence[float]) -> Vector:
    clipped = np.clip(np.asarray(scores, dtype=np.float64), _CLIP, 1 - _CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _expit(odds: Vector) -> Vector:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -700, 700))))
