"""A sample of a label frame: by the seed, in the frame's order, and no larger than the frame."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.training.label_frame import LabelFrame, sample


def frame(rows: int, chunks: int = 1) -> LabelFrame:
    table = pa.table({"id": list(range(rows)), "label": [float(number % 2) for number in range(rows)]})
    size = max(1, -(-rows // chunks))
    parts = [table.slice(start, size) for start in range(0, rows, size)] or [table]
    return LabelFrame(rows=pa.concat_tables(parts), versions={"labels": 3})


def drawn(found: LabelFrame) -> list[int]:
    numbers: list[int] = found.rows["id"].to_pylist()
    return numbers


@given(st.integers(0, 200), st.integers(0, 250), st.integers(0, 2**32), st.integers(1, 4))
def test_a_sample_is_as_large_as_asked_for_in_the_order_of_the_frame(
    rows: int, wanted: int, seed: int, chunks: int
) -> None:
    whole = frame(rows, chunks)
    found = sample(whole, wanted, seed)
    ids = drawn(found)
    assert len(ids) == min(rows, wanted)
    assert ids == sorted(set(ids))
    assert found.rows["label"].to_pylist() == [float(number % 2) for number in ids]
    assert found.versions == whole.versions
    assert found.rows.schema == whole.rows.schema


@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_sample_however_the_frame_lies_in_memory(seed: int) -> None:
    one, other = sample(frame(300), 50, seed), sample(frame(300, chunks=7), 50, seed)
    assert drawn(one) == drawn(other)
    assert one.digest == other.digest


def test_another_seed_gives_another_sample() -> None:
    assert len({tuple(drawn(sample(frame(300), 50, seed))) for seed in range(20)}) == 20


def test_every_row_is_as_likely() -> None:
    counts = [0] * 20
    for seed in range(400):
        for number in drawn(sample(frame(20), 10, seed)):
            counts[number] += 1
    # 200 on average with a standard deviation of 10: five of them each way.
    assert 150 < min(counts) <= max(counts) < 250


def test_a_frame_with_no_more_rows_is_taken_as_it_is() -> None:
    whole = frame(10)
    assert sample(whole, 10, 0) is whole
    assert sample(whole, 11, 0) is whole
