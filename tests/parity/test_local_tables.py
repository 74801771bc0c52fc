"""Tables of the local workspace, read and written on by JVM Spark with Delta: what home writes is Delta to others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from mlplatform.workspace.local import data_files, delta
from mlplatform.workspace.local.tables import LocalTables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME = "dev.x.t"
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("amount", pa.decimal128(10, 2)),
    ]
)


def frame(*keys: tuple[str, int], value: float = 1.0) -> pa.Table:
    rows = [{"id": key, "at": FIRST + timedelta(days=day), "value": value, "tags": [key]} for key, day in keys]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.fixture
def tables(tmp_path: Path) -> LocalTables:
    """Give a table of which merges, a range and a compaction rewrote files."""
    (tmp_path / "scratch").mkdir()
    made = LocalTables(tmp_path / "tables", tmp_path / "scratch", _none)
    made.create(NAME, SCHEMA, primary_keys=("id", "at"), timeseries_column="at")
    for day in range(4):
        made.merge(NAME, frame(*((key, day) for key in "abc")))
    made.merge(NAME, frame(("b", 2), value=9.0))
    made.replace_range(NAME, frame(("z", 0)), column="at", start=FIRST, end=FIRST + timedelta(hours=1))
    made.merge(NAME, frame(("a", 1)).append_column("more", pa.array([7])))
    return made


def _none() -> Any:
    raise AssertionError("no engine is asked")


def ours(tables: LocalTables, version: int | None = None) -> list[tuple[Any, ...]]:
    rows = tables.to_arrow(NAME, at_most=1_000, version=version).select(["id", "at", "value", "tags"]).to_pylist()
    return sorted(tuple(map(str, row.values())) for row in rows)


def theirs(spark: SparkSession, tables: LocalTables, **options: str) -> list[tuple[Any, ...]]:
    read = spark.read.format("delta").options(**options).load(str(tables.path(NAME)))
    return sorted(
        tuple(map(str, row.values())) for row in read.select("id", "at", "value", "tags").toArrow().to_pylist()
    )


def test_jvm_spark_reads_every_version_as_we_do(delta_spark: SparkSession, tables: LocalTables) -> None:
    delta.compact(tables.path(NAME), NAME, data_files.FILE_BYTES)
    for version in range(tables.version(NAME) + 1):
        assert theirs(delta_spark, tables, versionAsOf=str(version)) == ours(tables, version)
    assert len(ours(tables)) == 10
    more = delta_spark.read.format("delta").load(str(tables.path(NAME))).where("more = 7")
    assert [row["id"] for row in more.collect()] == ["a"]


def test_its_history_knows_our_commits(delta_spark: SparkSession, tables: LocalTables) -> None:
    history = delta_spark.sql(f"DESCRIBE HISTORY delta.`{tables.path(NAME)}`").collect()
    assert len(history) == tables.version(NAME) + 1
    detail = delta_spark.sql(f"DESCRIBE DETAIL delta.`{tables.path(NAME)}`").collect()[0]
    assert detail["numFiles"] == len(tables.open(NAME).file_uris())


def test_it_merges_appends_and_restores_on_top_and_we_go_on(delta_spark: SparkSession, tables: LocalTables) -> None:
    path = f"delta.`{tables.path(NAME)}`"
    before = tables.version(NAME)
    delta_spark.sql(
        f"MERGE INTO {path} t USING (SELECT 'b' AS id, TIMESTAMP '2024-01-03 00:00:00Z' AS at, 5.0D AS value) s "
        "ON t.id = s.id AND t.at = s.at WHEN MATCHED THEN UPDATE SET t.value = s.value"
    )
    write_deltalake(str(tables.path(NAME)), frame(("q", 3)), mode="append", schema_mode="merge")
    assert theirs(delta_spark, tables) == ours(tables)
    assert tables.merge(NAME, frame(("b", 2), ("q", 3), ("new", 9), value=3.0)).rows == 3
    assert theirs(delta_spark, tables) == ours(tables)
    delta_spark.sql(f"RESTORE TABLE {path} TO VERSION AS OF {before}")
    assert ours(tables) == ours(tables, before)


def test_what_vacuum_kept_it_reads_and_it_finds_nothing_of_ours_to_complain(
    delta_spark: SparkSession, tables: LocalTables
) -> None:
    expected = ours(tables, 3)
    delta.vacuum(tables.path(NAME), NAME, [3], 0, dry_run=False)
    assert theirs(delta_spark, tables, versionAsOf="3") == ours(tables, 3) == expected
    assert theirs(delta_spark, tables) == ours(tables)
    delta_spark.sql(f"OPTIMIZE delta.`{tables.path(NAME)}`")
    assert theirs(delta_spark, tables) == ours(tables)
