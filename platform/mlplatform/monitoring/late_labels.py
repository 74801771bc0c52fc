"""Predictions and the labels that come later: which are known, which may still come, which never will."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.features.training_set import PREDICTION
from mlplatform.naming import CHALLENGER
from mlplatform.ops.context import StageContext
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, LabelSpine
from mlplatform.scoring.details import ScoreDetails
from mlplatform.scoring.predictions import PREDICTIONS
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
        return _versions(self.rows)

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


def looked_at_since(settings: UseCaseSettings, as_of: datetime) -> datetime:
    """Return the prediction time before which no label can come any more that would be judged now."""
    return Duration.parse(settings.monitoring.performance_window).before(_settled(settings, as_of))


def _settled(settings: UseCaseSettings, as_of: datetime) -> datetime:
    grace, horizon = Duration.parse(settings.monitoring.label_grace), Duration.parse(settings.label.horizon)
    return horizon.before(grace.before(as_of))


def predictions_with_labels(context: StageContext, spine: LabelSpine, alias: str) -> Judged:
    """Return what was predicted under an alias, with the labels known by `as_of`."""
    tables, as_of = context.ws.tables, context.as_of
    settled, since = _settled(context.settings, as_of), looked_at_since(context.settings, as_of)
    keys, time = list(spine.primary_keys), spine.prediction_time
    predictions = tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        at_most=10**9,
        columns=[*keys, PREDICTION, "model_version", "as_of", "run_id"],
        filters=[("alias", "=", alias), ("as_of", "<=", as_of), (time, ">", since)],
    )
    predictions = _without_learned(context, predictions, time).drop_columns(["run_id"])
    labels = tables.to_arrow(
        context.namespace.gold(LABELS),
        at_most=10**9,
        columns=[*keys, spine.label, LABEL_KNOWN_AT],
        filters=[(LABEL_KNOWN_AT, "<=", as_of), (time, ">", since)],
    )
    if alias == CHALLENGER:
        # Several challengers may have scored a row: each is a prediction of its own.
        versions = predictions.column("model_version")
        parts = [predictions.filter(pc.equal(versions, pa.scalar(version))) for version in _versions(predictions)]
        joined = [join_labels(part, labels, keys, time, as_of, settled) for part in parts]
        if joined:
            return replace(joined[0], rows=pa.concat_tables([item.rows for item in joined]))
    return join_labels(predictions, labels, keys, time, as_of, settled)


def _versions(predictions: pa.Table) -> list[int]:
    return sorted(set(cast("list[int]", predictions.column("model_version").to_pylist())))


def _without_learned(context: StageContext, predictions: pa.Table, time: str) -> pa.Table:
    """Leave out what was predicted long after its time by a version that had learned from it: no performance."""
    for run in context.log.runs_of("score", ScoreDetails):
        through = run.details.learned_through
        if through:
            moment = pa.scalar(parse_as_of(through), predictions.schema.field(time).type)
            of_run = pc.equal(predictions.column("run_id"), pa.scalar(run.run_id))
            learned = pc.and_(of_run, pc.less_equal(predictions.column(time), moment))
            predictions = predictions.filter(pc.invert(learned))
    return predictions


def _moment(time: datetime) -> pa.Scalar[Any]:
    return pa.scalar(time, pa.timestamp("us", tz="UTC"))
