"""The table of predictions: its columns, and how a model version's predictions get into it exactly once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import StageError
from mlplatform.features.training_set import PREDICTION
from mlplatform.joins import without_keys_of
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops.context import StageContext
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.feature_client import MATCHED
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.tables import Transaction
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.reasons import REASONS, reason_codes
from mlplatform.scoring.scorer import BatchScorer
from mlplatform.training import reference

PREDICTIONS = "predictions"
LATEST_PREDICTIONS = "latest_predictions"
UNMATCHED = "features_unmatched"
REASON_CODES = "reason_codes"


def prediction_schema(spine: LabelSpine) -> pa.Schema:
    """Return the schema of `gold_predictions`: one row per entity, prediction time and model version; append-only."""
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            *(column.field().with_nullable(False) for column in spine.key_columns),
            pa.field("model_version", pa.int64(), nullable=False),
            pa.field("alias", pa.string(), nullable=False, metadata={"comment": "As which the version scored"}),
            pa.field(PREDICTION, pa.float64(), nullable=False),
            pa.field(
                UNMATCHED,
                pa.list_(pa.field("element", pa.string())),  # as Delta names it, so that both declarations are alike
                metadata={"comment": "Feature tables that held no row for the keys as of the prediction time"},
            ),
            pa.field(
                REASON_CODES,
                REASONS,
                metadata={"comment": "Inputs that moved the prediction most; null: not asked for"},
            ),
            pa.field("as_of", moment, nullable=False, metadata={"comment": "Of the scoring run"}),
            pa.field("scored_at", moment, nullable=False, metadata={"comment": "Wall clock of the scoring"}),
            pa.field("run_id", pa.string(), nullable=False, metadata={"comment": "Of the scoring run"}),
        ]
    )


def create_tables(ws: Workspace, namespace: Namespace, spine: LabelSpine) -> None:
    """Create the table of predictions, and the view of the latest, where they are missing."""
    predictions = namespace.gold(PREDICTIONS)
    ws.tables.create(
        predictions,
        prediction_schema(spine),
        primary_keys=(*spine.primary_keys, "model_version"),
        timeseries_column=spine.prediction_time,
        description="One row an entity, prediction time and model version; append-only",
    )
    ws.tables.create_latest_view(
        namespace.gold(LATEST_PREDICTIONS),
        of=predictions,
        keys=spine.entity_keys,
        order_by=(spine.prediction_time, "as_of", "model_version"),
        where={"alias": CHAMPION},
        description="The champion's latest prediction for each entity",
    )


def mean_prediction(context: StageContext, version: ModelVersion) -> float | None:
    """Return the mean of a version's predictions at `as_of`; None without any."""
    rows = context.ws.tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        at_most=10**9,
        columns=[PREDICTION],
        filters=[("as_of", "=", context.as_of), ("model_version", "=", version.version)],
    )
    mean: float | None = pc.mean(rows.column(PREDICTION)).as_py()
    return mean


def unmatched(scored: pa.Table) -> pa.Array[Any]:
    """Return, for each scored row, the bare names of the feature tables that held no row for it.

    Args:
        scored: With the columns `matched:<table>` of `score_batch_arrow`.
    """
    columns = [name for name in scored.column_names if name.startswith(MATCHED)]
    missing = np.zeros((scored.num_rows, len(columns)), dtype=bool)
    for place, name in enumerate(columns):
        missing[:, place] = ~scored.column(name).to_numpy().astype(bool)
    tables = np.array([name.removeprefix(MATCHED).rpartition(".")[2] for name in columns], dtype=object)
    offsets = np.concatenate([[0], np.cumsum(missing.sum(axis=1))]).astype(np.int32)
    values = pa.array(tables[np.nonzero(missing)[1]] if columns else [], pa.string())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


