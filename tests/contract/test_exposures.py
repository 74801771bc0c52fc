"""Exposures of rows with dated events: counted by the engine, the same in both homes and row by row."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest

from mlplatform import Column, EventSpine
from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings
from mlplatform.naming import Namespace
from mlplatform.protocols.frames import metered
from mlplatform.refine.event_spine import event_rows
from mlplatform.refine.exposures import exposures, observed_until
from mlplatform.statistics.life_tables import NO_EVENT, Cohorts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.workspace import Workspace

NAMESPACE = Namespace("dev", "exposures")
TIME = pa.timestamp("us", "UTC")
FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ROWS, STEPS = 600, 36
HORIZON = Duration.parse("90 days")


class Cancelled(EventSpine):
    """Two subscriptions of each of three hundred accounts; every fourth account leaves."""

    keys = ("account",)
    key_columns = (Column("account", "string", "Number"), Column("begun_at", "timestamp", "When"))
    columns = (Column("region", "string", "Where"),)
    label = "cancelled"
    event_at = "cancelled_at"
    inputs = ()

    def spine(self, ws: Any) -> DataFrame:
        raise AssertionError("nothing here computes it")

    def events(self, ws: Any) -> DataFrame:
        raise AssertionError("nothing here computes it")


def spine(**settings: Any) -> Cancelled:
    given: dict[str, Any] = {"owner": "me", "label": {"horizon": str(HORIZON)}, "gate": {"floor": 0.6}}
    return Cancelled(UseCaseSettings.model_validate(given | settings))


def begun(number: int) -> dt.datetime:
    # Several a day, at different hours.
    return FIRST + dt.timedelta(hours=5 * (number % 300) + 7 * (number // 300))


def gone(number: int) -> dt.datetime | None:
    account = number % 300
    return begun(account) + dt.timedelta(hours=36 + 11 * account % 1_900) if account % 4 == 0 else None


def known(number: int) -> dt.datetime:
    happened = gone(number)
    assert happened is not None
    return happened + dt.timedelta(days=1)


def day(number: int) -> dt.datetime:
    return FIRST + dt.timedelta(days=number)


@pytest.fixture(scope="module")
def accounts(ws: Workspace) -> Workspace:
    numbers = range(ROWS)
    facts = {
        "account": [f"A{number % 300:03d}" for number in numbers],
        "begun_at": pa.array([begun(number) for number in numbers], TIME),
        "region": ["north" if number % 3 else "south" for number in numbers],
    }
    left = [number for number in numbers if gone(number) is not None and gone(number) >= begun(number)]
    happened = pa.table(
        {
            "account": [f"A{number % 300:03d}" for number in left],
            "begun_at": pa.array([begun(number) for number in left], TIME),
            "cancelled_at": pa.array([gone(number) for number in left], TIME),
            "event_known_at": pa.array([known(number) for number in left], TIME),
        }
    )
    taken_back = event_rows(spine(), ws.frames.to_spark(happened))
    keys = {"primary_keys": Cancelled.primary_keys}
    ws.tables.create(NAMESPACE.gold("spine"), spine().spine_schema(), timeseries_column="begun_at", **keys)
    ws.tables.append(NAMESPACE.gold("spine"), pa.table(facts).cast(spine().spine_schema()))
    ws.tables.create(NAMESPACE.gold("events"), spine().event_schema(), timeseries_column="event_known_at", **keys)
    ws.tables.append(NAMESPACE.gold("events"), taken_back)
    return ws


def seen(ws: Workspace, as_of: dt.datetime, **settings: Any) -> Any:
    return exposures(ws, NAMESPACE, spine(**settings), as_of)


def row_by_row(as_of: dt.datetime, until: dt.datetime, chosen: Any = lambda _: True) -> Cohorts:
    """What the rows are, in plain Python; all rows of a day are as old as its newest."""
    mine = [number for number in range(ROWS) if begun(number) <= until and chosen(number)]
    newest: dict[dt.date, dt.datetime] = {}
    for number in mine:
        newest[begun(number).date()] = max(begun(number), newest.get(begun(number).date(), begun(number)))
    ages, steps = [], []
    for number in mine:
        lived = until - newest[begun(number).date()]
        ages.append(int(STEPS * lived // dt.timedelta(days=90)))
        happened = gone(number)
        if happened is None or happened < begun(number) or known(number) > as_of:
            steps.append(NO_EVENT)
        else:
            share = (happened - begun(number)) / dt.timedelta(days=90)
            steps.append(int(np.ceil(STEPS * share)) - 1 if share <= 1 else NO_EVENT)
    return Cohorts.of(np.array(ages), np.array(steps), np.ones(len(mine)), STEPS)


@pytest.mark.parametrize("number", [40, 75, 150])
def test_counts_are_those_of_the_rows_one_by_one(accounts, number):
    found = seen(accounts, day(number))
    assert found.clock.until <= day(number)
    with metered() as collected:
        counts = found.counted(found.portfolio(FIRST - dt.timedelta(days=1)))[()]
    assert collected.rows < ROWS, "counts by day, not rows"
    expected = row_by_row(day(number), found.clock.until)
    assert counts.cohorts.rows.tolist() == expected.rows.tolist()
    assert counts.cohorts.events.tolist() == expected.events.tolist()
    assert expected.seen > 10


def test_observed_is_up_to_when_an_event_became_known_last(accounts):
    last = max(known(number) for number in range(ROWS) if gone(number) is not None and known(number) <= day(75))
    assert observed_until(accounts, NAMESPACE, spine().settings, day(75)) == last
    delayed = spine(label={"horizon": str(HORIZON), "event_delay": "2 days"})
    assert observed_until(accounts, NAMESPACE, delayed.settings, day(75)) == last - dt.timedelta(days=2)
    assert observed_until(accounts, NAMESPACE, spine().settings, FIRST) is None
    assert seen(accounts, FIRST) is None


def test_values_of_a_column_are_counted_apart_and_a_sum_is_taken(accounts):
    found = seen(accounts, day(75))
    rows = accounts.frames.read(NAMESPACE.gold("spine"), filters=[("begun_at", "<=", found.clock.until)])
    scored = rows.with_columns(nw.lit(0.25).alias("score"))
    groups = found.counted(scored, by=["region"], summed="score")
    assert sorted(groups) == [("north",), ("south",)]
    for (region,), counts in groups.items():
        expected = row_by_row(
            day(75), found.clock.until, lambda number, region=region: (number % 3 > 0) == (region == "north")
        )
        assert counts.total == expected.size
        assert counts.cohorts.seen > 0
        assert counts.mean == pytest.approx(0.25)
    whole = found.counted(rows)[()]
    assert sum(counts.total for counts in groups.values()) == whole.total


def test_rows_one_by_one_have_ages_and_steps_and_of_many_a_sample(accounts):
    found = seen(accounts, day(75))
    rows = found.portfolio(FIRST - dt.timedelta(days=1))
    table, ages, steps = found.one_by_one(rows, ["account"], at_most=ROWS, what="rows")
    counted = found.counted(rows)[()].cohorts
    cohorts = Cohorts.of(ages, steps, np.ones(ages.size), STEPS)
    assert table.column_names == ["account", "begun_at"]
    assert (cohorts.rows.tolist(), cohorts.events.tolist()) == (counted.rows.tolist(), counted.events.tolist())
    drawn, ages, _ = found.one_by_one(rows, ["account"], at_most=50, what="rows")
    assert (drawn.num_rows, ages.size) == (50, 50)
    assert set(drawn["account"].to_pylist()) <= set(table["account"].to_pylist())


def test_an_event_of_several_rows_is_one_piece_of_news(accounts):
    found = seen(accounts, day(150))
    counts: dict[int, int] = {}
    for number in range(ROWS):
        if gone(number) is not None and gone(number) >= begun(number) and known(number) <= day(150):
            counts[number % 300] = counts.get(number % 300, 0) + 1
    shared = np.array(list(counts.values()))
    effect = found.design_effect(FIRST - dt.timedelta(days=1))
    assert effect == pytest.approx((shared**2).sum() / shared.sum())
    assert 1 < effect <= 2
    by_region = seen(accounts, day(150), gate={"floor": 0.6, "cluster_by": ["region"]})
    assert by_region.design_effect(FIRST - dt.timedelta(days=1)) > 20
    assert found.design_effect(day(400)) == 1.0
