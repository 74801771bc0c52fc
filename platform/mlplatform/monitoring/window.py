"""The window that is monitored: the champion's predictions of one stretch of prediction times."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings
from mlplatform.features.training_set import PREDICTION
from mlplatform.naming import CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.protocols.frames import Frame
from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.class_columns import number_columns, numbers, stored_columns, with_numbers
from mlplatform.scoring.predictions import PREDICTIONS, UNMATCHED
from mlplatform.statistics.metrics import Vector

_ROWS, _NEWEST, _MOST_VERSIONS, _SEED = "_rows", "_newest", 10_000, 0


@dataclass(frozen=True)
class Window:
    """The champion's predictions of one stretch of prediction times.

    Attributes:
        context: The run.
        frame: Keys, prediction (of several classes the probability of each, too), model version, unmatched feature
            tables; one row per key, of its newest scoring.
        keys: The keys.
        start: Prediction times after this.
        end: Prediction times up to this.
        rows: How many rows.
        version: The version that scored the newest of them; None without rows.
        rows_of_version: How many rows that version predicted.
        unmatched: Feature table -> rows for which it held nothing.
        loaded: Prediction and model version of all rows, where they are few; None: they stay in the engine.
    """

    context: StageContext
    frame: Frame
    keys: tuple[str, ...]
    start: datetime
    end: datetime
    rows: int
    version: int | None
    rows_of_version: int
    unmatched: Mapping[str, int]
    loaded: pa.Table | None = None

    @property
    def of_version(self) -> Frame:
        """The rows that the window's version predicted."""
        return self.frame.filter(nw.col("model_version") == self.version)

    def predictions(self) -> Vector:
        """Return what the window's version predicted, shape (rows,); of many rows a sample.

        Of several classes the probabilities, shape (rows, classes).
        """
        return self._predictions

    @cached_property
    def _predictions(self) -> Vector:
        task = self.context.settings.kind_of_task
        if self.loaded is not None:
            mine = pc.equal(self.loaded.column("model_version"), pa.scalar(self.version, pa.int64()))
            return numbers(self.loaded.filter(mine), task)
        limit, frame = self.context.settings.monitoring.max_rows, self.of_version
        if self.rows_of_version > limit:
            frame = self.context.ws.frames.sample(frame, keys=self.keys, at_most=limit, seed=_SEED)
        columns = dict.fromkeys([PREDICTION, *number_columns(task)])
        rows = self.context.ws.frames.collect(frame.select(*columns), at_most=limit, what="predictions of the window")
        return numbers(rows, task)


def length(settings: UseCaseSettings) -> Duration:
    """Return how long a window is."""
    return Duration.parse(settings.monitoring.window or settings.scoring.every)


def read_window(context: StageContext, spine: LabelSpine, end: datetime, *, tables: Collection[str] = ()) -> Window:
    """Return the window of prediction times that ends at a time, as it had been scored by then.

    Windows go by event time: a row that was scored later belongs to no later window. What is counted again gives what
    was counted first.

    Args:
        context: The run.
        spine: The label spine.
        end: The window's end.
        tables: Bare names of the feature tables whose matches are counted.
    """
    start = length(context.settings).before(end)
    time, keys, task = spine.prediction_time, spine.primary_keys, context.settings.kind_of_task
    predictions = context.ws.frames.read(
        context.namespace.gold(PREDICTIONS),
        columns=[*keys, *stored_columns(task), UNMATCHED, "model_version", "as_of"],
        filters=[("alias", "=", CHAMPION), ("as_of", "<=", end), (time, ">", start), (time, "<=", end)],
    )
    frame, of_prediction = with_numbers(_once_a_key(context, predictions, keys), task), number_columns(task)
    unmatched = {name: f"_unmatched_{place}" for place, name in enumerate(sorted(tables))}
    flags = [nw.col(UNMATCHED).list.contains(name).cast(nw.Int64).alias(column) for name, column in unmatched.items()]
    flagged = frame.select(*dict.fromkeys([PREDICTION, *of_prediction]), "model_version", "as_of", *flags)
    frames, limit = context.ws.frames, context.settings.monitoring.max_rows
    rows = frames.collect(flagged.head(limit), at_most=limit, what="predictions of the window")
    # An engine gives rows in any order, and the last bit of a mean is one of its order.
    rows = rows.sort_by([("model_version", "ascending"), *((name, "ascending") for name in of_prediction)])
    whole = rows.num_rows < limit
    counting = [
        nw.len().alias(_ROWS),
        nw.col("as_of").max().alias(_NEWEST),
        *(nw.col(column).sum() for column in unmatched.values()),
    ]
    if whole:
        counted = nw.from_native(rows, eager_only=True).group_by("model_version").agg(*counting).to_arrow()
    else:
        by_version = flagged.group_by("model_version").agg(*counting)
        counted = frames.collect(by_version, at_most=_MOST_VERSIONS, what="counts of the window")
    versions = counted.to_pylist()
    newest = max(versions, key=lambda row: (row[_NEWEST], row["model_version"]), default=None)
    return Window(
        context=context,
        frame=frame,
        keys=keys,
        start=start,
        end=end,
        rows=sum(row[_ROWS] for row in versions),
        version=newest["model_version"] if newest else None,
        rows_of_version=newest[_ROWS] if newest else 0,
        unmatched={name: sum(row[column] or 0 for row in versions) for name, column in unmatched.items()},
        loaded=rows if whole else None,
    )


def _once_a_key(context: StageContext, predictions: Frame, keys: tuple[str, ...]) -> Frame:
    """Return one prediction for each key: after a rescore by a newer champion it is the newer one's.

    One scoring predicts a row once. Comparing the rows all the same would cost more than all else of a large window.
    """
    scorings = predictions.select("as_of", "model_version").unique().head(2)
    if context.ws.frames.collect(scorings, at_most=2, what="the first scorings of the window").num_rows < 2:  # noqa: PLR2004
        return predictions
    return predictions.unique(subset=list(keys), keep="last", order_by=["as_of", "model_version"])
