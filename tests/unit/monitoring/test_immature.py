"""Vintages, ages, and how versions are held against the limits."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring.immature import VINTAGES, vintages
from mlplatform.refine.exposures import Clock

AS_OF = parse_as_of("2007-01-01")


def settings(horizon: str, window: str) -> UseCaseSettings:
    content: dict[str, Any] = {
        "owner": "x", "label": {"horizon": horizon}, "gate": {"floor": 0.5}, "scoring": {"every": window},
    }  # fmt: skip
    return UseCaseSettings.model_validate(content)


@given(
    st.sampled_from(["36 months", "1 year", "3 months", "90 days", "14 days", "2 hours"]),
    st.sampled_from(["1 hour", "1 day", "1 week", "1 month", "quarter", "1 year"]),
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
)
def test_vintages_lie_side_by_side_and_reach_back_a_horizon(horizon, window, moment):
    as_of = moment.replace(tzinfo=UTC)
    spans = vintages(settings(horizon, window), as_of)
    assert spans[-1][1] == as_of
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    first = Duration.parse(horizon).before(as_of)
    assert spans[0][0] <= first < spans[0][1]
    # Months differ by three days of 28.
    assert len(spans) <= VINTAGES * 1.2 + 1


def test_vintages_are_the_windows_where_these_are_not_too_many():
    spans = vintages(settings("36 months", "quarter"), AS_OF)
    assert len(spans) == 12
    assert spans[0] == (parse_as_of("2004-01-01"), parse_as_of("2004-04-01"))
    assert len(vintages(settings("3 months", "1 month"), AS_OF)) == 3
    assert len(vintages(settings("36 months", "1 month"), AS_OF)) == 12


@given(st.integers(0, 3_000), st.sampled_from(["36 months", "3 months", "14 days"]))
def test_a_row_is_as_old_as_the_steps_that_are_over(days, horizon):
    length = Duration.parse(horizon)
    clock = Clock(length, 36, AS_OF)
    moment = Duration(seconds=days * 86_400).before(AS_OF)
    age, whole = clock.age(moment), length.after(moment) - moment
    assert age * whole <= 36 * (AS_OF - moment) < (age + 1) * whole
    assert (age >= 36) == (length.after(moment) <= AS_OF)


def test_a_row_of_later_is_not_older_than_nothing():
    assert Clock(Duration.parse("3 months"), 36, AS_OF).age(parse_as_of("2007-02-01")) == 0


@pytest.mark.parametrize(
    ("window", "steps"), [("12 months", 12), ("1 month", 1), ("1 day", 1), ("10 years", 36), ("18 months", 18)]
)
def test_a_stretch_has_as_many_steps_as_are_nearest(window, steps):
    assert Clock(Duration.parse("36 months"), 36, AS_OF).steps_in(Duration.parse(window)) == steps


@pytest.mark.parametrize(("horizon", "unit"), [("36 months", "1d"), ("14 days", "1h"), ("2 hours", "1m")])
def test_rows_are_counted_in_units_far_shorter_than_a_step(horizon, unit):
    assert Clock(Duration.parse(horizon), 36, AS_OF).unit == unit
