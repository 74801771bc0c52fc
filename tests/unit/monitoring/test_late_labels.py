"""Labels that come late: none is used before it is known, none is lost, and a correction counts once it is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.monitoring.late_labels import Judged, labelled

START = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
HORIZON = timedelta(days=10)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def predictions(*rows: tuple[str, int, float, int, int]) -> pa.Table:
    names = ("id", "at", "prediction", "model_version", "as_of")
    made = [dict(zip(names, (row[0], day(row[1]), *row[2:4], day(row[4])), strict=True)) for row in rows]
    kinds = (pa.string(), TIME, pa.float64(), pa.int64(), TIME)
    return pa.Table.from_pylist(made, schema=pa.schema(list(zip(names, kinds, strict=True))))


def labels(*rows: tuple[str, int, float, int]) -> pa.Table:
    names = ("id", "at", "bad", "label_known_at")
    made = [dict(zip(names, (row[0], day(row[1]), row[2], day(row[3])), strict=True)) for row in rows]
    kinds = (pa.string(), TIME, pa.float64(), TIME)
    return pa.Table.from_pylist(made, schema=pa.schema(list(zip(names, kinds, strict=True))))


def judged(made: pa.Table, known: pa.Table, as_of: int) -> Judged:
    usable = known.filter(pc.less_equal(known.column("label_known_at"), pa.scalar(day(as_of), TIME)))
    champions = made.append_column("alias", pa.array(["champion"] * made.num_rows, pa.string()))
    frames = (nw.from_native(duckdb.from_arrow(rows)).lazy() for rows in (champions, usable))
    joined = labelled(*frames, ["id", "at"], "bad")
    return Judged(joined.to_native().to_arrow_table(), "at", day(as_of) - HORIZON)


def counts(found: Judged) -> tuple[int, int, int, int]:
    made = found.reconcile()
    return made.scored, made.known, made.waiting, made.never


MADE = predictions(("a", 1, 0.1, 1, 2), ("b", 1, 0.2, 1, 2), ("c", 9, 0.3, 1, 10))
KNOWN = labels(("a", 1, 1.0, 11), ("c", 9, 0.0, 12))


def test_a_label_counts_from_the_moment_it_is_known():
    assert counts(judged(MADE, KNOWN, 10)) == (3, 0, 3, 0)
    assert counts(judged(MADE, KNOWN, 11)) == (3, 1, 1, 1)
    assert counts(judged(MADE, KNOWN, 12)) == (3, 2, 0, 1)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 40)), max_size=30), st.integers(0, 60))
def test_scored_is_known_and_waiting_and_never(rows: list[tuple[int, bool, int]], as_of: int):
    made = predictions(*((f"e{place}", at, 0.5, 1, at) for place, (at, _, _) in enumerate(rows)))
    known = labels(*((f"e{place}", at, 1.0, at + lag) for place, (at, has, lag) in enumerate(rows) if has))
    found = judged(made, known, as_of).reconcile()
    assert found.scored == len(rows) == found.known + found.waiting + found.never
    assert found.known == sum(has and at + lag <= as_of for at, has, lag in rows)


def test_the_first_prediction_is_the_one_that_was_acted_on():
    made = predictions(("a", 1, 0.9, 2, 5), ("a", 1, 0.1, 1, 2))
    found = judged(made, KNOWN, 20)
    assert (found.rows.num_rows, found.versions()) == (1, [1])
    assert found.vectors()[1].tolist() == [0.1]


def test_a_correction_changes_the_fingerprint_and_the_order_of_rows_does_not():
    before = judged(MADE, KNOWN, 20)
    assert before.fingerprint() == judged(MADE.take(pa.array([2, 0, 1])), KNOWN, 20).fingerprint()
    corrected = labels(("a", 1, 0.0, 11), ("c", 9, 1.0, 12))
    after = judged(MADE, corrected, 20)
    assert sum(after.vectors()[0]) == sum(before.vectors()[0])
    assert after.fingerprint() != before.fingerprint()
    assert judged(MADE, KNOWN.slice(0, 1), 20).fingerprint() != before.fingerprint()


def test_windows_go_by_the_prediction_time_or_by_the_time_the_label_became_known():
    found = judged(MADE, KNOWN, 20)
    assert found.between(day(0), day(1)).rows.num_rows == 2
    assert found.between(day(1), day(9)).rows.num_rows == 1
    known: Any = found.between(day(11), day(12), "label_known_at").rows.column("id").to_pylist()
    assert known == ["c"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=20), st.integers(-1, 20), st.integers(0, 10))
def test_a_window_cut_out_of_the_ordered_rows_is_the_one_filtered(times: list[int], start: int, length: int):
    made = predictions(*((f"e{place}", at, 0.5, 1, at) for place, at in enumerate(times)))
    found = judged(made, KNOWN, 30)
    cut, filtered = (part.rows.column("id").to_pylist() for part in (
        found.by_time().window(day(start), day(start + length)), found.between(day(start), day(start + length))
    ))  # fmt: skip
    assert sorted(cut) == sorted(filtered)


def test_nothing_scored_has_no_coverage_and_no_error():
    found = judged(predictions(), KNOWN, 20)
    assert (counts(found), found.reconcile().coverage, found.versions()) == ((0, 0, 0, 0), 0.0, [])
