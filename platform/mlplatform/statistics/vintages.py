"""What becomes of rows that have not lived through the horizon, if risks go on changing as they have changed.

The hazard of a row in a step of age is taken for a product: of its age, of the period in which it lives through it, and
of its vintage, the rows that were predicted at about the same time (age, period and cohort in demography; Breeden,
"Modeling data with multiple time dimensions", Computational Statistics and Data Analysis 2007, for loans). Ages and
periods are fitted to counts by maximum likelihood (the Poisson form of Lee and Carter's model with one and the same
response of all ages: Brouhns, Denuit and Vermunt, Insurance: Mathematics and Economics 2002).

The logarithms of the periods' levels are a random walk with a drift, as in Lee and Carter, "Modeling and Forecasting
U.S. Mortality", JASA 1992, seen through the chance of the counts; level and drift are filtered (Kalman 1960). Periods
are few, so that how far the walk goes in a step is not known well: all sizes are taken, each as likely as the periods
make it, from a prior that is even on the standard deviation (Gelman, Bayesian Analysis 2006). One size alone would give
intervals that are too narrow.

A vintage's own factor is that of credibility theory (Buehlmann and Straub 1970): a gamma distribution, whose variance
is that of the vintages seen so far beyond chance, and which the vintage's own events pull away from one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlplatform.statistics.life_tables import Cohorts, Matrix, Whole
from mlplatform.statistics.metrics import Vector

FEWEST_PERIODS = 3
"""From fewer periods no change can be told."""
FEWEST_EVENTS = 10
"""A period with fewer events has no level of its own: its logarithm would hardly be known."""
DRAWS = 4_000
_VINTAGES = 12  # so many to a horizon
_SIZES = np.linspace(0.025, 1.5, 60)  # standard deviations of the logarithm from one period to the next
_DRIFT = 1.0  # the drift's own, before anything is seen: a factor of e up or down is nothing odd
_ROUNDS, _CLOSE = 1_000, 1e-9


@dataclass(frozen=True)
class Forecast:
    """The cumulative rate of some rows by age, drawn.

    Attributes:
        rates: At the end of each step of age, shape (draws, steps).
    """

    rates: Matrix

    @property
    def value(self) -> float:
        """The median of the rate within the horizon."""
        return float(np.median(self.rates[:, -1]))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the two-sided prediction interval of the rate within the horizon."""
        low, high = self.quantiles((1 - level) / 2, (1 + level) / 2)
        return float(low[-1]), float(high[-1])

    def quantiles(self, *shares: float) -> list[Vector]:
        """Return quantiles of the cumulative rate by age, each of shape (steps,)."""
        return list(np.quantile(self.rates, shares, axis=0))


