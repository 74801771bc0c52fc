"""Refine: new bronze rows become silver or quarantined rows; then the gold label spine and its known labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import StageError
from mlplatform.ingest.large_quarantine import large, say_large
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.ingest.quarantine import CONTENT, MALFORMED, REASON, quarantine_schema
from mlplatform.naming import ObjectName, quote
from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.ops.stage import Stage
from mlplatform.protocols.tables import Transaction
from mlplatform.refine import freshness
from mlplatform.refine.as_of_view import view_at
from mlplatform.refine.expectations import REASONS, with_reasons
from mlplatform.refine.silver import BATCH, SilverTable
from mlplatform.refine.spine import LABEL_KNOWN_AT, LABELS, SPINE, LabelSpine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NAME = "refine"
_DUPLICATE = "duplicate_key"
_OURS = "_ours"
_FATE = "_fate"
_GOOD, _BAD, _REPEATED, _LEFT_OUT = "good", "bad", "repeated", "left_out"


def run(context: StageContext) -> StageResult[Any]:
    """Bring silver and gold up to `as_of`.

    Raises:
        StageError: If a silver table's rows do not add up, which would be an error of ours.
    """
    result: StageResult[Any] = StageResult(rows_in=0, rows_out=0, rows_quarantined=0, details={"computed": {}})
    for silver_type in context.use_case.silver:
        _refine_silver(context, silver_type(), result)
    changed = _refine_gold(context, result)
    if not result.rows_in and not changed:
        result.skipped = "nothing new in bronze, and no label became known"
    return result


def create_tables(context: StageContext) -> None:
    """Create the silver, quarantine and gold tables where they are missing."""
    for silver_type in context.use_case.silver:
        _create_silver(context, silver_type())
    for name in (SPINE, LABELS):
        _create_gold(context, context.use_case.label_spine(), name)


def _create_silver(context: StageContext, silver: SilverTable) -> tuple[ObjectName, ObjectName]:
    tables, namespace = context.ws.tables, context.namespace
    target, quarantine = namespace.silver(silver.name), namespace.quarantine(silver.name)
    tables.create(
        target,
        silver.schema(),
        primary_keys=silver.primary_keys,
        timeseries_column=silver.known_at,
        description=silver.description,
    )
    tables.create(quarantine, quarantine_schema(), description=f"Rows of {silver.name} that could not go on")
    return target, quarantine


def _create_gold(context: StageContext, spine: LabelSpine, name: str) -> tuple[ObjectName, str]:
    """Create the spine or its labels; return the table, and the column that says when a row was known."""
    if name == SPINE:
        schema, known_at, description = spine.spine_schema(), spine.prediction_time, spine.description
    else:
        schema, known_at = spine.label_schema(), LABEL_KNOWN_AT
        description = f"Label {spine.label} and when it became known"
    table = context.namespace.gold(name)
    context.ws.tables.create(
        table, schema, primary_keys=spine.primary_keys, timeseries_column=known_at, description=description
    )
    return table, known_at


def _refine_silver(context: StageContext, silver: SilverTable, result: StageResult[Any]) -> None:
    tables = context.ws.tables
    target, quarantine = _create_silver(context, silver)
    # Looked at before anything is written: what is there now is what the last run left, or it is not.
    gone, quarantine_gone = markers.lost(context, NAME, target), markers.lost(context, NAME, quarantine)
    bronze = context.namespace.bronze(silver.source.name)
    version = tables.version(bronze)
    result.inputs[str(bronze)] = version
    files = tables.to_arrow(bronze, version=version, columns=[FILE], filters=[(AVAILABLE_AT, "<=", context.as_of)])
    names = sorted(set(cast("list[str]", files.column(FILE).to_pylist())))
    taken = tables.committed(target, [_transaction(silver, name) for name in names])
    waiting = [name for name, done in zip(names, taken, strict=True) if not done]
    # A table that was put back holds an older state, and takes its files for done all the same.
    pending = names if gone else waiting
    if quarantine_gone and not gone:
        done = [name for name in names if name not in set(waiting)]
        refilled = _refill_quarantine(context, silver, bronze, version, done)
        markers.note(result, f"{quarantine.name} was gone: {refilled} row(s) of {len(done)} file(s) are in it again.")
    if pending:
        context.progress(f"{target.name}: {len(pending)} file(s)")
        rows = _read_landed(context, silver, bronze, version, pending, beside=pending)
        good, bad, repeated, left_out = (
            rows.filter(pc.equal(rows.column(_FATE), pa.scalar(fate))) for fate in (_GOOD, _BAD, _REPEATED, _LEFT_OUT)
        )
        # The quarantine first: silver's commit is what marks the files as done. After a crash between the two, files
        # that the quarantine has taken are not taken again.
        if gone:
            _put_in_quarantine(context, quarantine, bad, pending)
        else:
            for name in pending:
                mine = bad.filter(pc.equal(bad.column(FILE), pa.scalar(name)))
                if mine.num_rows:
                    tables.append(quarantine, _quarantined(mine), transactions=[_transaction(silver, name)])
        batch = _next_batch(context, target)
        good = good.select([field.name for field in silver.schema() if field.name != BATCH])
        good = good.append_column(BATCH, pa.array([batch] * good.num_rows, pa.int64()))
        written = good
        if gone:
            others = _of_other_files(context, target, pending)
            tables.overwrite(target, pa.concat_tables([others, good], promote_options="permissive"))
            written = good.slice(0, 0)
            if quarantine_gone:
                markers.note(result, f"{quarantine.name} was gone: {bad.num_rows} row(s) are in it again.")
            markers.note(
                result,
                f"{target.name} was gone, or another table lay in its place: all {len(pending)} file(s) of "
                f"{bronze.name} were refined again, {good.num_rows} row(s).",
            )
        if waiting:
            tables.append(target, written, transactions=[_transaction(silver, name) for name in waiting])
        _say_large(context, quarantine, bad, files, result)
        counted = pc.sum(pc.is_in(files.column(FILE), pa.array(pending)).cast(pa.int64())).as_py()
        _count(result, target, counted, {_GOOD: good, _BAD: bad, _REPEATED: repeated, _LEFT_OUT: left_out})
    markers.keep(context, result, target)
    markers.keep(context, result, quarantine)


def _count(result: StageResult[Any], target: ObjectName, counted: int, parts: Mapping[str, pa.Table]) -> None:
    """Add what became of the rows that came in to a result.

    Raises:
        StageError: If one is unaccounted for.
    """
    good, bad, repeated, left_out = (parts[fate].num_rows for fate in (_GOOD, _BAD, _REPEATED, _LEFT_OUT))
    if counted != good + bad + repeated + left_out:
        raise StageError(
            f"{target}: {counted} rows came in, {good} went on, {repeated} existed already, {left_out} are not the "
            f"table's, and {bad} were quarantined.",
            hint="This is an error of the platform; please report it.",
        )
    for fate, rows in ((_REPEATED, repeated), (_LEFT_OUT, left_out)):
        if rows:
            result.details.setdefault(fate, {})[target.name] = rows
    # What is not the table's did not come in; what exists already has gone on before.
    result.rows_in = (result.rows_in or 0) + counted - left_out
    result.rows_out = (result.rows_out or 0) + good + repeated
    result.rows_quarantined = (result.rows_quarantined or 0) + bad


def _refill_quarantine(
    context: StageContext, silver: SilverTable, bronze: ObjectName, version: int, done: list[str]
) -> int:
    """Put what silver has not taken of the files that are done into a quarantine that is gone; return how many rows."""
    quarantine = context.namespace.quarantine(silver.name)
    if not done:
        return 0
    # Beside all of silver, these files' own rows among them: what is there now is what they were compared with then.
    rows = _read_landed(context, silver, bronze, version, done, beside=None)
    rows = rows.filter(pc.is_in(rows.column(_FATE), pa.array([_GOOD, _BAD])))
    there = context.ws.tables.to_arrow(context.namespace.silver(silver.name), columns=[FILE, ROW])
    missing = rows.join(there, keys=[FILE, ROW], join_type="left anti").select(rows.column_names)
    # Judged all at once now and file by file then, another of several rows of a key may have been the first.
    reasons = pc.if_else(pc.equal(missing.column(REASONS), pa.scalar("")), _DUPLICATE, missing.column(REASONS))
    missing = missing.set_column(missing.column_names.index(REASONS), REASONS, reasons)
    _put_in_quarantine(context, quarantine, missing, done)
    return int(missing.num_rows)


def _put_in_quarantine(context: StageContext, quarantine: ObjectName, bad: pa.Table, files: list[str]) -> None:
    """Make the rows that fail expectations all that the quarantine holds of files; malformed lines stay.

    In one commit, and the same again: what a crash left half done is done anew.
    """
    there = context.ws.tables.to_arrow(quarantine)
    keep = pc.or_(
        pc.starts_with(there.column(REASON), MALFORMED), pc.invert(pc.is_in(there.column(FILE), pa.array(files)))
    )
    kept = there.filter(keep)
    if bad.num_rows or kept.num_rows < there.num_rows:
        rows = pa.concat_tables([kept, _quarantined(bad)], promote_options="permissive")
        context.ws.tables.overwrite(quarantine, rows)


def _of_other_files(context: StageContext, target: ObjectName, files: list[str]) -> pa.Table:
    there = context.ws.tables.to_arrow(target)
    return there.filter(pc.invert(pc.is_in(there.column(FILE), pa.array(files))))


def _say_large(
    context: StageContext, quarantine: ObjectName, bad: pa.Table, files: pa.Table, result: StageResult[Any]
) -> None:
    if not bad.num_rows:
        return
    reasons: dict[str, list[str]] = {}
    of_files, given = (cast("list[str]", bad.column(name).to_pylist()) for name in (FILE, REASONS))
    for file, reason in zip(of_files, given, strict=True):
        reasons.setdefault(file, []).append(reason)
    rows = Counter(cast("list[str]", files.column(FILE).to_pylist()))
    say_large(context, large(quarantine.name, rows, reasons), result)


def _read_landed(
    context: StageContext,
    silver: SilverTable,
    bronze: ObjectName,
    version: int,
    pending: list[str],
    *,
    beside: list[str] | None,
) -> pa.Table:
    from pyspark.errors import PySparkException

    try:
        return _judge(context, silver, bronze, version, pending, beside)
    except PySparkException as error:
        reason = str(error).strip().splitlines()[0]
        raise StageError(
            f"silver_{silver.name} cannot be read from {bronze}: {reason}",
            hint=f"Nothing was written. Look at the SQL of {type(silver).__name__}'s columns and expectations: "
            + "; ".join(f"{column.name}: {column.sql}" for column in silver.columns if column.sql),
        ) from error


def _judge(
    context: StageContext,
    silver: SilverTable,
    bronze: ObjectName,
    version: int,
    pending: list[str],
    beside: list[str] | None,
) -> pa.Table:
    """Return all rows of the pending files: typed columns, provenance, what becomes of each row, and why."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    landed = context.ws.tables.read(bronze, version=version).where(F.col(FILE).isin(pending))
    raw = F.struct(*(F.col(quote(column)) for column in silver.source.columns)).alias("raw")
    ours = F.lit(True) if silver.where is None else F.coalesce(F.expr(silver.where), F.lit(False))
    typed = landed.select(
        *(expression.alias(f"t_{name}") for name, expression in silver.select().items()),
        raw,
        ours.alias(_OURS),
        *(F.col(column) for column in (FILE, ROW, AVAILABLE_AT)),
    )
    # Two steps: landed and typed names may differ in case only, which Spark does not tell apart.
    typed = typed.select(
        *(F.col(f"t_{column.name}").alias(column.name) for column in silver.columns),
        *(F.col(column) for column in ("raw", _OURS, FILE, ROW, AVAILABLE_AT)),
    )
    # Keys are compared among the rows that pass everything else (their keys are not null): a faulty row does not make
    # the repaired one that is delivered after it a duplicate.
    judged = with_reasons(typed, silver.all_expectations())
    passes = (F.col(REASONS) == "") & F.col(_OURS)
    keys = Window.partitionBy(*(F.col(quote(key)) for key in silver.primary_keys), passes)
    order = keys.orderBy(AVAILABLE_AT, FILE, ROW)
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    # The same content, known again later, is no other row.
    content = [column.name for column in silver.columns if column.name not in (*silver.primary_keys, silver.known_at)]
    numbered = judged.select(
        "*",
        F.row_number().over(order).alias("_nth"),
        *(F.first(quote(name)).over(so_far).alias(f"_first_{name}") for name in content),
    )
    joined = numbered.join(_seen_before(context, silver, beside, content), on=list(silver.primary_keys), how="left")
    seen = F.col("_seen").isNotNull()
    again = passes & ((F.col("_nth") > 1) | seen)
    same = F.lit(True)
    for name in content:
        there = F.when(seen, F.col(quote(f"_seen_{name}"))).otherwise(F.col(quote(f"_first_{name}")))
        same = same & there.eqNullSafe(F.col(quote(name)))
    reasons = F.when(again & ~same, F.lit(_DUPLICATE)).otherwise(F.col(REASONS))
    fate = (
        F.when(~F.col(_OURS), _LEFT_OUT).when(again & same, _REPEATED).when(F.col(REASONS) != "", _BAD).otherwise(_GOOD)
    )
    judged = joined.withColumn(REASONS, reasons).withColumn(_FATE, fate)
    landed_text = F.when(F.col(_FATE) == _BAD, F.to_json(F.col("raw"))).alias(CONTENT)
    return judged.select(
        *(F.col(quote(column.name)) for column in silver.columns), FILE, ROW, AVAILABLE_AT, REASONS, _FATE, landed_text
    ).toArrow()


