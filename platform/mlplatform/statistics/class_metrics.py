"""Metrics of the probabilities of several classes.

A label is its class's place, from 0 on; predictions have a column for each class, in the same order. The predicted
class is the most probable one, of equally probable ones the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlplatform.statistics.metric import Metric, OfDraw, Vector, auc_of_draw, calibration_error_of_draw, mean_of

LOG_LOSS, ACCURACY, MACRO_F1, MACRO_AUC = "log_loss", "accuracy", "macro_f1", "macro_roc_auc"
BRIER, CALIBRATION_ERROR = "brier", "expected_calibration_error"
RECALL, PRECISION, SHARE, MEAN = "recall", "precision", "label_share", "mean_probability"
RATIO = "calibration_ratio"
SMALLEST = 1e-15
"""A probability below this, which has no logarithm, is taken for it."""
_LONGEST = 60
Codes = npt.NDArray[np.int64]


def codes(labels: Vector) -> Codes:
    """Return labels as places of their classes, shape (rows,)."""
    return np.asarray(labels, dtype=np.int64)


def predicted(probabilities: Vector) -> Codes:
    """Return the place of the most probable class, of equally probable ones the first; shape (rows,).

    Args:
        probabilities: Shape (rows, classes).

    Examples:
        >>> predicted(np.array([[0.2, 0.4, 0.4], [0.5, 0.25, 0.25]])).tolist()
        [1, 0]
    """
    return np.asarray(np.argmax(probabilities, axis=1), dtype=np.int64)


def log_losses(labels: Vector, probabilities: Vector) -> Vector:
    """Return each row's negative log likelihood, of probabilities clipped at 1e-15; shape (rows,)."""
    of_label = probabilities[np.arange(labels.size), codes(labels)]
    return np.asarray(-np.log(np.clip(of_label, SMALLEST, 1 - SMALLEST)))


def squared_errors(labels: Vector, probabilities: Vector) -> Vector:
    """Return each row's squared distance between probabilities and label, added up over classes; from 0 to 2.

    Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 1950: the original
    definition; of two classes it is twice that of `classification`.

    Examples:
        >>> squared_errors(np.array([0.0]), np.array([[0.5, 0.5, 0.0]])).tolist()
        [0.5]
    """
    of_label = probabilities[np.arange(labels.size), codes(labels)]
    return np.asarray((probabilities**2).sum(axis=1) - 2 * of_label + 1)


def misses(labels: Vector, probabilities: Vector) -> Vector:
    """Return 1 where the predicted class is not the label, else 0; shape (rows,)."""
    return np.asarray(predicted(probabilities) != codes(labels), dtype=np.float64)


def _rest(share: float) -> float:
    return 1 - share


def confusion(labels: Vector, probabilities: Vector, counts: Codes | None = None) -> Vector:
    """Return how many rows of each class (first axis) were predicted as each (second); shape (classes, classes).

    Args:
        labels: Shape (rows,).
        probabilities: Shape (rows, classes).
        counts: How often each row counts, shape (rows,); None: once.
    """
    many = probabilities.shape[1]
    cells = codes(labels) * many + predicted(probabilities)
    return np.bincount(cells, weights=counts, minlength=many * many).reshape(many, many).astype(np.float64)


def f1_of(table: Vector) -> float:
    """Return the mean of the classes' F1 from a confusion table; NaN where there is no row.

    A class that is neither a label nor predicted has none, and is left out, as by scikit-learn's `f1_score` with
    `average="macro"`.

    Args:
        table: As `confusion` gives it.
    """
    right, either = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    seen = either > 0
    return float(np.mean(2 * right[seen] / either[seen])) if seen.any() else float("nan")


def macro_f1(labels: Vector, probabilities: Vector) -> float:
    """Return the mean of the classes' F1, the harmonic mean of recall and precision.

    Examples:
        >>> macro_f1(np.array([0.0, 1.0, 2.0]), np.eye(3))
        1.0
    """
    return f1_of(confusion(labels, probabilities))


def _f1_of_draw(labels: Vector, probabilities: Vector) -> OfDraw:
    many = probabilities.shape[1]
    cells = codes(labels) * many + predicted(probabilities)

    def value(counts: Codes) -> float:
        return f1_of(np.bincount(cells, weights=counts, minlength=many * many).reshape(many, many).astype(np.float64))

    return value


def macro_roc_auc(labels: Vector, probabilities: Vector) -> float:
    """Return the mean area under the ROC curve of each class against the others; NaN where one has no row.

    As scikit-learn's `roc_auc_score` with `multi_class="ovr"` and `average="macro"`.

    Examples:
        >>> macro_roc_auc(np.array([0.0, 1.0, 2.0]), np.eye(3))
        1.0
    """
    return _auc_of_draw(labels, probabilities)(np.ones(labels.size, dtype=np.int64))


def _auc_of_draw(labels: Vector, probabilities: Vector) -> OfDraw:
    of_class = [
        auc_of_draw((labels == place).astype(np.float64), probabilities[:, place])
        for place in range(probabilities.shape[1])
    ]
    return lambda counts: float(np.mean([area(counts) for area in of_class]))


