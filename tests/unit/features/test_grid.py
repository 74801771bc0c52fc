"""The time grid of rolling feature tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import ConfigError, UsageError
from mlplatform.features.grid import Grid

MOMENTS = st.datetimes(datetime(1960, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
STEPS = st.sampled_from(["5 minutes", "1 hour", "6 hours", "1 day", "1 week", "1 month", "1 quarter", "1 year"])


@given(moment=MOMENTS, step=STEPS)
def test_a_moment_lies_between_its_grid_moment_and_the_next(moment: datetime, step: str) -> None:
    grid = Grid.parse(step)
    number = grid.number_at(moment)
    assert grid.moment(number) <= moment < grid.moment(number + 1)
    assert grid.number_at(grid.moment(number)) == number


@given(moment=MOMENTS, step=STEPS)
def test_grid_moments_before_1970_count_down(moment: datetime, step: str) -> None:
    grid = Grid.parse(step)
    assert grid.moment(grid.number_at(moment) - 1) < grid.moment(grid.number_at(moment))


@pytest.mark.parametrize(
    ("step", "window", "steps"),
    [("1 hour", "3 hours", 3), ("1 day", "4 weeks", 28), ("1 month", "1 year", 12), ("6 hours", "1 day", 4)],
)
def test_windows_are_counted_in_steps(step: str, window: str, steps: int) -> None:
    assert Grid.parse(step).steps_in(window) == steps


@pytest.mark.parametrize(("step", "window"), [("1 day", "36 hours"), ("1 day", "1 month"), ("1 month", "4 weeks")])
def test_a_window_is_a_whole_number_of_steps(step: str, window: str) -> None:
    with pytest.raises(ConfigError, match=f"window of '{window}' is not a whole number of steps"):
        Grid.parse(step).steps_in(window)


def test_a_grid_moves_on() -> None:
    with pytest.raises(ConfigError, match="has no step"):
        Grid.parse("0 hours")
    with pytest.raises(UsageError, match="is not a duration"):
        Grid.parse("hourly")


def test_moments_of_an_hourly_grid_are_hours() -> None:
    grid = Grid.parse("1 hour")
    first = datetime(2013, 3, 10, 7, tzinfo=UTC)  # the night in which clocks in New York go forward
    numbers = [grid.number_at(first + timedelta(minutes=30 * n)) for n in range(4)]
    assert [number - numbers[0] for number in numbers] == [0, 0, 1, 1]
