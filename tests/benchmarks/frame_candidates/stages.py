"""The stages, written in narwhals, in ibis and in plain PySpark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from frame_candidates.engines import Duck, Spark
from frame_candidates.tables import AS_OF, COLUMNS, SINCE

EDGES = [float(edge) for edge in np.linspace(-2, 2, 10)]
STAGES = ("due", "window", "refine")


class Narwhals:
    """The stages as the platform writes them, over whatever engine."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def read(self, files: list[str]) -> Any:
        import narwhals as nw

        return nw.from_native(self.engine.read(files))

    def native(self, frame: Any) -> Any:
        return frame.to_native()

    def due(self, spine: Any, predictions: Any) -> Any:
        import narwhals as nw

        time_, as_of = nw.col("time"), nw.lit(AS_OF)
        earlier = predictions.filter(nw.col("as_of") < as_of, nw.col("alias") == "champion", time_ > nw.lit(SINCE))
        rows = spine.filter(time_ > nw.lit(SINCE), time_ <= as_of)
        rows = rows.join(earlier.select("id", "time"), on=["id", "time"], how="anti")
        return rows.with_columns(as_of=as_of, alias=nw.lit("champion"), version=nw.lit(7)).sort("time", "id")

    def window(self, scored: Any) -> Any:
        import narwhals as nw

        def count(condition: Any) -> Any:
            # A boolean has no sum in SQL, and DuckDB's sum of integers is a HUGEINT, in Arrow a decimal.
            return condition.cast(nw.Int64).sum().cast(nw.Int64)

        cells = {f"{c}_{n}": count(nw.col(c) < edge) for c in COLUMNS for n, edge in enumerate(EDGES)}
        nulls = {f"{c}_nulls": count(nw.col(c).is_null()) for c in COLUMNS}
        matched = {name: count(nw.col(name)) for name in ("matched_0", "matched_1")}
        return scored.group_by("version").agg(rows=nw.len(), **nulls, **matched, **cells)

    def judged(self, landed: Any, silver: Any) -> Any:
        import narwhals as nw

        fresh = landed.join(silver.select("key"), on="key", how="anti")
        fresh = fresh.with_columns(failing=nw.col("value").is_null())
        number = nw.col("row").cum_count().over("key", "failing", order_by=["file", "row"])
        return fresh.with_columns(number=number)

    def good(self, judged: Any) -> Any:
        import narwhals as nw

        return judged.filter(~nw.col("failing"), nw.col("number") == 1).drop("failing", "number")

    def bad(self, judged: Any) -> Any:
        import narwhals as nw

        reason = nw.when(nw.col("failing")).then(nw.lit("value is null")).otherwise(nw.lit("duplicate"))
        bad = judged.filter(nw.col("failing") | (nw.col("number") > 1))
        return bad.select("file", "row", reason=reason)


class Ibis:
    """The same in ibis, over DuckDB."""

    def __init__(self, engine: Duck) -> None:
        import ibis

        self.ibis, self.engine = ibis, engine
        self.backend = ibis.duckdb.from_connection(engine.connection)

    def read(self, files: list[str]) -> Any:
        return self.backend.read_parquet(files)

    def native(self, table: Any) -> Any:
        return self.engine.connection.sql(self.backend.compile(table))

    def due(self, spine: Any, predictions: Any) -> Any:
        # By brackets: `predictions.alias` is a method, and comparing that with a text is False without any error.
        champion, time_ = predictions["alias"] == "champion", predictions["time"]
        earlier = predictions.filter(predictions["as_of"] < AS_OF, champion, time_ > SINCE)
        rows = spine.filter(spine["time"] > SINCE, spine["time"] <= AS_OF).anti_join(earlier, ["id", "time"])
        return rows.mutate(as_of=self.ibis.literal(AS_OF), alias=self.ibis.literal("champion"), version=7).order_by(
            "time", "id"
        )

    def window(self, scored: Any) -> Any:
        counts = {f"{c}_{n}": (scored[c] < edge).sum() for c in COLUMNS for n, edge in enumerate(EDGES)}
        counts |= {f"{c}_nulls": scored[c].isnull().sum() for c in COLUMNS}
        counts |= {name: scored[name].sum() for name in ("matched_0", "matched_1")}
        return scored.group_by("version").aggregate(rows=scored.count(), **counts)

    def judged(self, landed: Any, silver: Any) -> Any:
        fresh = landed.anti_join(silver, "key")
        fresh = fresh.mutate(failing=fresh.value.isnull())
        within = self.ibis.window(group_by=["key", "failing"], order_by=["file", "row"])
        return fresh.mutate(number=self.ibis.row_number().over(within) + 1)

    def good(self, judged: Any) -> Any:
        return judged.filter(~judged.failing, judged.number == 1).drop("failing", "number")

    def bad(self, judged: Any) -> Any:
        bad = judged.filter(judged.failing | (judged.number > 1))
        return bad.select("file", "row", reason=bad.failing.ifelse("value is null", "duplicate"))


