"""Predictions with their labels, in memory where they are few, else in the engine: totals of all, and a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add
from typing import Any, TypeAlias, cast

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.features.training_set import PREDICTION
from mlplatform.monitoring.late_labels import (
    LABEL,
    Judged,
    Reconciled,
    Span,
    labelled_predictions,
    settled_until,
)
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.protocols.frames import Frame
from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.class_columns import number_columns
from mlplatform.statistics import class_totals, totals
from mlplatform.statistics.class_totals import AnyTotals
from mlplatform.statistics.totals import ScoreBins
from mlplatform.task import Task
from mlplatform.types import TIMESTAMP

_MOST_VERSIONS, _MOST_VALUES, _MOST_WINDOWS, _SEED = 10_000, 10_000, 20_000, 0
_DAY, _WINDOW, _START, _END = "_day", "_window", "_start", "_end"
_SCORED, _KNOWN, _NEVER = "_scored", "_known", "_never"
_MARKS = ("_mark_0", "_mark_1", "_mark_2", "_mark_3")


@dataclass(frozen=True)
class JudgedFrame:
    """Predictions with their labels that are too many for memory; asked as `Judged` is.

    Attributes:
        frame: As `Judged.rows`.
        time: Name of the prediction time's column.
        settled: Predictions made up to here cannot wait for a label any more.
        context: The run.
        keys: Columns that are unique together.
        counted: How many rows there are, where that is known.
        mark: The fingerprint, where it is known.
    """

    frame: Frame
    time: str
    settled: datetime
    context: StageContext
    keys: tuple[str, ...]
    counted: Reconciled | None = None
    mark: str = ""

    def between(self, start: datetime, end: datetime, column: str = "") -> JudgedFrame:
        """Return the rows with start < time <= end."""
        times = nw.col(column or self.time)
        return self._of((times > start) & (times <= end))

    def of_version(self, version: int) -> JudgedFrame:
        """Return the rows that one model version predicted."""
        return self._of(nw.col("model_version") == version)

    def versions(self) -> list[int]:
        """Return the versions that predicted, ascending."""
        found = self._collect(
            self.frame.select("model_version").unique(), _MOST_VERSIONS, "the versions that predicted"
        )
        return sorted(cast("list[int]", found.column("model_version").to_pylist()))

    def parts(self, column: str, least: int) -> Iterator[tuple[str, JudgedFrame]]:
        """Yield the rows of each value of a column, as text and in its order, that has enough of them."""
        counted = self.frame.filter(~nw.col(column).is_null()).group_by(column).agg(nw.len().alias(_SCORED))
        common = self._collect(counted.filter(nw.col(_SCORED) >= least), _MOST_VALUES, f"the values of {column}")
        values = common.column(column)
        pairs = zip(values.cast(pa.string()).to_pylist(), values.to_pylist(), strict=True)
        for text, value in sorted(pairs, key=lambda pair: str(pair[0])):
            yield str(text), self._of(nw.col(column) == value)

    def reconcile(self) -> Reconciled:
        """Count the rows by what is known of them."""
        if self.counted is not None:
            return self.counted
        row = self._collect(self.frame.select(*self._counting()), 1, "counts of predictions and labels").to_pylist()[0]
        return _reconciled(row)

    def windows(self, spans: Iterable[Span]) -> Iterator[tuple[Span, JudgedFrame]]:
        """Yield the windows that have rows, counted all at once."""
        listed = list(spans)
        if not listed:
            return
        # By way of days, by which engines can join; then each row is held against the window itself.
        joined = self.frame.with_columns(nw.col(self.time).dt.date().alias(_DAY)).join(
            self.context.ws.frames.of(_days(listed)), on=[_DAY], how="inner"
        )
        inside = joined.filter((nw.col(self.time) > nw.col(_START)) & (nw.col(self.time) <= nw.col(_END)))
        counted = inside.group_by(_WINDOW).agg(*self._counting(), *_marking(self._task))
        rows = self._collect(counted, _MOST_WINDOWS, "counts of the windows").sort_by(_WINDOW).to_pylist()
        for row in rows:
            span = listed[row[_WINDOW]]
            yield span, replace(self.between(*span), counted=_reconciled(row), mark=_mark(row))

    def fingerprint(self) -> str:
        """Return a text that changes when a prediction or a known label does, to nine digits of their sums."""
        if self.mark:
            return self.mark
        row = self._collect(
            self.frame.select(*self._counting(), *_marking(self._task)), 1, "sums of predictions and labels"
        )
        return _mark(row.to_pylist()[0])

    def load(self) -> Judged:
        """Return the rows with a label; of more than `monitoring.max_rows` a sample, with the totals of all."""
        limit, counted, task = self.context.settings.monitoring.max_rows, self.reconcile(), self._task
        known = self.frame.filter(~nw.col(LABEL).is_null())
        if counted.known <= limit:
            rows = self._collect(known, limit, "predictions with a label")
            return Judged(_sorted(rows, self.keys), self.time, self.settled, counted, task=task)
        sample = self.context.ws.frames.sample(known, keys=self.keys, at_most=limit, seed=_SEED)
        rows = _sorted(self._collect(sample, limit, "a sample of predictions with a label"), self.keys)
        return Judged(rows, self.time, self.settled, counted, self._whole(known, rows), task)

    def _whole(self, known: Frame, sample: pa.Table) -> AnyTotals:
        task = self._task
        if task.is_multiclass:
            by_class = class_totals.grouped(known, LABEL, number_columns(task))
            return class_totals.totals_of(self._collect(by_class, class_totals.MOST_GROUPS, "totals by class"), task)
        bins = ScoreBins.of(np.asarray(sample.column(PREDICTION).to_numpy(), dtype=np.float64))
        grouped = totals.grouped(known, LABEL, PREDICTION, bins, self.context.settings.label.event_above, task)
        return totals.totals_of(self._collect(grouped, totals.MOST_GROUPS, "totals by bin of scores"), task)

    @property
    def _task(self) -> Task:
        return self.context.settings.kind_of_task

    @property
    def labelled(self) -> int:
        """How many rows have a known label."""
        return self.reconcile().known

    def _of(self, condition: nw.Expr) -> JudgedFrame:
        return replace(self, frame=self.frame.filter(condition), counted=None, mark="")

    def _collect(self, frame: Frame, at_most: int, what: str) -> pa.Table:
        return self.context.ws.frames.collect(frame, at_most=at_most, what=what)

    def _counting(self) -> list[nw.Expr]:
        never = nw.col(LABEL).is_null() & (nw.col(self.time) <= self.settled)
        return [
            nw.len().alias(_SCORED),
            nw.col(LABEL).count().alias(_KNOWN),
            never.cast(nw.Int64).sum().alias(_NEVER),
        ]


AnyJudged: TypeAlias = Judged | JudgedFrame
"""Predictions with their labels, wherever they are."""


@contextmanager
def predictions_with_labels(
    context: StageContext, spine: LabelSpine, facts: Sequence[str] = ()
) -> Iterator[dict[str, AnyJudged]]:
    """Give what champion and challenger predicted, with the labels known by `as_of`, as long as the context lasts.

    Args:
        context: The run.
        spine: The label spine.
        facts: Columns of the spine that come with them, as `late_labels.slice_column` names them.

    Returns:
        Alias -> its predictions.
    """
    frames, limit, aliases = context.ws.frames, context.settings.monitoring.max_rows, (CHAMPION, CHALLENGER)
    frame = labelled_predictions(context, spine, aliases, facts)
    settled, time = settled_until(context.settings, context.as_of), spine.prediction_time
    keys = (*spine.primary_keys, "model_version")
    rows = frames.collect(frame.head(limit), at_most=limit, what="predictions with their labels")
    if rows.num_rows < limit:
        rows = _sorted(rows, keys)
        yield {
            alias: Judged(
                rows.filter(pc.equal(rows.column("alias"), pa.scalar(alias))),
                time,
                settled,
                task=context.settings.kind_of_task,
            )
            for alias in aliases
        }
        return
    with frames.staged(frame, order_by=[time]) as staged:
        yield {
            alias: JudgedFrame(staged.filter(nw.col("alias") == alias), time, settled, context, keys)
            for alias in aliases
        }


def _sorted(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return rows in one order, whatever the engine: what is drawn from them is the same."""
    return rows.sort_by([(key, "ascending") for key in keys])


