"""Life tables: judged by a survival library and by counting rows one by one, and their intervals by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter

from mlplatform.statistics.life_tables import NO_EVENT, Cohorts, LifeTable, expected_rate

STEPS = 6


def drawn(random: np.random.Generator, rows: int, oldest: int, hazards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ages now, and the step of the event of each row, whether it is over or not."""
    ages = random.integers(0, oldest + 1, rows)
    comes = random.random((rows, hazards.size)) < hazards
    steps = np.where(comes.any(axis=1), comes.argmax(axis=1), NO_EVENT)
    return ages, steps


def cohorts_of(ages: np.ndarray, steps: np.ndarray, horizon: int = STEPS) -> Cohorts:
    return Cohorts.of(ages, steps, np.ones(ages.size), horizon)


rows = st.lists(
    st.tuples(st.integers(0, 2 * STEPS), st.integers(NO_EVENT, STEPS - 1), st.integers(1, 9)), min_size=1, max_size=40
)


@given(rows)
def test_every_row_is_in_one_cohort_and_at_risk_until_its_event_or_its_age(groups):
    ages, steps, counts = (np.array(column) for column in zip(*groups, strict=True))
    cohorts = Cohorts.of(ages, steps, counts.astype(float), STEPS)
    one_by_one = np.repeat(np.arange(len(groups)), counts)
    ages, steps = ages[one_by_one], steps[one_by_one]
    came = (steps >= 0) & (steps < np.minimum(ages, STEPS))
    assert (cohorts.size, cohorts.seen) == (ages.size, came.sum())
    until = np.where(came, steps + 1, np.minimum(ages, STEPS))
    for step in range(STEPS):
        assert cohorts.at_risk[:, step].sum() == (until > step).sum()
    assert cohorts.waiting.sum() == (~came & (ages < STEPS)).sum()
    known = np.where(came, STEPS, np.minimum(ages, STEPS))
    assert cohorts.exposure == pytest.approx(known.mean() / STEPS)


@given(rows, st.integers(1, 12))
def test_a_period_takes_the_steps_that_ended_within_it(groups, newest):
    ages, steps, counts = (np.array(column) for column in zip(*groups, strict=True))
    table = LifeTable.of_period(Cohorts.of(ages, steps, counts.astype(float), STEPS), newest)
    for step in range(STEPS):
        # A row of age 5 has its step 4 just behind it, and its step 2 two steps ago.
        lately = (ages > step) & (ages - 1 - step < newest)
        reached = ~((steps >= 0) & (steps < step))
        assert table.at_risk[step] == counts[lately & reached].sum()
        assert table.events[step] == counts[lately & (steps == step)].sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_rates_and_intervals_of_cohorts_are_kaplan_meiers(seed):
    random = np.random.default_rng(seed)
    ages, steps = drawn(random, 400, 9, np.array([0.0, 0.02, 0.1, 0.05, 0.2, 0.01]))
    table = LifeTable.of_cohorts(cohorts_of(ages, steps))
    came = (steps >= 0) & (steps < np.minimum(ages, STEPS))
    lived = np.where(came, steps + 1, np.minimum(ages, STEPS))
    judge = KaplanMeierFitter(alpha=0.05).fit(lived, came)
    grid = np.arange(1, STEPS + 1)
    assert table.rates == pytest.approx(1 - judge.survival_function_at_times(grid).to_numpy(), abs=1e-12)
    low, high = table.intervals(0.95)
    of_judge = judge.confidence_interval_survival_function_.reindex(grid, method="ffill")
    seen = np.isfinite(low)
    assert seen.sum() == (table.rates > 0).sum()
    assert low[seen] == pytest.approx(1 - of_judge.iloc[:, 1].to_numpy()[seen], abs=1e-9)
    assert high[seen] == pytest.approx(1 - of_judge.iloc[:, 0].to_numpy()[seen], abs=1e-9)


def test_a_step_that_nobody_came_to_has_no_rate_nor_have_those_after_it():
    table = LifeTable(np.array([10.0, 0.0, 10.0]), np.array([1.0, 0.0, 1.0]))
    assert table.is_seen.tolist() == [True, False, True]
    assert table.rates[0] == pytest.approx(0.1)
    assert np.isnan(table.rates[1:]).all()
    assert np.isnan(table.intervals()[0][1:]).all()


def test_rows_that_are_new_are_expected_to_do_as_the_table_says():
    table = LifeTable(np.array([1000.0, 500.0, 200.0]), np.array([20.0, 30.0, 2.0]))
    new = cohorts_of(np.zeros(50, dtype=int), np.full(50, NO_EVENT), 3)
    found = expected_rate(new, table)
    assert found.value == pytest.approx(table.rates[-1])
    low, high = table.intervals(0.95)
    assert found.interval(0.95) == pytest.approx((low[-1], high[-1]), rel=1e-9), "Greenwood's, by the delta method"


