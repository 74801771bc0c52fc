"""Which features are worth it: what a model loses on the holdout where a feature's values are shuffled among the rows.

Permutation importance as in Breiman, "Random Forests", Machine Learning 2001, with an interval that covers which rows
the holdout happens to hold, and how they happened to be shuffled: rows are drawn with replacement, each with all of its
shuffles. Features that say the same stand in for each other, and each may look worthless: what a lookup is worth as a
whole, `mlplatform ablate` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlplatform.statistics.bootstrap import FEWEST_CLUSTERS, paired_difference
from mlplatform.statistics.metrics import Metric, Vector

if TYPE_CHECKING:
    import pandas as pd

_SHUFFLES = 3
_DRAWS = 200
CONFIDENCE = 0.95
MOST_CELLS = 1_000_000_000
"""So many values are predicted by at most, one or two minutes' work: each feature is shuffled in turn, so that their
number grows with the square of that of the features."""
_FEWEST_ROWS = 100


@dataclass(frozen=True)
class Importance:
    """What a feature is worth to a model.

    Attributes:
        feature: Its name.
        loss: How much worse the primary metric is without it; above zero: the feature helps.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    feature: str
    loss: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether the model does no worse without it, for all that the holdout can tell."""
        return self.low <= 0


def rows_within(wanted: int, features: int) -> int:
    """Return by how many rows of the holdout it is measured what so many features are worth.

    Args:
        wanted: How many at most.
        features: How many there are.

    Returns:
        Fewer than wanted, where `MOST_CELLS` would be exceeded; 0, where too few would be left to tell anything.

    Examples:
        >>> [rows_within(5000, features) for features in (30, 1000, 2000)]
        [5000, 333, 0]
    """
    allowed = MOST_CELLS // (_SHUFFLES * max(features, 1) ** 2)
    if allowed >= wanted:
        return wanted
    return allowed if allowed >= _FEWEST_ROWS else 0


def importances(
    predict: Callable[[pd.DataFrame], Vector],
    inputs: pd.DataFrame,
    labels: Vector,
    metric: Metric,
    *,
    most_rows: int,
    seed: int,
) -> list[Importance]:
    """Return what each feature is worth on the holdout, the most important one first.

    Args:
        predict: What the model predicts for rows; shape (rows,). Where that is no finite number, nothing is measured.
        inputs: The holdout, as the model is given it.
        labels: Its labels, shape (rows,).
        metric: By which the loss is measured.
        most_rows: Of a larger holdout so many rows are drawn; 0: nothing is measured.
        seed: Of all that is drawn.

    Returns:
        Empty, where the holdout is too small for the metric to be defined on what is drawn of it. Without the features
        whose shuffled values the model cannot predict by.

    Examples:
        >>> import pandas as pd
        >>> from mlplatform.statistics import metrics
        >>> rows = pd.DataFrame({"told": np.arange(100.0), "noise": [1.0, 2.0] * 50})
        >>> found = importances(lambda given: given["told"].to_numpy(), rows, np.arange(100.0), metrics.get("mae"),
        ...                     most_rows=100, seed=0)
        >>> [(item.feature, item.is_noise) for item in found]
        [('told', False), ('noise', True)]
    """
    random = np.random.default_rng(seed)
    if len(inputs) > most_rows:
        drawn = np.sort(random.permutation(len(inputs))[:most_rows])
        inputs, labels = inputs.iloc[drawn], labels[drawn]
    if len(inputs) < FEWEST_CLUSTERS:
        return []
    plain = predict(inputs)
    if not (np.isfinite(plain).all() and np.isfinite(metric.compute(labels, plain))):
        return []
    rows = np.tile(np.arange(len(inputs)), _SHUFFLES)
    shuffles = np.concatenate([random.permutation(len(inputs)) for _ in range(_SHUFFLES)])
    many = inputs.iloc[rows]
    whole, truth = plain[rows], labels[rows]
    found = []
    for name in inputs.columns:
        without = predict(_replaced(many, name, inputs[name].array.take(shuffles)))
        if not np.isfinite(without).all():
            continue
        try:
            difference = paired_difference(
                metric,
                truth,
                whole,
                without,
                stratify=False,
                confidence=CONFIDENCE,
                draws=_DRAWS,
                seed=seed,
                clusters=rows,
            )
        except ArithmeticError:
            return []
        found.append(Importance(str(name), difference.gain, difference.low, difference.high))
    return sorted(found, key=lambda item: (-item.loss, item.feature))


def _replaced(rows: pd.DataFrame, name: Any, values: Any) -> pd.DataFrame:
    changed = rows.copy(deep=False)
    changed[name] = values
    return changed
