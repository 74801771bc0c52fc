"""What realised performance says of each of several classes: shares with intervals, and observed over predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlplatform.statistics import class_metrics
from mlplatform.statistics.class_metrics import OfClass, named
from mlplatform.statistics.class_totals import AnyTotals, ClassTotals
from mlplatform.statistics.intervals import Interval, wilson
from mlplatform.statistics.metrics import Vector
from mlplatform.task import Task

_LEAST_EXPECTED = 0.5
_SURE = 0.00135
"""Probability beyond three standard deviations, on one side: how sure a single ratio must be."""


@dataclass(frozen=True)
class Ratio:
    """Observed over predicted of one class.

    Attributes:
        name: As it is on record.
        value: None without rows.
        limit: What it, or its inverse, may be; None: it is not judged.
        violated: Whether it lies beyond, and chance is no reason.
        ends: Its 95% interval.
    """

    name: str
    value: float | None
    limit: float | None
    violated: bool
    ends: tuple[float | None, float | None] = (None, None)


def classes_of(task: Task, labels: Vector, predictions: Vector, whole: AnyTotals | None) -> list[OfClass]:
    """Return what is said of each class; nothing where the task has none.

    Args:
        task: What is predicted.
        labels: Shape (rows,).
        predictions: Shape (rows, classes).
        whole: Where these are a sample: the totals of all rows.
    """
    if not task.is_multiclass:
        return []
    if isinstance(whole, ClassTotals):
        return whole.classes
    return class_metrics.of_each(task.classes, labels, predictions)


def intervals(found: Sequence[OfClass]) -> dict[str, Interval]:
    """Return the 95% intervals of the shares (Wilson, 1927), by the name of each."""
    return {
        named(kind, item.name): wilson(share, int(rows))
        for item in found
        for kind, (share, rows) in item.shares().items()
        if rows
    }


def ratios(found: Sequence[OfClass], limit: float | None) -> list[Ratio]:
    """Return observed over predicted of each class.

    A class came as often as its probabilities say, give or take what chance makes of that: of as many independent rows,
    with this mean, at most that of a binomial distribution. What is beyond is no chance, by three standard deviations;
    of several classes by as much more as keeps the chance of one false alarm what it is of one (Bonferroni). Of a class
    that is never predicted half a row is taken for expected: one that comes all the same is off, and by how much has a
    number.

    Args:
        found: Of each class.
        limit: What a ratio, or its inverse, may be; None: none is judged.
    """
    from scipy.stats import norm

    sure = float(norm.isf(_SURE / max(1, len(found))))
    results = []
    for item in found:
        name = named(class_metrics.RATIO, item.name)
        if not item.total or not np.isfinite(item.mean):
            results.append(Ratio(name, None, None, violated=False))
            continue
        share, mean = item.rows / item.total, max(item.mean, _LEAST_EXPECTED / item.total)
        noise = sure * float(np.sqrt(mean * (1 - mean) / item.total)) / mean
        value = share / mean
        off = limit is not None and not 1 / limit <= value <= limit
        low, high = wilson(share, int(item.total))
        ends = (low / mean, high / mean)
        results.append(Ratio(name, value, limit, off and not abs(value - 1) <= noise, ends))
    return results
