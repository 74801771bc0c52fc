"""Score: the entities whose prediction time has come since the last scoring, by the champion, appended exactly once."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.as_of import Duration, shown
from mlplatform.errors import StageError
from mlplatform.medallion.spine import SPINE
from mlplatform.models.scorer import PREDICTION, PREDICTIONS, prediction_schema
from mlplatform.naming import CHAMPION, ObjectName
from mlplatform.ops.stage_runs import StageResult, utc_now
from mlplatform.stages.context import StageContext
from mlplatform.workspace.protocols import ModelVersion, Transaction

NAME = "score"


def run(context: StageContext, *, alias: str = CHAMPION) -> StageResult:
    """Score the rows due at `as_of` with the model an alias names.

    Raises:
        StageError: If no version has the alias.
    """
    ws, use_case, namespace = context.ws, context.use_case, context.namespace
    aliases = ws.registry.aliases(use_case.model)
    if alias not in aliases:
        raise StageError(
            f"{use_case.model} has no {alias}; nothing can score.",
            hint=f"See why: mlplatform history {use_case.name}",
        )
    version = ws.registry.get(use_case.model, aliases[alias])
    spine, predictions = use_case.label_spine(), namespace.gold(PREDICTIONS)
    ws.tables.create(
        predictions,
        prediction_schema(spine),
        primary_keys=(*spine.keys, "model_version"),
        timeseries_column=spine.prediction_time,
        description="One row an entity, prediction time and model version; append-only",
    )
    start = first_window_start(context)
    rows, spine_version = due_rows(context, start, alias)
    population = use_case.scorer().population(rows)
    result = StageResult(
        inputs={str(namespace.gold(SPINE)): spine_version},
        rows_in=rows.num_rows,
        rows_out=0,
        details={"model_version": version.version, "not_in_population": rows.num_rows - population.num_rows},
    )
    chunk = use_case.scorer.chunk_rows
    for number, offset in enumerate(range(0, population.num_rows, chunk)):
        part = population.slice(offset, chunk)
        written = _score_chunk(context, part, version, alias, number, predictions)
        result.rows_out = (result.rows_out or 0) + written
        context.progress(f"scored {min(offset + chunk, population.num_rows)} of {population.num_rows} rows")
    result.outputs[str(predictions)] = ws.tables.version(predictions)
    mean = _mean_prediction(context, predictions, version)
    result.details["mean_prediction"] = mean
    if not population.num_rows:
        result.skipped = f"no prediction became due by {shown(context.as_of)}"
    return result


def first_window_start(context: StageContext) -> datetime:
    """Return where scoring began: one scoring interval before the first scoring, which may be this one."""
    ws, predictions = context.ws, context.namespace.gold(PREDICTIONS)
    made = ws.tables.to_arrow(predictions, columns=["as_of"], filters=[("as_of", "<", context.as_of)])
    first: datetime = pc.min(made.column("as_of")).as_py() or context.as_of
    return Duration.parse(context.use_case.settings.scoring.every).before(first)


def due_rows(context: StageContext, start: datetime, alias: str) -> tuple[pa.Table, int]:
    """Return the spine rows that an alias has to score at `as_of`, and the spine's Delta version.

    These are the rows whose prediction time lies in (previous as_of, as_of], and earlier ones that landed too late for
    the scoring they belonged to: every row since `start` that had no prediction before this `as_of`.
    """
    spine, tables = context.use_case.label_spine(), context.ws.tables
    name, time, keys = context.namespace.gold(SPINE), spine.prediction_time, list(spine.keys)
    version = tables.version(name)
    rows = tables.to_arrow(name, version=version, filters=[(time, ">", start), (time, "<=", context.as_of)])
    scored_before = tables.to_arrow(
        context.namespace.gold(PREDICTIONS),
        columns=keys,
        filters=[("as_of", "<", context.as_of), ("alias", "=", alias), (time, ">", start)],
    )
    if scored_before.num_rows:
        rows = rows.join(scored_before, keys=keys, join_type="left anti").select(rows.column_names)
    # In a fixed order, so that a scoring run again has the same chunks.
    order = [(time, "ascending"), *((key, "ascending") for key in spine.entity_keys)]
    return rows.sort_by(order), version


def _score_chunk(
    context: StageContext, rows: pa.Table, version: ModelVersion, alias: str, number: int, predictions: ObjectName
) -> int:
    spine = context.use_case.label_spine()
    once = Transaction(f"score:{version.version}:{context.as_of.isoformat()}:{number}")
    if all(context.ws.tables.committed(predictions, [once])):
        return 0
    new = _not_scored_yet(context, rows, version, predictions)
    scored = context.ws.fe.score_batch_arrow(model_uri=version.uri, df=new, result_type="double")
    if scored.num_rows != new.num_rows:
        raise StageError(f"{version.uri} scored {scored.num_rows} of {new.num_rows} rows.", hint="Report this.")
    count, moment = scored.num_rows, pa.timestamp("us", tz="UTC")
    frame = (
        scored.select([*spine.keys, PREDICTION])
        .append_column("model_version", pa.array([version.version] * count, pa.int64()))
        .append_column("alias", pa.array([alias] * count, pa.string()))
        .append_column("as_of", pa.array([context.as_of] * count, moment))
        .append_column("scored_at", pa.array([utc_now()] * count, moment))
        .append_column("run_id", pa.array([context.run_id] * count, pa.string()))
    )
    return context.ws.tables.append(predictions, frame, transactions=[once]).rows


def _not_scored_yet(context: StageContext, rows: pa.Table, version: ModelVersion, predictions: ObjectName) -> pa.Table:
    keys = list(context.use_case.label_spine().keys)
    there = context.ws.tables.to_arrow(predictions, columns=keys, filters=[("model_version", "=", version.version)])
    if not there.num_rows:
        return rows
    return rows.join(there, keys=keys, join_type="left anti").select(rows.column_names)


def _mean_prediction(context: StageContext, predictions: ObjectName, version: ModelVersion) -> float | None:
    rows = context.ws.tables.to_arrow(
        predictions,
        columns=[PREDICTION],
        filters=[("as_of", "=", context.as_of), ("model_version", "=", version.version)],
    )
    mean: float | None = pc.mean(rows.column(PREDICTION)).as_py()
    return mean
