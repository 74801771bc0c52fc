"""Two computations of rows are compared by key: what was added, what is gone, what differs."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.errors import TableError
from mlplatform.features import compare
from mlplatform.features.compare import RowDifferences
from mlplatform.protocols.frames import metered
from mlplatform.workspace.local.frames import LocalFrames

# No table and no Spark: Arrow rows alone.
FRAMES = LocalFrames(cast("Any", None), Path(tempfile.gettempdir()), cast("Any", None))
NAN = float("nan")
FLOATS = pa.schema([("k", pa.int64()), ("v", pa.float64())])


def floats(rows: dict[int, float | None]) -> pa.Table:
    return pa.table({"k": list(rows), "v": list(rows.values())}, schema=FLOATS)


def compare_rows(old: pa.Table, new: pa.Table, keys: list[str], **options: Any) -> RowDifferences:
    return compare.compare_rows(FRAMES, FRAMES.of(old), FRAMES.of(new), keys, **options)


def counted(found: RowDifferences) -> tuple[int, int, int]:
    return found.added, found.removed, found.changed


def keys_of(frame: Any) -> list[int]:
    return sorted(FRAMES.collect(frame.select("k"), at_most=10, what="keys")["k"].to_pylist())


values = st.one_of(st.none(), st.integers(-3, 3).map(float), st.just(NAN), st.just(math.inf))
tables = st.dictionaries(st.integers(0, 6), values, max_size=7)


def alike(one: float | None, other: float | None) -> bool:
    missing = [value is None or math.isnan(value) for value in (one, other)]
    return missing[0] and missing[1] if any(missing) else one == other


@settings(deadline=None, max_examples=15)
@given(tables, tables, st.randoms(use_true_random=False))
def test_every_key_is_added_removed_changed_or_the_same(
    old: dict[int, float | None], new: dict[int, float | None], order: Any
) -> None:
    _told_apart(old, new, order)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(tables, tables, st.randoms(use_true_random=False))
def test_every_key_of_many_tables_is_added_removed_changed_or_the_same(
    old: dict[int, float | None], new: dict[int, float | None], order: Any
) -> None:
    _told_apart(old, new, order)


def _told_apart(old: dict[int, float | None], new: dict[int, float | None], order: Any) -> None:
    shuffled = list(new)
    order.shuffle(shuffled)
    found = compare_rows(floats(old), floats({key: new[key] for key in shuffled}), ["k"])
    changed = {key for key in set(old) & set(new) if not alike(old[key], new[key])}
    assert (found.before, found.after) == (len(old), len(new))
    assert counted(found) == (len(set(new) - set(old)), len(set(old) - set(new)), len(changed))
    assert keys_of(found.sides.added) == sorted(set(new) - set(old))
    assert keys_of(found.sides.removed) == sorted(set(old) - set(new))
    assert keys_of(found.sides.changed) == sorted(changed)
    assert bool(found) == bool(changed or set(old) ^ set(new))


@settings(deadline=None, max_examples=15)
@given(tables)
def test_rows_are_what_they_are_in_any_order_of_columns(rows: dict[int, float | None]) -> None:
    assert not compare_rows(floats(rows), floats(rows).select(["v", "k"]), ["k"])


def test_null_and_nan_of_a_float_are_one() -> None:
    assert not compare_rows(floats({1: NAN, 2: None}), floats({1: None, 2: NAN}), ["k"])


@pytest.mark.parametrize(
    ("there", "then"), [("a", None), (1, None), (True, None), (True, False), ("a", "A"), (1.0, None), (0, None)]
)
def test_null_is_no_value(there: Any, then: Any) -> None:
    kind = pa.array([there]).type
    one, other = (pa.table({"k": [1], "v": pa.array([value], kind)}) for value in (there, then))
    assert counted(compare_rows(one, other, ["k"])) == counted(compare_rows(other, one, ["k"])) == (0, 0, 1)
    assert not compare_rows(one, one, ["k"])
    assert not compare_rows(other, other, ["k"])


def test_infinity_is_itself_and_not_its_opposite() -> None:
    assert not compare_rows(floats({1: math.inf}), floats({1: math.inf}), ["k"], tolerance=1e-9)
    assert compare_rows(floats({1: math.inf}), floats({1: -math.inf}), ["k"], tolerance=1e-9)
    assert compare_rows(floats({1: math.inf}), floats({1: 1e308}), ["k"], tolerance=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "same"),
    [
        (1.0, 1.0 + 2**-52, 0.0, False),
        (1.0, 1.0 + 2**-52, 1e-9, True),
        (1e9, 1e9 + 0.5, 1e-9, True),
        (1e9, 1e9 + 5, 1e-9, False),
        (0.0, 1e-10, 1e-9, True),
        (0.0, 1e-8, 1e-9, False),
        (0.0, -0.0, 0.0, True),
    ],
)
def test_the_tolerance_is_relative_and_absolute(old: float, new: float, tolerance: float, same: bool) -> None:
    assert bool(compare_rows(floats({1: old}), floats({1: new}), ["k"], tolerance=tolerance)) is not same


def test_there_is_no_tolerance_for_integers() -> None:
    one, other = pa.table({"k": [1], "v": [10**12]}), pa.table({"k": [1], "v": [10**12 + 1]})
    assert counted(compare_rows(one, other, ["k"], tolerance=1e-3)) == (0, 0, 1)


def test_nothing_and_nothing_are_the_same_and_one_of_them_is_not() -> None:
    nothing, something = floats({}), floats({1: 1.0, 2: None})
    assert counted(compare_rows(nothing, nothing, ["k"])) == (0, 0, 0)
    assert counted(compare_rows(nothing, something, ["k"])) == (2, 0, 0)
    assert counted(compare_rows(something, nothing, ["k"])) == (0, 2, 0)


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_key_that_stands_twice_is_refused_on_either_side(side: str) -> None:
    twice = pa.concat_tables([floats({1: 1.0}), floats({1: 1.0, 2: 1.0})])
    sides = {"old": floats({1: 1.0}), "new": floats({1: 1.0})} | {side: twice}
    with pytest.raises(TableError, match=r"1 computed row\(s\) repeat a key") as caught:
        compare_rows(sides["old"], sides["new"], ["k"])
    assert "unique by k" in caught.value.hint


def test_keys_are_unique_together() -> None:
    rows = pa.table({"k": [1, 1], "t": [1, 2], "v": [1.0, 2.0]})
    assert not compare_rows(rows, rows, ["k", "t"])
    with pytest.raises(TableError):
        compare_rows(rows, rows, ["k"])


def test_examples_name_the_sides_and_are_few() -> None:
    old, new = floats({1: 1.0, 2: 2.0, 9: 9.0}), floats({1: 1.5, 2: 2.0, **dict.fromkeys(range(3, 9), 0.0)})
    text = compare_rows(old, new, ["k"]).examples(old="before", new="after", count=2)
    assert text.count("only after") == 2
    assert "only before: {'k': 9, 'v': 9.0}" in text
    assert "before {'k': 1, 'v': 1.0}, after {'k': 1, 'v': 1.5}" in text


def test_of_many_differences_counts_and_a_few_examples_are_collected() -> None:
    old, new = floats(dict.fromkeys(range(1000), 0.0)), floats(dict.fromkeys(range(500, 2000), 1.0))
    with metered() as collected:
        found = compare_rows(old, new, ["k"])
        assert counted(found) == (1000, 500, 500)
        found.examples(old="before", new="after", count=3)
    assert collected.rows == 1 + 3 * 3


def test_keys_of_another_width_are_the_same_keys() -> None:
    narrow = pa.table({"k": pa.array([1, 2], pa.int32()), "v": [1.0, 2.0]})
    assert not compare_rows(floats({1: 1.0, 2: 2.0}), narrow, ["k"])
    assert not compare_rows(narrow, floats({1: 1.0, 2: 2.0}), ["k"])


def test_a_column_more_is_a_difference_or_an_error() -> None:
    try:
        found = compare_rows(pa.table({"k": [1]}), floats({1: 1.0}), ["k"])
    except TableError:
        return
    assert found


def test_a_column_less_is_refused_with_our_error() -> None:
    with pytest.raises(TableError, match="v"):
        compare_rows(floats({1: 1.0}), pa.table({"k": [1]}), ["k"])
