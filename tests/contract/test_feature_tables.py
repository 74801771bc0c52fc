"""Feature tables: create_table, write_table, read_table, get_table, drop_table, tags."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pandas as pd
import pyarrow as pa
import pytest

from mlplatform.errors import FeatureStoreError, TableError
from mlplatform.protocols.feature_client import FeatureClient
from mlplatform.protocols.frames import metered

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ROWS = pa.table({"k": [1, 2], "t": pa.array([DAY, DAY], TIME), "a": [1.0, None], "n": ["x", "y"]})
KEYS = ["k", "t"]


def create(ws: Workspace, name: str, df: Any = ROWS, **arguments: Any) -> Any:
    return ws.fe.create_table(**{"name": name, "primary_keys": KEYS, "df": df, "timeseries_column": "t"} | arguments)


def rows(ws: Workspace, name: str) -> list[dict[str, Any]]:
    return ws.tables.to_arrow(name, at_most=10**6).sort_by([("k", "ascending")]).to_pylist()


@pytest.fixture
def name(fresh: Callable[[str], str]) -> str:
    return fresh("features")


def test_it_keeps_the_protocol(ws):
    assert isinstance(ws.fe, FeatureClient)


def test_what_is_known_about_a_table(ws, name):
    made = create(ws, name, description="What we know.", tags={"owner": "risk"})
    info = ws.fe.get_table(name=name)
    assert info == made
    assert (info.name, info.primary_keys, info.timeseries_column) == (name, ("k", "t"), "t")
    assert (info.description, dict(info.tags), info.features) == ("What we know.", {"owner": "risk"}, ["a", "n"])
    ws.fe.set_feature_table_tag(name=name, key="tier", value="1")
    ws.fe.delete_feature_table_tag(name=name, key="owner")
    ws.fe.delete_feature_table_tag(name=name, key="never there")
    assert dict(ws.fe.get_table(name=name).tags) == {"tier": "1"}
    with pytest.raises(TableError, match=f"{name}x does not exist") as refused:
        ws.fe.get_table(name=f"{name}x")
    assert f"Did you mean {name.rpartition('.')[2]}" in refused.value.hint
    ws.fe.drop_table(name=name)
    for ask in (ws.fe.get_table, ws.fe.read_table, ws.fe.drop_table):
        with pytest.raises(TableError, match=f"{name} does not exist"):
            ask(name=name)


def test_every_kind_of_frame_goes_in_and_spark_comes_out(ws, fresh):
    frame = ROWS.to_pandas()
    lazy = ws.frames.of(ROWS)
    kinds = {"arrow": ROWS, "pandas": frame, "spark": ws.spark.createDataFrame(frame), "frame": lazy}
    for kind, df in kinds.items():
        name = fresh(kind)
        create(ws, name, df)
        assert rows(ws, name) == ROWS.to_pylist()
        out = ws.fe.read_table(name=name)
        assert out.dtypes == [("k", "bigint"), ("t", "timestamp"), ("a", "double"), ("n", "string")]
        assert out.toArrow().sort_by("k").to_pylist() == ROWS.to_pylist()


def test_an_empty_table_reads_as_one(ws, name):
    create(ws, name, None, schema=ROWS.schema)
    assert ws.fe.read_table(name=name).toArrow().num_rows == 0
    ws.fe.write_table(name=name, df=ROWS.slice(0, 0))
    assert ws.tables.version(name) == 0


def test_a_spark_schema_declares_a_table(ws, name):
    from pyspark.sql.types import LongType, StructField, StructType, TimestampType

    schema = StructType([StructField("k", LongType()), StructField("t", TimestampType())])
    create(ws, name, None, schema=schema)
    assert ws.fe.get_table(name=name).schema.equals(
        pa.schema([pa.field("k", pa.int64(), nullable=False), pa.field("t", TIME, nullable=False)])
    )


def test_the_same_declaration_again_merges(ws, name):
    create(ws, name, description="Kept", tags={"team": "a"})
    later = pa.table({"n": ["z", "w"], "k": [2, 3], "t": pa.array([DAY, DAY], TIME), "a": [5.0, 6.0]})
    for df in (later, ws.spark.createDataFrame(later), ws.frames.of(later)):
        info = create(ws, name, df)
        assert (info.description, dict(info.tags)) == ("Kept", {"team": "a"})
        assert [(row["k"], row["a"], row["n"]) for row in rows(ws, name)] == [
            (1, 1.0, "x"),
            (2, 5.0, "z"),
            (3, 6.0, "w"),
        ]


def test_another_declaration_is_an_error_that_shows_both(ws, name):
    create(ws, name)
    for arguments in (
        {"primary_keys": ["t", "k"]},
        {"timeseries_column": None},
        {"df": ROWS.set_column(2, "a", pa.array([1, 2]))},
        {"df": ROWS.rename_columns(["k", "t", "b", "n"])},
    ):
        with pytest.raises(FeatureStoreError, match=r"(?s)existing: .*k bigint.*declared: .*k bigint") as refused:
            create(ws, name, **arguments)
        assert name in refused.value.message
    assert rows(ws, name) == ROWS.to_pylist()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"primary_keys": []}, "without primary keys"),
        ({"primary_keys": ["k", "tt"]}, "Did you mean t"),
        ({"primary_keys": ["k", "k", "t"]}, "given twice"),
        ({"primary_keys": "k"}, r"'t' is not among the primary keys \['k'\]"),
        ({"primary_keys": "t"}, "no key beside its timeseries column"),
        ({"primary_keys": ["k", "a"], "timeseries_column": "a"}, "'a' is double"),
        ({"timeseries_column": ["t"]}, "timeseries_column is a list"),
        ({"df": None}, "without columns"),
        ({"df": "rows"}, "A str is not a frame"),
        ({"schema": "k bigint"}, "is a str"),
        ({"schema": pa.schema([("k", pa.int64()), ("t", TIME)])}, "'a', which its schema lacks"),
        ({"df": ROWS.set_column(1, "t", ROWS["t"].cast(pa.timestamp("us")))}, "without time zone"),
        ({"df": ROWS.append_column("list", pa.array([[1], [2]])), "primary_keys": ["list", "t"]}, "Keys are scalars"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_declaration_that_does_not_fit_itself(ws, name, arguments, says):
    with pytest.raises(FeatureStoreError, match=says) as refused:
        create(ws, name, **arguments)
    assert name in refused.value.message
    assert not ws.tables.exists(name)


def test_a_batch_with_bad_keys_is_refused_whole(ws, name):
    null = pa.table({"k": [1, None], "t": pa.array([None, None], TIME), "a": [1.0, 2.0], "n": ["x", "y"]})
    twice = pa.concat_tables([ROWS, ROWS.slice(0, 1)])
    bad = [
        (frame, says)
        for rows, says in (
            (null, r"k \(1 row\(s\)\), t \(2 row"),
            (twice, r"1 key\(s\) of .* occur more than once in the frame \(1 row"),
        )
        for frame in (rows, ws.spark.createDataFrame(rows), ws.frames.of(rows))
    ]
    for frame, says in bad:
        with pytest.raises(TableError, match=says):
            create(ws, name, frame)
        assert not ws.tables.exists(name)
    create(ws, name)
    version = ws.tables.version(name)
    for frame, says in bad:
        with pytest.raises(TableError, match=says):
            ws.fe.write_table(name=name, df=frame)
    assert ws.tables.version(name) == version


def test_merge_keeps_what_it_is_not_given(ws, name):
    plain = pa.table({"k": [1, 2], "a": [1.0, 2.0], "n": ["x", "y"]})
    create(ws, name, plain, primary_keys="k", timeseries_column=None)
    ws.fe.write_table(name=name, df=pd.DataFrame({"k": [2, 3], "a": [20.0, 30.0]}), mode="merge")
    assert [tuple(row.values()) for row in rows(ws, name)] == [(1, 1.0, "x"), (2, 20.0, "y"), (3, 30.0, None)]
    ws.fe.write_table(name=name, df=pa.table({"k": [1], "new": [True]}))
    assert [tuple(row.values()) for row in rows(ws, name)] == [
        (1, 1.0, "x", True),
        (2, 20.0, "y", None),
        (3, 30.0, None, None),
    ]
    create(ws, name, plain, primary_keys="k", timeseries_column=None)
    assert rows(ws, name)[1] == {"k": 2, "a": 2.0, "n": "y", "new": None}


def test_a_timeseries_table_is_given_all_its_columns(ws, name):
    create(ws, name)
    with pytest.raises(FeatureStoreError, match=rf"{name} lacks the column\(s\) a"):
        ws.fe.write_table(name=name, df=ROWS.drop_columns(["a"]))
    ws.fe.write_table(name=name, df=ROWS.append_column("new", pa.array([1, 2])))
    assert ws.fe.get_table(name=name).features == ["a", "n", "new"]
    with pytest.raises(FeatureStoreError, match="no mode 'overwrite'"):
        ws.fe.write_table(name=name, df=ROWS, mode="overwrite")
    with pytest.raises(TableError, match=f"{name}x does not exist"):
        ws.fe.write_table(name=f"{name}x", df=ROWS)


def test_rows_of_an_engine_are_written_without_coming_into_memory(ws, name):
    other = f"{name}_copy"
    frame = ws.frames.of(ROWS).filter(nw.col("k") > 0)
    with metered() as collected:
        create(ws, name, ws.spark.createDataFrame(ROWS))
        with ws.frames.staged(frame) as staged:
            create(ws, other, staged)
            ws.fe.write_table(name=other, df=staged.with_columns(nw.lit("z").alias("n")))
            assert ws.frames.count(staged) == 2  # writing leaves it there
    # Counts, one row each; no row of the tables.
    assert all(item.rows <= 1 for item in collected.collections)
    assert rows(ws, name) == ROWS.to_pylist()
    assert [row["n"] for row in rows(ws, other)] == ["z", "z"]
    with pytest.raises(FeatureStoreError, match=f"{other} lacks the column"):
        ws.fe.write_table(name=other, df=frame.drop("a"))
