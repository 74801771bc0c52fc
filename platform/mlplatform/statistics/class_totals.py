"""Metrics of the probabilities of several classes over rows that stay in the engine, from sums of groups of them.

What is a mean over rows or a count is exact. The area under the ROC curve is not told: it comes from a sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.protocols.frames import Frame
from mlplatform.statistics import class_metrics
from mlplatform.statistics.intervals import NORMAL, Interval, finished, wilson
from mlplatform.statistics.metric import Vector
from mlplatform.statistics.totals import Totals
from mlplatform.task import Task

MOST_GROUPS = 20_000
"""Of 40 classes, predicted as any of them, by tenths of the probability."""
_ROWS, _LABEL, _PREDICTED, _TENTH, _TOP = "_rows", "_label", "_predicted", "_tenth", "_top"
_LOSSES = (class_metrics.LOG_LOSS, class_metrics.BRIER)


@dataclass(frozen=True)
class ClassTotals:
    """What was added up over all rows.

    Attributes:
        rows: How many.
        task: What is predicted.
        table: Rows of each class that were predicted as each, shape (classes, classes).
        means: Mean probability of each class, shape (classes,).
        sums: Of the losses and of their squares, by name.
        calibration_gap: Sum over ten equal-width bins of the absolute difference of top probability and right rows.
    """

    rows: int
    task: Task
    table: Vector
    means: Vector
    sums: Mapping[str, float]
    calibration_gap: float

    @property
    def classes(self) -> list[class_metrics.OfClass]:
        """What is said of each class."""
        return class_metrics.of_table(self.task.classes, self.table, self.means, float(self.rows))

    def value(self, name: str) -> float | None:
        """Return a metric over all rows; None where it cannot be told from sums, NaN where it is not defined."""
        if name in _LOSSES:
            return self.sums[name] / self.rows
        if name == class_metrics.ACCURACY:
            return float(np.trace(self.table)) / self.rows
        if name == class_metrics.MACRO_F1:
            return class_metrics.f1_of(self.table)
        if name == class_metrics.CALIBRATION_ERROR:
            return self.calibration_gap / self.rows
        return next((found[name] for found in (item.values() for item in self.classes) if name in found), None)

    def interval(self, name: str) -> Interval | None:
        """Return the 95% interval of a metric that is a mean or a share."""
        if name in _LOSSES:
            middle = self.sums[name] / self.rows
            variance = max(0.0, self.sums[f"{name}_squares"] / self.rows - middle**2) / max(1, self.rows - 1)
            half = NORMAL * float(np.sqrt(variance))
            return middle - half, middle + half
        if name == class_metrics.ACCURACY:
            missed = 1 - float(np.trace(self.table)) / self.rows
            half = NORMAL * float(np.sqrt(missed * (1 - missed) / max(1, self.rows - 1)))
            return finished(class_metrics.METRICS[name], missed - half, missed + half)
        for item in self.classes:
            for kind, (share, rows) in item.shares().items():
                if name == class_metrics.named(kind, item.name) and rows:
                    return wilson(share, int(rows))
        return None


AnyTotals: TypeAlias = Totals | ClassTotals
"""Of all rows, where those at hand are a sample."""


def grouped(frame: Frame, label: str, probabilities: Sequence[str]) -> Frame:
    """Return the sums of a frame's rows by label, predicted class and tenth of its probability, for `totals_of`.

    Args:
        frame: Rows with label and probabilities; no nulls.
        label: The label's column: places of classes.
        probabilities: The columns of the probabilities, in the order of the classes.
    """
    columns = [nw.col(name) for name in probabilities]
    top = nw.max_horizontal(*columns)
    of_label = reduce(
        lambda rest, place: nw.when(nw.col(label) == place).then(columns[place]).otherwise(rest),
        range(len(columns)),
        nw.lit(None).cast(nw.Float64),
    )
    squares = reduce(lambda one, other: one + other, [column * column for column in columns])
    losses = {
        class_metrics.LOG_LOSS: of_label.clip(class_metrics.SMALLEST, 1 - class_metrics.SMALLEST).log() * -1.0,
        class_metrics.BRIER: squares - of_label * 2.0 + 1.0,
    }
    rows = frame.select(
        nw.col(label).alias(_LABEL),
        predicted(probabilities).alias(_PREDICTED),
        (top.clip(0.0, 1.0) * 10.0).floor().clip(0.0, 9.0).alias(_TENTH),
        top.alias(_TOP),
        *(column.alias(_mean(place)) for place, column in enumerate(columns)),
        *(loss.alias(name) for name, loss in losses.items()),
    )
    terms = {_TOP: nw.col(_TOP), **{_mean(place): nw.col(_mean(place)) for place in range(len(columns))}}
    for name in losses:
        terms |= {name: nw.col(name), f"{name}_squares": nw.col(name) * nw.col(name)}
    return rows.group_by(_LABEL, _PREDICTED, _TENTH).agg(
        nw.len().alias(_ROWS), *(term.sum().alias(name) for name, term in terms.items())
    )


def predicted(probabilities: Sequence[str]) -> nw.Expr:
    """Return the place of the most probable class, of equally probable ones the first, as an expression.

    Args:
        probabilities: The columns of the probabilities, in the order of the classes.
    """
    top = nw.max_horizontal(*map(nw.col, probabilities))
    last = len(probabilities) - 1
    return reduce(
        lambda rest, place: nw.when(nw.col(probabilities[place]) == top).then(nw.lit(float(place))).otherwise(rest),
        range(last - 1, -1, -1),
        nw.lit(float(last)),
    )


def totals_of(rows: pa.Table, task: Task) -> ClassTotals:
    """Return the totals of what `grouped` gave.

    Args:
        rows: In any order.
        task: What is predicted.
    """
    many = len(task.classes)
    # An engine gives groups in any order, and the last bit of a sum is one of its order.
    rows = rows.sort_by([(_LABEL, "ascending"), (_PREDICTED, "ascending"), (_TENTH, "ascending")])
    columns = {name: np.asarray(rows.column(name).to_numpy(), dtype=np.float64) for name in rows.column_names}
    counts, cells = columns[_ROWS], columns[_LABEL] * many + columns[_PREDICTED]
    table = np.bincount(cells.astype(np.int64), weights=counts, minlength=many * many).reshape(many, many)
    right = np.where(columns[_LABEL] == columns[_PREDICTED], counts, 0.0)
    gaps = np.bincount(columns[_TENTH].astype(np.int64), weights=columns[_TOP] - right)
    total = float(counts.sum())
    names = [name for loss in _LOSSES for name in (loss, f"{loss}_squares")]
    return ClassTotals(
        rows=int(total),
        task=task,
        table=np.asarray(table, dtype=np.float64),
        means=np.array([columns[_mean(place)].sum() for place in range(many)]) / total,
        sums={name: float(columns[name].sum()) for name in names},
        calibration_gap=float(np.abs(gaps).sum()),
    )


def _mean(place: int) -> str:
    return f"_mean_{place}"