@given(rows)
def test_what_has_lived_through_the_horizon_is_what_it_is(groups):
    steps, counts = np.array([group[1] for group in groups]), np.array([float(group[2]) for group in groups])
    own = Cohorts.of(np.full(steps.size, STEPS), steps, counts, STEPS)
    # No table is needed any more: nobody has a step to live through.
    found = expected_rate(own, LifeTable(np.zeros(STEPS), np.zeros(STEPS)))
    assert found.value == pytest.approx(counts[steps >= 0].sum() / counts.sum())


@given(rows, st.lists(st.integers(0, 20), min_size=STEPS, max_size=STEPS))
def test_the_expected_rate_is_the_sum_over_rows(groups, events):
    ages, steps, counts = (np.array(column) for column in zip(*groups, strict=True))
    table = LifeTable(np.full(STEPS, 40.0), np.array(events, dtype=float))
    found = expected_rate(Cohorts.of(ages, steps, counts.astype(float), STEPS), table)
    came = (steps >= 0) & (steps < np.minimum(ages, STEPS))
    ahead = np.array([1 - np.prod(1 - table.hazards[min(age, STEPS) :]) for age in ages])
    assert found.value == pytest.approx(np.average(np.where(came, 1.0, ahead), weights=counts))
    if found.error is not None:
        low, high = found.interval()
        assert 0 <= low <= found.value <= high <= 1


def test_an_age_that_was_never_seen_leaves_the_rate_unknown_to_those_who_come_to_it():
    table = LifeTable(np.array([10.0, 10.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    assert expected_rate(cohorts_of(np.array([1, 3]), np.array([NO_EVENT, NO_EVENT]), 3), table) is None
    assert expected_rate(cohorts_of(np.array([3, 3]), np.array([NO_EVENT, 1]), 3), table).value == 0.5
    assert expected_rate(cohorts_of(np.array([], dtype=int), np.array([], dtype=int), 3), table) is None


def test_without_any_event_there_is_no_interval_and_no_verdict():
    table = LifeTable(np.full(3, 100.0), np.zeros(3))
    found = expected_rate(cohorts_of(np.zeros(9, dtype=int), np.full(9, NO_EVENT), 3), table)
    assert (found.value, found.interval()) == (0.0, None)
    assert (found.p_above(0.01), found.p_below(0.01)) == (1.0, 1.0)


def test_p_values_grow_with_the_distance_and_agree_with_the_interval():
    table = LifeTable(np.full(3, 500.0), np.array([5.0, 10.0, 15.0]))
    found = expected_rate(cohorts_of(np.zeros(9, dtype=int), np.full(9, NO_EVENT), 3), table)
    low, high = found.interval(0.9)
    assert found.p_above(low) == pytest.approx(0.05)
    assert found.p_below(high) == pytest.approx(0.05)
    assert found.p_above(found.value) == pytest.approx(0.5)
    assert found.p_above(low / 2) < 0.05 < found.p_above(high)


def test_rows_that_share_events_widen_the_interval_by_the_root_of_the_design_effect():
    at_risk, events = np.full(3, 500.0), np.array([5.0, 10.0, 15.0])
    own = cohorts_of(np.array([0, 2, 3]), np.array([NO_EVENT, 1, NO_EVENT]), 3)
    alone, shared = (expected_rate(own, LifeTable(at_risk, events, design_effect=effect)) for effect in (1.0, 4.0))
    assert shared.error == pytest.approx(2 * alone.error)


def coverage(replays: int, seed: int, level: float) -> float:
    """How often the interval of a window's expected rate holds the rate that its hazards lead to."""
    random, held = np.random.default_rng(seed), 0
    hazards = np.array([0.0, 0.002, 0.004, 0.008, 0.01, 0.01])
    truth = 1 - np.prod(1 - hazards)
    for _ in range(replays):
        ages, steps = drawn(random, 3_000, 18, hazards)
        cohorts = cohorts_of(ages, steps)
        own = (ages >= 1) & (ages <= 3)
        low, high = expected_rate(
            cohorts_of(ages[own], steps[own]), LifeTable.of_period(cohorts, 4)
        ).interval(level)  # fmt: skip
        held += low <= truth <= high
    return held / replays


def test_the_interval_holds_the_rate_as_often_as_it_says():
    assert 0.86 <= coverage(400, 3, 0.9) <= 0.95


@pytest.mark.slow
def test_the_interval_holds_the_rate_as_often_as_it_says_in_many_replays():
    assert 0.885 <= coverage(6_000, 4, 0.9) <= 0.925


def test_counts_may_come_in_any_grouping():
    ages, steps = drawn(np.random.default_rng(0), 500, 9, np.full(STEPS, 0.05))
    grouped = pd.DataFrame({"age": ages, "step": steps}).groupby(["age", "step"]).size().reset_index(name="rows")
    one, other = (
        cohorts_of(ages, steps),
        Cohorts.of(
            grouped["age"].to_numpy(), grouped["step"].to_numpy(), grouped["rows"].to_numpy().astype(float), STEPS
        ),
    )
    assert one.rows.tolist() == other.rows.tolist()
    assert one.events.tolist() == other.events.tolist()
