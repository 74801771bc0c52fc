"""Whether higher scores go with earlier events, among rows of which many have not lived through the horizon.

The concordance of Uno, Cai, Pencina, D'Agostino and Wei, "On the C-statistics for evaluating overall adequacy of risk
prediction procedures with censored survival data", Statistics in Medicine 2011: of two rows, the one whose event came
first should have the higher score. Which pairs can be told apart depends on how long each was observed; weights, one
over the probability to be observed that long, squared, give pairs back that were not. Without them the result would
depend on how many rows are young.

Why a row's observation ends is no secret here: it was predicted so long ago. So the probability to be observed beyond
an age is the share of rows that old, whatever became of them. The standard error is by each row's part in all pairs
(Hajek's projection), as for the area under the ROC curve after DeLong, DeLong and Clarke-Pearson (1988), to which the
concordance comes down where all rows were observed for one step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlplatform.statistics.life_tables import Whole
from mlplatform.statistics.metrics import Vector


@dataclass(frozen=True)
class Concordance:
    """How well scores order rows by when their event comes.

    Attributes:
        value: Share of the pairs in the right order, equal scores half; 0.5 is chance, 1 perfect.
        error: Its standard error; None with fewer than two events.
        events: On how many events it rests.
    """

    value: float
    error: float | None
    events: int


def concordance(
    scores: Vector, ages: Whole, event_steps: Whole, steps: int, *, clusters: Whole | None = None
) -> Concordance | None:
    """Return the concordance of scores with the time of the event, up to the horizon.

    Args:
        scores: Shape (rows,).
        ages: Steps that are over for each row, shape (rows,).
        event_steps: The step of the event, shape (rows,), or `NO_EVENT`; one in a step that is not over counts as none.
        steps: How many steps the horizon has.
        clusters: Number of each row's cluster, from 0 on; None: each row by itself.

    Returns:
        None without any pair of a row with an event, and one that was observed longer without it.

    Examples:
        >>> found = concordance(np.array([0.9, 0.2, 0.4]), np.array([3, 3, 3]), np.array([0, -1, 1]), 3)
        >>> found.value, found.events
        (1.0, 2)
    """
    lived = np.minimum(ages, steps)
    came = (event_steps >= 0) & (event_steps < lived)
    until = np.where(came, event_steps, lived)  # an event's step; else the first step that was not observed
    order = np.argsort(scores, kind="stable")
    _, group = np.unique(scores[order], return_inverse=True)
    until, came, lived = until[order], came[order], lived[order]
    right, pairs = np.zeros(scores.size), np.zeros(scores.size)  # of each row, over all pairs that it is in
    for step in np.unique(until[came]):
        mine = came & (until == step)
        later = until > step
        if not later.any():
            continue
        # Observed beyond the step are those whose step is over: the share of rows that are old enough.
        weight = 1.0 / float(np.mean(lived > step)) ** 2
        lower, alike = _lower(group, later)
        right[mine] += weight * (lower + alike / 2)[mine]
        pairs[mine] += weight * int(later.sum())
        lower, alike = _lower(group, mine)
        right[later] += weight * (int(mine.sum()) - lower - alike / 2)[later]
        pairs[later] += weight * int(mine.sum())
    total = float(pairs.sum()) / 2
    if not total:
        return None
    value, events = float(right.sum()) / 2 / total, int(came.sum())
    if events < 2:  # noqa: PLR2004  (one event has no spread)
        return Concordance(value, None, events)
    parts = (right - value * pairs) / total
    if clusters is not None:
        parts = np.asarray(np.bincount(clusters[order], weights=parts), dtype=np.float64)
    return Concordance(value, float(np.sqrt(np.sum(parts**2))), events)


def _lower(group: Whole, among: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Vector, Vector]:
    """Return of each row how many rows among some have a lower score, and how many the same one."""
    counts = np.asarray(np.bincount(group, weights=among.astype(np.float64)), dtype=np.float64)
    below = np.cumsum(counts) - counts
    return below[group], counts[group]
