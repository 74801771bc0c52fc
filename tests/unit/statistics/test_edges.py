"""Cell edges between values: the last bits of a number are no drift, a real shift is; scipy judges the raw values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.monitoring.drift import DriftMetric, compare
from mlplatform.statistics.profiles import ColumnProfile, from_dict, profile_table, to_dict
from tests.support.crossed import crossed, every

# Everything is judged, so that no distance is left without a verdict.
LIMITS = MonitoringSettings(max_js=0.1, max_ks=0.1)
ROWS, WINDOW = 3000, 1200
SEEDS = st.integers(0, 10**6)


def shares(random: np.random.Generator, rows: int) -> np.ndarray:
    return random.integers(0, 11, rows) / 10


def prices(random: np.random.Generator, rows: int) -> np.ndarray:
    return random.choice([0.99, 4.95, 9.9, 19.9, 1299.0], rows, p=[0.5, 0.2, 0.1, 0.1, 0.1])


def whole(random: np.random.Generator, rows: int) -> np.ndarray:
    return random.poisson(3, rows).astype(float)


def days(random: np.random.Generator, rows: int) -> np.ndarray:
    return 20230101 + random.integers(0, 28, rows).astype(float)


def zero_inflated(random: np.random.Generator, rows: int) -> np.ndarray:
    return np.where(random.random(rows) < 0.6, 0.0, random.lognormal(3, 1, rows))


def nearly_constant(random: np.random.Generator, rows: int) -> np.ndarray:
    return np.where(random.random(rows) < 0.96, 0.3, random.uniform(0, 5, rows))


def capped(random: np.random.Generator, rows: int) -> np.ndarray:
    return np.minimum(random.lognormal(0, 1, rows), 1.7)


def constant(random: np.random.Generator, rows: int) -> np.ndarray:
    del random
    return np.full(rows, 0.3)


def normal(random: np.random.Generator, rows: int) -> np.ndarray:
    return random.normal(size=rows)


def far_from_zero(random: np.random.Generator, rows: int) -> np.ndarray:
    return 1e9 + np.round(random.normal(size=rows), 2)


def places(random: np.random.Generator, rows: int) -> np.ndarray:
    return random.choice(52.52 + np.arange(20) * 0.0041, rows)


def tiny_numbers(random: np.random.Generator, rows: int) -> np.ndarray:
    return random.choice([0.0, 1e-12, 3e-12, 7e-12], rows)


def tree_scores(random: np.random.Generator, rows: int) -> np.ndarray:
    return 1 / (1 + np.exp(-random.choice(np.linspace(-3, 2, 13), rows)))


KINDS = [shares, prices, whole, days, zero_inflated, nearly_constant, capped, constant, normal, far_from_zero, places,
         tiny_numbers, tree_scores]  # fmt: skip
# 32 bits hold neither eight-digit days nor 1e9 + 1 apart: these values are other ones then.
KINDS_IN_32_BITS = [kind for kind in KINDS if kind not in (days, far_from_zero)]


def a_few_ulps(values: np.ndarray, random: np.random.Generator, most: int = 4) -> np.ndarray:
    moved = values.copy()
    for _ in range(most):
        step = random.integers(-1, 2, values.size)
        moved = np.where(step == 0, moved, np.nextafter(moved, np.where(step > 0, np.inf, -np.inf)))
    return moved


def measured(profile: ColumnProfile, window: np.ndarray) -> dict[str, DriftMetric]:
    counts = {"x": profile.count(pa.chunked_array([window]))}
    return {item.metric: item for item in compare({"x": profile}, counts, window.size, LIMITS)}


def profiled(values: np.ndarray) -> ColumnProfile:
    return profile_table(pa.table({"x": values}))["x"]


def differing(one: dict[str, DriftMetric], other: dict[str, DriftMetric], within: float) -> list[str]:
    assert one.keys() == other.keys()
    return [
        f"{name}: {one[name].value} and {other[name].value}"
        for name in one
        if one[name].value != pytest.approx(other[name].value, abs=within, rel=within)
        or one[name].violated != other[name].violated
    ]


@pytest.mark.parametrize("kind", every(2, KINDS))
@settings(max_examples=8)
@given(SEEDS)
def test_a_few_last_bits_change_no_distance(kind: Any, seed: int):
    random = np.random.default_rng(seed)
    reference, window = kind(random, ROWS), kind(random, WINDOW)
    plain = measured(profiled(reference), window)
    assert differing(plain, measured(profiled(reference), a_few_ulps(window, random)), 1e-9) == []
    assert differing(plain, measured(profiled(a_few_ulps(reference, random)), window), 1e-9) == []
    both = measured(profiled(a_few_ulps(reference, random)), a_few_ulps(window, random))
    assert differing(plain, both, 1e-9) == []


@settings(max_examples=8)
@given(SEEDS)
@example(seed=27675)
def test_of_values_with_all_their_bits_only_one_that_lies_on_an_edge_changes_sides(seed: int):
    """1e9 + 1 leaves 23 bits for what varies: now and then a new value falls on an edge, where no edge may avoid it."""
    random = np.random.default_rng(seed)
    reference, window = random.normal(1e9, 1, ROWS), random.normal(1e9, 1, WINDOW)
    profile, moved = profiled(reference), a_few_ulps(window, random)
    nearest = np.abs(window[:, None] - np.array(profile.edges)).min(axis=1)
    on_an_edge = int((nearest <= 4 * np.spacing(1e9)).sum())
    assert on_an_edge <= 3
    before, after = (profile.count(pa.chunked_array([values])).cells for values in (window, moved))
    assert np.abs(np.subtract(before, after)).sum() <= 2 * on_an_edge
    assert differing(measured(profile, window), measured(profile, moved), 0.1 * on_an_edge + 1e-9) == []


@pytest.mark.parametrize("kind", KINDS_IN_32_BITS)
@settings(max_examples=5)
@given(SEEDS)
def test_the_same_values_through_32_bits_are_no_drift(kind: Any, seed: int):
    random = np.random.default_rng(seed)
    reference, window = kind(random, ROWS), kind(random, WINDOW)
    plain = measured(profiled(reference), window)
    short = window.astype(np.float32)
    # A value in a thousand may lie so near to a percentile that it goes over to the next one.
    assert differing(plain, measured(profiled(reference), short.astype(np.float64)), 0.01) == []
    assert differing(plain, measured(profiled(reference), short), 0.01) == [], "as a column of 32-bit numbers"
    assert differing(plain, measured(profiled(reference.astype(np.float32)), window), 0.01) == []
    mixed = np.where(random.random(ROWS) < 0.5, reference, reference.astype(np.float32).astype(np.float64))
    assert differing(plain, measured(profiled(mixed), window), 0.01) == []


@pytest.mark.parametrize("kind", [whole, days])
def test_whole_numbers_are_the_same_as_integers_as_floats_and_as_decimals(kind: Any):
    random = np.random.default_rng(3)
    reference, window = kind(random, ROWS), kind(random, WINDOW)
    plain = measured(profiled(reference), window)
    profile = profiled(reference.astype(np.int64))
    for column in (window.astype(np.int64), window, window.astype(np.int32)):
        assert differing(plain, measured(profile, column), 0) == []
    decimals = pa.chunked_array([window.astype(np.int64)]).cast(pa.decimal128(22, 2))
    assert profile.count(decimals) == profile.count(pa.chunked_array([window]))


def test_a_constant_zero_and_what_a_difference_leaves_of_it():
    left = np.full(500, 0.1 + 0.2 - 0.3)
    assert not [item for item in measured(profiled(np.zeros(500)), left).values() if item.violated]
    assert not [item for item in measured(profiled(left), np.zeros(500)).values() if item.violated]


def shifted(values: np.ndarray, kind: Any) -> np.ndarray:
    """A shift that means something in the column's own scale."""
    return values + {constant: 0.001, days: 9.0, tiny_numbers: 2e-12, places: 0.02}.get(kind, 1.0)


