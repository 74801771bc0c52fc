"""What features are worth is measured within bounds, however many there are, and it is said where rows are left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlplatform.training.importance import MOST_CELLS, rows_within


@given(st.integers(0, 1_000_000), st.integers(1, 20_000))
def test_no_more_than_is_wanted_and_no_more_than_is_bounded(wanted: int, features: int) -> None:
    rows = rows_within(wanted, features)
    assert 0 <= rows <= wanted
    assert 3 * rows * features**2 <= MOST_CELLS


@given(st.integers(0, 100_000), st.integers(1, 20_000))
def test_more_features_never_take_more_rows(wanted: int, features: int) -> None:
    assert rows_within(wanted, features + 1) <= rows_within(wanted, features)
