"""Reason codes of a model that is known: a linear one, whose contributions can be written down."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.errors import StageError
from mlplatform.features import reasons
from mlplatform.features.reasons import REASONS, reason_codes

ROWS = pa.table({"id": ["p", "q"], "a": [1.0, 5.0], "b": [2, 7], "c": ["x", "y"], "d": [0.0, 0.0]})
ORDINARY = {"a": 1.0, "b": 4.0, "c": "x", "d": 0.0}


def linear(rows: pa.Table) -> np.ndarray:
    a, b, c = (rows.column(name).to_numpy(zero_copy_only=False) for name in ("a", "b", "c"))
    return 10 * a - b + 3 * (c == "y")


def codes(top: int) -> list[list[tuple[str, float]]]:
    found = reason_codes(linear, ROWS, linear(ROWS), ORDINARY, top)
    assert found.type == REASONS
    return [[(item["feature"], item["contribution"]) for item in row] for row in found.to_pylist()]


def test_contributions_are_differences_to_the_ordinary_value_the_largest_first():
    assert codes(3) == [[("b", 2.0)], [("a", 40.0), ("b", -3.0), ("c", 3.0)]]


def test_only_the_most_important_are_kept():
    assert codes(1) == [[("b", 2.0)], [("a", 40.0)]]


def test_in_blocks_the_same(monkeypatch: pytest.MonkeyPatch):
    whole = codes(3)
    monkeypatch.setattr(reasons, "_ROWS_AT_ONCE", 4)
    assert codes(3) == whole


def test_no_rows_no_reasons_and_no_input_is_an_error():
    assert reason_codes(linear, ROWS.slice(0, 0), np.array([]), ORDINARY, 3).to_pylist() == []
    with pytest.raises(StageError, match="no input"):
        reason_codes(linear, ROWS, linear(ROWS), {"other": 1.0}, 3)


def test_nulls_whole_numbers_and_booleans_keep_their_type():
    rows = pa.table({"n": pa.array([1, 2]), "f": [True, False], "e": pa.nulls(2, pa.float64())})

    def score(given: pa.Table) -> np.ndarray:
        assert given.schema == rows.schema
        return np.zeros(given.num_rows)

    found = reason_codes(score, rows, np.ones(2), {"n": 1.6, "f": "false", "e": None}, 5)
    assert [len(row) for row in found.to_pylist()] == [3, 3]
