"""Drift: how far a window of scored rows lies from the champion's reference profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.config import MonitoringSettings
from mlplatform.monitoring.profiles import Profile, reference_shares, shares_in

# A bin that one side lacks would make the index infinite; this share stands in for zero.
_FLOOR = 1e-4


@dataclass(frozen=True)
class DriftMetric:
    """One measured distance.

    Attributes:
        column: The column.
        metric: `psi` or `null_increase`.
        value: The distance; None when the window has no row or lacks the column.
        limit: From the settings.
        violated: True when the value lies above the limit (or the column is missing).
    """

    column: str
    metric: str
    value: float | None
    limit: float
    violated: bool


def population_stability_index(
    expected: np.ndarray[Any, np.dtype[np.float64]], actual: np.ndarray[Any, np.dtype[np.float64]]
) -> float:
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


def compare(reference: Profile, window: pa.Table, limits: MonitoringSettings) -> list[DriftMetric]:
    """Compare a window with the reference, column by column.

    Args:
        reference: The champion's profile.
        window: The scored rows' inputs (and predictions).
        limits: What counts as drifted.

    Returns:
        Two metrics a column. A window of fewer than `min_rows` rows is measured and never violates.
    """
    judged = window.num_rows >= limits.min_rows
    found: list[DriftMetric] = []
    for name, profile in reference.items():
        if name not in window.column_names:
            found.append(DriftMetric(name, "psi", None, limits.max_psi, violated=judged))
            continue
        if not window.num_rows:
            found.append(DriftMetric(name, "psi", None, limits.max_psi, violated=False))
            continue
        shares = shares_in(window.column(name), profile)
        psi = population_stability_index(reference_shares(profile), shares)
        increase = float(shares[-1] - profile.null_share)
        found.append(DriftMetric(name, "psi", psi, limits.max_psi, judged and psi > limits.max_psi))
        found.append(
            DriftMetric(
                name,
                "null_increase",
                increase,
                limits.max_null_increase,
                judged and increase > limits.max_null_increase,
            )
        )
    return found