@pytest.mark.parametrize("kind", every(2, KINDS))
@settings(max_examples=3)
@given(SEEDS)
def test_a_real_shift_is_seen_as_scipy_sees_it(kind: Any, seed: int):
    random = np.random.default_rng(seed)
    reference, window = kind(random, ROWS), shifted(kind(random, WINDOW), kind)
    assert ks_2samp(reference, window).pvalue < 1e-6, "the shift is a real one"
    found = measured(profiled(reference), window)
    assert found["psi"].violated
    assert found["ks"].violated


@pytest.mark.parametrize(("kind", "moved"), crossed(KINDS, [False, True]))
def test_the_distance_is_that_of_scipy_up_to_a_percentile(kind: Any, moved: bool):
    random = np.random.default_rng(11)
    reference, window = kind(random, ROWS), kind(random, WINDOW)
    if moved:  # to values that the reference knows
        window = np.where(random.random(WINDOW) < 0.5, np.quantile(reference, 0.9, method="nearest"), window)
    expected = ks_2samp(reference, window).statistic
    found = measured(profiled(reference), window)["ks"].value
    assert expected - 0.0101 <= found <= expected + 1e-12


@pytest.mark.parametrize("offset", [1, 2, 5])
def test_neighbouring_days_of_eight_digits_stay_apart(offset: int):
    """Relative to their size they are the same to seven digits: whole numbers differ by one or not at all."""
    assert measured(profiled(np.full(500, 20230101.0)), np.full(500, 20230101.0 + offset))["psi"].violated


