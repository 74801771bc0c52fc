"""Drift: how far a window of scored rows lies from a reference, column by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlplatform.config.settings import MonitoringSettings
from mlplatform.statistics import distances
from mlplatform.statistics.counts import ColumnCounts
from mlplatform.statistics.profiles import ColumnProfile, Profile

TRAINING = "training"
PREVIOUS = "previous window"
# Distance -> the test that says whether chance explains it: psi and js are judged by that of chi-square.
_TESTED_BY = {
    "psi": "chi_square",
    "js": "chi_square",
    "chi_square": "chi_square",
    "ks": "ks",
    "null_increase": "null_increase",
    "out_of_range": "out_of_range",
    "new_categories": "new_categories",
}
# Tests whose p-values are corrected together, over all columns; each family gets its part of the rate of false alarms.
_FAMILIES = (
    frozenset({"chi_square"}),
    frozenset({"ks"}),
    frozenset({"null_increase", "out_of_range", "new_categories"}),
)


@dataclass(frozen=True)
class DriftMetric:
    """One measured distance.

    Attributes:
        column: The column, or the feature table.
        metric: `psi`, `js`, `ks`, `chi_square`, `null_increase`, `out_of_range`, `new_categories`, `missing`;
            of feature tables `match_rate` and `age_days`.
        value: The distance; None when it could not be measured.
        limit: From the settings; None: recorded, not judged.
        violated: True when the value lies beyond the limit and chance does not explain it.
        p_value: Probability of such a distance without any change, corrected for the number of columns.
        baseline: What the window was compared with: `training` or `previous window`.
        judged: False where there were too few rows to say anything: neither well nor ill. On record such a distance
            has no limit.
    """

    column: str
    metric: str
    value: float | None
    limit: float | None
    violated: bool
    p_value: float | None = None
    baseline: str = TRAINING
    judged: bool = True


def compare(
    profile: Profile,
    window: Mapping[str, ColumnCounts],
    rows: int,
    limits: MonitoringSettings,
    *,
    reference: Mapping[str, ColumnCounts] | None = None,
    baseline: str = TRAINING,
) -> list[DriftMetric]:
    """Compare a window with a reference.

    A distance is a violation when it lies above its limit AND a test says that chance does not explain it: a small
    window alone is far from everything. The tests of all columns are corrected together (Holm), so that a window
    without change is flagged with a probability of at most `false_alarm_rate`, whatever the number of columns.

    Args:
        profile: Gives the cells, and the reference unless `reference` does.
        window: Counts of the window's columns in the profile's cells.
        rows: Rows of the window.
        limits: What counts as drifted.
        reference: Counts to compare with (the previous window's); default: the profile's own.
        baseline: What those are.

    Returns:
        The metrics of each column. A window of fewer than `min_rows` rows is measured and not judged.
    """
    judged = rows >= limits.min_rows
    found: list[DriftMetric] = []
    for name, column in profile.items():
        before = (reference or {}).get(name) if reference is not None else column.counts
        if name not in window:
            violated = judged and (reference is None or before is not None)
            found.append(DriftMetric(name, "missing", None, None, violated=violated, baseline=baseline))
        elif before is not None:
            found.extend(
                replace(item, baseline=baseline) for item in _column(name, column, before, window[name], limits)
            )
    found = _corrected(found)
    return [
        replace(item, violated=item.violated or (judged and _beyond(item, limits)), judged=judged) for item in found
    ]


def _corrected(found: Sequence[DriftMetric]) -> list[DriftMetric]:
    """Return the metrics with p-values corrected for the number of tests in their family (Holm)."""
    corrected: dict[tuple[str, str], float] = {}
    for family in _FAMILIES:
        tests = {
            (item.column, _TESTED_BY[item.metric]): item.p_value
            for item in found
            if item.p_value is not None and _TESTED_BY[item.metric] in family
        }
        corrected |= zip(tests, distances.holm(list(tests.values())), strict=True)
    return [
        item if item.p_value is None else replace(item, p_value=corrected[item.column, _TESTED_BY[item.metric]])
        for item in found
    ]


def _beyond(item: DriftMetric, limits: MonitoringSettings) -> bool:
    if item.value is None or item.limit is None or item.p_value is None:
        return False
    return item.value > item.limit and item.p_value < limits.false_alarm_rate / len(_FAMILIES)


_Make = Callable[[str, float, float | None, float], DriftMetric]


def _column(
    name: str, column: ColumnProfile, before: ColumnCounts, now: ColumnCounts, limits: MonitoringSettings
) -> list[DriftMetric]:
    if not now.rows:
        return [DriftMetric(name, "psi", None, limits.max_psi, violated=False)]
    if not before.rows:
        return []
    old, new = column.bins(before), column.bins(now)
    statistic, p_value = distances.chi_square(column.tested_bins(before), column.tested_bins(now))
    shares, seen = old / before.rows, new / now.rows

    def metric(kind: str, value: float, limit: float | None, p: float) -> DriftMetric:
        return DriftMetric(name, kind, value, limit, violated=False, p_value=p)

    psi = distances.population_stability_index(shares, seen)
    found = [
        metric("psi", psi, limits.max_psi, p_value),
        metric("js", distances.jensen_shannon(shares, seen), limits.max_js, p_value),
        metric("chi_square", statistic, None, p_value),
        metric(
            "null_increase",
            now.nulls / now.rows - before.nulls / before.rows,
            limits.max_null_increase,
            distances.share_rise(before.nulls, before.rows, now.nulls, now.rows),
        ),
    ]
    if column.kind == "numeric":
        found.extend(_numeric(metric, before, now, limits))
    elif now.values and before.values:
        unseen = int(new[-2])
        rise = unseen / now.rows - int(old[-2]) / before.rows
        expected = max(int(old[-2]), column.expected_unseen()) if before is column.counts else int(old[-2])
        p_new = distances.share_rise(expected, before.rows, unseen, now.rows)
        found.append(metric("new_categories", rise, limits.max_new_categories, p_new))
    return found


def _numeric(metric: _Make, before: ColumnCounts, now: ColumnCounts, limits: MonitoringSettings) -> list[DriftMetric]:
    old, new = np.asarray(before.cells), np.asarray(now.cells)
    if not now.values or not before.values:
        return []
    gap, p_value = distances.kolmogorov_smirnov(old, new)
    # The first and the last cell lie outside of what training saw.
    outside, outside_before = int(new[0] + new[-1]), int(old[0] + old[-1])
    rise = outside / now.rows - outside_before / before.rows
    p_out = distances.share_rise(outside_before, before.rows, outside, now.rows)
    return [metric("ks", gap, limits.max_ks, p_value), metric("out_of_range", rise, limits.max_out_of_range, p_out)]
