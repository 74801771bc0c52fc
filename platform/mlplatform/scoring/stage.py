"""Score: the entities whose prediction time has come since the last scoring, appended exactly once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlplatform import stopping
from mlplatform.as_of import Duration, parse_as_of, shown
from mlplatform.errors import PlatformError, StageError, TableError, UsageError
from mlplatform.gate import champion as champions
from mlplatform.gate import first_steps
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace, ObjectName
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.ops.stage_runs import utc_now
from mlplatform.protocols.feature_client import MATCHED
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.tables import Transaction
from mlplatform.refine.spine import SPINE
from mlplatform.scoring import lost_predictions, unscored
from mlplatform.scoring.lost_predictions import Scoring
from mlplatform.scoring.reasons import REASONS, reason_codes
from mlplatform.scoring.scorer import (
    LATEST_PREDICTIONS,
    PREDICTION,
    PREDICTIONS,
    REASON_CODES,
    UNMATCHED,
    prediction_schema,
)
from mlplatform.training import reference
from mlplatform.training.version_tags import TRAINED_THROUGH_TAG
from mlplatform.types import SortOrder

NAME = "score"
LOG = logging.getLogger(__name__)


def run(
    context: StageContext, *, alias: str | None = None, since: datetime | None = None, restore_only: bool = False
) -> StageResult[Any]:
    """Score the rows due at `as_of`; predictions that are gone with their table are made again first.

    Args:
        context: The run.
        alias: Score with the version of this alias only. Default: the champion, and beside it, in the shadow, the
            challenger, where there is one and `scoring.shadow` is set; its predictions are measured and never acted on.
        since: Score all rows with a prediction time in (since, as_of] that no champion has predicted, those before the
            first scoring included, with one version.
        restore_only: Only make predictions again that are gone.

    Raises:
        StageError: If no version has the alias.
        UsageError: If `since` does not lie before `as_of`.
    """
    if since is not None and since >= context.as_of:
        raise UsageError(
            f"Rows since {shown(since)} cannot be scored as of {shown(context.as_of)}.",
            hint="--since lies before --as-of: rows with a prediction time between them are scored.",
        )
    ws, use_case, namespace = context.ws, context.use_case, context.namespace
    use_case.register_functions(ws)
    aliases = ws.registry.aliases(use_case.model)
    wanted = alias or CHAMPION
    if wanted == CHAMPION:
        champions.require_known(ws, namespace, aliases)
    if wanted not in aliases:
        raise first_steps.without(ws, namespace, wanted, so="nothing can score")
    lost = lost_predictions.find(context)
    create_tables(context)
    result: StageResult[Any] = StageResult(details={"alias": wanted})
    lacking: list[tuple[datetime, datetime]] = []
    if lost:
        lacking = lost_predictions.restore(context, lost, lambda item: _score_again(context, item), result)
    markers.keep(context, result, namespace.gold(PREDICTIONS))
    if restore_only:
        return replace(result, details={**result.details, "alias": None})
    start = since if since is not None else first_window_start(context)
    rows, spine_version = due_rows(context, start, lacking=() if since is not None else lacking)
    population = use_case.scorer().population(rows)
    spine = namespace.gold(SPINE)
    result.inputs[str(spine)] = spine_version
    result.details[markers.TABLES][spine.name] = ws.tables.describe(spine).id
    result.rows_in = rows.num_rows
    result.details["not_in_population"] = rows.num_rows - population.num_rows
    version = champions.read(ws, namespace, wanted, aliases[wanted])
    result.rows_out = _score(context, population, version, wanted, mark="" if since is None else "since")
    result.details["model_version"] = version.version
    result.details["mean_prediction"] = _mean_prediction(context, version)
    if since is not None:
        result.details |= _since(context, since, population, version)
    elif alias is None and use_case.settings.scoring.shadow and CHALLENGER in aliases:
        result.details["shadow"] = _score_shadow(context, population, aliases[CHALLENGER])
    unscored.look(context, start, result, first=since is not None or not _scored_before(context))
    markers.keep(context, result, namespace.gold(PREDICTIONS))
    if not population.num_rows and not lost:
        result.skipped = f"no prediction became due by {shown(context.as_of)}"
    return result


def first_window_start(context: StageContext) -> datetime:
    """Return where scoring began: one scoring interval before the first scoring, which may be this one."""
    first = _scored_before(context) or context.as_of
    return Duration.parse(context.use_case.settings.scoring.every).before(first)


def _scored_before(context: StageContext) -> datetime | None:
    """Return the first `as_of` before this one of which there are predictions."""
    predictions = context.namespace.gold(PREDICTIONS)
    made = context.ws.tables.to_arrow(predictions, columns=["as_of"], filters=[("as_of", "<", context.as_of)])
    first: datetime | None = pc.min(made.column("as_of")).as_py()
    return first


def due_rows(
    context: StageContext,
    start: datetime,
    *,
    spine_version: int | None = None,
    lacking: Sequence[tuple[datetime, datetime]] = (),
) -> tuple[pa.Table, int]:
    """Return the spine rows that are to be scored at `as_of`, and the spine's Delta version.

    These are the rows whose prediction time lies in (previous as_of, as_of], and earlier ones that landed too late for
    the scoring they belonged to: every row since `start` that no champion had predicted before this `as_of`. A
    challenger in the shadow scores the same rows.

    Args:
        context: The run.
        start: Prediction times after this.
        spine_version: Read this version of the spine; None: the newest.
        lacking: Stretches of prediction times whose predictions are gone and not to be replaced by other ones.
    """
    spine, tables = context.use_case.label_spine(), context.ws.tables
    name, time, keys = context.namespace.gold(SPINE), spine.prediction_time, list(spine.primary_keys)
    version = tables.version(name) if spine_version is None else spine_version
    rows = tables.to_arrow(name, version=version, filters=[(time, ">", start), (time, "<=", context.as_of)])
    scored_before = tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        columns=keys,
        filters=[("as_of", "<", context.as_of), ("alias", "=", CHAMPION), (time, ">", start)],
    )
    if scored_before.num_rows:
        rows = rows.join(scored_before, keys=keys, join_type="left anti").select(rows.column_names)
    for after, until in lacking:
        times = rows.column(time)
        rows = rows.filter(pc.or_(pc.less_equal(times, pa.scalar(after)), pc.greater(times, pa.scalar(until))))
    # In a fixed order, so that a scoring run again has the same chunks.
    order: SortOrder = [(time, "ascending"), *((key, "ascending") for key in spine.entity_keys)]
    return rows.sort_by(order), version


@dataclass(frozen=True)
class _Scoring:
    context: StageContext
    version: ModelVersion
    alias: str
    predictions: ObjectName
    ordinary: dict[str, Any] | None
    mark: str = ""

    def chunk(self, rows: pa.Table, number: int) -> int:
        """Score and append one chunk; return how many rows were written."""
        tables = self.context.ws.tables
        as_of = self.context.as_of.isoformat()
        place = f"{self.mark}:{self._digest(rows)}" if self.mark else str(number)
        once = Transaction(f"score:{self.version.version}:{self.alias}:{as_of}:{place}")
        if all(tables.committed(self.predictions, [once])):
            return 0
        new = self._not_scored_yet(rows)
        if not new.num_rows:
            return 0
        scored = self._scored(new, matches=True)
        if scored.num_rows != new.num_rows:
            raise StageError(
                f"{self.version.uri} scored {scored.num_rows} of {new.num_rows} rows.", hint="Report this."
            )
        return tables.append(self.predictions, self._frame(scored), transactions=[once]).rows

    def _digest(self, rows: pa.Table) -> str:
        """Return what a chunk is known by where the same time may be scored from several beginnings."""
        keys = rows.select(list(self.context.use_case.label_spine().primary_keys)).to_pylist()
        return hashlib.sha256(repr(keys).encode()).hexdigest()[:16]

    def _not_scored_yet(self, rows: pa.Table) -> pa.Table:
        spine = self.context.use_case.label_spine()
        keys, times = list(spine.primary_keys), rows.column(spine.prediction_time)
        there = self.context.ws.tables.to_arrow(
            self.predictions,
            columns=keys,
            filters=[
                ("model_version", "=", self.version.version),
                (spine.prediction_time, ">=", pc.min(times).as_py()),
                (spine.prediction_time, "<=", pc.max(times).as_py()),
            ],
        )
        if not there.num_rows:
            return rows
        return rows.join(there, keys=keys, join_type="left anti").select(rows.column_names)

    def _frame(self, scored: pa.Table) -> pa.Table:
        count, moment = scored.num_rows, pa.timestamp("us", tz="UTC")
        keys = self.context.use_case.label_spine().primary_keys
        frame = scored.select([*keys, PREDICTION])
        for name, values in (
            ("model_version", pa.array([self.version.version] * count, pa.int64())),
            ("alias", pa.array([self.alias] * count, pa.string())),
            (UNMATCHED, unmatched(scored)),
            (REASON_CODES, self._reasons(scored)),
            ("as_of", pa.array([self.context.as_of] * count, moment)),
            ("scored_at", pa.array([utc_now()] * count, moment)),
            ("run_id", pa.array([self.context.run_id] * count, pa.string())),
        ):
            frame = frame.append_column(name, values)
        return frame

    def _scored(self, rows: pa.Table, *, matches: bool = False) -> pa.Table:
        return self.context.ws.fe.score_batch_arrow(
            model_uri=self.version.uri,
            df=rows,
            matches=matches,
            trusted_types=self.context.use_case.trainer.trusted_types,
        )

    def _reasons(self, scored: pa.Table) -> pa.Array[Any]:
        if self.ordinary is None:
            return pa.nulls(scored.num_rows, REASONS)
        ours = [PREDICTION, *(name for name in scored.column_names if name.startswith(MATCHED))]

        def score(rows: pa.Table) -> np.ndarray[Any, np.dtype[np.float64]]:
            return np.asarray(self._scored(rows).column(PREDICTION).to_numpy(), dtype=np.float64)

        made = np.asarray(scored.column(PREDICTION).to_numpy(), dtype=np.float64)
        top = self.context.use_case.scorer.reason_codes
        return reason_codes(score, scored.drop_columns(ours), made, self.ordinary, top)


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


def create_tables(context: StageContext) -> None:
    """Create the table of predictions, and the view of the latest, where they are missing."""
    spine, predictions = context.use_case.label_spine(), context.namespace.gold(PREDICTIONS)
    context.ws.tables.create(
        predictions,
        prediction_schema(spine),
        primary_keys=(*spine.primary_keys, "model_version"),
        timeseries_column=spine.prediction_time,
        description="One row an entity, prediction time and model version; append-only",
    )
    context.ws.tables.create_latest_view(
        context.namespace.gold(LATEST_PREDICTIONS),
        of=predictions,
        keys=spine.entity_keys,
        order_by=(spine.prediction_time, "as_of", "model_version"),
        where={"alias": CHAMPION},
        description="The champion's latest prediction for each entity",
    )


def _score_again(context: StageContext, item: Scoring) -> int:
    """Make the predictions of a recorded scoring again; return how many.

    Raises:
        PlatformError: If its version is gone, or cannot score any more.
    """
    at = replace(context, as_of=item.as_of, run_id=item.record["run_id"], shared_log=context.log)
    version = champions.read(at.ws, at.namespace, item.alias, item.version)
    start = item.since or first_window_start(at)
    number = item.spine_version(at)
    try:
        rows, _ = due_rows(at, start, spine_version=number)
    except TableError:
        if number is None:
            raise
        rows, _ = due_rows(at, start)  # that version can no longer be read
    population = at.use_case.scorer().population(rows)
    # A table that was put back remembers having taken the chunks that it lacks.
    mark = f"again:{at.ws.tables.version(at.namespace.gold(PREDICTIONS))}"
    return _score(at, population, version, item.alias, mark)


def _since(context: StageContext, since: datetime, population: pa.Table, version: ModelVersion) -> dict[str, Any]:
    """Return what is to be known of predictions made long after their time: which of them the version learned from."""
    through = version.tags.get(TRAINED_THROUGH_TAG)
    learned = 0
    if through:
        times = population.column(context.use_case.label_spine().prediction_time)
        earlier = pc.less_equal(times, pa.scalar(parse_as_of(through), times.type))
        learned = pc.sum(earlier.cast(pa.int64())).as_py() or 0
    return {"since": since.isoformat(), "learned_through": through, "learned_rows": learned}


def _score(context: StageContext, population: pa.Table, version: ModelVersion, alias: str, mark: str = "") -> int:
    scorer = context.use_case.scorer
    wants_reasons = scorer.reason_codes > 0 and alias == CHAMPION and population.num_rows
    ordinary = reference.load(context.ws, version).ordinary() if wants_reasons else None
    scoring = _Scoring(context, version, alias, context.namespace.gold(PREDICTIONS), ordinary, mark)
    written = 0
    for number, offset in enumerate(range(0, population.num_rows, scorer.chunk_rows)):
        part = population.slice(offset, scorer.chunk_rows)
        written += scoring.chunk(part, number)
        done = offset + part.num_rows
        context.progress(f"{alias} scored {done} of {population.num_rows} rows")
        context.advance(done, population.num_rows)
    return written


def _score_shadow(context: StageContext, population: pa.Table, number: int) -> dict[str, Any]:
    version = context.ws.registry.get(context.use_case.model, number)
    try:
        written = _score(context, population, version, CHALLENGER)
    except PlatformError as error:
        stopping.check()
        # The champion's predictions are there; a challenger that cannot score must not take them away.
        LOG.warning("The challenger, version %d, could not score in the shadow: %s", number, error.message)
        return {"model_version": number, "rows": 0, "failed": error.message}
    return {"model_version": number, "rows": written, "mean_prediction": _mean_prediction(context, version)}


def _mean_prediction(context: StageContext, version: ModelVersion) -> float | None:
    rows = context.ws.tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        columns=[PREDICTION],
        filters=[("as_of", "=", context.as_of), ("model_version", "=", version.version)],
    )
    mean: float | None = pc.mean(rows.column(PREDICTION)).as_py()
    return mean


@dataclass(frozen=True)
class Score(Stage[Any]):
    """Entities that are due become predictions.

    Attributes:
        alias: Score with this alias' version only; None: the champion, and the challenger in the shadow.
        since: Score what has a prediction time after this and no prediction, also from before the first scoring.
        restore_only: Only make predictions again that are gone.
    """

    name: ClassVar[str] = NAME

    alias: str | None = None
    since: datetime | None = None
    restore_only: bool = False

    def due(self, context: StageContext) -> Self | None:
        """Scoring is due once for each `as_of` while there is a champion, and again where predictions are gone."""
        if CHAMPION not in context.ws.registry.aliases(context.model):
            return None
        # What was asked for since a time is beside the scoring that is due.
        if all(row["details"].get("since") for row in context.log.done_at(NAME, context.as_of)):
            return self
        return replace(self, restore_only=True) if lost_predictions.find(context) else None

    def writes(self, names: Namespace) -> tuple[ObjectName, ...]:
        """Return the tables that it writes."""
        return (names.gold(PREDICTIONS),)

    def create_tables(self, context: StageContext) -> None:
        """Create them if they do not exist."""
        create_tables(context)

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context, alias=self.alias, since=self.since, restore_only=self.restore_only)