# Profiles that were stored with their edges on values


def stored_before(values: np.ndarray) -> dict[str, Any]:
    """What the format before this one held of a column; its rule, written down again."""
    quantiles = np.quantile(values, np.linspace(0, 1, 101))
    deciles = np.unique(quantiles[10:-1:10])
    if deciles.size == 1:
        deciles = np.append(deciles, np.nextafter(deciles[0], np.inf))
    distinct = np.unique(values)
    grid = distinct if distinct.size <= 100 else quantiles
    edges = np.unique(np.concatenate([grid, deciles, [values.min(), np.nextafter(values.max(), np.inf)]]))
    cells = np.histogram(values, np.concatenate([[-np.inf], edges, [np.inf]]))[0]
    counts = {"rows": values.size, "nulls": 0, "cells": cells.tolist(), "mean": float(values.mean()),
              "squares": float(((values - values.mean()) ** 2).sum()), "smallest": float(values.min()),
              "largest": float(values.max())}  # fmt: skip
    coarse = np.searchsorted(edges, deciles).tolist()
    column = {"kind": "numeric", "counts": counts, "edges": edges.tolist(), "coarse": coarse, "categories": []}
    return {"format": 2, "columns": {"x": column}, "calibration": None}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(SEEDS)
def test_a_profile_stored_before_is_read_without_drift_of_the_last_bits(kind: Any, seed: int):
    random = np.random.default_rng(seed)
    reference, window = kind(random, ROWS), kind(random, WINDOW)
    profile = from_dict(stored_before(reference))["x"]
    assert sum(profile.counts.cells) == ROWS
    assert profile.edges == sorted(set(profile.edges))
    assert len(profile.counts.cells) == len(profile.edges) + 1
    itself = measured(profile, reference)
    assert itself["psi"].value == pytest.approx(0, abs=0.005)
    assert itself["ks"].value == pytest.approx(0, abs=0.005 + 1e-9)
    plain = measured(profile, window)
    assert not [item for item in plain.values() if item.violated]
    assert differing(plain, measured(profile, a_few_ulps(window, random)), 1e-9) == []
    if kind in KINDS_IN_32_BITS:
        short = window.astype(np.float32).astype(np.float64)
        assert differing(plain, measured(profile, short), 0.01) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not nearly_constant])
@settings(max_examples=3)
@given(SEEDS)
def test_a_profile_stored_before_of_values_that_differ_in_their_last_bits_is_read(kind: Any, seed: int):
    """Its edges lie on each variant: which of them a row held was chance, and is none any more."""
    random = np.random.default_rng(seed)
    reference = a_few_ulps(kind(random, ROWS), random, 1)
    profile = from_dict(stored_before(reference))["x"]
    assert not [item for item in measured(profile, kind(random, WINDOW)).values() if item.violated]


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_stored_before_still_shows_a_real_shift(kind: Any):
    random = np.random.default_rng(5)
    profile = from_dict(stored_before(kind(random, ROWS)))["x"]
    # A new value between two known ones is counted with the lower one in these.
    by = {prices: 4.5, zero_inflated: 20.0}.get(kind)
    window = kind(random, WINDOW)
    found = measured(profile, shifted(window, kind) if by is None else window + by)
    assert found["psi"].violated
    assert found["ks"].violated


def test_what_lies_above_a_value_that_nearly_all_rows_hold_shows_in_a_profile_stored_before():
    reference = np.concatenate([np.zeros(950), np.linspace(0.1, 5, 50)])
    profile = from_dict(stored_before(reference))["x"]
    moved = np.concatenate([np.zeros(700), np.linspace(0.1, 5, 300)])
    assert measured(profile, reference)["psi"].value == pytest.approx(0)
    assert measured(profile, moved)["psi"].violated


def test_a_profile_stored_before_keeps_its_ordinary_value_and_nothing_else_changes():
    stored = stored_before(np.array([1.0, 2.0, 2.0, 2.0, 9.0]))
    profile = from_dict(stored)["x"]
    assert profile.ordinary == 2.0
    assert from_dict(to_dict({"x": profile}))["x"] == profile
    empty = {
        "kind": "numeric",
        "edges": [],
        "coarse": [],
        "categories": [],
        "counts": {"rows": 3, "nulls": 3, "cells": [0]},
    }
    assert from_dict({"format": 2, "columns": {"x": empty}})["x"].counts.cells == [0]
