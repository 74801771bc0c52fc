"""The forecast by age, period and vintage: what it recovers, and that its intervals hold what comes."""

from __future__ import annotations

import numpy as np
import pytest

from mlplatform.statistics.life_tables import Cohorts, LifeTable, expected_rate
from mlplatform.statistics.vintages import FEWEST_PERIODS, AgePeriod

STEPS, PERIOD, A_COHORT = 12, 4, 2_000
AGES = np.linspace(0.002, 0.012, STEPS)


def history(
    random: np.random.Generator, levels: np.ndarray, *, spread: float = 0.0, ahead: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Events of each cohort by step of age: one cohort a step of time, through all the periods and `ahead` steps.

    Args:
        levels: Of each period, the oldest first.
    """
    last = levels.size * PERIOD - ahead
    events = np.zeros((last, STEPS))
    for born in range(last):
        left = A_COHORT
        factor = random.gamma(1 / spread, spread) if spread else 1.0
        for age in range(STEPS):
            time = born + age
            if time >= levels.size * PERIOD:
                break
            events[born, age] = random.binomial(left, -np.expm1(-AGES[age] * levels[time // PERIOD] * factor))
            left -= events[born, age]
    return events, np.arange(last)


def seen_at(events: np.ndarray, born: np.ndarray, now: int) -> Cohorts:
    """The cohorts as they are known at the end of a step of time."""
    rows, steps = np.zeros(now + 1), np.zeros((now + 1, STEPS))
    for cohort in born[born < now]:
        age = now - cohort
        rows[age] = A_COHORT
        over = min(age, STEPS)
        steps[age, :over] = events[cohort, :over]
    return Cohorts(rows, steps)


def only(cohorts: Cohorts, age: int) -> Cohorts:
    rows, events = np.zeros(age + 1), np.zeros((age + 1, STEPS))
    rows[age], events[age] = cohorts.rows[age], cohorts.events[age]
    return Cohorts(rows, events)


def test_ages_and_levels_are_recovered_up_to_a_factor():
    levels = np.array([0.5, 1.0, 2.0, 1.0, 1.5, 3.0])
    events, born = history(np.random.default_rng(0), levels)
    model = AgePeriod.fit(seen_at(events, born, levels.size * PERIOD), PERIOD)
    assert not isinstance(model, str)
    ratio = model.levels[::-1] / levels
    assert (abs(ratio / ratio[-1] - 1) < 4 / np.sqrt(model.events[::-1])).all()
    shape = model.ages / AGES
    assert shape / shape.mean() == pytest.approx(1.0, abs=0.25)


def test_fitted_events_are_the_seen_ones_of_each_age_and_of_each_period():
    """Which is what the maximum of the likelihood is."""
    events, born = history(np.random.default_rng(1), np.array([1.0, 2.0, 1.0, 3.0]))
    cohorts = seen_at(events, born, 16)
    model = AgePeriod.fit(cohorts, PERIOD)
    period = np.maximum(cohorts.ago, 0) // PERIOD
    fitted = cohorts.at_risk * model.ages * model.levels[period]
    assert fitted.sum(axis=0) == pytest.approx(cohorts.events.sum(axis=0), rel=1e-6)
    for number in range(4):
        inside = cohorts.over & (period == number)
        assert fitted[inside].sum() == pytest.approx(cohorts.events[inside].sum(), rel=1e-6)


def test_where_nothing_changes_the_forecast_is_what_the_present_says():
    events, born = history(np.random.default_rng(2), np.ones(8))
    cohorts = seen_at(events, born, 32)
    own = only(cohorts, 4)
    forecast = AgePeriod.fit(cohorts, PERIOD).forecast(own)
    present = expected_rate(own, LifeTable.of_period(cohorts, PERIOD)).value
    assert forecast.value == pytest.approx(present, rel=0.15)
    low, high = forecast.interval(0.9)
    assert low < present < high


def test_a_steady_rise_is_carried_on():
    levels = 0.4 * 1.4 ** np.arange(9)
    events, born = history(np.random.default_rng(3), levels)
    cohorts = seen_at(events, born, 28)
    own = only(cohorts, 4)
    truth = events[24].sum() / A_COHORT
    forecast = AgePeriod.fit(cohorts, PERIOD).forecast(own)
    present = expected_rate(own, LifeTable.of_period(cohorts, PERIOD)).value
    assert abs(np.log(forecast.value / truth)) < abs(np.log(present / truth))
    assert forecast.value == pytest.approx(truth, rel=0.3)


def test_a_bad_vintage_is_believed_the_more_the_more_vintages_differ():
    random = np.random.default_rng(4)
    events, born = history(random, np.ones(8), spread=0.3)
    cohorts = seen_at(events, born, 32)
    model = AgePeriod.fit(cohorts, PERIOD)
    assert model.spread == pytest.approx(0.3, rel=0.7)
    alike = AgePeriod.fit(seen_at(*history(random, np.ones(8)), 32), PERIOD)
    assert alike.spread < 0.05
    good, bad = only(cohorts, 8), only(cohorts, 8)
    bad.events[8, :8] = 3 * np.maximum(good.events[8, :8], 3)
    later = [
        model.forecast(own).rates[:, -1].mean() - own.seen / own.size for own in (good, bad)
    ]  # fmt: skip
    assert later[1] > 1.5 * later[0]


def test_what_has_been_seen_of_the_rows_is_no_longer_drawn():
    events, born = history(np.random.default_rng(5), np.ones(6))
    cohorts = seen_at(events, born, 24)
    own = only(cohorts, 9)
    rates = AgePeriod.fit(cohorts, PERIOD).forecast(own).rates
    seen = np.cumsum(own.events[9, :9]) / A_COHORT
    assert (rates[:, :9] == seen).all()
    assert (np.diff(rates, axis=1) >= 0).all()
    assert rates[:, -1].std() > 0
    done = AgePeriod.fit(cohorts, PERIOD).forecast(only(cohorts, STEPS))
    assert done.interval() == (done.value, done.value)


def test_the_same_seed_draws_the_same():
    events, born = history(np.random.default_rng(6), np.ones(6))
    cohorts = seen_at(events, born, 24)
    model, own = AgePeriod.fit(cohorts, PERIOD), only(cohorts, 3)
    assert (model.forecast(own).rates == model.forecast(own).rates).all()
    assert model.forecast(own, seed=1).value == pytest.approx(model.forecast(own).value, rel=0.1)


def test_too_few_periods_or_events_give_no_model_and_say_why():
    events, born = history(np.random.default_rng(7), np.ones(2))
    why = AgePeriod.fit(seen_at(events, born, 8), PERIOD)
    assert why == f"2 periods of {PERIOD} steps have 10 events, needs {FEWEST_PERIODS}"
    assert AgePeriod.fit(Cohorts(np.array([5.0]), np.zeros((1, STEPS))), PERIOD) == "no step of any row is over"


def test_ages_that_nobody_came_to_give_no_forecast_to_those_who_will():
    events, born = history(np.random.default_rng(8), np.ones(3))
    cohorts = seen_at(events, born, 12)
    young = Cohorts(cohorts.rows[:9], cohorts.events[:9])
    model = AgePeriod.fit(young, 2)
    assert not isinstance(model, str)
    assert model.forecast(only(young, 4)) is None


def coverage(replays: int, seed: int) -> float:
    """How often the 90 % interval holds the rate that comes, where levels wander and drift, and vintages differ."""
    random, held = np.random.default_rng(seed), 0
    for _ in range(replays):
        moves = random.normal(random.normal(0.0, 0.2), random.uniform(0.05, 0.4), 9)
        events, born = history(random, np.exp(np.cumsum(moves) - moves[:4].sum()), spread=0.02)
        now = 26
        cohorts = seen_at(events, born, now)
        forecast = AgePeriod.fit(cohorts, PERIOD).forecast(only(cohorts, 4), draws=1_000)
        low, high = forecast.interval(0.9)
        held += low <= events[now - 4].sum() / A_COHORT <= high
    return held / replays


def test_the_interval_holds_what_comes_as_often_as_it_says():
    assert coverage(100, 9) >= 0.84


@pytest.mark.slow
def test_the_interval_holds_what_comes_as_often_as_it_says_in_many_replays():
    assert 0.88 <= coverage(1_000, 10) <= 0.96
