"""Predictions and the labels that come later: which are known, which may still come, which never will."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.refine.spine import LABEL_KNOWN_AT
from mlplatform.scoring.scorer import PREDICTION
from mlplatform.statistics.metrics import Vector

LABEL = "_label"


@dataclass(frozen=True)
class Reconciled:
    """How many predictions have a label: scored = known + waiting + never.

    Attributes:
        scored: Predictions.
        known: Their label is known.
        waiting: It may still come: horizon and grace have not passed.
        never: It should have come; if it does after all, the prediction moves to the known ones.
    """

    scored: int
    known: int
    waiting: int
    never: int

    @property
    def coverage(self) -> float:
        """Share of predictions whose label is known; 0 without any."""
        return self.known / self.scored if self.scored else 0.0


@dataclass(frozen=True)
class Judged:
    """Predictions with their labels.

    Attributes:
        rows: Keys, prediction, model version, and of what is known by then label and known-at; else null.
        time: Name of the prediction time's column.
        settled: Predictions made up to here cannot wait for a label any more.
    """

    rows: pa.Table
    time: str
    settled: datetime

    def known(self) -> pa.Table:
        """Return the rows whose label is known."""
        return self.rows.filter(pc.is_valid(self.rows.column(LABEL)))

    def reconcile(self) -> Reconciled:
        """Count the rows by what is known of them."""
        known = self.rows.num_rows - self.rows.column(LABEL).null_count
        open_ = self.rows.filter(pc.is_null(self.rows.column(LABEL)))
        never = pc.sum(pc.less_equal(open_.column(self.time), _moment(self.settled)).cast(pa.int64())).as_py() or 0
        return Reconciled(self.rows.num_rows, known, open_.num_rows - never, never)

    def between(self, start: datetime, end: datetime, column: str = "") -> Judged:
        """Return the rows with start < time <= end.

        Args:
            start: Excluded.
            end: Included.
            column: The time's column; default: the prediction time.
        """
        times = self.rows.column(column or self.time)
        inside = pc.and_(pc.greater(times, _moment(start)), pc.less_equal(times, _moment(end)))
        return Judged(self.rows.filter(inside), self.time, self.settled)

    def by_time(self) -> Judged:
        """Return the rows ordered by prediction time, so that windows of it can be cut out without looking at all."""
        return Judged(self.rows.sort_by(self.time).combine_chunks(), self.time, self.settled)

    def window(self, start: datetime, end: datetime) -> Judged:
        """Return the rows of `by_time` with start < prediction time <= end; nothing is copied."""
        times = self.rows.column(self.time).to_numpy().astype("datetime64[us]")
        ends = [np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us") for moment in (start, end)]
        first, last = np.searchsorted(times, ends, side="right")
        return Judged(self.rows.slice(int(first), int(last - first)), self.time, self.settled)

    def of_version(self, version: int) -> Judged:
        """Return the rows that one model version predicted."""
        mine = pc.equal(self.rows.column("model_version"), pa.scalar(version))
        return Judged(self.rows.filter(mine), self.time, self.settled)

    def versions(self) -> list[int]:
        """Return the versions that predicted, ascending."""
        return sorted(set(cast("list[int]", self.rows.column("model_version").to_pylist())))

    def vectors(self) -> tuple[Vector, Vector]:
        """Return labels and predictions of the known rows, each of shape (rows,)."""
        known = self.known()
        return (
            np.asarray(known.column(LABEL).to_numpy(), dtype=np.float64),
            np.asarray(known.column(PREDICTION).to_numpy(), dtype=np.float64),
        )

    def fingerprint(self) -> str:
        """Return a text that changes when a prediction or a known label does, a late correction too; order is none."""
        labels, predictions = self.vectors()
        order = np.lexsort((labels, predictions))
        counted = self.reconcile()
        text = f"{counted.scored} {counted.waiting} {counted.never}".encode()
        return hashlib.sha256(text + labels[order].tobytes() + predictions[order].tobytes()).hexdigest()[:16]


def join_labels(
    predictions: pa.Table, labels: pa.Table, keys: list[str], time: str, as_of: datetime, settled: datetime
) -> Judged:
    """Merge labels to the predictions they belong to.

    Args:
        predictions: Keys, `prediction`, `model_version`, `as_of`; a key may stand several times, after a scoring was
            run again with a newer version: its first prediction is the one that was acted on.
        labels: Keys, label (last but one column), `label_known_at`.
        keys: Entity keys and prediction time.
        time: The prediction time.
        as_of: Labels known later are left out.
        settled: Predictions made up to here cannot wait for a label any more.
    """
    first = predictions.sort_by([("as_of", "ascending"), ("model_version", "ascending")])
    names = [name for name in first.column_names if name not in keys]
    first = first.group_by(keys, use_threads=False).aggregate([(name, "first") for name in names])
    first = first.rename_columns([*keys, *names])
    usable = labels.filter(pc.less_equal(labels.column(LABEL_KNOWN_AT), _moment(as_of)))
    label = next(name for name in usable.column_names if name not in (*keys, LABEL_KNOWN_AT))
    columns = [*(usable.column(key) for key in keys), pc.cast(usable.column(label), pa.float64())]
    usable = pa.table([*columns, usable.column(LABEL_KNOWN_AT)], names=[*keys, LABEL, LABEL_KNOWN_AT])
    return Judged(first.join(usable, keys=keys, join_type="left outer"), time, settled)


def _moment(time: datetime) -> pa.Scalar[Any]:
    return pa.scalar(time, pa.timestamp("us", tz="UTC"))
