"""Probabilities of several classes as lists and as matrices, and how they are profiled."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_classes import ClassPlaces, places
from mlplatform.features.probabilities import in_wanted_order, lists, matrix, profiled
from mlplatform.statistics import profiles
from mlplatform.task import TASKS

CLASSES = ("it's", "C#", "日本")
TASK = replace(TASKS["multiclass"], classes=CLASSES)
GIVEN = np.array([[0.5, 0.3, 0.2], [np.nan, 0.5, 0.5], [0.1, 0.2, 0.7]])


def plan(wanted: tuple[str, ...], known: tuple[str, ...]) -> Any:
    return SimpleNamespace(classes=places(wanted, known, "models:/m/1"))


def test_lists_are_matrices_again_whole_sliced_and_in_chunks():
    column = lists(GIVEN, np.isnan(GIVEN).any(axis=1))
    assert column.to_pylist()[1] is None
    for given in (column, pa.chunked_array([column.slice(0, 1), column.slice(1)]), pa.chunked_array([column])):
        found = matrix(given, 3)
        assert np.isnan(found[1]).all()
        assert found[[0, 2]].tolist() == GIVEN[[0, 2]].tolist()
    assert matrix(column.slice(2), 3).tolist() == [[0.1, 0.2, 0.7]]
    assert matrix(pa.chunked_array([], column.type), 3).shape == (0, 3)
    with pytest.raises(FeatureStoreError, match="2 rows have other than 2 probabilities; the first of them has 3"):
        matrix(column, 2)


def test_what_a_model_gives_is_put_in_the_wanted_order():
    found = in_wanted_order(GIVEN, plan(("日本", "new", "it's", "C#"), CLASSES), 3)
    assert found.to_pylist() == [[0.2, 0.0, 0.5, 0.3], None, [0.7, 0.0, 0.1, 0.2]]
    failed = in_wanted_order(np.full(3, np.nan), plan(CLASSES, CLASSES), 3)
    assert failed.null_count == 3
    for wrong in (GIVEN[:, :2], GIVEN[:2], GIVEN[:, 0]):
        with pytest.raises(FeatureStoreError, match=r"for 3 row\(s\) and 3 classes"):
            in_wanted_order(wrong, plan(CLASSES, CLASSES), 3)


def test_a_model_of_classes_that_are_not_declared_is_refused():
    assert places(CLASSES, CLASSES[:2], "m") == ClassPlaces((0, 1, None), 2)
    for known in ((*CLASSES, "other"), ("C#", "C#", "it's")):
        with pytest.raises(FeatureStoreError, match="gives probabilities of"):
            places(CLASSES, known, "m")


@pytest.mark.parametrize(
    ("task", "predictions", "columns"),
    [
        (TASKS["classification"], GIVEN[:, 0], ["prediction"]),
        (TASK, GIVEN, ["prediction", *(f"probabilities[{name}]" for name in CLASSES)]),
    ],
    ids=["two classes", "several"],
)
def test_rows_without_a_prediction_are_profiled_as_missing(task, predictions, columns):
    missing = ~np.isfinite(predictions).reshape(3, -1).all(axis=1)
    table = profiled(predictions, task, missing)
    assert table.column_names == columns
    assert [column.null_count for column in table.columns] == [1] * len(columns)
    assert profiles.profile_table(table).keys() == set(columns)
    if task is TASK:
        assert table.column("prediction").to_pylist() == ["it's", None, "日本"]
