"""Reference profiles and the population stability index, against values worked by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.errors import StageError
from mlplatform.monitoring import drift as drift_module
from mlplatform.monitoring.drift import DriftMetric
from mlplatform.statistics.distances import holm, population_stability_index
from mlplatform.statistics.profiles import (
    GRID,
    MOST_CATEGORIES,
    ColumnProfile,
    Profile,
    count_batches,
    from_dict,
    profile_table,
    to_dict,
)

LIMITS = MonitoringSettings(min_rows=10)
NUMBERS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=60)
WORDS = st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), min_size=1, max_size=60)


def column(values: list[object], kind: pa.DataType) -> pa.Table:
    return pa.table({"x": pa.array(values, kind)})


def compare(profile: Profile, window: pa.Table, limits: MonitoringSettings = LIMITS) -> list[DriftMetric]:
    return drift_module.compare(profile, count_batches(profile, [window]), window.num_rows, limits)


def drift(reference: pa.Table, window: pa.Table, limits: MonitoringSettings = LIMITS) -> dict[str, DriftMetric]:
    return {metric.metric: metric for metric in compare(profile_table(reference), window, limits)}


def shares_in(values: pa.ChunkedArray, profile: ColumnProfile) -> np.ndarray:
    return profile.shares(profile.count(values))


def reference_shares(profile: ColumnProfile) -> np.ndarray:
    return profile.shares(profile.counts)


def test_the_index_by_hand():
    """(0.9 - 0.5) ln(0.9 / 0.5) + (0.1 - 0.5) ln(0.1 / 0.5) = 0.4 * 0.5878 + 0.4 * 1.6094 = 0.8789."""
    found = population_stability_index(np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    assert found == pytest.approx(0.4 * math.log(1.8) + 0.4 * math.log(5))


@given(st.integers(0, 10**6), st.integers(2, 20))
def test_the_index_is_the_divergence_both_ways(seed, bins):
    random = np.random.default_rng(seed)
    one, other = (values / values.sum() for values in random.uniform(0.05, 1, (2, bins)))
    expected = entropy(one, other) + entropy(other, one)
    assert population_stability_index(one, other) == pytest.approx(expected)
    assert population_stability_index(other, one) == pytest.approx(expected)
    assert population_stability_index(one, one) == 0


def test_an_empty_bin_is_large_and_not_infinite():
    found = population_stability_index(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert found == pytest.approx(2 * (1 - 1e-4) * math.log(1e4))


def test_a_numeric_profile_has_ten_bins_of_equal_share():
    profile = profile_table(column(list(map(float, range(1000))), pa.float64()))["x"]
    assert (profile.kind, profile.counts.rows, profile.counts.nulls) == ("numeric", 1000, 0)
    # Between the last value of a tenth and the first of the next.
    edges = [profile.edges[place] for place in profile.coarse]
    assert [100 * place - 1 < edge < 100 * place for place, edge in enumerate(edges, 1)] == [True] * 9
    assert reference_shares(profile) == pytest.approx([0.1] * 10 + [0])
    assert len(profile.edges) == GRID + 2


def test_moments_are_those_of_the_values_however_they_are_cut_into_batches():
    values = np.random.default_rng(0).normal(1e9, 1.0, 999)
    table = column(values.tolist(), pa.float64())
    profile = profile_table(table)
    (counts,) = count_batches(profile, table.to_batches(max_chunksize=100)).values()
    assert counts.cells == profile["x"].counts.cells
    assert counts.mean == pytest.approx(values.mean())
    assert counts.deviation == pytest.approx(values.std(), rel=1e-6)
    assert (counts.smallest, counts.largest) == (values.min(), values.max())


@pytest.mark.parametrize("far", [-1e300, 1e300, math.inf, -math.inf])
def test_the_end_bins_are_open(far):
    profile = profile_table(column(list(map(float, range(100))), pa.float64()))["x"]
    shares = shares_in(column([far], pa.float64())["x"], profile)
    assert shares.tolist() == ([0.0] * 9 + [1.0, 0.0] if far > 0 else [1.0] + [0.0] * 10)


@given(NUMBERS, NUMBERS)
def test_shares_of_numbers_add_up_to_one_whatever_the_window(reference, window):
    table = column(reference, pa.float64())
    profile = profile_table(table)["x"]
    assert shares_in(column(window, pa.float64())["x"], profile).sum() == pytest.approx(1)
    assert shares_in(table["x"], profile) == pytest.approx(reference_shares(profile))


@given(WORDS, WORDS)
def test_shares_of_categories_add_up_to_one_whatever_the_window(reference, window):
    table = column(reference, pa.string())
    profile = profile_table(table)["x"]
    assert shares_in(column(window, pa.string())["x"], profile).sum() == pytest.approx(1)
    assert shares_in(table["x"], profile) == pytest.approx(reference_shares(profile))


@given(NUMBERS)
def test_data_compared_with_itself_has_not_drifted(values):
    found = drift(column(values, pa.float64()), column(values, pa.float64()))
    assert found["psi"].value == pytest.approx(0)
    assert found["null_increase"].value == pytest.approx(0)


def test_an_unseen_category_counts_and_drifts():
    profile = profile_table(column(["a", "a", "b", None], pa.string()))["x"]
    assert (profile.categories, profile.counts.cells, profile.counts.nulls) == (["a", "b"], [2, 1, 0], 1)
    assert shares_in(column(["a", "new", "new", None], pa.string())["x"], profile).tolist() == [0.25, 0, 0.5, 0.25]
    assert drift(column(["a"] * 20, pa.string()), column(["new"] * 20, pa.string()))["psi"].violated


def test_one_category_against_itself_is_no_drift():
    found = drift(column(["a"] * 30, pa.string()), column(["a"] * 30, pa.string()))
    assert (found["psi"].value, found["psi"].violated) == (0, False)


def test_a_constant_number_is_a_bin_and_a_move_away_from_it_is_seen():
    constant = column([5.0] * 100, pa.float64())
    assert drift(constant, column([5.0] * 50, pa.float64()))["psi"].value == pytest.approx(0)
    assert drift(constant, column([4.0] * 50, pa.float64()))["psi"].violated


def test_a_constant_number_that_rises_is_seen():
    assert drift(column([5.0] * 100, pa.float64()), column([9.0] * 50, pa.float64()))["psi"].violated


@pytest.mark.parametrize("kind", [pa.float64(), pa.string(), pa.int64(), pa.bool_()])
def test_all_null_is_a_profile_and_a_window(kind):
    nothing, full = (
        column([None] * 40, kind),
        column(["a" if kind == pa.string() else kind == pa.bool_() or 1] * 40, kind),
    )
    assert profile_table(nothing)["x"].counts.nulls == 40
    assert drift(nothing, nothing)["psi"].value == 0
    found = drift(full, nothing)
    assert (found["null_increase"].value, found["null_increase"].violated, found["psi"].violated) == (1, True, True)
    assert drift(nothing, full)["null_increase"].value == -1


def test_nan_counts_as_null():
    found = drift(column([1.0, 2.0] * 20, pa.float64()), column([1.0, math.nan] * 20, pa.float64()))
    assert found["null_increase"].value == pytest.approx(0.5)
    assert found["null_increase"].violated


@pytest.mark.parametrize("kind", [pa.float64(), pa.string()])
def test_an_empty_window_is_measured_as_unknown_and_violates_nothing(kind):
    reference = column([1.0, 2.0] if kind == pa.float64() else ["a", "b"], kind)
    (only,) = compare(profile_table(reference), column([], kind), LIMITS)
    assert (only.metric, only.value, only.violated) == ("psi", None, False)


@pytest.mark.parametrize("kind", [pa.float64(), pa.string()])
def test_an_empty_reference_makes_a_profile(kind):
    profile = profile_table(column([], kind))
    assert profile["x"].counts.rows == 0
    assert not [item for item in compare(profile, column([None] * 20, kind), LIMITS) if item.violated]


def test_a_missing_column_violates_unless_the_window_is_small():
    profile = profile_table(column([1.0, 2.0], pa.float64()))
    many, few = pa.table({"y": [1.0] * 10}), pa.table({"y": [1.0] * 9})
    assert [(metric.value, metric.violated) for metric in compare(profile, many, LIMITS)] == [(None, True)]
    assert [(metric.value, metric.violated) for metric in compare(profile, few, LIMITS)] == [(None, False)]


def test_a_small_window_is_measured_and_never_violates():
    reference = column(list(map(float, range(100))), pa.float64())
    limits = MonitoringSettings(min_rows=30)
    found = drift(reference, column([1e6] * 29, pa.float64()), limits)
    assert found["psi"].value > LIMITS.max_psi
    assert not found["psi"].violated
    assert drift(reference, column([1e6] * 30, pa.float64()), limits)["psi"].violated


def test_a_large_distance_that_chance_explains_is_no_violation():
    """Ten rows over ten bins: far from everything, and what chance gives."""
    reference = column(list(map(float, range(100))), pa.float64())
    found = drift(reference, column([1.0, 2.0, 3.0, 15.0, 25.0, 35.0, 45.0, 61.0, 62.0, 99.0], pa.float64()))
    assert found["psi"].value > LIMITS.max_psi
    assert not found["psi"].violated


def test_values_beyond_what_training_saw_are_counted_on_both_sides():
    reference = column(list(map(float, range(100))), pa.float64())
    found = drift(reference, column([-1.0] * 10 + [99.5] * 10 + [50.0] * 80, pa.float64()))["out_of_range"]
    assert (found.value, found.violated) == (pytest.approx(0.2), True)
    assert drift(reference, reference)["out_of_range"].value == 0


def test_the_window_before_is_a_baseline_of_its_own():
    profile = profile_table(column(list(map(float, range(100))), pa.float64()))
    before = count_batches(profile, [column([1.0] * 50, pa.float64())])
    now = count_batches(profile, [column([1.0] * 50, pa.float64())])
    found = drift_module.compare(profile, now, 50, LIMITS, reference=before, baseline=drift_module.PREVIOUS)
    assert {item.baseline for item in found} == {"previous window"}
    assert not [item for item in found if item.violated]
    assert drift_module.compare(profile, now, 50, LIMITS, reference={}) == []


@given(NUMBERS, NUMBERS, NUMBERS)
def test_whatever_training_and_the_window_before_held_all_can_be_judged(learned, earlier, now):
    """Also where training saw no value at all, and so there is one cell only."""
    profile = profile_table(column(learned, pa.float64()))
    before, window = (count_batches(profile, [column(rows, pa.float64())]) for rows in (earlier, now))
    metrics = drift_module.compare(profile, window, len(now), LIMITS, reference=before, baseline="previous")
    assert all(0 <= metric.p_value <= 1 for metric in metrics if metric.p_value is not None)


def test_values_of_a_column_that_was_empty_in_training_are_all_outside():
    profile = profile_table(column([None] * 50, pa.float64()))
    before, window = (
        count_batches(profile, [column([None] * nulls + [1.0] * (50 - nulls), pa.float64())]) for nulls in (30, 25)
    )
    metrics = drift_module.compare(profile, window, 50, LIMITS, reference=before, baseline="previous")
    assert {metric.metric: metric.value for metric in metrics}["out_of_range"] == pytest.approx(0.1)


def test_a_profile_of_another_format_is_refused():
    with pytest.raises(StageError, match="format 3"):
        from_dict({"x": {"kind": "numeric"}})


def test_an_ordinary_value_is_the_median_or_the_most_frequent_category():
    table = pa.table({"n": [1.0, 2.0, 2.0, 2.0, 9.0], "c": ["a", "b", "b", None, "c"], "e": pa.nulls(5, pa.float64())})
    assert {name: item.ordinary for name, item in profile_table(table).items()} == {"n": 2.0, "c": "b", "e": None}


def test_the_rarest_categories_beyond_the_most_count_as_unseen():
    values = [f"c{number}" for number in range(MOST_CATEGORIES + 50)] + ["c0"]
    profile = profile_table(column(values, pa.string()))["x"]
    assert len(profile.categories) == MOST_CATEGORIES
    assert profile.categories[0] == "c0"
    assert reference_shares(profile)[-2] == pytest.approx(50 / len(values))
    assert drift(column(values, pa.string()), column(values, pa.string()))["psi"].value == pytest.approx(0)


def test_ties_in_the_data_are_merged_into_one_bin():
    profile = profile_table(column([0.0] * 80 + list(map(float, range(1, 21))), pa.float64()))["x"]
    assert len(profile.coarse) == len(set(profile.coarse)) < 9
    assert reference_shares(profile).sum() == pytest.approx(1)


def test_booleans_text_and_numbers_are_profiled_and_the_rest_is_left_out():
    table = pa.table(
        {
            "flag": [True, False],
            "text": ["a", "b"],
            "whole": [1, 2],
            "when": pa.array([0, 1], pa.timestamp("us", "UTC")),
            "list": [[1], [2]],
        }
    )
    assert {name: item.kind for name, item in profile_table(table).items()} == {
        "flag": "category",
        "text": "category",
        "whole": "numeric",
    }


@given(NUMBERS, WORDS)
def test_a_profile_survives_json(numbers, words):
    profile = profile_table(column(numbers, pa.float64())) | {"w": profile_table(column(words, pa.string()))["x"]}
    kept = json.loads(json.dumps(to_dict(profile, {"slope": 1.0})))
    assert from_dict(kept) == profile
    assert kept["calibration"] == {"slope": 1.0}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_distance_that_is_no_number_is_not_called_well(value):
    beyond = DriftMetric("x", "psi", value, 0.25, violated=False, p_value=0.0)
    assert drift_module._beyond(beyond, LIMITS)


def test_a_limit_that_is_no_number_is_violated_by_what_chance_does_not_explain():
    wrong = LIMITS.model_copy(update={"max_psi": math.nan})
    moved = drift(column([0.0, 1.0] * 500, pa.float64()), column([5.0] * 1000, pa.float64()), wrong)
    assert moved["psi"].violated


def test_what_one_column_tells_is_no_alarm_where_many_were_asked():
    """By Holm's rule the least of n p-values counts n-fold; of n that are equal, all do."""
    limits = MonitoringSettings(min_rows=10, max_psi=0.01, false_alarm_rate=0.1)
    random = np.random.default_rng(3)
    reference, window = random.normal(0, 1, 1000), random.normal(0.4, 1, 120)

    def of(columns: int) -> list[DriftMetric]:
        first, then = (pa.table({f"x{at}": values for at in range(columns)}) for values in (reference, window))
        return [item for item in compare(profile_table(first), then, limits) if item.metric == "psi"]

    (alone,), many = of(1), of(40)
    assert alone.violated
    assert alone.p_value is not None
    assert [item.p_value for item in many] == pytest.approx([40 * alone.p_value] * 40)
    assert not any(item.violated for item in many)


def test_a_p_value_that_is_no_number_stops_the_check_which_then_raises_an_alert():
    with pytest.raises(ArithmeticError, match="1 of 3 p-values are not numbers"):
        holm([0.01, math.nan, 0.5])
    assert holm([]) == []
