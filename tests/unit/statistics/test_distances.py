"""Distances and tests against scipy and against numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

from mlplatform.config.monitoring import MonitoringSettings
from mlplatform.monitoring import drift
from mlplatform.statistics.distances import chi_square, holm, jensen_shannon, kolmogorov_smirnov, share_rise
from mlplatform.statistics.profiles import count_batches, profile_table

COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=20)
VALUES = st.lists(st.integers(0, 30), min_size=4, max_size=80)  # scipy's own p-value divides by zero below


def counts(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_jensen_shannon_by_hand():
    """Middle (3/4, 1/4): half of log2(4/3) and of 1/2 log2(2/3) + 1/2 log2(2); the root of it."""
    half = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5) / 2
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(math.sqrt(half))


@given(st.integers(0, 10**6), st.integers(2, 30))
def test_jensen_shannon_is_scipys(seed, bins):
    random = np.random.default_rng(seed)
    one, other = random.dirichlet(np.ones(bins), 2)
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon(one, other, base=2))
    assert jensen_shannon(one, other) == pytest.approx(jensen_shannon(other, one))
    assert jensen_shannon(one, one) == pytest.approx(0, abs=1e-7)


@given(VALUES, VALUES)
def test_kolmogorov_smirnov_on_single_values_is_scipys(one, other):
    profile = profile_table(pa.table({"x": [float(value) for value in [*one, *other]]}))["x"]
    cells = [np.array(profile.count(pa.array(side, pa.float64())).cells) for side in (one, other)]
    statistic, p_value = kolmogorov_smirnov(*cells)
    expected = ks_2samp(one, other, method="asymp")
    assert statistic == pytest.approx(expected.statistic)
    assert 0 <= p_value <= 1


def test_kolmogorov_smirnov_of_continuous_values_misses_at_most_a_percentile():
    random = np.random.default_rng(1)
    reference, window = random.normal(size=5000), random.normal(0.1, 1.1, size=3000)
    profile = profile_table(pa.table({"x": reference}))["x"]
    found, p_value = kolmogorov_smirnov(np.array(profile.counts.cells), np.array(profile.count(pa.array(window)).cells))
    expected = ks_2samp(reference, window)
    assert expected.statistic - 0.01 <= found <= expected.statistic + 1e-12
    assert p_value >= expected.pvalue * 0.5


@given(COUNTS, st.integers(0, 10**6))
def test_chi_square_is_scipys_where_no_bin_is_rare(one, seed):
    reference = np.array(one) + 50
    window = np.random.default_rng(seed).integers(50, 500, reference.size)
    statistic, p_value = chi_square(reference, window)
    expected = chi2_contingency(np.stack([reference, window]), correction=False)
    assert statistic == pytest.approx(expected.statistic)
    assert p_value == pytest.approx(expected.pvalue, abs=1e-12)


def test_rare_bins_are_put_together_with_their_neighbours():
    """Bins of 1 and 2 rows: by themselves they would decide everything."""
    statistic, p_value = chi_square(counts(100, 100, 0, 1), counts(100, 100, 2, 0))
    merged = chi2_contingency(np.array([[100, 101], [100, 102]]), correction=False)
    assert (statistic, p_value) == (pytest.approx(merged.statistic), pytest.approx(merged.pvalue))


@pytest.mark.parametrize("other", [counts(0, 0, 0), counts(3, 0, 0)])
def test_nothing_to_compare_is_no_evidence(other):
    assert chi_square(counts(5, 0, 0), other) == (0, 1)
    assert kolmogorov_smirnov(counts(5, 0, 0), other)[1] == 1


def test_the_rise_of_a_share_is_fishers_exact_test():
    expected = fisher_exact([[9, 41], [3, 97]], alternative="greater")
    assert share_rise(3, 100, 9, 50) == pytest.approx(expected.pvalue)
    assert share_rise(3, 100, 0, 50) == 1
    assert share_rise(0, 0, 5, 50) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrected_p_values_are_no_smaller_and_keep_their_order(values):
    corrected = holm(values)
    assert all(0 <= before <= after <= 1 for before, after in zip(values, corrected, strict=True))
    order = np.argsort(values, kind="stable")
    assert list(np.array(corrected)[order]) == sorted(corrected)
    assert corrected[order[0]] == pytest.approx(min(1.0, len(values) * min(values)))


def population(random: np.random.Generator, size: int) -> pa.Table:
    return pa.table(
        {
            "normal": random.normal(size=size),
            "amount": random.lognormal(size=size),
            "count": random.poisson(2, size).astype(float),
            "sparse": np.where(random.random(size) < 0.02, np.nan, random.random(size)),
            "region": random.choice(list("abcdefgh"), size, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01]),
            "code": np.char.add("c", random.zipf(1.5, size).clip(max=400).astype(str)),
        }
    )


# Of either number of windows 999 of 1000 runs flag at most so many.
@pytest.mark.parametrize(("windows", "most"), [(60, 9), pytest.param(200, 22, marks=pytest.mark.slow)])
def test_windows_without_change_are_flagged_at_most_at_the_configured_rate(windows, most):
    """With limits of zero the tests alone decide, at a true rate of 5 %.

    The benchmark false_alarms measures the rate itself.
    """
    random, tiny = np.random.default_rng(3), 1e-9
    limits = MonitoringSettings(
        max_psi=tiny, max_js=tiny, max_ks=tiny, max_null_increase=tiny, max_out_of_range=tiny,
        max_new_categories=tiny, false_alarm_rate=0.05,
    )  # fmt: skip
    flagged = 0
    for _ in range(windows):
        profile, window = profile_table(population(random, 2000)), population(random, 400)
        found = drift.compare(profile, count_batches(profile, [window]), window.num_rows, limits)
        flagged += any(item.violated for item in found)
    assert flagged <= most


def test_a_change_is_flagged():
    random = np.random.default_rng(4)
    profile, window = profile_table(population(random, 2000)), population(random, 400)
    moved = window.set_column(0, "normal", pa.array(random.normal(1.0, 1.0, 400)))
    found = drift.compare(profile, count_batches(profile, [moved]), 400, MonitoringSettings())
    assert {item.column for item in found if item.violated} == {"normal"}
