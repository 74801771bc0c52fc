"""create_table, write_table, get_table, drop_table, tags: the rules, and writers that meet or die."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from mlplatform.errors import FeatureStoreError, TableError

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ROWS = pa.table({"k": [1, 2], "t": pa.array([DAY, DAY], TIME), "a": [1.0, None], "n": ["x", "y"]})
KEYS = ["k", "t"]


def create(ws: LocalWorkspace, name: str, df: Any = ROWS, **arguments: Any) -> str:
    full = f"dev.tables.{name}"
    ws.fe.create_table(**{"name": full, "primary_keys": KEYS, "df": df, "timeseries_column": "t"} | arguments)
    return full


def rows(ws: LocalWorkspace, name: str) -> list[dict[str, Any]]:
    return ws.tables.to_arrow(name).sort_by([("k", "ascending")]).to_pylist()


def test_what_is_known_about_a_table(ws: LocalWorkspace) -> None:
    name = create(ws, "known", description="What we know.", tags={"owner": "risk"})
    info = ws.fe.get_table(name=name)
    assert (info.name, info.primary_keys, info.timeseries_column) == (name, ("k", "t"), "t")
    assert (info.description, info.tags, info.features) == ("What we know.", {"owner": "risk"}, ["a", "n"])
    ws.fe.set_feature_table_tag(name=name, key="tier", value="1")
    ws.fe.delete_feature_table_tag(name=name, key="owner")
    ws.fe.delete_feature_table_tag(name=name, key="never there")
    assert ws.fe.get_table(name=name).tags == {"tier": "1"}
    with pytest.raises(TableError, match="Did you mean known"):
        ws.fe.get_table(name="dev.tables.knwon")
    ws.fe.drop_table(name=name)
    with pytest.raises(TableError, match="does not exist"):
        ws.fe.get_table(name=name)


def test_every_kind_of_frame_goes_in_and_spark_comes_out(ws: LocalWorkspace) -> None:
    frame = ROWS.to_pandas()
    for kind, df in {"arrow": ROWS, "pandas": frame, "spark": ws.spark.createDataFrame(frame)}.items():
        name = create(ws, f"kind_{kind}", df)
        assert rows(ws, name) == ROWS.to_pylist()
        out = ws.fe.read_table(name=name)
        assert [(field.name, field.dataType.simpleString()) for field in out.schema.fields] == [
            ("k", "bigint"),
            ("t", "timestamp"),
            ("a", "double"),
            ("n", "string"),
        ]
        assert out.count() == 2


def test_an_empty_table_reads_as_one(ws: LocalWorkspace) -> None:
    name = create(ws, "empty", None, schema=ROWS.schema)
    assert ws.fe.read_table(name=name).toArrow().num_rows == 0
    ws.fe.write_table(name=name, df=ROWS.slice(0, 0))
    assert ws.tables.version(name) == 0


def test_a_spark_schema_declares_a_table(ws: LocalWorkspace) -> None:
    from pyspark.sql.types import LongType, StructField, StructType, TimestampType

    schema = StructType([StructField("k", LongType()), StructField("t", TimestampType())])
    name = create(ws, "spark_schema", None, schema=schema)
    assert ws.fe.get_table(name=name).schema.field("t").type == TIME


def test_the_same_declaration_again_merges(ws: LocalWorkspace) -> None:
    name = create(ws, "again")
    later = pa.table({"n": ["z", "w"], "k": [2, 3], "t": pa.array([DAY, DAY], TIME), "a": [5.0, 6.0]})
    create(ws, "again", later)
    assert [(row["k"], row["a"], row["n"]) for row in rows(ws, name)] == [(1, 1.0, "x"), (2, 5.0, "z"), (3, 6.0, "w")]


@pytest.mark.parametrize(
    "arguments",
    [
        {"primary_keys": ["t", "k"]},
        {"timeseries_column": None},
        {"df": ROWS.set_column(2, "a", pa.array([1, 2]))},
        {"df": ROWS.rename_columns(["k", "t", "b", "n"])},
    ],
    ids=["keys", "timeseries", "types", "columns"],
)
def test_another_declaration_is_an_error_that_shows_both(ws: LocalWorkspace, arguments: dict[str, Any]) -> None:
    name = create(ws, "other")
    with pytest.raises(FeatureStoreError, match=r"(?s)there: .*k bigint.*declared: .*k bigint"):
        create(ws, "other", **arguments)
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
        ({"schema": pa.schema([("k", pa.int64()), ("t", TIME)])}, "'a', which its schema has not"),
        ({"df": ROWS.set_column(1, "t", ROWS["t"].cast(pa.timestamp("us")))}, "without time zone"),
        ({"df": ROWS.append_column("list", pa.array([[1], [2]])), "primary_keys": ["list", "t"]}, "Keys are scalars"),
    ],
)
def test_a_declaration_that_does_not_fit_itself(ws: LocalWorkspace, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        create(ws, "misfit", **arguments)
    assert not ws.tables.exists("dev.tables.misfit")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (
            pa.table({"k": [1, None], "t": pa.array([None, None], TIME), "a": [1.0, 2.0], "n": ["x", "y"]}),
            r"k \(1 row\(s\)\), t \(2",
        ),
        (pa.concat_tables([ROWS, ROWS.slice(0, 1)]), r"1 key\(s\) of .* stand more than once in the frame \(1 row"),
    ],
    ids=["null", "duplicate"],
)
def test_a_batch_with_bad_keys_is_refused_whole(ws: LocalWorkspace, bad: pa.Table, says: str) -> None:
    with pytest.raises(TableError, match=says):
        create(ws, "bad_keys", bad)
    assert not ws.tables.exists("dev.tables.bad_keys")
    name = create(ws, "good_keys")
    version = ws.tables.version(name)
    with pytest.raises(TableError, match=says):
        ws.fe.write_table(name=name, df=bad)
    assert ws.tables.version(name) == version


def test_merge_keeps_what_it_is_not_given(ws: LocalWorkspace) -> None:
    plain = pa.table({"k": [1, 2], "a": [1.0, 2.0], "n": ["x", "y"]})
    name = create(ws, "plain", plain, primary_keys="k", timeseries_column=None)
    ws.fe.write_table(name=name, df=pd.DataFrame({"k": [2, 3], "a": [20.0, 30.0]}), mode="merge")
    assert [tuple(row.values()) for row in rows(ws, name)] == [(1, 1.0, "x"), (2, 20.0, "y"), (3, 30.0, None)]
    ws.fe.write_table(name=name, df=pa.table({"k": [1], "new": [True]}))
    assert [tuple(row.values()) for row in rows(ws, name)] == [
        (1, 1.0, "x", True),
        (2, 20.0, "y", None),
        (3, 30.0, None, None),
    ]
    create(ws, "plain", plain, primary_keys="k", timeseries_column=None)
    assert rows(ws, name)[1] == {"k": 2, "a": 2.0, "n": "y", "new": None}


def test_a_timeseries_table_is_given_all_its_columns(ws: LocalWorkspace) -> None:
    name = create(ws, "series")
    with pytest.raises(FeatureStoreError, match=r"lacks the column\(s\) a"):
        ws.fe.write_table(name=name, df=ROWS.drop_columns(["a"]))
    ws.fe.write_table(name=name, df=ROWS.append_column("new", pa.array([1, 2])))
    assert ws.fe.get_table(name=name).features == ["a", "n", "new"]
    with pytest.raises(FeatureStoreError, match="no mode 'overwrite'"):
        ws.fe.write_table(name=name, df=ROWS, mode="overwrite")


_WRITER = """
import sys, datetime as dt, pyarrow as pa
from mlplatform import open_workspace
root, name, first, batches, same = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
ws = open_workspace(root=root)
ws.fe.create_table(name=name, primary_keys="k", schema=pa.schema([("k", pa.int64()), ("v", pa.int64())]))
print("ready", flush=True)
sys.stdin.readline()
for batch in range(batches):
    start = 0 if same else (first + batch) * 10
    keys = list(range(start, start + (5000 if same else 10)))
    ws.fe.write_table(name=name, df=pa.table({"k": keys, "v": [batch] * len(keys)}))
    print(batch, flush=True)
"""


def _writer(root: Path, name: str, first: int, batches: int, *, same: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(root), name, str(first), str(batches), str(int(same))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _go(*writers: subprocess.Popen[str]) -> None:
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()


def test_two_processes_writing_one_table_lose_nothing(ws: LocalWorkspace) -> None:
    """They also create it at the same time, and half of their keys are the same."""
    name = "dev.tables.shared"
    writers = [_writer(ws.root, name, first, 12) for first in (0, 6)]
    _go(*writers)
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    assert [row["k"] for row in rows(ws, name)] == list(range(180))


def test_a_killed_writer_leaves_the_table_whole(ws: LocalWorkspace) -> None:
    """Every write sets one value in all rows: whenever the writer dies, all rows have the same one."""
    name = "dev.tables.killed"
    for delay in (0.0, 0.03, 0.07):
        writer = _writer(ws.root, name, 0, 1000, same=True)
        _go(writer)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        table = ws.tables.to_arrow(name)
        assert table.num_rows == 5000
        assert len(table.column("v").unique()) == 1
        ws.fe.write_table(name=name, df=pa.table({"k": [0], "v": [-1]}))
        ws.fe.write_table(name=name, df=pa.table({"k": [0], "v": table.column("v").unique()}))
