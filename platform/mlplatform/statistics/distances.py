"""Distances between two distributions over the same cells, and whether chance alone explains them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# A bin that one side lacks would make the index infinite; this share stands in for zero.
_FLOOR = 1e-4
# Cochran, "Some Methods for Strengthening the Common chi-square Tests", Biometrics 1954: cells expected rarer than
# this are put together.
_LEAST_EXPECTED = 5.0


def population_stability_index(expected: Floats, actual: Floats) -> float:
    """Return the population stability index of two distributions over the same bins.

    The sum over bins of (actual - expected) * ln(actual / expected), the symmetrised Kullback-Leibler divergence
    (Jeffreys, 1946); usual reading: under 0.1 stable, above 0.25 shifted (Siddiqi, "Credit Risk Scorecards").

    Args:
        expected: Shares, shape (bins,).
        actual: Shares, shape (bins,).

    Examples:
        >>> round(population_stability_index(np.array([0.5, 0.5]), np.array([0.9, 0.1])), 4)
        0.8789
    """
    floored_expected, floored_actual = np.maximum(expected, _FLOOR), np.maximum(actual, _FLOOR)
    return float(np.sum((floored_actual - floored_expected) * np.log(floored_actual / floored_expected)))


def jensen_shannon(expected: Floats, actual: Floats) -> float:
    """Return the Jensen-Shannon distance to base 2, in [0, 1]: 0 for equal shares, 1 for shares without overlap.

    The root of the divergence of Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Transactions on
    Information Theory 1991; the root is a metric (Endres and Schindelin, 2003).

    Args:
        expected: Shares, shape (bins,).
        actual: Shares, shape (bins,).

    Examples:
        >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
        1.0
    """
    middle = (expected + actual) / 2

    def divergence(shares: Floats) -> float:
        positive = shares > 0
        return float(np.sum(shares[positive] * np.log2(shares[positive] / middle[positive])))

    return float(np.sqrt(max(0.0, (divergence(expected) + divergence(actual)) / 2)))


def kolmogorov_smirnov(reference: Counts, window: Counts) -> tuple[float, float]:
    """Return the two-sample Kolmogorov-Smirnov statistic over cells, and its asymptotic p-value.

    The largest gap between the two cumulative shares at the cells' edges. Where the cells are single values this is
    the exact statistic; where they are percentiles it is at most one percentile too small, and the p-value too large:
    it errs towards no alarm. The p-value is Smirnov's limit distribution (1948) at n*m/(n+m) rows.

    Args:
        reference: Rows in each cell, shape (cells,).
        window: Rows in each cell, shape (cells,).

    Returns:
        Statistic in [0, 1] and p-value; (0, 1) when a side has no rows.
    """
    from scipy.stats import kstwobign

    first, second = int(reference.sum()), int(window.sum())
    if not first or not second:
        return 0.0, 1.0
    gap = float(np.max(np.abs(np.cumsum(reference) / first - np.cumsum(window) / second)))
    if gap <= 0:
        return 0.0, 1.0
    return gap, float(kstwobign.sf(gap * np.sqrt(first * second / (first + second))))


def chi_square(reference: Counts, window: Counts) -> tuple[float, float]:
    """Return Pearson's chi-square statistic of homogeneity of two samples over the same bins, and its p-value.

    Neighbouring bins are put together first until both samples expect at least 5 rows in each (Cochran, 1954).

    Args:
        reference: Rows in each bin, shape (bins,).
        window: Rows in each bin, shape (bins,).

    Returns:
        Statistic and p-value; (0, 1) when a side has no rows or only one bin remains.
    """
    from scipy.stats import chi2

    both = np.stack([reference, window]).astype(np.float64)
    sides = both.sum(axis=1)
    if not sides.all():
        return 0.0, 1.0
    merged = _merged(both, sides.min() / sides.sum())
    if merged.shape[1] < 2:  # noqa: PLR2004  (one bin holds everything on both sides)
        return 0.0, 1.0
    expected = np.outer(sides, merged.sum(axis=0)) / sides.sum()
    statistic = float(np.sum((merged - expected) ** 2 / expected))
    return statistic, float(chi2.sf(statistic, merged.shape[1] - 1))


def _merged(both: Floats, smaller: float) -> Floats:
    starts, expected = [0], 0.0
    for place, total in enumerate(both.sum(axis=0)):
        if expected >= _LEAST_EXPECTED:
            starts.append(place)
            expected = 0.0
        expected += float(total) * smaller
    if expected < _LEAST_EXPECTED and len(starts) > 1:
        starts.pop()  # what is left over at the end goes with the group before
    return np.asarray(np.add.reduceat(both, starts, axis=1))


def share_rise(before: int, before_rows: int, now: int, now_rows: int) -> float:
    """Return the one-sided p-value that a share rose by chance: Fisher's exact test (1922).

    Args:
        before: Rows of the kind in the reference.
        before_rows: All rows of the reference.
        now: Rows of the kind in the window.
        now_rows: All rows of the window.
    """
    from scipy.stats import hypergeom

    if not before_rows or not now_rows or not now:
        return 1.0
    return float(hypergeom.sf(now - 1, before_rows + now_rows, before + now, now_rows))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, so that the chance of any false one stays below the level.

    The step-down rule of Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Raises:
        ArithmeticError: If one is NaN: it would be taken for one that says that all is well.

    Examples:
        >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    if np.isnan(p_values).any():
        raise ArithmeticError(f"{int(np.isnan(p_values).sum())} of {len(p_values)} p-values are not numbers")
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected
