"""Rows of two computations are compared, and keys are counted, by the engine: the same in both homes."""

from __future__ import annotations

import datetime as dt
import decimal
import math

import narwhals as nw
import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.features.compare import compare_rows
from mlplatform.protocols.frame_checks import KeyCounts, check_unique_frame, count_keys
from mlplatform.protocols.frames import metered
from mlplatform.testing.incremental_check import _newest_of

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NAN, INF = math.nan, math.inf
SCHEMA = pa.schema(
    [
        ("k", pa.int64()),
        ("t", TIME),
        ("x", pa.float64()),
        ("n", pa.string()),
        ("d", pa.date32()),
        ("m", pa.decimal128(12, 2)),
        ("b", pa.bool_()),
    ]
)


def rows(*values: tuple[int, float | None]) -> pa.Table:
    money = decimal.Decimal("1.25")
    return pa.Table.from_pylist(
        [{"k": k, "t": DAY, "x": x, "n": None, "d": DAY.date(), "m": money, "b": True} for k, x in values],
        schema=SCHEMA,
    )


def compared(ws, old, new, **options):
    found = compare_rows(ws.frames, ws.frames.of(old), ws.frames.of(new), ["k", "t"], **options)
    return (found.before, found.after, found.added, found.removed, found.changed), found


def test_added_removed_and_changed_are_counted_and_the_first_are_shown(ws):
    old = rows((1, 1.0), (2, 2.0), (3, 3.0), (9, 9.0))
    new = rows((1, 1.0), (2, 2.5), (3, 3.5), (4, 4.0), (5, 5.0))
    with metered() as collected:
        counts, found = compared(ws, old, new)
        assert counts == (4, 5, 2, 1, 2)
        text = found.examples(old="then", new="now", count=1)
    assert collected.rows == 1 + 3
    parts = text.split("; ")
    assert [part.split("{")[0] for part in parts] == ["only now: ", "only then: ", "then "]
    assert "'k': 4" in parts[0]
    assert "'k': 9" in parts[1]
    assert "'k': 2" in parts[2]
    assert "'x': 2.0" in parts[2]
    assert "'x': 2.5" in parts[2]
    assert not compared(ws, old, old.select(list(reversed(SCHEMA.names))))[1]


@pytest.mark.parametrize(
    ("old", "new", "options", "same"),
    [
        (NAN, None, {}, True),
        (NAN, None, {"nan_is_null": False}, False),
        (NAN, NAN, {"nan_is_null": False, "tolerance": 1e-9}, True),
        (None, None, {"nan_is_null": False}, True),
        (None, 1.0, {}, False),
        (1.0, 1.0 + 2**-52, {}, False),
        (1.0, 1.0 + 2**-52, {"tolerance": 1e-9}, True),
        (1e9, 1e9 + 5, {"tolerance": 1e-9}, False),
        (0.0, 1e-10, {"tolerance": 1e-9}, True),
        (INF, INF, {"tolerance": 1e-9}, True),
        (INF, -INF, {"tolerance": 1e-9}, False),
        (INF, 1e308, {"tolerance": 1e-9}, False),
        (1e308, INF, {"tolerance": 1e-9}, False),
        (0.0, -0.0, {}, True),
    ],
)
def test_floats_are_the_same_within_the_tolerance(ws, old, new, options, same):
    assert compared(ws, rows((1, old)), rows((1, new)), **options)[0] == (1, 1, 0, 0, 0 if same else 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [("n", "a"), ("d", DAY.date() + dt.timedelta(days=1)), ("d", None), ("m", decimal.Decimal("1.26")), ("b", None)],
)
def test_other_values_are_the_same_or_not(ws, column, value):
    one, place = rows((1, 1.0)), SCHEMA.get_field_index(column)
    other = one.set_column(place, SCHEMA.field(column), pa.array([value], SCHEMA.field(column).type))
    assert compared(ws, one, other)[0] == compared(ws, other, one)[0] == (1, 1, 0, 0, 1)
    assert not compared(ws, other, other)[1]


def test_nothing_is_compared_with_something(ws):
    nothing, something = rows(), rows((1, 1.0), (2, None))
    assert compared(ws, nothing, nothing)[0] == (0, 0, 0, 0, 0)
    assert compared(ws, nothing, something)[0] == (0, 2, 2, 0, 0)
    assert compared(ws, something, nothing)[0] == (2, 0, 0, 2, 0)
    with pytest.raises(TableError, match=r"1 computed row\(s\) repeat a key"):
        compared(ws, something, rows((1, 1.0), (1, 1.0)))


def test_keys_are_counted_and_refused_with_an_example(ws):
    frames = ws.frames
    assert count_keys(frames, frames.of(rows()), ["k", "t"]) == KeyCounts(0, {"k": 0, "t": 0}, 0, 0)
    assert check_unique_frame(frames, frames.of(rows((1, 1.0), (2, 1.0))), ["k", "t"], "a.b.c") == 2
    twice = rows((3, 1.0), (2, 1.0), (2, 1.0), (2, 2.0), (3, 1.0))
    with pytest.raises(TableError, match=r"2 key\(s\) of a.b.c .* \(3 row\(s\) too many\), as \{'k': 2, 't': "):
        check_unique_frame(frames, frames.of(twice), ["k", "t"], "a.b.c")
    null = pa.table({"k": [None, 1, None], "t": pa.array([DAY, None, DAY], TIME)})
    with pytest.raises(TableError, match=r"Null in key column of a.b.c: k \(2 row\(s\)\), t \(1 row\(s\)\)"):
        check_unique_frame(frames, frames.of(null), ["k", "t"], "a.b.c")


def test_of_steps_the_newest_rows_of_a_key_count(ws):
    steps = [ws.frames.of(rows(*values)) for values in ([(1, 1.0), (2, 2.0)], [(2, 2.5), (3, 3.0)], [(3, 3.5)])]
    newest = _newest_of(steps, ["k", "t"])
    table = ws.frames.collect(newest.select("k", "x"), at_most=3, what="rows").sort_by("k")
    assert table.to_pylist() == [{"k": 1, "x": 1.0}, {"k": 2, "x": 2.5}, {"k": 3, "x": 3.5}]


def test_moments_are_found_by_their_place(ws):
    frame = ws.frames.of(pa.table({"t": pa.array([DAY + dt.timedelta(days=n) for n in (3, 0, 2, 1)], TIME)}))
    chosen = frame.with_row_index("place", order_by="t").filter(nw.col("place").is_in([0, 2])).select("t")
    found = ws.frames.collect(chosen, at_most=2, what="moments")["t"].to_pylist()
    assert sorted(found) == [DAY, DAY + dt.timedelta(days=2)]
