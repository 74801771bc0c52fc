"""What becomes of each landed row of a silver table: it goes on, is quarantined, repeats another, or is none of its."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import StageError
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.ingest.quarantine import CONTENT, REASON
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.tables import Tables
from mlplatform.refine.expectations import REASONS, with_reasons
from mlplatform.refine.silver import SilverTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DUPLICATE = "duplicate_key"
_OURS = "_ours"
_FATE = "_fate"
_GOOD, _BAD, _REPEATED, _LEFT_OUT = "good", "bad", "repeated", "left_out"


@dataclass(frozen=True)
class Fates:
    """Landed rows by what becomes of them: typed columns, provenance, reasons, and the content of the bad ones.

    Attributes:
        good: Rows that go on.
        bad: Rows that are quarantined.
        repeated: Rows that exist in the table already, with the same content, and are known again later.
        left_out: Rows of the source that are not the table's.
    """

    good: pa.Table
    bad: pa.Table
    repeated: pa.Table
    left_out: pa.Table

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return int(sum(part.num_rows for part in (self.good, self.bad, self.repeated, self.left_out)))


@dataclass(frozen=True)
class LandedRows:
    """Rows of some files in a bronze table.

    Attributes:
        bronze: The table.
        version: Its Delta version.
        files: The files.
    """

    bronze: ObjectName
    version: int
    files: Sequence[str]


def fates(
    tables: Tables, silver: SilverTable, target: ObjectName, landed: LandedRows, *, beside: Sequence[str] | None
) -> Fates:
    """Read the landed rows by the table's SQL, and tell what becomes of each.

    Args:
        tables: The workspace's.
        silver: The silver table's declaration.
        target: The silver table.
        landed: The rows.
        beside: Keys are compared with the rows that the silver table holds of other files than these; None: with all.

    Raises:
        StageError: If an expression of the table cannot be computed.
    """
    from pyspark.errors import PySparkException

    try:
        rows = _judged(tables, silver, target, landed, beside)
    except PySparkException as error:
        reason = str(error).strip().splitlines()[0]
        raise StageError(
            f"{target.name} cannot be read from {landed.bronze}: {reason}",
            hint=f"Nothing was written. Look at the SQL of {type(silver).__name__}'s columns and expectations: "
            + "; ".join(f"{column.name}: {column.sql}" for column in silver.columns if column.sql),
        ) from error
    parts = (rows.filter(pc.equal(rows.column(_FATE), pa.scalar(fate))) for fate in (_GOOD, _BAD, _REPEATED, _LEFT_OUT))
    return Fates(*(part.drop_columns([_FATE]) for part in parts))


def as_quarantined(rows: pa.Table) -> pa.Table:
    """Return bad rows as the quarantine holds them."""
    columns = [rows.column(name) for name in (FILE, ROW, AVAILABLE_AT, REASONS, CONTENT)]
    return pa.table(columns, names=[FILE, ROW, AVAILABLE_AT, REASON, CONTENT])


def _judged(
    tables: Tables, silver: SilverTable, target: ObjectName, rows: LandedRows, beside: Sequence[str] | None
) -> pa.Table:
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    landed = tables.read(rows.bronze, version=rows.version).where(F.col(FILE).isin(list(rows.files)))
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
    joined = numbered.join(_held(tables, silver, target, beside, content), on=list(silver.primary_keys), how="left")
    seen = F.col("_seen").isNotNull()
    again = passes & ((F.col("_nth") > 1) | seen)
    same = F.lit(True)
    for name in content:
        earlier = F.when(seen, F.col(quote(f"_seen_{name}"))).otherwise(F.col(quote(f"_first_{name}")))
        same = same & earlier.eqNullSafe(F.col(quote(name)))
    reasons = F.when(again & ~same, F.lit(DUPLICATE)).otherwise(F.col(REASONS))
    fate = (
        F.when(~F.col(_OURS), _LEFT_OUT).when(again & same, _REPEATED).when(F.col(REASONS) != "", _BAD).otherwise(_GOOD)
    )
    judged = joined.withColumn(REASONS, reasons).withColumn(_FATE, fate)
    landed_text = F.when(F.col(_FATE) == _BAD, F.to_json(F.col("raw"))).alias(CONTENT)
    return judged.select(
        *(F.col(quote(column.name)) for column in silver.columns), FILE, ROW, AVAILABLE_AT, REASONS, _FATE, landed_text
    ).toArrow()


def _held(
    tables: Tables, silver: SilverTable, target: ObjectName, beside: Sequence[str] | None, content: list[str]
) -> DataFrame:
    """Return what the silver table holds of other files than those; None: of all."""
    from pyspark.sql import functions as F  # noqa: N812

    rows = tables.read(target)
    if beside is not None:
        rows = rows.where(~F.col(FILE).isin(list(beside)))
    values = (F.col(quote(name)).alias(f"_seen_{name}") for name in content)
    return rows.select(*(F.col(quote(key)) for key in silver.primary_keys), *values, F.lit(1).alias("_seen"))
