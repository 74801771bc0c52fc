"""What was predicted, and what turned out: gold predictions joined with the labels known by a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlplatform.as_of import parse_as_of
from mlplatform.features.training_set import PREDICTION
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.class_labels import class_number
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, LabelSpine
from mlplatform.scoring.class_columns import number_columns, stored_columns, with_numbers
from mlplatform.scoring.predictions import PREDICTIONS
from mlplatform.statistics.class_totals import predicted
from mlplatform.statistics.intervals import NORMAL, Interval, wilson
from mlplatform.statistics.quantile_metrics import covered
from mlplatform.task import Task, task_of

DECILES = 10
MOST_ROWS = 200_000
"""How many rows are taken into memory at most."""
# A name of ours: a label column could be called as one of the predictions' columns.
_LABEL, _PREDICTED = "_label", "_predicted"
_MOST_STEPS = 100_000


@dataclass(frozen=True)
class ScoredStep:
    """The rows that the champion scored at one step, and what is known of them by now.

    Attributes:
        as_of: The step.
        rows: Rows scored.
        mean: Mean prediction.
        versions: The model versions that scored them, ascending.
        rows_known: How many of them have a known label.
        observed: Mean label of those; None where none is known.
    """

    as_of: datetime
    rows: int
    mean: float
    versions: tuple[int, ...]
    rows_known: int = 0
    observed: float | None = None


@dataclass(frozen=True)
class Decile:
    """One bin of the reliability curve: rows of about equal number, by rising prediction.

    Of a quantile what is observed is the share of labels at or below their predictions; of several classes the
    prediction is the probability of the predicted one, and what is observed is how often it was right.

    Attributes:
        rows: Rows in it.
        lowest: Smallest prediction.
        highest: Largest prediction.
        predicted: Mean prediction.
        observed: Mean label, or the share.
        low: Lower end of the 95% interval of what is observed.
        high: Its upper end.
    """

    rows: int
    lowest: float
    highest: float
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcomes:
    """What gold says.

    Attributes:
        scored: One entry for each step at which the champion scored rows, oldest first.
        deciles: The reliability curve; empty without known labels, and where predictions are not watched on the whole.
        rows_known: Predictions whose label is known by now.
    """

    scored: tuple[ScoredStep, ...] = ()
    deciles: tuple[Decile, ...] = ()
    rows_known: int = 0


def read_outcomes(
    ws: Workspace,
    namespace: Namespace,
    spine: LabelSpine,
    task: Task | str,
    until: datetime | None,
    *,
    most: int = MOST_ROWS,
) -> Outcomes:
    """Read predictions and known labels, as counts and means; of few rows the rows themselves.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its label spine.
        task: The task, or its name.
        until: Labels known later are not looked at; None looks at all.
        most: How many rows are taken into memory. The bins of more are cut by a sample of so many, and counted whole.
    """
    name, keys = namespace.gold(PREDICTIONS), list(spine.primary_keys)
    if not ws.tables.exists(name):
        return Outcomes()
    task = task_of(task)
    columns = [*keys, *stored_columns(task), "as_of", "model_version"]
    predictions = _as_one_number(ws.frames.read(name, columns=columns, filters=[("alias", "=", CHAMPION)]), task)
    counted = predictions.group_by("as_of", "model_version").agg(
        nw.len().alias("rows"), nw.col(PREDICTION).sum().alias("sum")
    )
    steps = ws.frames.collect(counted, at_most=_MOST_STEPS, what="predictions by step")
    if not steps.num_rows:
        return Outcomes()
    if not ws.tables.exists(namespace.gold(LABELS)):
        return Outcomes(scored=_by_step(steps, None))
    labelled = _with_labels(ws, namespace, spine, predictions, until, task)
    found = ws.frames.collect(labelled.head(most), at_most=most, what="predictions whose label is known")
    rows: Frame = labelled if found.num_rows == most else ws.frames.of(found)
    turned_out = rows.group_by("as_of").agg(nw.len().alias("rows"), nw.col(_LABEL).sum().alias("sum"))
    known = ws.frames.collect(turned_out, at_most=_MOST_STEPS, what="labels by step") if found.num_rows else None
    bins: tuple[Decile, ...] = ()
    if task.level_is_watched:
        few = found.num_rows < most
        bins = (
            deciles(found.column(PREDICTION), found.column(_LABEL), task)
            if few
            else _counted_deciles(ws, labelled, keys, most, task)
        )
    return Outcomes(
        scored=_by_step(steps, known),
        deciles=bins,
        rows_known=sum(cast("list[int]", known.column("rows").to_pylist())) if known is not None else 0,
    )


def deciles(
    predictions: pa.ChunkedArray[Any], labels: pa.ChunkedArray[Any], task: Task | str = "classification"
) -> tuple[Decile, ...]:
    """Return the reliability curve: equal predictions stay together, so that bins can be fewer than ten.

    Args:
        predictions: Shape (rows,); values that are not finite are left out.
        labels: Shape (rows,).
        task: The task, or its name.

    Examples:
        >>> both = pa.chunked_array([[0.25, 0.25, 0.75, 0.75]]), pa.chunked_array([[0.0, 0.0, 1.0, 0.0]])
        >>> [(bin.rows, bin.predicted, bin.observed) for bin in deciles(*both)]
        [(2, 0.25, 0.0), (2, 0.75, 0.5)]
    """
    scores, truth, task = _floats(predictions), _floats(labels), task_of(task)
    usable = np.isfinite(scores) & np.isfinite(truth)
    scores, truth = scores[usable], truth[usable]
    if not scores.size:
        return ()
    outcome = covered(truth, scores) if task.predicts_quantile else truth
    index = np.searchsorted(_edges(scores), scores, side="right")
    bins = []
    for place in np.unique(index):
        mine = index == place
        rows, observed = int(mine.sum()), float(outcome[mine].mean())
        low, high = _ends(task, rows, observed, float((outcome[mine] ** 2).mean()))
        inside = scores[mine]
        bins.append(Decile(rows, float(inside.min()), float(inside.max()), float(inside.mean()), observed, low, high))
    return tuple(bins)


def _as_one_number(predictions: Frame, task: Task) -> Frame:
    """Return predictions as a number: of several classes the probability of the predicted one, beside which it is."""
    if not task.is_multiclass:
        return predictions
    columns = number_columns(task)
    return (
        with_numbers(predictions, task)
        .with_columns(predicted(columns).alias(_PREDICTED), nw.max_horizontal(*map(nw.col, columns)).alias(PREDICTION))
        .drop(*columns)
    )


def _with_labels(
    ws: Workspace, namespace: Namespace, spine: LabelSpine, predictions: Frame, until: datetime | None, task: Task
) -> Frame:
    keys = list(spine.primary_keys)
    # Scored twice (after a rescore with a newer champion): the first prediction is the one that was acted on.
    first = predictions.unique(subset=keys, keep="first", order_by=["as_of", "model_version"])
    filters: list[Filter] = [(LABEL_KNOWN_AT, "<=", until)] if until is not None else []
    labels = ws.frames.read(namespace.gold(LABELS), columns=[*keys, spine.label], filters=filters)
    if task.is_multiclass:
        known = labels.select(*keys, class_number(spine.label, task.classes).alias(_LABEL))
        right = (nw.col(_LABEL) == nw.col(_PREDICTED)).cast(nw.Float64).alias(_LABEL)
        return first.join(known, on=keys, how="inner").select(*keys, PREDICTION, "as_of", right)
    known = labels.select(*keys, nw.col(spine.label).cast(nw.Float64).alias(_LABEL))
    return first.join(known, on=keys, how="inner").select(*keys, PREDICTION, "as_of", _LABEL)


def _ends(task: Task, rows: int, mean: float, square: float) -> Interval:
    """Return the 95% interval of what is observed in a bin, from its mean and that of its squares."""
    if not task.predicts_counts:
        return wilson(mean, rows)
    # Counts may vary more than a Poisson distribution says.
    half = NORMAL * float(np.sqrt(max(0.0, square - mean**2) / max(1, rows - 1)))
    return max(0.0, mean - half), mean + half


def _counted_deciles(ws: Workspace, labelled: Frame, keys: Sequence[str], most: int, task: Task) -> tuple[Decile, ...]:
    """Return the reliability curve of more rows than are taken into memory: its bins are cut by a sample of them."""
    usable = labelled.filter(nw.col(PREDICTION).is_finite() & nw.col(_LABEL).is_finite())
    sample = ws.frames.collect(
        ws.frames.sample(usable, keys=keys, at_most=most, seed=0), at_most=most, what="a sample of predictions"
    )
    if not sample.num_rows:
        return ()
    place = nw.lit(0)
    for edge in _edges(_floats(sample.column(PREDICTION))):
        place = place + (nw.col(PREDICTION) >= float(edge)).cast(nw.Int64)
    label = nw.col(_LABEL)
    outcome = (label <= nw.col(PREDICTION)).cast(nw.Float64) if task.predicts_quantile else label
    binned = usable.select(PREDICTION, outcome.alias(_LABEL), place.alias("place")).group_by("place")
    counted = binned.agg(
        nw.len().alias("rows"),
        nw.col(PREDICTION).min().alias("lowest"),
        nw.col(PREDICTION).max().alias("highest"),
        nw.col(PREDICTION).mean().alias("predicted"),
        label.mean().alias("observed"),
        (label * label).mean().alias("square"),
    )
    rows = ws.frames.collect(counted, at_most=DECILES, what="deciles of predictions").sort_by("place")
    bins = []
    for row in rows.drop_columns(["place"]).to_pylist():
        low, high = _ends(task, row["rows"], row["observed"], row.pop("square"))
        bins.append(Decile(**row, low=low, high=high))
    return tuple(bins)


def _edges(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.unique(np.quantile(scores, np.linspace(0, 1, DECILES + 1)[1:-1]))


def _by_step(predictions: pa.Table, known: pa.Table | None) -> tuple[ScoredStep, ...]:
    turned_out = {row["as_of"]: row for row in known.to_pylist()} if known is not None else {}
    steps: dict[datetime, list[dict[str, Any]]] = {}
    for row in predictions.sort_by([("as_of", "ascending"), ("model_version", "ascending")]).to_pylist():
        steps.setdefault(row["as_of"], []).append(row)
    scored = []
    for as_of, rows in steps.items():
        outcome, count = turned_out.get(as_of), sum(row["rows"] for row in rows)
        scored.append(
            ScoredStep(
                as_of=parse_as_of(as_of),
                rows=count,
                mean=sum(row["sum"] for row in rows) / count,
                versions=tuple(row["model_version"] for row in rows),
                rows_known=outcome["rows"] if outcome else 0,
                observed=outcome["sum"] / outcome["rows"] if outcome else None,
            )
        )
    return tuple(scored)


def _floats(column: pa.ChunkedArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
