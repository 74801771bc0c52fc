"""Rates of an event within a horizon, from rows that have not lived through it yet: life tables, by cohort and period.

Time since the prediction, a row's age, is cut into steps. Rows that have the same age now are a cohort; what is known
of them is how many there were, and in which step of age the event came. A step counts once it is over, with all who
were at risk when it began: a row whose observation ends within a step leaves at the step's beginning. So nothing is
assumed about when within a step things happen, and the estimate is that of Kaplan and Meier, "Nonparametric Estimation
from Incomplete Observations", JASA 1958, on the grid of the steps. Its variance is Greenwood's ("The Natural Duration
of Cancer", 1926), its interval lies on the scale log(-log S) (Kalbfleisch and Prentice, "The Statistical Analysis of
Failure Time Data", 1980), which keeps it within 0 and 1 and holds for few events.

A period life table takes, of each age, the steps that ended lately, whatever cohort they belong to: with which risk the
present would carry a row through all ages (Preston, Heuveline and Guillot, "Demography", 2001). It is what tells of a
change long before a cohort has lived through the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from mlplatform.statistics.metrics import Vector

Matrix = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
NO_EVENT = -1
"""The step of a row whose event has not come, or came after the horizon."""


@dataclass(frozen=True)
class Cohorts:
    """Rows by how many steps of age are over for them, and their events by the step of age in which they came.

    Use `Cohorts.of`.

    Attributes:
        rows: Rows of each cohort, shape (cohorts,); the place is the number of steps that are over.
        events: Of them, events in each step that is over, shape (cohorts, steps).
    """

    rows: Vector
    events: Matrix

    @classmethod
    def of(cls, ages: Whole, event_steps: Whole, counts: Vector, steps: int) -> Cohorts:
        """Return the cohorts that counted rows make up.

        Args:
            ages: Steps that are over, shape (groups,); more than the horizon has, for rows that lived through it.
            event_steps: The step of the event, shape (groups,), or `NO_EVENT`. An event in a step that is not over is
                not counted yet.
            counts: Rows of each group, shape (groups,).
            steps: How many steps the horizon has.

        Examples:
            >>> steps = np.array([0, NO_EVENT, NO_EVENT])
            >>> cohorts = Cohorts.of(np.array([2, 2, 1]), steps, np.array([1.0, 3.0, 5.0]), 2)
            >>> cohorts.rows.tolist(), cohorts.events.tolist()
            ([0.0, 5.0, 4.0], [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
        """
        size = int(ages.max(initial=0)) + 1
        events = np.zeros((size, steps))
        counted = (event_steps >= 0) & (event_steps < np.minimum(ages, steps))
        np.add.at(events, (ages[counted], event_steps[counted]), counts[counted])
        return cls(np.asarray(np.bincount(ages, weights=counts, minlength=size), dtype=np.float64), events)

    @property
    def steps(self) -> int:
        """How many steps the horizon has."""
        return int(self.events.shape[1])

    @cached_property
    def over(self) -> npt.NDArray[np.bool_]:
        """Which steps are over for which cohort, shape (cohorts, steps)."""
        return np.asarray(np.arange(self.steps) < np.arange(self.rows.size)[:, None])

    @cached_property
    def at_risk(self) -> Matrix:
        """Rows without the event at the beginning of each step that is over, shape (cohorts, steps); else zero."""
        before = np.cumsum(self.events, axis=1) - self.events
        return np.asarray((self.rows[:, None] - before) * self.over)

    @cached_property
    def ago(self) -> Whole:
        """How many steps ago each step of age ended, shape (cohorts, steps); below 0 where it is not over."""
        return np.asarray(np.arange(self.rows.size)[:, None] - 1 - np.arange(self.steps)[None, :], dtype=np.int64)

    @property
    def size(self) -> float:
        """The number of rows."""
        return float(self.rows.sum())

    @property
    def seen(self) -> float:
        """The number of events in steps that are over."""
        return float(self.events.sum())

    @property
    def exposure(self) -> float:
        """Share of the rows' horizons that has been observed, each up to its event; 1 where all is known."""
        if not self.size:
            return 0.0
        beyond = np.arange(self.steps) - np.arange(self.steps)[:, None] > 0
        lived_through = float((self.events @ beyond.sum(axis=1)).sum())  # after the event there is nothing to wait for
        return (float(self.at_risk.sum()) + lived_through) / (self.size * self.steps)

    @property
    def waiting(self) -> Vector:
        """Rows without the event whose horizon is not over, by their age, shape (steps,)."""
        alive = np.zeros(self.steps)
        young = min(self.rows.size, self.steps)
        alive[:young] = (self.rows - self.events.sum(axis=1))[:young]
        return alive


@dataclass(frozen=True)
class LifeTable:
    """Events and rows at risk by step of age.

    Attributes:
        at_risk: Rows at risk at the beginning of each step, shape (steps,).
        events: Events within it, shape (steps,).
        design_effect: How many times the variance is that of independent rows: above 1 where rows share events.
    """

    at_risk: Vector
    events: Vector
    design_effect: float = field(default=1.0, kw_only=True)

    @classmethod
    def of_period(cls, cohorts: Cohorts, newest: int, *, design_effect: float = 1.0) -> LifeTable:
        """Return the table of the steps that ended within the last so many steps, of whatever cohort.

        Examples:
            >>> cohorts = Cohorts.of(np.array([1, 2]), np.array([0, 0]), np.array([2.0, 4.0]), 2)
            >>> LifeTable.of_period(cohorts, 1).events.tolist()
            [2.0, 0.0]
        """
        lately = (cohorts.ago >= 0) & (cohorts.ago < newest)
        return cls(
            np.asarray((cohorts.at_risk * lately).sum(axis=0)),
            np.asarray((cohorts.events * lately).sum(axis=0)),
            design_effect=design_effect,
        )

    @classmethod
    def of_cohorts(cls, cohorts: Cohorts, *, design_effect: float = 1.0) -> LifeTable:
        """Return the table of all that was seen of some cohorts: its rates are those of Kaplan and Meier."""
        return cls(cohorts.at_risk.sum(axis=0), cohorts.events.sum(axis=0), design_effect=design_effect)

    @property
    def steps(self) -> int:
        """How many steps the horizon has."""
        return int(self.at_risk.size)

    @property
    def is_seen(self) -> npt.NDArray[np.bool_]:
        """At which steps somebody was at risk, shape (steps,)."""
        return np.asarray(self.at_risk > 0)

    @cached_property
    def hazards(self) -> Vector:
        """Probability of the event within a step, given that it had not come before; NaN where nobody was at risk."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self.is_seen, self.events / self.at_risk, np.nan))

    @property
    def rates(self) -> Vector:
        """Cumulative rate of the event at the end of each step, shape (steps,); NaN from the first unseen step on."""
        return np.asarray(1 - np.cumprod(1 - self.hazards))

    def intervals(self, level: float = 0.95) -> tuple[Vector, Vector]:
        """Return lower and upper ends of the rates, each of shape (steps,); NaN where there is none.

        Args:
            level: Two-sided.
        """
        rates, normal = self.rates, NormalDist().inv_cdf((1 + level) / 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            terms = self.events / (self.at_risk * (self.at_risk - self.events))
            error = np.sqrt(self.design_effect * np.cumsum(terms)) / np.abs(np.log1p(-rates))
            scale = np.log(-np.log1p(-rates))
            low, high = (-np.expm1(-np.exp(scale + sign * normal * error)) for sign in (-1, 1))
        defined = np.isfinite(error) & (rates > 0)
        return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


@dataclass(frozen=True)
class ExpectedRate:
    """At what rate the event is expected within the horizon, of rows of which a part has been observed.

    Attributes:
        value: The rate.
        error: Standard error on the scale log(-log(1 - rate)); None where no event was seen at all.
    """

    value: float
    error: float | None

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return the two-sided interval; None where there is none."""
        if self.error is None:
            return None
        half, scale = NormalDist().inv_cdf((1 + level) / 2) * self.error, _scale(self.value)
        return _rate(scale - half), _rate(scale + half)

    def p_above(self, limit: float) -> float:
        """Return the one-sided p-value of such a rate, or a higher one, where the true one is `limit`."""
        return self._p(limit, 1.0)

    def p_below(self, limit: float) -> float:
        """Return the one-sided p-value of such a rate, or a lower one, where the true one is `limit`."""
        return self._p(limit, -1.0)

    def _p(self, limit: float, sign: float) -> float:
        if self.error is None or not 0 < limit < 1:
            return 1.0
        return NormalDist().cdf(-sign * (_scale(self.value) - _scale(limit)) / self.error)


def expected_rate(own: Cohorts, table: LifeTable) -> ExpectedRate | None:
    """Return what is expected of rows: the events that have been seen, and the table's risk for those still waiting.

    The standard error is that of both: of the events that came (they could have been others), and of the table's
    hazards (the delta method, which for a product of survival probabilities is Greenwood's formula).

    Args:
        own: The rows.
        table: With which hazards they go on; those of the present, say.

    Returns:
        None without rows, or where the table has not seen an age that rows have still to live through.

    Examples:
        >>> table = LifeTable(np.array([100.0, 100.0]), np.array([10.0, 20.0]))
        >>> new = Cohorts.of(np.array([0]), np.array([NO_EVENT]), np.array([50.0]), 2)
        >>> round(expected_rate(new, table).value, 3)
        0.28
    """
    rows, waiting = own.size, own.waiting
    if not rows:
        return None
    youngest = int(np.argmax(waiting > 0)) if waiting.any() else own.steps
    if not table.is_seen[youngest:].all():
        return None
    hazards = np.where(np.arange(own.steps) >= youngest, table.hazards, 0.0)
    # Of a row of age a, the probability to live through all steps from there on.
    onwards = np.cumprod((1 - hazards)[::-1])[::-1]
    value = float((own.seen + np.sum(waiting * (1 - onwards))) / rows)
    # How much the rate grows with the hazard of a step: the rows that come to it, times what they survive beside it.
    passing = np.cumsum(waiting * onwards)
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = np.where(hazards < 1, passing / (1 - hazards), 0.0) / rows
        spread = np.where(hazards > 0, hazards * (1 - hazards) / table.at_risk, 0.0)
    came = own.seen * (1 - own.seen / rows) / rows**2
    variance = table.design_effect * (came + float(np.sum(slopes**2 * spread)))
    if not 0 < value < 1 or variance <= 0:
        return ExpectedRate(value, None)
    return ExpectedRate(value, float(np.sqrt(variance) / ((1 - value) * -np.log1p(-value))))


def _scale(rate: float) -> float:
    return float(np.log(-np.log1p(-rate)))


def _rate(scale: float) -> float:
    return float(-np.expm1(-np.exp(scale)))
