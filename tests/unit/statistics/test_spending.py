"""An error spent over decisions whose number nobody knows: whatever their times, no year has more than was promised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.statistics.bootstrap import paired_difference
from mlplatform.statistics.metrics import get
from mlplatform.statistics.spending import (
    LARGEST_PART,
    LEAST_PART,
    Spending,
    Spent,
    first_of_the_year,
    of_each_decision,
    of_the_year,
)

START = datetime(2020, 1, 1, tzinfo=UTC)
ALLOWED = 0.05


def spend(times: list[datetime]) -> list[Spent]:
    spent: list[Spent] = []
    for time in times:
        spent.append(Spent(time, of_the_year(ALLOWED, spent, time).level))
    return spent


def every(days: float, years: float = 4) -> list[Spent]:
    return spend([START + timedelta(days=days * number) for number in range(int(years * 365.25 / days))])


@given(st.lists(st.integers(min_value=0, max_value=1500 * 24), min_size=1, max_size=60))
def test_no_stretch_of_a_year_spends_more_than_was_promised(hours: list[int]) -> None:
    spent = spend([START + timedelta(hours=hour) for hour in sorted(hours)])
    for item in spent:
        # 366 days are the longest year.
        year = [it.level for it in spent if item.as_of - timedelta(days=365) < it.as_of <= item.as_of]
        assert sum(year) <= ALLOWED + 1e-12
        assert 0 < item.level <= LARGEST_PART * ALLOWED


@given(st.lists(st.integers(min_value=0, max_value=300), min_size=1, max_size=30))
def test_a_decision_spends_at_least_a_tenth_of_what_is_left_and_at_most_a_half(days: list[int]) -> None:
    spent = spend([START + timedelta(days=day) for day in sorted(days)])
    for place, item in enumerate(spent):
        found = of_the_year(ALLOWED, spent[:place], item.as_of)
        left = found.allowed - found.spent
        assert LEAST_PART * left - 1e-12 <= found.level <= LARGEST_PART * left + 1e-12
        assert found.left == pytest.approx(left - found.level)
        assert found.decisions == place


@pytest.mark.parametrize(("days", "least"), [(366, 0.5), (183, 0.3), (91.5, 0.19), (30.5, 0.06), (7, 0.014)])
def test_in_the_long_run_each_gets_a_fair_share_of_its_year(days: float, least: float) -> None:
    """The share would be 1, 1/2, 1/4, 1/12 and 1/52 if one knew how many come."""
    last = every(days)[-int(365.25 // days) or -1 :]
    assert min(item.level for item in last) >= 0.2 * least * ALLOWED
    assert np.mean([item.level for item in last]) >= least * ALLOWED


def test_what_is_older_than_a_year_or_later_than_the_decision_does_not_count() -> None:
    others = [Spent(START, 0.02), Spent(START + timedelta(days=800), 0.02)]
    found = of_the_year(ALLOWED, others, START + timedelta(days=400))
    assert found == first_of_the_year(ALLOWED)
    assert (found.level, found.spent, found.decisions) == (LARGEST_PART * ALLOWED, 0.0, 0)


def test_where_more_was_spent_than_is_allowed_by_now_nothing_is_left() -> None:
    found = of_the_year(0.01, [Spent(START, 0.02)], START + timedelta(days=30))
    assert (found.level, found.left) == (0.0, 0.0)


def test_an_error_of_each_decision_leaves_nothing_to_others() -> None:
    assert of_each_decision(ALLOWED) == Spending("decision", ALLOWED, ALLOWED)
    assert of_each_decision(ALLOWED).left == 0


def test_an_interval_is_wider_the_smaller_the_error_and_near_where_draws_reach_it() -> None:
    random = np.random.default_rng(0)
    labels = random.normal(size=400)
    one, other = labels + random.normal(size=400), labels + random.normal(size=400)
    found = paired_difference(get("mae"), labels, one, other, stratify=False, confidence=0.9, draws=2000, seed=0)
    assert found.leaving(0.05) == found
    lows = [found.leaving(tail).low for tail in (0.1, 0.05, 0.02, 0.006, 0.004, 0.001, 0.0001)]
    assert lows == sorted(lows, reverse=True)
    # On both sides of where the draws end, both ways of counting agree.
    assert found.leaving(0.0049).low == pytest.approx(found.leaving(0.0051).low, abs=0.2 * found.standard_error)
    assert found.leaving(0.001).confidence == pytest.approx(0.998)
