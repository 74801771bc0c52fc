"""What live versions are asked with, and how their predictions move."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from mlplatform.change.answers import moved
from mlplatform.change.asking import _called, _FailsError
from mlplatform.features.functions import FeatureFunctionSpec


def half(whole: float | None) -> float | None:
    return None if whole is None else whole / 2


def constant() -> float:
    return 4.0


def words(whole: float | None) -> float | None:
    return f"{whole} seats"  # type: ignore[return-value]


def chunked(*values: float | None) -> pa.ChunkedArray[Any]:
    return pa.chunked_array([pa.array(values, pa.float64())])


def test_a_function_is_called_for_each_row_also_without_parameters() -> None:
    assert _called(FeatureFunctionSpec.of(half), [[4.0, None]], 2).to_pylist() == [2.0, None]
    assert _called(FeatureFunctionSpec.of(constant), [], 3).to_pylist() == [4.0, 4.0, 4.0]


def test_a_function_that_returns_another_type_than_it_declares_fails() -> None:
    with pytest.raises(_FailsError, match="words does not return double as declared"):
        _called(FeatureFunctionSpec.of(words), [[4.0]], 1)


def test_predictions_that_cannot_be_made_any_more_have_moved_though_by_no_number() -> None:
    gone = moved(chunked(0.1, 0.2), chunked(None, None))
    assert (gone.moved, gone.largest) == (2, 0.0)
    assert moved(chunked(0.1, None), chunked(0.1, None)).moved == 0


def test_of_several_classes_the_one_that_moved_most_counts_and_a_class_that_came_later_was_0() -> None:
    before = pa.chunked_array([[[0.5, 0.25, 0.25], [0.25, 0.75], [1.0, 0.0]]])
    after = pa.chunked_array([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], None]], before.type)
    found = moved(before, after)
    assert (found.rows, found.moved, found.largest) == (3, 2, 0.5)
    assert found.mean_before == pytest.approx((0.5 + 0.75 + 1) / 3)
    assert found.mean_after == pytest.approx(0.5)