def _seen_before(context: StageContext, silver: SilverTable, beside: list[str] | None, content: list[str]) -> DataFrame:
    """Return what silver holds of other files than those; None: of all."""
    from pyspark.sql import functions as F  # noqa: N812

    there = context.ws.tables.read(context.namespace.silver(silver.name))
    if beside is not None:
        there = there.where(~F.col(FILE).isin(beside))
    values = (F.col(quote(name)).alias(f"_seen_{name}") for name in content)
    return there.select(*(F.col(quote(key)) for key in silver.primary_keys), *values, F.lit(1).alias("_seen"))


def _quarantined(rows: pa.Table) -> pa.Table:
    columns = [rows.column(name) for name in (FILE, ROW, AVAILABLE_AT, REASONS, CONTENT)]
    return pa.table(columns, names=[FILE, ROW, AVAILABLE_AT, REASON, CONTENT])


def _transaction(silver: SilverTable, file: str) -> Transaction:
    return Transaction(f"refine:{silver.name}:{file}")


def _next_batch(context: StageContext, target: ObjectName) -> int:
    batches = context.ws.tables.to_arrow(target, columns=[BATCH]).column(BATCH)
    return (pc.max(batches).as_py() or 0) + 1


def _refine_gold(context: StageContext, result: StageResult[Any]) -> bool:
    spine = context.use_case.label_spine()
    changed = False
    for name in (SPINE, LABELS):
        table, known_at = _create_gold(context, spine, name)
        fresh = freshness.check(
            context, NAME, table.name, spine.inputs, type(spine), spine.settings.label.model_dump_json()
        )
        result.details["computed"][table.name] = fresh.marker
        if not fresh.unchanged:
            view = view_at(context, allowed=spine.inputs)
            frame = spine.spine(view) if name == SPINE else spine.labels(view)
            rows = _known_between(frame, known_at, fresh.since, context.as_of)
            result.inputs.update(view.inputs)
            if rows.num_rows or fresh.since is None:
                context.progress(f"{table.name}: {rows.num_rows} row(s)")
                # Everything anew (other code or settings): what it no longer gives must go.
                write = context.ws.tables.overwrite if fresh.since is None else context.ws.tables.merge
                changed = bool(write(table, rows).rows) or changed
            if fresh.lost:
                again = f"computed whole, {rows.num_rows} row(s)"
                markers.note(result, f"{table.name} was gone, or another table lay in its place: {again}.")
        markers.keep(context, result, table)
    return changed


def _known_between(frame: DataFrame, known_at: str, since: datetime | None, as_of: datetime) -> pa.Table:
    from pyspark.sql import functions as F  # noqa: N812

    known = frame.where(F.col(known_at) <= F.lit(as_of))
    if since is not None:
        known = known.where(F.col(known_at) >= F.lit(since))
    return known.toArrow()


@dataclass(frozen=True)
class Refine(Stage[Any]):
    """Bronze becomes silver, silver becomes gold."""

    name: ClassVar[str] = NAME

    def run(self, context: StageContext) -> StageResult[Any]:
        """Do it."""
        return run(context)
