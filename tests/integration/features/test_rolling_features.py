"""Sums over trailing windows, against counting by hand; computed in steps and at once; a silence in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame

from mlplatform import Column, RollingFeatureTable, open_workspace
from mlplatform.protocols.workspace import Workspace

START = datetime(2013, 1, 30, tzinfo=UTC)
Event = tuple[str | None, datetime, int]


class _Counted(RollingFeatureTable):
    """Counts and sums made-up events."""

    keys = ("key",)
    timeseries_column = "known_at"
    measures = ("n", "x")
    inputs = ()
    columns = (Column("key", "string", "Key", nullable=False), Column("known_at", "timestamp", "When", nullable=False))
    happened: ClassVar[list[Event]] = []

    def events(self, ws: Any) -> DataFrame:
        rows = [(key, moment.replace(tzinfo=None), 1, value) for key, moment, value in self.happened]
        frame = ws.spark.createDataFrame(rows, "key string, known_at timestamp_ntz, n bigint, x bigint")
        return frame.withColumn("known_at", frame["known_at"].cast("timestamp"))

    def features(self, sums: DataFrame) -> DataFrame:
        return sums


class Hourly(_Counted):
    """Two windows on an hourly grid."""

    name = "hourly"
    grid = "1 hour"
    windows: ClassVar = {"2h": "2 hours", "6h": "6 hours"}


class Monthly(_Counted):
    """A year and everything, on a monthly grid."""

    name = "monthly"
    grid = "1 month"
    windows: ClassVar = {"2m": "2 months", "ever": None}


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with open_workspace("local", root=tmp_path_factory.mktemp("rolling")) as opened:
        yield opened


@dataclass(frozen=True)
class Spec:
    """A table type, its step and its windows, for counting by hand."""

    table: type[_Counted]
    step: relativedelta
    windows: dict[str, relativedelta | None]
    first: datetime


HOURLY = Spec(Hourly, relativedelta(hours=1), {"2h": relativedelta(hours=2), "6h": relativedelta(hours=6)}, START)
MONTHLY = Spec(
    Monthly, relativedelta(months=1), {"2m": relativedelta(months=2), "ever": None}, datetime(2013, 1, 1, tzinfo=UTC)
)

Rows = dict[tuple[str, datetime], dict[str, int]]


def computed(ws: Workspace, spec: Spec, events: list[Event], as_of: datetime, since: datetime | None = None) -> Rows:
    table = type("Table", (spec.table,), {"happened": [event for event in events if event[1] <= as_of]})()
    rows = table.compute(SimpleNamespace(spark=ws.spark), as_of, since).toArrow().to_pylist()
    found = {(row.pop("key"), row.pop("known_at")): row for row in rows}
    assert len(found) == len(rows), "a key has two rows at one moment"
    return found


def by_hand(spec: Spec, events: list[Event], as_of: datetime) -> Rows:
    rows: Rows = {}
    moment = spec.first
    while moment <= as_of:
        for key in {event[0] for event in events if event[0] is not None}:
            mine = [event for event in events if event[0] == key and event[1] < moment]
            row = {}
            for name, length in spec.windows.items():
                inside = [event for event in mine if length is None or event[1] >= moment - length]
                row[f"n_{name}"], row[f"x_{name}"] = len(inside), sum(event[2] for event in inside)
            longest = None if None in spec.windows.values() else max(filter(None, spec.windows.values()), key=_hours)
            # One row more after the last event left the longest window: it says that nothing is there.
            felt = mine if longest is None else [event for event in mine if event[1] >= moment - longest - spec.step]
            if felt:
                rows[key, moment] = row
        moment += spec.step
    return rows


def _hours(length: relativedelta) -> int:
    return int(length.hours)


events_of = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.integers(0, 40 * 60).map(lambda minutes: START + timedelta(minutes=minutes)),
        st.integers(-50, 50),
    ),
    min_size=1,
    max_size=12,
)
quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(events=events_of, hours=st.integers(0, 60), minutes=st.sampled_from([0, 1, 30]))
def test_hourly_windows_count_what_lies_before(ws: Workspace, events: list[Event], hours: int, minutes: int) -> None:
    as_of = START + timedelta(hours=hours, minutes=minutes)
    assert computed(ws, HOURLY, events, as_of) == by_hand(HOURLY, events, as_of)


@quick
@given(events=events_of, days=st.integers(0, 400))
def test_monthly_windows_and_everything_so_far(ws: Workspace, events: list[Event], days: int) -> None:
    spread = [(key, START + 200 * (moment - START), value) for key, moment, value in events]
    as_of = START + timedelta(days=days)
    spread = [event for event in spread if event[1] <= as_of]
    if spread:
        assert computed(ws, MONTHLY, spread, as_of) == by_hand(MONTHLY, spread, as_of)


@pytest.mark.parametrize("examples", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_computed_in_steps_is_computed_at_once(ws: Workspace, examples: int) -> None:
    @settings(quick, max_examples=examples)
    @given(events=events_of, cuts=st.lists(st.integers(0, 70), min_size=1, max_size=4, unique=True).map(sorted))
    # The row that says that nothing is left is the first of a step, and of an event that is older than all windows.
    @example(events=[("a", START + timedelta(hours=1, minutes=30), 1)], cuts=[7, 9])
    def check(events: list[Event], cuts: list[int]) -> None:
        for spec in (HOURLY, MONTHLY):
            rows: Rows = {}
            since = None
            for cut in cuts:
                as_of = START + timedelta(hours=cut, minutes=20)
                rows |= {
                    key: row
                    for key, row in computed(ws, spec, events, as_of, since).items()
                    if since is None or key[1] >= since
                }
                since = as_of
            assert since is not None
            assert rows == computed(ws, spec, events, since)

    check()


def test_after_a_long_silence_the_newest_row_says_that_nothing_happened(ws: Workspace) -> None:
    events: list[Event] = [("a", START, 5), ("a", START + timedelta(hours=30), 7)]
    rows = computed(ws, HOURLY, events, START + timedelta(hours=31))
    moments = sorted(moment for _, moment in rows)
    assert moments == [START + timedelta(hours=n) for n in (*range(1, 8), 31)]
    assert rows["a", START + timedelta(hours=7)] == {"n_2h": 0, "x_2h": 0, "n_6h": 0, "x_6h": 0}
    assert rows["a", START + timedelta(hours=31)] == {"n_2h": 1, "x_2h": 7, "n_6h": 1, "x_6h": 7}


def test_no_event_gives_no_row(ws: Workspace) -> None:
    assert computed(ws, HOURLY, [(None, START, 1)], START + timedelta(days=1)) == {}
