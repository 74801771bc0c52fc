"""The table of predictions: its columns, and how a model version's predictions get into it exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import narwhals as nw
import pyarrow as pa

from mlplatform.errors import StageError
from mlplatform.features.reasons import REASONS
from mlplatform.features.scoring import UNMATCHED_TABLES
from mlplatform.features.training_set import PREDICTION
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace
from mlplatform.ops.context import StageContext
from mlplatform.ops.declared_table import declare
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols import feature_client
from mlplatform.protocols.feature_client import ReasonCodes
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.tables import Transaction, Where
from mlplatform.protocols.workspace import Workspace
from mlplatform.refine.spine import LabelSpine
from mlplatform.scoring.class_columns import (
    as_stored,
    check_order,
    is_predicted,
    number_columns,
    prediction_fields,
    stored_columns,
    with_numbers,
)
from mlplatform.scoring.range import Range
from mlplatform.scoring.scorer import BatchScorer, scores_all
from mlplatform.scoring.unscored import Failing, Unscored
from mlplatform.task import Task
from mlplatform.training import reference

PREDICTIONS = "predictions"
DECIDED = "decided"
DECIDING: tuple[Where, ...] = ({DECIDED: True}, {DECIDED: None, "alias": CHAMPION})
"""Which predictions are acted on."""
CANARY = "canary"
"""The mark of a scoring of the entities for which the challenger decides."""
SINCE = "since"
"""The mark of a scoring of all rows without a prediction since a time."""
LATEST_PREDICTIONS = "latest_predictions"
UNMATCHED = feature_client.UNMATCHED
REASON_CODES = feature_client.REASON_CODES


def prediction_schema(spine: LabelSpine) -> pa.Schema:
    """Return the schema of `gold_predictions`: one row per entity, prediction time and model version; append-only."""
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            *(column.field().with_nullable(False) for column in spine.key_columns),
            pa.field("model_version", pa.int64(), nullable=False),
            pa.field("alias", pa.string(), nullable=False, metadata={"comment": "As which the version scored"}),
            *prediction_fields(spine.settings.kind_of_task),
            pa.field(
                DECIDED,
                pa.bool_(),
                metadata={
                    "comment": "Whether it is acted on: the challenger's for entities of a canary, else the "
                    "champion's; null: by a release before there were canaries, the champion's is"
                },
            ),
            pa.field(
                UNMATCHED,
                UNMATCHED_TABLES,
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
    """Create the table of predictions, or make it as wide as today's, and the view of the latest."""
    predictions = namespace.gold(PREDICTIONS)
    if ws.tables.exists(predictions):
        check_order(ws.tables.describe(predictions).schema, spine.settings.kind_of_task)
    declare(
        ws,
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
        where=DECIDING,
        description="The latest prediction for each entity that is acted on",
    )


def mean_prediction(context: StageContext, version: ModelVersion) -> float | None:
    """Return the mean of a version's predictions at `as_of`; None without any.

    Of several classes that of the largest probability.
    """
    frames, task = context.ws.frames, context.settings.kind_of_task
    rows = frames.read(
        context.namespace.gold(PREDICTIONS),
        columns=stored_columns(task),
        filters=[("as_of", "=", context.as_of), ("model_version", "=", version.version)],
    )
    if task.is_multiclass:
        largest = nw.max_horizontal(*map(nw.col, number_columns(task)))
        rows = with_numbers(rows, task).select(largest.alias(PREDICTION))
    mean = frames.collect(rows.select(nw.col(PREDICTION).mean()), at_most=1, what="the mean prediction")
    value: float | None = mean.column(PREDICTION)[0].as_py()
    return value


