"""A model that fails on rows of a batch: they are found by halves, in few calls where it is broken, in order."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.features import by_halves
from mlplatform.features.by_halves import all_of_them, by_batch, most_failing, predicting_what_it_can


class Model:
    """Doubles x, and fails on a batch that holds one of some values; counts how often it is asked."""

    def __init__(self, bad: Sequence[float] = (), *, drops: Sequence[float] = ()) -> None:
        self.bad, self.drops, self.calls, self.sizes = set(bad), set(drops), 0, list[int]()

    def __call__(self, rows: pd.DataFrame) -> Any:
        self.calls += 1
        self.sizes.append(len(rows))
        assert list(rows.index) == list(range(len(rows)))
        worst = sorted(self.bad & set(rows["x"]))
        if worst:
            raise ValueError(f"cannot do {worst[0]}")
        return (rows["x"][~rows["x"].isin(self.drops)] * 2).to_numpy()


def frame(count: int) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(count, dtype=float)})


def predict(model: Any, rows: pd.DataFrame) -> list[float]:
    values: list[float] = predicting_what_it_can(model)(rows).tolist()
    return values


@given(st.integers(9, 400), st.data())
@settings(max_examples=60, deadline=None)
def test_each_row_that_fails_gets_nan_and_each_other_its_prediction(count: int, data: st.DataObject):
    bad = data.draw(st.sets(st.integers(1, count - 2), max_size=10))
    values = predict(Model([float(place) for place in bad]), frame(count))
    assert len(values) == count
    for place, value in enumerate(values):
        assert math.isnan(value) if place in bad else value == 2 * place


def test_nothing_fails_nothing_is_asked_twice():
    model = Model()
    assert predict(model, frame(1000)) == [2.0 * place for place in range(1000)]
    assert model.calls == 1


@pytest.mark.parametrize("count", [11, 1_000, 200_000])
def test_a_broken_model_is_found_out_by_few_calls_whatever_the_batch(count: int):
    model = Model(range(count))
    with pytest.raises(ValueError, match=r"cannot do 0\.0"):
        predict(model, frame(count))
    assert model.calls <= 1 + by_halves.FEW
    assert sum(model.sizes) <= count + by_halves.FEW


def test_a_model_that_fails_on_every_second_row_is_broken_and_it_does_not_take_long():
    model = Model(range(1, 100_000, 2))
    with pytest.raises(ValueError, match="cannot do"):
        predict(model, frame(100_000))
    assert model.calls < 5 * most_failing(100_000)


@pytest.mark.parametrize(("count", "bad"), [(200_000, 1), (10_000, 100), (100, 10)])
def test_the_calls_grow_with_the_rows_that_fail(count: int, bad: int):
    places = [float(1 + place * (count - 2) // bad) for place in range(bad)]
    model = Model(places)
    values = predict(model, frame(count))
    assert sum(map(math.isnan, values)) == bad
    assert model.calls <= 2 * bad * (2 + math.log2(count / bad)) + by_halves.FEW + 1


def test_rows_that_are_known_to_be_awkward_may_all_fail():
    values = predicting_what_it_can(Model(range(100)), most=all_of_them)(frame(101)).tolist()
    assert [value for value in values if not math.isnan(value)] == [200.0]


def test_a_small_batch_may_fail_as_a_whole():
    """The last rows of a table may lie in a batch of their own."""
    assert all(map(math.isnan, predict(Model([0.0, 1.0]), frame(2))))


def test_a_model_that_leaves_rows_out_is_asked_which():
    values = predict(Model(drops=[7.0]), frame(50))
    assert [place for place, value in enumerate(values) if math.isnan(value)] == [7]


@pytest.mark.parametrize(
    ("give", "expected"),
    [
        (lambda rows: np.column_stack([1 - rows["x"], rows["x"]]), [[1.0, 0.0], [math.nan, math.nan], [-1.0, 2.0]]),
        (lambda rows: rows[["x"]], [[0.0], [math.nan], [2.0]]),
        (lambda rows: rows["x"].astype(int), [0.0, math.nan, 2.0]),
        (lambda rows: (rows["x"] > 1).tolist(), [0.0, math.nan, 1.0]),
        (lambda rows: np.array(["a"] * len(rows)), ["a", None, "a"]),
    ],
)
def test_whatever_a_model_gives_a_row_that_fails_is_missing(give: Any, expected: list[Any]):
    def model(rows: pd.DataFrame) -> Any:
        if 1.0 in set(rows["x"]):
            raise KeyError("one")
        return give(rows)

    result = predicting_what_it_can(model)(frame(3)).tolist()
    assert [str(item) for item in result] == [str(item) for item in expected]


def test_being_stopped_is_no_failure_of_a_row():
    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predicting_what_it_can(Model([3.0]), stopped)(frame(20))


# As Spark asks: batches come and go, and the model is loaded anew for each asking.


class Batches:
    """What MLflow makes of a model for Spark: loads it, then predicts batch by batch as lists."""

    def __init__(self, model: Any, *, loads: bool = True) -> None:
        self.model, self.loaded, self.loads = model, 0, loads

    def __call__(self, batches: Iterator[pd.DataFrame]) -> Iterator[pd.Series[Any]]:
        if not self.loads:
            raise OSError("the model cannot be loaded")
        self.loaded += 1
        for rows in batches:
            if len(rows):
                yield pd.Series([[value] for value in self.model(rows)])


def batches_of(count: int, size: int) -> list[pd.DataFrame]:
    rows = frame(count)
    return [rows.iloc[start : start + size].reset_index(drop=True) for start in range(0, count, size)]


def scored(function: Any, batches: list[pd.DataFrame]) -> list[float]:
    return [value for values in by_batch(function)(iter(batches)) for (value,) in values]


@pytest.mark.parametrize("bad", [[], [0.0], [39.0], [4.0, 5.0, 17.0], [9.0, 10.0, 19.0, 20.0, 39.0]], ids=str)
def test_batches_go_on_behind_one_that_failed(bad: list[float]):
    function = Batches(Model(bad))
    values = scored(function, [*batches_of(40, 10), frame(0)])
    assert [place for place, value in enumerate(values) if math.isnan(value)] == bad
    assert [value for value in values if not math.isnan(value)] == [2.0 * n for n in range(40) if n not in bad]
    assert bad or function.loaded == 1


def test_a_model_that_cannot_be_loaded_is_an_error():
    with pytest.raises(OSError, match="cannot be loaded"):
        scored(Batches(Model(), loads=False), batches_of(40, 10))


def test_a_broken_model_fails_the_batch():
    model = Model(range(4000))
    with pytest.raises(ValueError, match="cannot do"):
        scored(Batches(model), batches_of(4000, 1000))
    assert model.calls <= 1 + by_halves.FEW


def test_rows_left_out_of_a_batch_are_found():
    values = scored(Batches(Model(drops=[13.0])), batches_of(40, 10))
    assert [place for place, value in enumerate(values) if math.isnan(value)] == [13]


def test_it_runs_where_nothing_of_ours_is_installed(tmp_path: Path):
    """As on Spark's executors: what is sent there brings all that it needs."""
    from pyspark import cloudpickle

    def function(batches: Any) -> Any:
        for rows in batches:
            if 3 in set(rows["x"]):
                raise ValueError("three")
            yield pd.Series([[value] for value in rows["x"]])

    cloudpickle.register_pickle_by_value(by_halves)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        (tmp_path / "sent").write_bytes(cloudpickle.dumps(by_batch(function)))
    finally:
        cloudpickle.unregister_pickle_by_value(by_halves)
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    script = (
        "import sys, pickle, pandas; sys.modules['mlplatform'] = None; sys.modules['tests'] = None\n"
        "ask = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print([v for s in ask(iter([pandas.DataFrame({'x': range(6)})])) for v in s])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "sent")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[[0], [1], [2], [nan], [4], [5]]"