def calibration_error(labels: Vector, probabilities: Vector) -> float:
    """Return how far the predicted class's probability is from how often it is right, over ten equal-width bins.

    The top-label form of the expected calibration error (Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern
    Neural Networks", ICML 2017). NaN without rows.
    """
    return _calibration_of_draw(labels, probabilities)(np.ones(labels.size, dtype=np.int64))


def _calibration_of_draw(labels: Vector, probabilities: Vector) -> OfDraw:
    return calibration_error_of_draw(1 - misses(labels, probabilities), probabilities.max(axis=1, initial=0.0))


METRICS = {
    metric.name: metric
    for metric in (
        mean_of(LOG_LOSS, log_losses),
        mean_of(ACCURACY, misses, greater_is_better=True, finish=_rest),
        Metric(MACRO_F1, macro_f1, greater_is_better=True, fast_draws=_f1_of_draw, within_classes=True),
        Metric(MACRO_AUC, macro_roc_auc, greater_is_better=True, fast_draws=_auc_of_draw, within_classes=True),
        mean_of(BRIER, squared_errors),
        Metric(CALIBRATION_ERROR, calibration_error, greater_is_better=False, fast_draws=_calibration_of_draw),
    )
}
"""By name."""


def named(kind: str, name: str) -> str:
    """Return under which name what is said of one class is on record.

    Examples:
        >>> named(RECALL, "gold")
        'recall[gold]'
    """
    return f"{kind}[{name}]"


def loggable(metrics: Mapping[str, float], classes: Sequence[str]) -> dict[str, float]:
    """Return metrics under names that MLflow takes: a class is told by its number, from 1 on, and what is plain of it.

    Args:
        metrics: By the names on record.
        classes: In order; empty: all names stay.

    Examples:
        >>> loggable({"log_loss": 0.5, "recall[C++]": 0.9}, ["C#", "C++"])
        {'log_loss': 0.5, 'recall.2.C__': 0.9}
    """
    places = {name: place for place, name in enumerate(classes, start=1)}
    named_so = {}
    for name, value in metrics.items():
        kind, bracket, rest = name.partition("[")
        place = places.get(rest[:-1]) if bracket else None
        plain = re.sub(r"[^A-Za-z0-9_\- ]", "_", rest[:-1])[:_LONGEST]
        named_so[name if place is None else f"{kind}.{place}.{plain}"] = value
    return named_so


def kind_of(name: str) -> str:
    """Return what is said of one class; what has no class is returned as it is.

    Examples:
        >>> kind_of("recall[gold]"), kind_of("log_loss")
        ('recall', 'log_loss')
    """
    return name.partition("[")[0]


@dataclass(frozen=True)
class OfClass:
    """What is said of one class.

    Attributes:
        name: The class.
        rows: Rows whose label it is.
        predicted: Rows that were predicted as it.
        right: Rows that both is true of.
        total: All rows.
        mean: Its mean probability.
    """

    name: str
    rows: float
    predicted: float
    right: float
    total: float
    mean: float

    def shares(self) -> dict[str, tuple[float, float]]:
        """Return recall, precision and share of labels, each with the rows that it is a share of; NaN of none."""
        found = {
            RECALL: (self.right, self.rows),
            PRECISION: (self.right, self.predicted),
            SHARE: (self.rows, self.total),
        }
        return {kind: (part / rows if rows else float("nan"), rows) for kind, (part, rows) in found.items()}

    def values(self) -> dict[str, float]:
        """Return all that is said of the class, under the names on record."""
        shares = {named(kind, self.name): share for kind, (share, _) in self.shares().items()}
        return shares | {named(MEAN, self.name): self.mean}


def of_each(classes: Sequence[str], labels: Vector, probabilities: Vector) -> list[OfClass]:
    """Return what is said of each class.

    Args:
        classes: Their names, in order.
        labels: Shape (rows,).
        probabilities: Shape (rows, classes).
    """
    table, rows = confusion(labels, probabilities), float(labels.size)
    means = probabilities.mean(axis=0) if labels.size else np.full(len(classes), np.nan)
    return of_table(classes, table, means, rows)


def of_table(classes: Sequence[str], table: Vector, means: Vector, rows: float) -> list[OfClass]:
    """Return what is said of each class from a confusion table and the mean probabilities.

    Args:
        classes: Their names, in order.
        table: As `confusion` gives it.
        means: Mean probability of each class, shape (classes,).
        rows: How many rows.
    """
    return [
        OfClass(name, *map(float, (table[place].sum(), table[:, place].sum(), table[place, place], rows, means[place])))
        for place, name in enumerate(classes)
    ]


def shares(labels: Vector, many: int) -> Vector:
    """Return each class's share of the labels, shape (classes,); NaN without rows.

    Args:
        labels: Shape (rows,).
        many: How many classes there are.
    """
    counted = np.bincount(codes(labels), minlength=many).astype(np.float64)
    return counted / labels.size if labels.size else np.full(many, np.nan)