class PySpark:
    """The same in plain PySpark."""

    def __init__(self, engine: Spark) -> None:
        self.engine = engine

    def read(self, files: list[str]) -> Any:
        return self.engine.read(files)

    def native(self, frame: Any) -> Any:
        return frame

    def due(self, spine: Any, predictions: Any) -> Any:
        from pyspark.sql import functions as F  # noqa: N812

        time_, as_of = F.col("time"), F.lit(AS_OF)
        earlier = predictions.where((F.col("as_of") < as_of) & (F.col("alias") == "champion") & (time_ > SINCE))
        rows = spine.where((time_ > SINCE) & (time_ <= as_of)).join(earlier, ["id", "time"], "left_anti")
        literals = {"as_of": as_of, "alias": F.lit("champion"), "version": F.lit(7)}
        return rows.withColumns(literals).orderBy("time", "id")

    def window(self, scored: Any) -> Any:
        from pyspark.sql import functions as F  # noqa: N812

        cells = [F.count_if(F.col(c) < e).alias(f"{c}_{n}") for c in COLUMNS for n, e in enumerate(EDGES)]
        nulls = [F.count_if(F.col(c).isNull()).alias(f"{c}_nulls") for c in COLUMNS]
        matched = [F.count_if(F.col(name)).alias(name) for name in ("matched_0", "matched_1")]
        return scored.groupBy("version").agg(F.count(F.lit(1)).alias("rows"), *nulls, *matched, *cells)

    def judged(self, landed: Any, silver: Any) -> Any:
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        fresh = landed.join(silver, "key", "left_anti").withColumn("failing", F.col("value").isNull())
        within = Window.partitionBy("key", "failing").orderBy("file", "row")
        return fresh.withColumn("number", F.row_number().over(within))

    def good(self, judged: Any) -> Any:
        return judged.where("not failing and number = 1").drop("failing", "number")

    def bad(self, judged: Any) -> Any:
        from pyspark.sql import functions as F  # noqa: N812

        reason = F.when(F.col("failing"), "value is null").otherwise("duplicate").alias("reason")
        return judged.where("failing or number > 1").select("file", "row", reason)


def run(dialect: Any, stage: str, tables: dict[str, list[str]], folder: Path, take: Callable[[Any, str], Any]) -> list:
    """Run a stage, and give what comes out to `take` with a name."""

    def read(name: str) -> Any:
        return dialect.read(tables[name])

    if stage == "due":
        return [take(dialect.native(dialect.due(read("spine"), read("predictions"))), "due")]
    if stage == "window":  # small by its nature: collected whatever its size
        return [dialect.engine.arrow(dialect.native(dialect.window(read("scored"))))]
    judged = dialect.native(dialect.judged(read("landed"), read("silver")))
    staged = dialect.read(dialect.engine.stage(judged, folder / "judged"))
    return [take(dialect.native(part(staged)), part.__name__) for part in (dialect.good, dialect.bad)]