@dataclass(frozen=True)
class Predicted:
    """What came of predicting some rows.

    Attributes:
        rows: How many predictions were written.
        unscored: The rows that could not be predicted.
    """

    rows: int = 0
    unscored: Unscored = field(default_factory=Unscored)

    @property
    def total(self) -> int:
        """How many rows had no prediction before."""
        return self.rows + self.unscored.rows

    def beside(self, other: Predicted) -> Predicted:
        """Return both together."""
        unscored = self.unscored
        if other.unscored.rows:
            reasons = dict.fromkeys((*unscored.reasons, *other.unscored.reasons))
            unscored = Unscored(unscored.rows + other.unscored.rows, tuple(reasons))
        return Predicted(self.rows + other.rows, unscored)


@dataclass(frozen=True)
class Predictor:
    """Predicts rows with one model version, and appends the predictions in one commit.

    Attributes:
        context: The run.
        spine: The label spine.
        scorer: How many reasons are kept, and how many rows are scored at once.
        version: The version.
        alias: As which it scores.
        trusted_types: Types beyond the platform's own allow-list that the model may hold.
        mark: Tells apart scorings of one time that may have the same rows, and are all to be made; empty for the
            ordinary one.
        decides: Whether its predictions are acted on; None: but for rows for which a canary has decided.
        decided_by_canary: The rows for which it has, or would have; None: those that the table holds at this time.
    """

    context: StageContext
    spine: LabelSpine
    scorer: BatchScorer
    version: ModelVersion
    alias: str
    trusted_types: tuple[str, ...] = ()
    mark: str = ""
    decides: bool | None = True
    decided_by_canary: Frame | None = None

    def predict(self, population: Frame, within: Range) -> Predicted:
        """Predict rows that have no prediction of this version yet; those that it cannot predict are recorded as such.

        Exactly once: the commit counts as the rows that were to be scored, whoever asked for them, and rows that have a
        prediction already, as of a run that was killed or of an earlier release, are left out.

        Args:
            population: The rows, computed already.
            within: Their prediction times.

        Raises:
            StageError: If the use case's choice of rows repeats some of them, or the version cannot predict too many.
        """
        context, frames = self.context, self.context.ws.frames
        predictions, keys = context.namespace.gold(PREDICTIONS), list(self.spine.primary_keys)
        self._require_once(population, keys)
        once = self._transaction(frames.fingerprint(population, keys))
        failing = Failing(context, self.spine, self.version, self.alias, self._ask)
        known = failing.known(within)
        committed = all(context.ws.tables.committed(predictions, [once]))
        if committed and known is None:
            return Predicted()
        existing = frames.read(
            predictions,
            columns=keys,
            filters=[("model_version", "=", self.version.version), *within.filters(self.spine.prediction_time)],
        )
        new = population.join(existing, on=keys, how="anti")
        if known is None:
            return self._score(new, failing, once)
        fresh = Predicted() if committed else self._score(new.join(known, on=keys, how="anti"), failing, once)
        before = new.join(known, on=keys, how="semi")
        if self.mark == SINCE:
            return fresh.beside(self._score(before, failing, once, known=True))
        # The same version fails on the same rows.
        return fresh.beside(Predicted(unscored=failing.before(before)))

    def _score(self, new: Frame, failing: Failing, once: Transaction, *, known: bool = False) -> Predicted:
        """Predict rows; `known` are those on record as unscored by this version, which may fail once more."""
        context, frames = self.context, self.context.ws.frames
        predictions, total = context.namespace.gold(PREDICTIONS), frames.count(new)
        if not total:
            return Predicted()
        self._progress(0, total)
        with (
            context.ws.fe.score_frame(
                model_uri=self.version.uri,
                frame=new,
                keys=[column for column, _ in self.spine.order],
                reasons=self._reason_codes(),
                trusted_types=self.trusted_types,
                batch_rows=self.scorer.chunk_rows,
                done=lambda rows: self._progress(rows, total),
                all_may_fail=known,
                classes=self._task.classes,
            ) as computing,
            frames.staged(computing) as scored,
        ):
            has_one = is_predicted(self._task)
            unscored = failing.before(scored.filter(~has_one)) if known else failing.found(new, scored, total)
            rows = scored.filter(has_one) if unscored.rows else scored
            if known:
                # Asked again and again, until they have a prediction: it counts as the rows that got one.
                keys = list(self.spine.primary_keys)
                once = replace(once, app_id=f"{once.app_id}:known:{frames.fingerprint(rows, keys)}")
            written = context.ws.tables.append(predictions, self._stamped(rows), transactions=[once])
        if not written.skipped and written.rows + unscored.rows != total:
            raise StageError(f"{self.version.uri} scored {written.rows} of {total} rows.", hint="Report this.")
        self._progress(total, total)
        return Predicted(written.rows, unscored)

    def _ask(self, rows: pa.Table) -> pa.Table:
        """Score a few rows once more, beside each other only."""
        fe = self.context.ws.fe
        return fe.score_batch_arrow(
            model_uri=self.version.uri, df=rows, trusted_types=self.trusted_types, classes=self._task.classes
        )

    @property
    def _task(self) -> Task:
        return self.context.settings.kind_of_task

    def _require_once(self, population: Frame, keys: list[str]) -> None:
        """Raise StageError where rows stand several times; the spine's own are one for each key."""
        if scores_all(self.scorer):
            return
        several = population.group_by(keys).agg(nw.len().alias("__rows")).filter(nw.col("__rows") > 1)
        if repeated := self.context.ws.frames.count(several):
            raise StageError(
                f"{type(self.scorer).__name__}.population returns the rows of {repeated} key(s) ({', '.join(keys)}) "
                "several times; nothing was scored.",
                hint="It returns each of the rows that it chooses once: a join with a table that has several rows for "
                'a key repeats them; join with how="left_semi", or end with dropDuplicates([...]).',
            )

    def _transaction(self, rows: str) -> Transaction:
        as_of = self.context.as_of.isoformat()
        return Transaction(f"score:{self.version.version}:{self.alias}:{as_of}:{self.mark}:{rows}")

    def _progress(self, rows: int, total: int) -> None:
        self.context.progress(f"{self.alias} scored {rows} of {total} rows")
        self.context.advance(rows, total)

    def _reason_codes(self) -> ReasonCodes | None:
        if self.scorer.reason_codes <= 0 or self.decides is False:
            return None
        ordinary = reference.load(self.context.ws, self.version).ordinary()
        return ReasonCodes(ordinary, self.scorer.reason_codes)

    def _stamped(self, scored: Frame) -> Frame:
        """Return scored rows as the table holds them."""
        return as_stored(self._told_what_decides(scored), self._task).with_columns(
            nw.lit(self.version.version).cast(nw.Int64()).alias("model_version"),
            nw.lit(self.alias).alias("alias"),
            nw.lit(self.context.as_of).alias("as_of"),
            nw.lit(utc_now()).alias("scored_at"),
            nw.lit(self.context.run_id).alias("run_id"),
        )

    def _told_what_decides(self, scored: Frame) -> Frame:
        """Return scored rows with whether their predictions are acted on."""
        if self.decides is not None:
            return scored.with_columns(nw.lit(self.decides).alias(DECIDED))
        keys, taken = list(self.spine.primary_keys), "__taken"
        rows = self.decided_by_canary if self.decided_by_canary is not None else decided_by_canary(self.context, keys)
        marked = rows.select(*keys, nw.lit(1).alias(taken))
        free = nw.when(nw.col(taken).is_null()).then(nw.lit(True)).otherwise(nw.lit(False))
        return scored.join(marked, on=keys, how="left").with_columns(free.alias(DECIDED)).drop(taken)


def decided_by_canary(context: StageContext, keys: Sequence[str]) -> Frame:
    """Return the keys of the rows for which a challenger decided at a scoring's time.

    Args:
        context: The run.
        keys: Entity keys and prediction time.
    """
    rows = context.ws.frames.read(
        context.namespace.gold(PREDICTIONS),
        columns=[*keys, DECIDED],
        filters=[("as_of", "=", context.as_of), ("alias", "=", CHALLENGER)],
    )
    return rows.filter(nw.col(DECIDED)).select(*keys)
