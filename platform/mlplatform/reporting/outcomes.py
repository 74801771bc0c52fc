"""What was predicted, and what turned out: gold predictions joined with the labels known by a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlplatform.as_of import parse_as_of
from mlplatform.features.training_set import PREDICTION
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, LabelSpine
from mlplatform.scoring.predictions import PREDICTIONS

DECILES = 10
# A name of ours: a label column could be called as one of the predictions' columns.
_LABEL = "_label"
_NORMAL_95 = 1.959963984540054


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

    Attributes:
        rows: Rows in it.
        lowest: Smallest prediction.
        highest: Largest prediction.
        predicted: Mean prediction.
        observed: Mean label.
        low: Lower end of the 95% interval of the observed rate.
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
        deciles: The reliability curve; empty without known labels, and for regression.
        rows_known: Predictions whose label is known by now.
    """

    scored: tuple[ScoredStep, ...] = ()
    deciles: tuple[Decile, ...] = ()
    rows_known: int = 0


def read_outcomes(
    ws: Workspace, namespace: Namespace, spine: LabelSpine, task: str, until: datetime | None
) -> Outcomes:
    """Read predictions and known labels.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its label spine.
        task: `classification` or `regression`.
        until: Labels known later are not looked at; None looks at all.
    """
    name, keys = namespace.gold(PREDICTIONS), list(spine.primary_keys)
    if not ws.tables.exists(name):
        return Outcomes()
    predictions = ws.tables.to_arrow(
        name, at_most=10**9, columns=[*keys, PREDICTION, "as_of", "model_version"], filters=[("alias", "=", CHAMPION)]
    )
    if not predictions.num_rows:
        return Outcomes()
    labelled = _with_labels(ws, namespace, spine, predictions, until)
    return Outcomes(
        scored=_by_step(predictions, labelled),
        deciles=deciles(labelled.column(PREDICTION), labelled.column(_LABEL)) if task == "classification" else (),
        rows_known=labelled.num_rows,
    )


def deciles(predictions: pa.ChunkedArray[Any], labels: pa.ChunkedArray[Any]) -> tuple[Decile, ...]:
    """Return the reliability curve: equal predictions stay together, so that bins can be fewer than ten.

    Args:
        predictions: Probabilities, shape (rows,); values that are not finite are left out.
        labels: 0 or 1, shape (rows,).

    Examples:
        >>> both = pa.chunked_array([[0.25, 0.25, 0.75, 0.75]]), pa.chunked_array([[0.0, 0.0, 1.0, 0.0]])
        >>> [(bin.rows, bin.predicted, bin.observed) for bin in deciles(*both)]
        [(2, 0.25, 0.0), (2, 0.75, 0.5)]
    """
    scores, truth = _floats(predictions), _floats(labels)
    usable = np.isfinite(scores) & np.isfinite(truth)
    scores, truth = scores[usable], truth[usable]
    if not scores.size:
        return ()
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, DECILES + 1)[1:-1]))
    index = np.searchsorted(edges, scores, side="right")
    bins = []
    for place in np.unique(index):
        mine = index == place
        rows, observed = int(mine.sum()), float(truth[mine].mean())
        low, high = wilson(observed, rows)
        inside = scores[mine]
        bins.append(Decile(rows, float(inside.min()), float(inside.max()), float(inside.mean()), observed, low, high))
    return tuple(bins)


def wilson(rate: float, rows: int) -> tuple[float, float]:
    """Return the 95% score interval of a rate (Wilson, "Probable Inference", JASA 1927): sound for rare events too.

    Examples:
        >>> [round(end, 3) for end in wilson(0.0, 10)]
        [0.0, 0.278]
    """
    square = _NORMAL_95**2
    center = (rate + square / (2 * rows)) / (1 + square / rows)
    half = _NORMAL_95 * math.sqrt(rate * (1 - rate) / rows + square / (4 * rows**2)) / (1 + square / rows)
    return max(0.0, center - half), min(1.0, center + half)


def _with_labels(
    ws: Workspace, namespace: Namespace, spine: LabelSpine, predictions: pa.Table, until: datetime | None
) -> pa.Table:
    name, keys = namespace.gold(LABELS), list(spine.primary_keys)
    # Scored twice (after a rescore with a newer champion): the first prediction is the one that was acted on.
    first = predictions.sort_by([("as_of", "ascending"), ("model_version", "ascending")])
    first = first.group_by(keys, use_threads=False).aggregate([(PREDICTION, "first"), ("as_of", "first")])
    first = first.rename_columns([*keys, PREDICTION, "as_of"])
    if ws.tables.exists(name):
        filters = [(LABEL_KNOWN_AT, "<=", until)] if until is not None else []
        labels = ws.tables.to_arrow(name, at_most=10**9, columns=[*keys, spine.label], filters=filters)
    else:
        labels = predictions.schema.empty_table().select(keys).append_column(spine.label, pa.array([], pa.float64()))
    labels = labels.set_column(labels.num_columns - 1, _LABEL, labels.column(spine.label).cast(pa.float64()))
    return first.join(labels, keys=keys, join_type="inner")


def _by_step(predictions: pa.Table, labelled: pa.Table) -> tuple[ScoredStep, ...]:
    turned_out = {
        row["as_of"]: row
        for row in labelled.group_by("as_of").aggregate([(_LABEL, "count"), (_LABEL, "mean")]).to_pylist()
    }
    steps = predictions.group_by("as_of").aggregate(
        [(PREDICTION, "count"), (PREDICTION, "mean"), ("model_version", "distinct")]
    )
    scored = []
    for row in steps.sort_by("as_of").to_pylist():
        outcome = turned_out.get(row["as_of"], {})
        scored.append(
            ScoredStep(
                as_of=parse_as_of(row["as_of"]),
                rows=row[f"{PREDICTION}_count"],
                mean=row[f"{PREDICTION}_mean"],
                versions=tuple(sorted(row["model_version_distinct"])),
                rows_known=outcome.get(f"{_LABEL}_count", 0),
                observed=outcome.get(f"{_LABEL}_mean"),
            )
        )
    return tuple(scored)


def _floats(column: pa.ChunkedArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
