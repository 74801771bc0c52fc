"""The split by time: three parts, in order, and no moment in two of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlplatform.errors import LabelError
from mlplatform.training.split import time_split


def days(numbers: list[int]) -> np.ndarray:
    return np.datetime64("2020-01-01", "us") + np.array(numbers, dtype="timedelta64[D]")


SHARES = st.floats(0.05, 0.6)


@given(st.lists(st.integers(0, 25), min_size=1, max_size=120).map(sorted), SHARES, SHARES)
def test_the_parts_cover_all_rows_in_order_and_tear_no_moment_apart(numbers, holdout, validation):
    times = days(numbers)
    try:
        split = time_split(times, holdout=holdout, validation=validation)
    except LabelError:
        # Only where there was nothing to cut: every row of one moment, or a part of less than a row.
        assert len(set(numbers)) < 3 or len(numbers) * min(holdout, (1 - holdout) * validation) < len(numbers)
        return
    fit, validated, held = times[split.fit], times[split.validation], times[split.holdout]
    assert np.concatenate([fit, validated, held]).tolist() == times.tolist()
    assert min(fit.size, validated.size, held.size) > 0
    assert fit[-1] < validated[0]
    assert validated[-1] < held[0]
    # A moment goes to the newer part as a whole, so that a part is never smaller than asked for.
    assert held.size >= round(len(numbers) * holdout)


@given(st.integers(20, 500), SHARES, SHARES)
def test_with_a_row_a_moment_the_shares_are_those_asked_for(rows, holdout, validation):
    held = round(rows * holdout)
    assume(0 < round((rows - held) * validation) < rows - held)
    split = time_split(days(list(range(rows))), holdout=holdout, validation=validation)
    assert split.holdout == slice(rows - held, rows)
    assert split.validation == slice(rows - held - round((rows - held) * validation), rows - held)


@pytest.mark.parametrize("numbers", [[], [0], [0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1], [0, 1]])
def test_what_cannot_be_split_is_a_label_error_with_a_way_out(numbers):
    with pytest.raises(LabelError, match="cannot be split") as caught:
        time_split(days(numbers), holdout=0.25, validation=0.25)
    assert "training.holdout" in caught.value.hint


def test_rows_out_of_order_are_refused():
    with pytest.raises(ValueError, match="sorted"):
        time_split(days([1, 0, 2, 3]), holdout=0.25, validation=0.25)
