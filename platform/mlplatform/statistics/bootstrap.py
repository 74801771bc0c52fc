"""The paired bootstrap: how sure are we that one model is better than another on the same rows?

Rows are resampled with replacement, the same draw for both models; for a metric that needs both classes within each, so
that every draw has both. Rows that belong together (an entity's) may be drawn together, as clusters: then it is the
number of clusters that counts, not of rows (Field and Welsh, "Bootstrapping clustered data", 2007). The interval is the
percentile interval of Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, expanded as in Hesterberg, "What
Teachers Should Know About the Bootstrap", The American Statistician 2015: the plain one is too narrow for few units.

A draw is a vector of how often each row was drawn. Only that vector is held, whatever the number of draws, and metrics
are computed from it by what was sorted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mlplatform.statistics.metric import Metric, Vector

Counts = npt.NDArray[np.int64]
FEWEST_CLUSTERS = 20
_FEWEST_BEYOND = 10  # draws that lie beyond the end of an interval


@dataclass(frozen=True)
class Group:
    """Rows of one of two groups that are compared: labels and predictions, each of shape (rows,).

    Attributes:
        labels: The labels.
        predictions: By whoever decided for the group.
        clusters: Number of each row's cluster, from 0 on without gaps; None: each row by itself.
    """

    labels: Vector
    predictions: Vector
    clusters: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class PairedDifference:
    """The challenger's gain over the champion (above zero: better, whatever the metric's direction).

    On the same rows; of `difference_of_groups`, each on rows of its own.

    Attributes:
        gain: On the frame as it is.
        low: Lower end of the interval.
        high: Upper end of the interval.
        probability_better: Share of the draws in which the challenger was better; a tie counts half.
        confidence: Two-sided level of the interval.
        draws: Number of resamples.
        standard_error: Standard deviation of the draws' gains.
        units: What was drawn: rows of the smallest stratum, or clusters.
        gains: Each draw's gain, shape (draws,).
    """

    gain: float
    low: float
    high: float
    probability_better: float
    confidence: float
    draws: int
    standard_error: float
    units: int
    gains: Vector = field(repr=False, compare=False)

    def numbers(self) -> dict[str, float]:
        """Return all but the single draws."""
        names = ("gain", "low", "high", "probability_better", "confidence", "draws", "standard_error", "units")
        return {name: float(getattr(self, name)) for name in names}

    def leaving(self, tail: float) -> PairedDifference:
        """Return the same with the interval that leaves `tail` outside at either end.

        From the same draws, as long as some of them lie that far out; farther, no number of draws reaches, and the
        interval is gain plus and minus Student's quantile times the standard error.

        Args:
            tail: The share, as 0.025; above 0, below 0.5.
        """
        if tail * self.gains.size >= _FEWEST_BEYOND:
            low, high = _percentiles(self.gains, tail, self.units)
        else:
            spread = student(tail, self.units, self.draws) * self.standard_error
            low, high = self.gain - spread, self.gain + spread
        return replace(self, low=low, high=high, confidence=1 - 2 * tail)


def paired_difference(  # noqa: PLR0913  (all by keyword, and each of its own kind)
    metric: Metric,
    labels: Vector,
    challenger: Vector,
    champion: Vector,
    *,
    stratify: bool,
    confidence: float,
    draws: int,
    seed: int,
    clusters: npt.NDArray[np.int64] | None = None,
) -> PairedDifference:
    """Compare two models' predictions on the same rows.

    Args:
        metric: What is compared.
        labels: Shape (rows,).
        challenger: Shape (rows,).
        champion: Shape (rows,).
        stratify: Resample within each label value (for a binary label); not with clusters, which hold both.
        confidence: Two-sided level, as 0.9.
        draws: Number of resamples.
        seed: Of the resampling: the same frame gives the same result.
        clusters: Number of each row's cluster, shape (rows,), from 0 on without gaps; None: each row by itself.

    Raises:
        ValueError: If the shapes differ, or there are too few clusters to say anything.
        ArithmeticError: If the metric is not defined on the frame or on a draw.
    """
    if not labels.shape[:1] == challenger.shape[:1] == champion.shape[:1] or challenger.shape != champion.shape:
        raise ValueError(f"Shapes differ: {labels.shape}, {challenger.shape}, {champion.shape}.")
    resample, units = _resampling(labels, clusters, stratify=stratify)
    of_challenger, of_champion = metric.draws(labels, challenger), metric.draws(labels, champion)
    drawn = resample(np.random.default_rng(seed), draws)
    gains = np.array([metric.gain(of_challenger(counts), of_champion(counts)) for counts in drawn])
    gain = metric.gain(metric.compute(labels, challenger), metric.compute(labels, champion))
    return _difference(metric, gain, gains, units, confidence)


def difference_of_groups(
    metric: Metric, challenger: Group, champion: Group, *, confidence: float, draws: int, seed: int
) -> PairedDifference:
    """Compare two models, each on rows that it decided for: the two groups are drawn from independently.

    Whom a model decides for is no choice of its own: then what differs but the models is chance, which the interval
    covers. It is wider than that of a paired comparison, which only the same rows allow.

    Args:
        metric: What is compared.
        challenger: The rows that the challenger decided for.
        champion: The others.
        confidence: Two-sided level, as 0.9.
        draws: Number of resamples.
        seed: Of the resampling.

    Raises:
        ValueError: If there are too few clusters to say anything.
        ArithmeticError: If the metric is not defined on a group or on a draw.
    """
    drawn: list[Vector] = []
    values: list[float] = []
    fewest: list[int] = []
    for place, group in enumerate((challenger, champion)):
        resample, units = _resampling(group.labels, group.clusters, stratify=metric.within_classes)
        of_draw = metric.draws(group.labels, group.predictions)
        random = np.random.default_rng([seed, place])
        drawn.append(np.array([of_draw(counts) for counts in resample(random, draws)]))
        values.append(metric.compute(group.labels, group.predictions))
        fewest.append(units)
    gains = np.array([metric.gain(mine, other) for mine, other in zip(*drawn, strict=True)])
    return _difference(metric, metric.gain(values[0], values[1]), gains, min(fewest), confidence)


def _resampling(labels: Vector, clusters: npt.NDArray[np.int64] | None, *, stratify: bool) -> tuple[Resample, int]:
    """Return what draws rows, and how many units it draws of: rows of the smallest stratum, or clusters.

    Clusters hold both classes: within these nothing is drawn.
    """
    if clusters is not None:
        many = int(clusters.max(initial=-1)) + 1
        if many < FEWEST_CLUSTERS:
            raise ValueError(f"{many} clusters; fewer than {FEWEST_CLUSTERS} say nothing.")
        return _by_cluster(clusters), many
    strata = [np.flatnonzero(labels == value) for value in np.unique(labels)] if stratify else [np.arange(labels.size)]
    return _by_row(strata, labels.size), min((rows.size for rows in strata), default=0)


def _difference(metric: Metric, gain: float, gains: Vector, units: int, confidence: float) -> PairedDifference:
    draws = gains.size
    undefined = int((~np.isfinite(gains)).sum())
    if undefined or not np.isfinite(gain):
        raise ArithmeticError(f"{metric.name} is not defined on the frame, or on {undefined} of {draws} draws")
    low, high = _percentiles(gains, (1 - confidence) / 2, units)
    return PairedDifference(
        gain=gain,
        low=low,
        high=high,
        probability_better=float(np.mean(gains > 0) + np.mean(gains == 0) / 2),
        confidence=confidence,
        draws=draws,
        standard_error=float(gains.std(ddof=1)),
        units=units,
        gains=gains,
    )


@dataclass(frozen=True)
class Estimated:
    """A metric of one model, with the interval of its draws.

    Attributes:
        value: On the frame as it is.
        low: Lower end of the interval.
        high: Upper end.
        error: Standard deviation of the draws.
        units: What was drawn: rows, or clusters.
    """

    value: float
    low: float
    high: float
    error: float
    units: int


def estimated(
    metric: Metric,
    labels: Vector,
    predictions: Vector,
    *,
    confidence: float,
    draws: int,
    seed: int,
    clusters: npt.NDArray[np.int64] | None = None,
) -> Estimated:
    """Return a metric of one model, with its interval by the bootstrap.

    Args:
        metric: The metric.
        labels: Shape (rows,).
        predictions: Shape (rows,).
        confidence: Two-sided level, as 0.9.
        draws: Number of resamples.
        seed: Of the resampling: the same frame gives the same result.
        clusters: Number of each row's cluster, shape (rows,), from 0 on without gaps; None: each row by itself.

    Raises:
        ValueError: If there are too few clusters to say anything.
        ArithmeticError: If the metric is not defined on the frame or on a draw.
    """
    resample, units = _resampling(labels, clusters, stratify=False)
    value, of_draw = metric.compute(labels, predictions), metric.draws(labels, predictions)
    drawn = np.array([of_draw(counts) for counts in resample(np.random.default_rng(seed), draws)])
    if not np.isfinite(value) or not np.isfinite(drawn).all():
        raise ArithmeticError(f"{metric.name} is not defined on the frame, or on a draw")
    ends = _percentiles(drawn, (1 - confidence) / 2, units)
    return Estimated(value, *ends, float(drawn.std(ddof=1)), units)


def _percentiles(gains: Vector, tail: float, units: int) -> tuple[float, float]:
    """Return the ends of the expanded percentile interval."""
    cut = expanded_tail(tail, units)
    # Weibull's quantiles: below the k-th draw lies, on average, k / (draws + 1) of what the draws are taken from.
    low, high = np.quantile(gains, [cut, 1 - cut], method="weibull")
    return float(low), float(high)


def student(tail: float, units: int, draws: int) -> float:
    """Return how many standard errors lie between the middle and the end that leaves `tail` outside.

    The standard error is uncertain twice: there are so many units, and it was computed from so many draws. Both count
    as degrees of freedom, put together as in Satterthwaite, "An Approximate Distribution of Estimates of Variance
    Components", Biometrics Bulletin 1946. Without the draws, a level of 0.05 % would be 0.055 % at 500 of them.

    Args:
        tail: The share, as 0.05.
        units: Rows or clusters; at least 2 are assumed.
        draws: Of which the standard error is the standard deviation; at least 2 are assumed.

    Examples:
        >>> round(student(0.025, 20, 100_000), 3), round(student(0.025, 100_000, 100_000), 3)
        (2.093, 1.96)
        >>> round(student(0.0005, 600, 500), 3), round(student(0.0005, 600, 100_000), 3)
        (3.327, 3.307)
    """
    from scipy.stats import t

    of_units, of_draws = max(units, 2) - 1, max(draws, 2) - 1
    return float(t.isf(tail, 1 / (1 / of_units + 1 / of_draws)))


def expanded_tail(tail: float, units: int) -> float:
    """Return the share to cut off the draws so that the interval leaves `tail` outside with so few units.

    Args:
        tail: The share wanted, as 0.05.
        units: Rows or clusters drawn; at least 2 are assumed.

    Examples:
        >>> round(expanded_tail(0.05, 40), 3), round(expanded_tail(0.05, 10_000), 3)
        (0.044, 0.05)
    """
    from scipy.stats import norm, t

    units = max(units, 2)
    return float(norm.cdf(-np.sqrt(units / (units - 1)) * t.ppf(1 - tail, units - 1)))


Resample = Callable[[np.random.Generator, int], Iterator[Counts]]


def _by_row(strata: list[npt.NDArray[np.int64]], rows: int) -> Resample:
    def resample(random: np.random.Generator, draws: int) -> Iterator[Counts]:
        if len(strata) == 1:
            for _ in range(draws):
                yield np.bincount(random.integers(0, rows, rows), minlength=rows)
            return
        counts = np.empty(rows, dtype=np.int64)
        for _ in range(draws):
            for stratum in strata:
                drawn = random.integers(0, stratum.size, stratum.size)
                counts[stratum] = np.bincount(drawn, minlength=stratum.size)
            yield counts

    return resample


def _by_cluster(clusters: npt.NDArray[np.int64]) -> Resample:
    number = int(clusters.max()) + 1

    def resample(random: np.random.Generator, draws: int) -> Iterator[Counts]:
        for _ in range(draws):
            yield np.bincount(random.integers(0, number, number), minlength=number)[clusters]

    return resample
