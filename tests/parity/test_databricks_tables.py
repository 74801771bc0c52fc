"""Tables of the Databricks workspace: the real SDK on the stand-in, JVM Spark with Delta."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName
from mlplatform.workspace.databricks.spark_frames import check_unique_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

_MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("k", pa.string(), metadata={"comment": "The entity's 'key'"}),
        pa.field("ts", _MOMENT, metadata={"comment": "When it was known"}),
        pa.field("v", pa.float64()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("needed", pa.int64(), nullable=False),
    ]
)
_names = (ObjectName("dev", "tables", f"t{number}") for number in itertools.count())


def at(day: int, microsecond: int = 0) -> dt.datetime:
    return dt.datetime(2020, 1, day, microsecond=microsecond, tzinfo=dt.UTC)


def rows(*values: tuple[str | None, dt.datetime, float | None]) -> pa.Table:
    return pa.table(
        {
            "k": pa.array([value[0] for value in values], pa.string()),
            "ts": pa.array([value[1] for value in values], _MOMENT),
            "v": pa.array([value[2] for value in values], pa.float64()),
            "needed": pa.array([1] * len(values), pa.int64()),
        }
    )


def content(ws: DatabricksWorkspace, name: ObjectName, **asked: Any) -> list[tuple[Any, ...]]:
    found = ws.tables.to_arrow(name, at_most=10**6, columns=["k", "ts", "v"], **asked).to_pylist()
    return sorted((tuple(row.values()) for row in found), key=str)


@pytest.fixture
def name(databricks: DatabricksWorkspace) -> ObjectName:
    table = next(_names)
    databricks.tables.create(
        table, SCHEMA, primary_keys=["k", "ts"], timeseries_column="ts", description="What it's about"
    )
    return table


def test_a_table_is_declared_with_all_that_unity_catalog_keeps(databricks: DatabricksWorkspace, name: ObjectName):
    info = databricks.tables.describe(name)
    assert (info.primary_keys, info.timeseries_column, info.description) == (("k", "ts"), "ts", "What it's about")
    assert info.schema.field("k").metadata == {b"comment": b"The entity's 'key'"}
    assert [field.nullable for field in info.schema] == [False, False, True, True, False]
    assert info.schema.field("ts").type == _MOMENT
    statement = databricks.sql.statements[-1]
    assert statement == f"ALTER TABLE {name.sql} ADD CONSTRAINT `{name.name}_pk` PRIMARY KEY (`k`, `ts` TIMESERIES)"
    detail = databricks.spark.sql(f"DESCRIBE DETAIL {name.sql}").collect()[0]
    assert detail["clusteringColumns"] == ["k", "ts"]
    assert name.name in databricks.tables.list("dev", "tables")
    assert databricks.tables.list("dev", "nothing_here") == []


def test_a_crash_before_the_key_is_mended_by_the_next_creation(databricks, standin, name):
    standin.metastore.drop_primary_key(str(name))
    assert databricks.tables.describe(name).primary_keys == ()
    databricks.tables.create(name, SCHEMA, primary_keys=["k", "ts"], timeseries_column="ts")
    assert databricks.tables.describe(name).primary_keys == ("k", "ts")


def test_overwrite_replaces_all_rows_and_keeps_the_declaration(databricks, name):
    databricks.tables.append(name, rows(("a", at(1), 1.0)))
    before = databricks.tables.describe(name)
    assert databricks.tables.overwrite(name, rows(("b", at(2), 2.0), ("c", at(2), 2.0))).rows == 2
    assert content(databricks, name) == [("b", at(2), 2.0), ("c", at(2), 2.0)]
    after = databricks.tables.describe(name)
    assert (after.schema, after.primary_keys, after.description) == (
        before.schema,
        before.primary_keys,
        before.description,
    )
    detail = databricks.spark.sql(f"DESCRIBE DETAIL {name.sql}").collect()[0]
    assert detail["clusteringColumns"] == ["k", "ts"]


def test_large_frames_are_staged_and_nothing_is_left_of_it(databricks, name, monkeypatch):
    monkeypatch.setattr("mlplatform.workspace.databricks.spark_frames.STAGED_BYTES", 1)
    table = rows(("a", at(1, 7), None), ("b", at(2), 2.0))
    databricks.tables.append(name, table.append_column("tags", pa.array([["x", None], None])))
    assert content(databricks, name) == [("a", at(1, 7), None), ("b", at(2), 2.0)]
    assert databricks.tables.to_arrow(name, at_most=10**6, columns=["tags"], filters=[("k", "=", "a")]).to_pylist() == [
        {"tags": ["x", None]}
    ]
    assert list((databricks.unity.ops_volume / "staging").iterdir()) == []


def test_a_call_that_fails_once_is_asked_again_and_one_that_is_forbidden_is_an_error(databricks, standin, name):
    path = rf"/unity-catalog/tables/{name}$"
    once = standin.faults.add("500", path=path, times=1)
    forbidden = standin.faults.add("403", path=path, times=1, skip=1)
    try:
        assert databricks.tables.merge(name, rows(("a", at(1), 1.0))).rows == 1
        with pytest.raises(TableError, match=r"Reading what Unity Catalog knows about .* permission"):
            databricks.tables.merge(name, rows(("b", at(1), 1.0)))
    finally:
        standin.faults.clear()
    assert (once.hits, forbidden.hits) == (1, 1)
    assert content(databricks, name) == [("a", at(1), 1.0)]


def test_nulls_and_repeated_keys_of_a_frame_are_found_by_one_query(
    databricks: DatabricksWorkspace, delta_spark: SparkSession
) -> None:
    scheduler = delta_spark.sparkContext._jsc.sc().dagScheduler()

    def jobs_of(frame: DataFrame, message: str) -> int:
        before = scheduler.numTotalJobs()
        with pytest.raises(TableError, match=message):
            check_unique_frame(frame, frame, ["k", "l"], "dev.tables.t")
        return int(scheduler.numTotalJobs() - before)

    twice = delta_spark.range(5).selectExpr("id % 3 AS k", "'x' AS l")
    repeated = r"^2 key\(s\) of dev\.tables\.t occur .* \(2 row\(s\) too many\), as {'k': \d, 'l': 'x'}"
    assert jobs_of(twice, repeated) == 1
    null = delta_spark.range(5).selectExpr("nullif(id % 3, 0) AS k", "'x' AS l")
    assert jobs_of(null, r"^Null in key column of dev\.tables\.t: k \(2 row\(s\)\)\.") == 1
    check_unique_frame(*[delta_spark.range(5).selectExpr("id AS k", "'x' AS l")] * 2, ["k", "l"], "dev.tables.t")