@dataclass(frozen=True)
class AgePeriod:
    """Hazards by age and period, and how the periods go on; made by `fit`.

    Attributes:
        ages: Hazard of each step of age where the period's level is one, shape (steps,); NaN where it was not seen.
        levels: Level of each period, the newest first, shape (periods,).
        events: Events in each period, shape (periods,).
        length: How many steps a period has.
        spread: Variance of the vintages' factors beyond chance; 0 where none is seen.
        walks: Of each size of the walk how likely it is, and what level and drift it leads to.
    """

    ages: Vector
    levels: Vector
    events: Vector
    length: int
    spread: float
    walks: tuple[_Walk, ...]

    @classmethod
    def fit(cls, cohorts: Cohorts, length: int) -> AgePeriod | str:
        """Fit ages and periods to what has been seen.

        Args:
            cohorts: All rows, of as many vintages as there are.
            length: Steps of a period; as long as a year where there are seasons.

        Returns:
            The model, or why there is none.
        """
        over, period = cohorts.over, np.maximum(cohorts.ago, 0) // length
        if not over.any():
            return "no step of any row is over"
        size = int(period[over].max()) + 1
        levels, ages = np.ones(size), np.full(cohorts.steps, np.nan)
        of_ages = cohorts.events.sum(axis=0)
        of_periods = _summed(period[over], cohorts.events[over], size)
        for _ in range(_ROUNDS):
            risk = (cohorts.at_risk * levels[period]).sum(axis=0)
            ages = np.divide(of_ages, risk, out=np.full(cohorts.steps, np.nan), where=risk > 0)
            expected = _summed(period[over], (cohorts.at_risk * np.nan_to_num(ages))[over], size)
            before, levels = levels, np.divide(of_periods, expected, out=np.ones(size), where=expected > 0)
            if np.max(np.abs(levels - before)) < _CLOSE:
                break
        known = of_periods >= FEWEST_EVENTS
        if known.sum() < FEWEST_PERIODS:
            return f"{int(known.sum())} periods of {length} steps have {FEWEST_EVENTS} events, needs {FEWEST_PERIODS}"
        expected_cells = cohorts.at_risk * np.nan_to_num(ages) * levels[period]
        spread = _beyond_chance(cohorts, expected_cells)
        return cls(ages, levels, of_periods, length, spread, _walks(levels, of_periods, known))

    def forecast(self, own: Cohorts, *, draws: int = DRAWS, seed: int = 0) -> Forecast | None:
        """Draw what becomes of rows: what has been seen of them stays, the rest follows from the walk.

        Args:
            own: The rows.
            draws: How many.
            seed: Of the drawing.

        Returns:
            None without rows, or where they have still to live through an age that was not seen.
        """
        waiting = own.waiting
        young = np.flatnonzero(waiting)
        if not own.size or (young.size and np.isnan(self.ages[young[0] :]).any()):
            return None
        random = np.random.default_rng(seed)
        factors = self._factors(own, random, draws)
        levels = self._levels(random, draws, own.steps // self.length + 1)
        came = np.tile(own.events.sum(axis=0), (draws, 1))
        for age in young:
            left = np.full(draws, round(waiting[age]), dtype=np.int64)
            for step in range(int(age), own.steps):
                hazard = self.ages[step] * levels[:, (step - int(age)) // self.length] * factors
                events = random.binomial(left, -np.expm1(-hazard))
                came[:, step] += events
                left -= events
        return Forecast(np.cumsum(came, axis=1) / own.size)

    def _factors(self, own: Cohorts, random: np.random.Generator, draws: int) -> Vector:
        if not self.spread:
            return np.ones(draws)
        period = np.minimum(np.maximum(own.ago, 0) // self.length, self.levels.size - 1)
        expected = float((own.at_risk * np.nan_to_num(self.ages) * self.levels[period]).sum())
        shape = 1 / self.spread
        return random.gamma(shape + own.seen, 1 / (shape + expected), draws)

    def _levels(self, random: np.random.Generator, draws: int, ahead: int) -> Matrix:
        """Draw the levels of the periods to come, shape (draws, ahead)."""
        chosen = random.choice(len(self.walks), draws, p=[walk.weight for walk in self.walks])
        states = np.array([self.walks[place].state for place in chosen])
        roots = np.array([self.walks[place].root for place in chosen])
        states += np.einsum("dij,dj->di", roots, random.normal(size=(draws, 2)))
        sizes = np.array([self.walks[place].size for place in chosen])
        steps = states[:, 1:] + sizes[:, None] * random.normal(size=(draws, ahead))
        return np.asarray(np.exp(states[:, :1] + np.cumsum(steps, axis=1)))


@dataclass(frozen=True)
class _Walk:
    """A random walk of one size, after all periods.

    Attributes:
        size: Standard deviation of a step.
        weight: How likely the periods make it, among all sizes.
        state: The newest level's logarithm, and the drift.
        root: Square root of their covariance, shape (2, 2).
    """

    size: float
    weight: float
    state: Vector
    root: Matrix


def _walks(levels: Vector, events: Vector, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[_Walk, ...]:
    oldest = int(np.flatnonzero(known)[-1])
    noise = np.where(known, 1 / np.maximum(events, 1), np.inf)[oldest::-1]  # of a count's logarithm
    seen = np.log(np.where(known, levels, 1))[oldest::-1]
    filtered = [_filter(seen, noise, float(size)) for size in _SIZES]
    likelihoods = np.array([likelihood for likelihood, _, _ in filtered])
    weights = np.exp(likelihoods - likelihoods.max())
    weights /= weights.sum()
    return tuple(
        _Walk(float(size), float(weight), state, _root(covariance))
        for size, weight, (_, state, covariance) in zip(_SIZES, weights, filtered, strict=True)
    )


def _filter(seen: Vector, noise: Vector, size: float) -> tuple[float, Vector, Matrix]:
    """Return the likelihood of levels, oldest first, and the mean and covariance of the last one and of the drift."""
    moves = np.array([[1.0, 1.0], [0.0, 1.0]])
    state, covariance = np.array([seen[0], 0.0]), np.diag([noise[0], _DRIFT**2])
    likelihood = 0.0
    for value, variance in zip(seen[1:], noise[1:], strict=True):
        state = moves @ state
        covariance = moves @ covariance @ moves.T + np.diag([size**2, 0.0])
        if not np.isfinite(variance):
            continue
        total, miss = covariance[0, 0] + variance, value - state[0]
        likelihood -= 0.5 * (np.log(total) + miss**2 / total)
        gain = covariance[:, 0] / total
        state = state + gain * miss
        covariance = covariance - np.outer(gain, covariance[0])
    return float(likelihood), state, covariance


def _root(covariance: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _beyond_chance(cohorts: Cohorts, expected: Matrix) -> float:
    """Return by how much the vintages' events vary beyond chance, as the variance of a factor; by moments."""
    vintage: Whole = np.arange(cohorts.rows.size) // max(1, cohorts.steps // _VINTAGES)
    size = int(vintage[-1]) + 1
    seen, hoped = (_summed(vintage, cells.sum(axis=1), size) for cells in (cohorts.events, expected))
    if not hoped.any():
        return 0.0
    return max(0.0, float(np.sum((seen - hoped) ** 2 - hoped) / np.sum(hoped**2)))


def _summed(places: Whole, values: Vector, size: int) -> Vector:
    return np.asarray(np.bincount(places, weights=values, minlength=size), dtype=np.float64)
