"""How long a range a backfill takes: no more moments of a table's grid than anybody means."""

from __future__ import annotations

import pytest

from mlplatform import Column, FeatureTable, RollingFeatureTable
from mlplatform.as_of import parse_as_of
from mlplatform.errors import UsageError
from mlplatform.features.backfill import MOST_MOMENTS, _check_length


def rolling(step: str) -> RollingFeatureTable:
    class Events(RollingFeatureTable):
        name = "events"
        keys = ("key",)
        grid = step
        windows = (step,)
        measures = (Column("events", "bigint", "Events"),)
        key_columns = (Column("key", "string", "Key"), Column("known_at", "timestamp", "Time"))

        def events(self, ws: object) -> object:
            raise NotImplementedError

    return Events()


@pytest.mark.parametrize(
    ("step", "start", "end", "many"),
    [
        ("1 minute", "1900-01-01", "2066-01-01", "87,308,641"),
        ("1 minute", "2000-01-01", "2002-01-01", "1,052,641"),
        ("1 hour", "1900-01-01", "2070-01-01", "1,490,209"),
    ],
)
def test_a_range_of_more_moments_than_anybody_means_is_refused_with_their_number(
    step: str, start: str, end: str, many: str
) -> None:
    with pytest.raises(UsageError, match=rf"are {many} moments of the grid of events \({step}\)") as caught:
        _check_length(rolling(step), parse_as_of(start), parse_as_of(end))
    assert "one after the other" in caught.value.hint


@pytest.mark.parametrize(
    ("step", "end"), [("1 hour", "2066-01-01"), ("1 month", "2199-01-01"), ("1 minute", "1901-01-01")]
)
def test_what_is_within_it_is_computed(step: str, end: str) -> None:
    _check_length(rolling(step), parse_as_of("1952-01-01" if step == "1 hour" else "1900-01-01"), parse_as_of(end))
    assert MOST_MOMENTS == 1_000_000


def test_a_table_without_a_grid_has_no_such_bound() -> None:
    class Plain(FeatureTable):
        name = "plain"
        keys = ("key",)
        timeseries_column = "known_at"
        columns = (Column("key", "string", "Key"), Column("known_at", "timestamp", "Time"))

        def compute(self, ws: object, as_of: object, since: object) -> object:
            raise NotImplementedError

    _check_length(Plain(), parse_as_of("1900-01-01"), parse_as_of("2199-01-01"))