def _days(spans: Sequence[Span]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for number, (start, end) in enumerate(spans):
        first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
        rows += [
            {_DAY: first + timedelta(days=passed), _WINDOW: number, _START: start, _END: end}
            for passed in range((last - first).days + 1)
        ]
    kinds = {_DAY: pa.date32(), _WINDOW: pa.int64(), _START: TIMESTAMP, _END: TIMESTAMP}
    schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()])
    return pa.Table.from_pylist(rows, schema=schema)


def _marking(task: Task) -> list[nw.Expr]:
    # None of these cancels out: nine digits of them are the same in whatever order they are added up. A sum that counts
    # each class by its place stands for the probabilities of several.
    label, columns = nw.col(LABEL), number_columns(task)
    prediction = reduce(add, [nw.col(name) * float((place + 1) ** 2) for place, name in enumerate(columns)])
    gap = prediction - label
    terms = (label * label, gap.abs(), gap * gap, (prediction + 0.0 * label).abs())
    return [term.sum().alias(name) for name, term in zip(_MARKS, terms, strict=True)]


def _mark(row: Mapping[str, Any]) -> str:
    counts = " ".join(str(row[name]) for name in (_SCORED, _KNOWN, _NEVER))
    sums = " ".join(f"{row[name] or 0.0:.8e}" for name in _MARKS)
    return hashlib.sha256(f"{counts} {sums}".encode()).hexdigest()[:16]


def _reconciled(row: Mapping[str, Any]) -> Reconciled:
    scored, known, never = int(row[_SCORED]), int(row[_KNOWN]), int(row[_NEVER] or 0)
    return Reconciled(scored, known, scored - known - never, never)
