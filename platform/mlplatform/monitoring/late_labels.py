"""Predictions and the labels that come later: which are known, which may still come, which never will."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.protocols.frames import Frame
from mlplatform.refine.class_labels import class_number
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine
from mlplatform.scoring.class_columns import numbers, stored_columns, with_numbers
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.statistics.class_totals import AnyTotals
from mlplatform.statistics.metrics import Vector
from mlplatform.task import TASKS, Task

LABEL = "_label"
_SHADOW = "_shadow"


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


Span = tuple[datetime, datetime]
"""Prediction times after the first, up to the second."""


@dataclass(frozen=True)
class Judged:
    """Predictions with their labels, in memory.

    Attributes:
        rows: Keys, prediction (of several classes the probability of each, too), model version, and of what is known
            by then label and known-at; else null.
        time: Name of the prediction time's column.
        settled: Predictions made up to here cannot wait for a label any more.
        counted: Where `rows` are not all: how many all are.
        whole: Where `rows` are a sample of those with a label: the totals of all.
        task: What is predicted.
    """

    rows: pa.Table
    time: str
    settled: datetime
    counted: Reconciled | None = None
    whole: AnyTotals | None = None
    task: Task = TASKS["classification"]

    def known(self) -> pa.Table:
        """Return the rows whose label is known."""
        return self.rows.filter(pc.is_valid(self.rows.column(LABEL)))

    def reconcile(self) -> Reconciled:
        """Count the rows by what is known of them."""
        if self.counted is not None:
            return self.counted
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
        return self._of(self.rows.filter(inside))

    def by_time(self) -> Judged:
        """Return the rows ordered by prediction time, so that windows of it can be cut out without looking at all."""
        return self._of(self.rows.sort_by(self.time).combine_chunks())

    def window(self, start: datetime, end: datetime) -> Judged:
        """Return the rows of `by_time` with start < prediction time <= end; nothing is copied."""
        times = self.rows.column(self.time).to_numpy().astype("datetime64[us]")
        ends = [np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us") for moment in (start, end)]
        first, last = np.searchsorted(times, ends, side="right")
        return self._of(self.rows.slice(int(first), int(last - first)))

    def windows(self, spans: Iterable[Span]) -> Iterator[tuple[Span, Judged]]:
        """Yield the windows that have rows."""
        ordered = self.by_time()
        for span in spans:
            window = ordered.window(*span)
            if window.rows.num_rows:
                yield span, window

    def parts(self, column: str, least: int) -> Iterator[tuple[str, Judged]]:
        """Yield the rows of each value of a column, as text and in its order, that has enough of them.

        Args:
            column: The column.
            least: Values with fewer rows are left out.
        """
        values = self.rows.column(column).cast(pa.string())
        for value in sorted(item for item in set(values.to_pylist()) if item is not None):
            part = replace(self, rows=self.rows.filter(pc.equal(values, pa.scalar(value))))
            if part.rows.num_rows >= least:
                yield value, part

    def of_version(self, version: int) -> Judged:
        """Return the rows that one model version predicted."""
        mine = pc.equal(self.rows.column("model_version"), pa.scalar(version))
        return self._of(self.rows.filter(mine))

    def _of(self, rows: pa.Table) -> Judged:
        return Judged(rows, self.time, self.settled, task=self.task)

    def versions(self) -> list[int]:
        """Return the versions that predicted, ascending."""
        return sorted(set(cast("list[int]", self.rows.column("model_version").to_pylist())))

    def vectors(self) -> tuple[Vector, Vector]:
        """Return labels and predictions of the known rows, each of shape (rows,).

        Of several classes labels are numbers of classes, and predictions have shape (rows, classes).
        """
        known = self.known()
        return np.asarray(known.column(LABEL).to_numpy(), dtype=np.float64), numbers(known, self.task)

    def fingerprint(self) -> str:
        """Return a text that changes when a prediction or a known label does, a late correction too; order is none."""
        labels, predictions = self.vectors()
        order = np.lexsort((labels, *(predictions.T if predictions.ndim > 1 else [predictions])))
        counted = self.reconcile()
        text = f"{counted.scored} {counted.waiting} {counted.never}".encode()
        return hashlib.sha256(text + labels[order].tobytes() + predictions[order].tobytes()).hexdigest()[:16]

    def load(self) -> Judged:
        """Return itself: it is in memory."""
        return self

    @property
    def labelled(self) -> int:
        """How many rows have a known label."""
        return self.whole.rows if self.whole is not None else self.reconcile().known

    @property
    def sampled(self) -> str:
        """Say what the rows are a sample of; empty where they are all."""
        if self.whole is None:
            return ""
        return f"on a sample of {self.rows.num_rows:,} of {self.whole.rows:,} rows (monitoring.max_rows)"


def labelled(
    predictions: Frame, labels: Frame, keys: Sequence[str], label: str, task: Task = TASKS["classification"]
) -> Frame:
    """Return predictions with the labels that they have.

    Args:
        predictions: Keys, `prediction`, `model_version`, `alias`, `as_of`; a key may stand several times, after a
            scoring was run again with a newer version: its first prediction is the one that was acted on. Several
            challengers may have scored a row: each is a prediction of its own.
        labels: Keys, label, `label_known_at`.
        keys: Entity keys and prediction time.
        label: The label's column.
        task: What is predicted; of several classes a label becomes the number of its class.
    """
    shadow = nw.when(nw.col("alias") == CHALLENGER).then(nw.col("model_version")).otherwise(0)
    apart = predictions.with_columns(shadow.alias(_SHADOW))
    first = apart.unique(subset=[*keys, "alias", _SHADOW], keep="first", order_by=["as_of", "model_version"])
    number = class_number(label, task.classes) if task.is_multiclass else nw.col(label).cast(nw.Float64)
    known = labels.select(*keys, number.alias(LABEL), LABEL_KNOWN_AT)
    return first.drop(_SHADOW).join(known, on=list(keys), how="left")


def looked_at_since(settings: UseCaseSettings, as_of: datetime) -> datetime:
    """Return the prediction time before which no label can come any more that would be judged now."""
    return Duration.parse(settings.monitoring.performance_window).before(settled_until(settings, as_of))


def settled_until(settings: UseCaseSettings, as_of: datetime) -> datetime:
    """Return up to which prediction time no label can come any more."""
    grace, horizon = Duration.parse(settings.monitoring.label_grace), Duration.parse(settings.label.horizon)
    return horizon.before(grace.before(as_of))


def labelled_predictions(
    context: StageContext, spine: LabelSpine, aliases: Sequence[str], facts: Sequence[str] = ()
) -> Frame:
    """Return what was predicted under aliases, with the labels known by `as_of`.

    Args:
        context: The run.
        spine: The label spine.
        aliases: Whose predictions.
        facts: Columns of the spine that come with them, as `slice_column` names them.
    """
    time, since = spine.prediction_time, looked_at_since(context.settings, context.as_of)
    keys = list(spine.primary_keys)
    labels = context.ws.frames.read(
        context.namespace.gold(LABELS),
        columns=[*keys, spine.label, LABEL_KNOWN_AT],
        filters=[(LABEL_KNOWN_AT, "<=", context.as_of), (time, ">", since)],
    )
    predictions = _predicted(context, spine, aliases, since)
    joined = labelled(predictions, labels, keys, spine.label, context.settings.kind_of_task)
    return with_facts(context, spine, joined, facts, since)


def acted_on(context: StageContext, spine: LabelSpine, since: datetime, facts: Sequence[str] = ()) -> Frame:
    """Return what champions predicted: of each row the first prediction, which is the one that was acted on.

    Args:
        context: The run.
        spine: The label spine.
        since: Only predictions of later times.
        facts: Columns of the spine that come with them, as `slice_column` names them.
    """
    predictions = _predicted(context, spine, [CHAMPION], since)
    first = predictions.unique(subset=list(spine.primary_keys), keep="first", order_by=["as_of", "model_version"])
    return with_facts(context, spine, first, facts, since)


def with_facts(context: StageContext, spine: LabelSpine, rows: Frame, facts: Sequence[str], since: datetime) -> Frame:
    """Return predictions with columns of the spine, as `slice_column` names them."""
    if not facts:
        return rows
    keys = list(spine.primary_keys)
    known = context.ws.frames.read(
        context.namespace.gold(SPINE), columns=[*keys, *facts], filters=[(spine.prediction_time, ">", since)]
    )
    named = known.select(*keys, *(nw.col(name).alias(slice_column(name)) for name in facts))
    return rows.join(named, on=keys, how="left")


def _predicted(context: StageContext, spine: LabelSpine, aliases: Sequence[str], since: datetime) -> Frame:
    """Return predictions under aliases that versions made of what they had not learned from."""
    time, task = spine.prediction_time, context.settings.kind_of_task
    predictions = context.ws.frames.read(
        context.namespace.gold(PREDICTIONS),
        columns=[*spine.primary_keys, *stored_columns(task), "model_version", "alias", "as_of", "run_id"],
        filters=[("alias", "in", list(aliases)), ("as_of", "<=", context.as_of), (time, ">", since)],
    )
    return with_numbers(_without_learned(context, predictions, time, since).drop("run_id"), task)


def slice_column(name: str) -> str:
    """Return under which name a column of the spine comes with the predictions."""
    return f"_slice_{name}"


def _without_learned(context: StageContext, predictions: Frame, time: str, since: datetime) -> Frame:
    """Leave out what was predicted by a version that had learned from it, or is from later: no performance."""
    # What is predicted was due by then: scorings before the first prediction time that is looked at made none of these.
    for record in context.log.all_records("score", since=since, until=context.as_of):
        through = record.details.get("learned_through")
        if record.details.get("trained_later"):
            predictions = predictions.filter(nw.col("run_id") != record.run_id)
        elif through:
            learned = (nw.col("run_id") == record.run_id) & (nw.col(time) <= parse_as_of(through))
            predictions = predictions.filter(~learned)
    return predictions


def _moment(time: datetime) -> pa.Scalar[Any]:
    return pa.scalar(time, pa.timestamp("us", tz="UTC"))
