"""The window that is monitored: the champion's predictions of one stretch of prediction times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration
from mlplatform.config.settings import UseCaseSettings
from mlplatform.features.training_set import PREDICTION
from mlplatform.naming import CHAMPION
from mlplatform.ops.context import StageContext
from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.predictions import PREDICTIONS, UNMATCHED


@dataclass(frozen=True)
class Window:
    """The champion's predictions of one stretch of prediction times.

    Attributes:
        rows: Keys, prediction, model version, unmatched feature tables; one row per key, of its newest scoring.
        start: Prediction times after this.
        end: Prediction times up to this.
        version: The version that scored the newest of them; None without rows.
    """

    rows: pa.Table
    start: datetime
    end: datetime
    version: int | None

    def of_version(self) -> pa.Table:
        """Return the rows that the window's version predicted."""
        return self.rows.filter(pc.equal(self.rows.column("model_version"), pa.scalar(self.version, pa.int64())))


def length(settings: UseCaseSettings) -> Duration:
    """Return how long a window is."""
    return Duration.parse(settings.monitoring.window or settings.scoring.every)


def read_window(context: StageContext, spine: LabelSpine, end: datetime) -> Window:
    """Return the window of prediction times that ends at a time, as it had been scored by then.

    Windows go by event time: a row that was scored later belongs to no later window. What is counted again gives what
    was counted first.
    """
    start = length(context.settings).before(end)
    time, keys = spine.prediction_time, list(spine.primary_keys)
    rows = context.ws.tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        at_most=10**9,
        columns=[*keys, PREDICTION, UNMATCHED, "model_version", "as_of"],
        filters=[("alias", "=", CHAMPION), ("as_of", "<=", end), (time, ">", start), (time, "<=", end)],
    )
    if not rows.num_rows:
        return Window(rows, start, end, None)
    # After a rescore by a newer champion it is the newer one's rows that count.
    rows = rows.append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    order = rows.select([*keys, "as_of", "model_version", "_row"])
    order = order.sort_by([("as_of", "ascending"), ("model_version", "ascending")])
    last = order.group_by(keys, use_threads=False).aggregate([("_row", "last"), ("model_version", "last")])
    kept = rows.take(last.column("_row_last").combine_chunks().sort()).drop_columns(["_row"])
    return Window(kept, start, end, order.column("model_version")[-1].as_py())
