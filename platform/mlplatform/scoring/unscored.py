"""Rows that a model cannot predict: recorded with a reason, while the others get their predictions.

The same version is not asked about them again: it would fail again. What asks is `score --since`, which wants all rows
without a prediction, and another version, where it scores rows of their times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlplatform import stopping
from mlplatform.errors import PlatformError, StageError
from mlplatform.features.training_set import PREDICTION
from mlplatform.ops.declared_table import declare
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.tables import Transaction
from mlplatform.scoring.class_columns import is_predicted

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.naming import Namespace
    from mlplatform.ops.context import StageContext
    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.registry import ModelVersion
    from mlplatform.protocols.workspace import Workspace
    from mlplatform.refine.spine import LabelSpine
    from mlplatform.scoring.range import Range

UNSCORED = "unscored"
REASON = "reason"
MOST_UNSCORED = 10_000
"""Rows without a prediction, at most; of more, the scoring fails."""
MOST_ASKED = 10
"""Rows that are asked about one by one, for the model's own words."""
_ONE_IN, _FEW = 100, 10
_LONGEST = 500
_NOT_FINITE = "the model gives no finite number"


def most_unscored(rows: int) -> int:
    """Return how many of some rows may be without a prediction: one in a hundred, of few rows half, never all.

    Examples:
        >>> most_unscored(1), most_unscored(8), most_unscored(500), most_unscored(20_000)
        (0, 4, 10, 200)
    """
    return max(min(rows // 2, _FEW), min(rows // _ONE_IN, MOST_UNSCORED))


def table_schema(spine: LabelSpine) -> pa.Schema:
    """Return the schema of `gold_unscored`: one row an entity, prediction time, version and scoring; append-only."""
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            *(column.field().with_nullable(False) for column in spine.key_columns),
            pa.field("model_version", pa.int64(), nullable=False),
            pa.field("alias", pa.string(), nullable=False, metadata={"comment": "As which the version scored"}),
            pa.field(REASON, pa.string(), nullable=False, metadata={"comment": "Why it has no prediction"}),
            pa.field("as_of", moment, nullable=False, metadata={"comment": "Of the scoring run"}),
            pa.field("recorded_at", moment, nullable=False, metadata={"comment": "Wall clock of the scoring"}),
            pa.field("run_id", pa.string(), nullable=False, metadata={"comment": "Of the scoring run"}),
        ]
    )


def create_table(ws: Workspace, namespace: Namespace, spine: LabelSpine) -> None:
    """Create the table if it does not exist, or make it as wide as today's."""
    description = "Rows that a model could not predict, and why; append-only"
    declare(ws, namespace.gold(UNSCORED), table_schema(spine), description=description)


@dataclass(frozen=True)
class Unscored:
    """Rows that a version could not predict.

    Attributes:
        rows: How many.
        reasons: Why, for some of them; the same reason once.
    """

    rows: int = 0
    reasons: tuple[str, ...] = ()

    def sentence(self, version: int, total: int) -> str:
        """Return what whoever looks at the run should know."""
        return (
            f"{self.rows} of {total} row(s) have no prediction of version {version}: {'; '.join(self.reasons)}. They "
            f"are in gold_{UNSCORED}, with reasons; the version is asked about them again by score --since only."
        )