@dataclass(frozen=True)
class Predictor:
    """Predicts rows with one model version, and appends the predictions chunk by chunk.

    Attributes:
        context: The run.
        spine: The label spine.
        scorer: How large a chunk is, and how many reasons are kept.
        version: The version.
        alias: As which it scores.
        trusted_types: Types beyond the platform's own allow-list that the model may hold.
        mark: Tells apart scorings of one time from several beginnings, whose chunks go by their keys; empty: chunks go
            by their number.
    """

    context: StageContext
    spine: LabelSpine
    scorer: BatchScorer
    version: ModelVersion
    alias: str
    trusted_types: tuple[str, ...] = ()
    mark: str = ""

    def predict(self, population: pa.Table) -> int:
        """Predict rows that have no prediction of this version yet; return how many were written."""
        wants_reasons = self.scorer.reason_codes > 0 and self.alias == CHAMPION and population.num_rows
        ordinary = reference.load(self.context.ws, self.version).ordinary() if wants_reasons else None
        written = 0
        for number, offset in enumerate(range(0, population.num_rows, self.scorer.chunk_rows)):
            chunk = population.slice(offset, self.scorer.chunk_rows)
            written += self._append(chunk, number, ordinary)
            done = offset + chunk.num_rows
            self.context.progress(f"{self.alias} scored {done} of {population.num_rows} rows")
            self.context.advance(done, population.num_rows)
        return written

    def _append(self, rows: pa.Table, number: int, ordinary: dict[str, Any] | None) -> int:
        tables, predictions = self.context.ws.tables, self.context.namespace.gold(PREDICTIONS)
        as_of = self.context.as_of.isoformat()
        place = f"{self.mark}:{self._digest(rows)}" if self.mark else str(number)
        once = Transaction(f"score:{self.version.version}:{self.alias}:{as_of}:{place}")
        if all(tables.committed(predictions, [once])):
            return 0
        new = self._not_scored_yet(rows)
        if not new.num_rows:
            return 0
        scored = self._scored(new, matches=True)
        if scored.num_rows != new.num_rows:
            raise StageError(
                f"{self.version.uri} scored {scored.num_rows} of {new.num_rows} rows.", hint="Report this."
            )
        return tables.append(predictions, self._frame(scored, ordinary), transactions=[once]).rows

    def _scored(self, rows: pa.Table, *, matches: bool = False) -> pa.Table:
        return self.context.ws.fe.score_batch_arrow(
            model_uri=self.version.uri, df=rows, matches=matches, trusted_types=self.trusted_types
        )

    def _digest(self, rows: pa.Table) -> str:
        """Return what a chunk is known by where the same time may be scored from several beginnings."""
        keys = rows.select(list(self.spine.primary_keys)).to_pylist()
        return hashlib.sha256(repr(keys).encode()).hexdigest()[:16]

    def _not_scored_yet(self, rows: pa.Table) -> pa.Table:
        keys, times = list(self.spine.primary_keys), rows.column(self.spine.prediction_time)
        existing = self.context.ws.tables.to_arrow(
            self.context.namespace.gold(PREDICTIONS),
            at_most=10**9,
            columns=keys,
            filters=[
                ("model_version", "=", self.version.version),
                (self.spine.prediction_time, ">=", pc.min(times).as_py()),
                (self.spine.prediction_time, "<=", pc.max(times).as_py()),
            ],
        )
        return without_keys_of(rows, existing, keys) if existing.num_rows else rows

    def _frame(self, scored: pa.Table, ordinary: dict[str, Any] | None) -> pa.Table:
        count, moment = scored.num_rows, pa.timestamp("us", tz="UTC")
        frame = scored.select([*self.spine.primary_keys, PREDICTION])
        for name, values in (
            ("model_version", pa.array([self.version.version] * count, pa.int64())),
            ("alias", pa.array([self.alias] * count, pa.string())),
            (UNMATCHED, unmatched(scored)),
            (REASON_CODES, self._reasons(scored, ordinary)),
            ("as_of", pa.array([self.context.as_of] * count, moment)),
            ("scored_at", pa.array([utc_now()] * count, moment)),
            ("run_id", pa.array([self.context.run_id] * count, pa.string())),
        ):
            frame = frame.append_column(name, values)
        return frame

    def _reasons(self, scored: pa.Table, ordinary: dict[str, Any] | None) -> pa.Array[Any]:
        if ordinary is None:
            return pa.nulls(scored.num_rows, REASONS)
        ours = [PREDICTION, *(name for name in scored.column_names if name.startswith(MATCHED))]

        def score(rows: pa.Table) -> np.ndarray[Any, np.dtype[np.float64]]:
            return np.asarray(self._scored(rows).column(PREDICTION).to_numpy(), dtype=np.float64)

        predictions = np.asarray(scored.column(PREDICTION).to_numpy(), dtype=np.float64)
        return reason_codes(score, scored.drop_columns(ours), predictions, ordinary, self.scorer.reason_codes)
