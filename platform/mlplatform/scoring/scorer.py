"""Whom to score, and how predictions are kept."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.reasons import REASONS

PREDICTIONS = "predictions"
LATEST_PREDICTIONS = "latest_predictions"
PREDICTION = "prediction"
UNMATCHED = "features_unmatched"
REASON_CODES = "reason_codes"


class BatchScorer:
    """Base class of a use case's batch scoring; the default scores every spine row whose time has come.

    Attributes:
        chunk_rows: Rows scored at a time; bounds memory.
        reason_codes: So many of the inputs that moved a prediction most are kept with it; 0: none. Costs one more
            prediction for each input of each row.
    """

    chunk_rows: ClassVar[int] = 200_000
    reason_codes: ClassVar[int] = 0

    def population(self, spine_rows: pa.Table) -> pa.Table:
        """Return the rows to score.

        Args:
            spine_rows: The spine's rows whose prediction time lies in (previous as_of, as_of].
        """
        return spine_rows


def prediction_schema(spine: LabelSpine) -> pa.Schema:
    """Return the schema of `gold_predictions`: one row an entity, prediction time and model version; append-only."""
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