@dataclass(frozen=True)
class Failing:
    """Finds and records the rows that a version cannot predict.

    Attributes:
        context: The run.
        spine: The label spine.
        version: The version.
        alias: As which it scores.
        ask: Scores a few rows with it, each with all that was given at first; raises PlatformError.
    """

    context: StageContext
    spine: LabelSpine
    version: ModelVersion
    alias: str
    ask: Callable[[pa.Table], pa.Table]

    def known(self, within: Range) -> Frame | None:
        """Return the keys of the rows that the version is on record to have failed on; None: nothing is on record."""
        ws, name = self.context.ws, self.context.namespace.gold(UNSCORED)
        if not ws.tables.exists(name):
            return None
        filters = [("model_version", "=", self.version.version), *within.filters(self.spine.prediction_time)]
        return ws.frames.read(name, columns=self._keys, filters=filters)

    def before(self, rows: Frame) -> Unscored:
        """Return rows without a prediction that are on record already."""
        count = self.context.ws.frames.count(rows)
        return Unscored(count, ("as recorded before",)) if count else Unscored()

    def found(self, given: Frame, scored: Frame, total: int) -> Unscored:
        """Record the rows without a finite prediction.

        Args:
            given: The rows to score.
            scored: The same, scored; computed already.
            total: How many they are.

        Raises:
            StageError: If they are too many: then the model is broken, or what it is given. With the model's own words.
        """
        frames = self.context.ws.frames
        missing = scored.filter(~is_predicted(self.context.settings.kind_of_task))
        count = frames.count(missing)
        if not count:
            return Unscored()
        keys = missing.select(*self._keys)
        at_most = most_unscored(total)
        if count > at_most:
            example = frames.collect(given.join(keys.head(1), on=self._keys, how="semi"), at_most=1, what="such a row")
            raise StageError(
                f"{self.version.uri} cannot predict {count} of {total} row(s): {self._why(example)}.",
                hint=f"Nothing was written. Up to {at_most} of them would have been set aside: so many say that the "
                "model is broken, or what it is given. Look at the features of the newest rows; mlplatform rollback "
                f"{self.context.name} brings the champion before back.",
            )
        rows = frames.collect(keys, at_most=at_most, what="rows without a prediction").sort_by(self.spine.order)
        reasons = self._reasons(given, rows)
        self._record(rows, reasons)
        return Unscored(count, tuple(dict.fromkeys(reasons)))

    @property
    def _keys(self) -> list[str]:
        return list(self.spine.primary_keys)

    def _reasons(self, given: Frame, rows: pa.Table) -> list[str]:
        """Return a reason for each row: the first are asked about one by one."""
        frames = self.context.ws.frames
        asked = rows.slice(0, MOST_ASKED)
        whole = given.join(frames.of(asked.select(self._keys)), on=self._keys, how="semi")
        full = frames.collect(whole, at_most=MOST_ASKED, what="rows without a prediction").sort_by(self.spine.order)
        reasons = [self._why(full.slice(place, 1)) for place in range(full.num_rows)]
        left = rows.num_rows - len(reasons)
        return [*reasons, *[f"{_NOT_FINITE}, or fails (not asked alone)"] * left]

    def _why(self, row: pa.Table) -> str:
        """Ask about one row; return what is wrong with it."""
        try:
            answer = self.ask(row).column(PREDICTION)
        except PlatformError as error:
            stopping.check()
            return error.message.splitlines()[0][:_LONGEST]
        value = answer[0].as_py() if len(answer) else None
        if value is None or not np.isfinite(value).all():
            return f"{_NOT_FINITE}: {value}"
        return f"{_NOT_FINITE} beside other rows, and {value} alone"

    def _record(self, rows: pa.Table, reasons: Sequence[str]) -> None:
        """Append the rows, once for each scoring."""
        context, count = self.context, rows.num_rows
        ws, name = context.ws, context.namespace.gold(UNSCORED)
        create_table(ws, context.namespace, self.spine)
        columns: dict[str, pa.Array[Any]] = {
            "model_version": pa.array([self.version.version] * count, pa.int64()),
            "alias": pa.array([self.alias] * count),
            REASON: pa.array(reasons, pa.string()),
            "as_of": pa.array([context.as_of] * count, pa.timestamp("us", tz="UTC")),
            "recorded_at": pa.array([utc_now()] * count, pa.timestamp("us", tz="UTC")),
            "run_id": pa.array([context.run_id] * count),
        }
        for column, values in columns.items():
            rows = rows.append_column(column, values)
        fingerprint = ws.frames.fingerprint(ws.frames.of(rows), self._keys)
        # Before the predictions are: killed in between, the next run finds the same rows again, and this commit.
        once = Transaction(f"unscored:{self.version.version}:{self.alias}:{context.as_of.isoformat()}:{fingerprint}")
        ws.tables.append(name, rows, transactions=[once])
