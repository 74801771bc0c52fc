"""Tables of the Databricks workspace: the real SDK on the stand-in, JVM Spark with Delta."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName

if TYPE_CHECKING:
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
    found = ws.tables.to_arrow(name, columns=["k", "ts", "v"], **asked).to_pylist()
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


def test_the_same_declaration_again_changes_nothing_and_another_is_refused(databricks, name):
    before = len(databricks.sql.statements)
    again = databricks.tables.create(name, SCHEMA, primary_keys=["k", "ts"], timeseries_column="ts")
    assert again.version == 0
    assert len(databricks.sql.statements) == before
    with pytest.raises(TableError, match="another declaration"):
        databricks.tables.create(name, SCHEMA, primary_keys=["k"])
    with pytest.raises(TableError, match="key nope is not a column"):
        databricks.tables.create(next(_names), SCHEMA, primary_keys=["nope"])


def test_a_crash_before_the_key_is_mended_by_the_next_creation(databricks, standin, name):
    standin.metastore.drop_primary_key(str(name))
    assert databricks.tables.describe(name).primary_keys == ()
    databricks.tables.create(name, SCHEMA, primary_keys=["k", "ts"], timeseries_column="ts")
    assert databricks.tables.describe(name).primary_keys == ("k", "ts")


def test_frames_of_any_kind_are_appended(databricks, name):
    table = rows(("a", at(1, 7), 1.5))
    assert databricks.tables.append(name, table).rows == 1
    assert databricks.tables.append(name, table.to_pandas()).rows == 1
    written = databricks.tables.append(name, databricks.spark.createDataFrame(table))
    assert (written.rows, written.version) == (1, databricks.tables.version(name))
    assert content(databricks, name) == [("a", at(1, 7), 1.5)] * 3
    assert databricks.tables.to_arrow(name).schema == databricks.tables.describe(name).schema


@pytest.mark.parametrize("lift", [lambda ws, frame: frame, lambda ws, frame: ws.spark.createDataFrame(frame)])
def test_a_frame_that_does_not_fit_is_refused_and_nothing_is_written(databricks, name, lift):
    good = rows(("a", at(1), 1.0))
    for frame, message in (
        (good.append_column("more", pa.array([1])), "no column more"),
        (good.drop_columns(["needed"]), "lacks needed"),
        (rows((None, at(1), 1.0)), "(?i)null"),
        (good.set_column(3, "needed", pa.array([1.5])), "does not fit"),
    ):
        with pytest.raises(TableError, match=message):
            databricks.tables.append(name, lift(databricks, frame))
    assert databricks.tables.version(name) == 0


@pytest.mark.parametrize("lift", [lambda ws, frame: frame, lambda ws, frame: ws.spark.createDataFrame(frame)])
def test_merge_updates_what_differs_and_inserts_the_rest(databricks, name, lift):
    databricks.tables.append(name, rows(("a", at(1), 1.0), ("b", at(1), 2.0)))
    written = databricks.tables.merge(
        name, lift(databricks, rows(("a", at(1), 1.0), ("b", at(1), 9.0), ("c", at(2), 3.0)))
    )
    assert written.rows == 2
    assert content(databricks, name) == [("a", at(1), 1.0), ("b", at(1), 9.0), ("c", at(2), 3.0)]
    assert databricks.tables.merge(name, rows(("c", at(2), 3.0))).rows == 0


@pytest.mark.parametrize("lift", [lambda ws, frame: frame, lambda ws, frame: ws.spark.createDataFrame(frame)])
def test_merge_refuses_keys_that_are_none(databricks, name, lift):
    for frame, message in (
        (rows(("a", at(1), 1.0), ("a", at(1), 2.0)), "1 key.* more than once .*1 row.*too many"),
        (rows((None, at(1), 1.0)), "Null in key column .*k .1 row"),
        (rows(("a", at(1), 1.0)).drop_columns(["ts"]), "lacks key column.* ts"),
    ):
        with pytest.raises(TableError, match=message):
            databricks.tables.merge(name, lift(databricks, frame))
    assert databricks.tables.version(name) == 0


def test_merge_adds_columns_and_keeps_those_that_the_frame_lacks(databricks, name):
    databricks.tables.append(name, rows(("a", at(1), 1.0)))
    change = rows(("a", at(1), 5.0)).drop_columns(["needed"]).append_column("extra", pa.array(["x"]))
    assert databricks.tables.merge(name, change).rows == 1
    found = databricks.tables.to_arrow(name).to_pylist()
    assert found == [{"k": "a", "ts": at(1), "v": 5.0, "tags": None, "needed": 1, "extra": "x"}]
    new = rows(("b", at(1), 5.0)).drop_columns(["needed"])
    with pytest.raises(TableError, match=r"(?i)null"):
        databricks.tables.merge(name, new)


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


def test_a_range_is_replaced_to_the_microsecond(databricks, name):
    databricks.tables.append(name, rows(("a", at(1), 1.0), ("a", at(2), 2.0), ("a", at(2, 1), 3.0)))
    with pytest.raises(TableError, match=r"1 of 1 row.* outside"):
        databricks.tables.replace_range(name, rows(("a", at(3), 0.0)), column="ts", start=at(1), end=at(2))
    result = databricks.tables.replace_range(name, rows(("b", at(1, 5), 9.0)), column="ts", start=at(1), end=at(2))
    assert result.rows == 1
    assert content(databricks, name) == [("a", at(2, 1), 3.0), ("b", at(1, 5), 9.0)]
    with pytest.raises(TableError, match=r"ends .* before"):
        databricks.tables.replace_range(name, rows(), column="ts", start=at(2), end=at(1))


def test_old_versions_stay_readable(databricks, name):
    first = databricks.tables.append(name, rows(("a", at(1), 1.0))).version
    pinned = databricks.tables.read(name)
    databricks.tables.append(name, rows(("b", at(2), 2.0)))
    assert pinned.count() == 1
    assert content(databricks, name, version=first) == [("a", at(1), 1.0)]
    with pytest.raises(TableError, match="no version 99; the newest is 2"):
        databricks.tables.read(name, version=99)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([("k", "=", "b")], {"b"}),
        ([("k", "in", ["a", "c"])], {"a", "c"}),
        ([("v", "!=", 1.0)], {"b"}),
        ([("ts", ">=", at(2)), ("ts", "<", at(3))], {"b"}),
        ([("ts", "<=", at(1, 999_999))], {"a"}),
        ([("needed", ">", 0)], {"a", "b", "c"}),
    ],
)
def test_filters_choose_as_locally(databricks, filters, found):
    table = ObjectName("dev", "tables", "filtered")
    data = rows(("a", at(1), 1.0), ("b", at(2), 2.0), ("c", at(3), None))
    if not databricks.tables.exists(table):
        databricks.tables.create(table, SCHEMA)
        databricks.tables.append(table, data)
    assert set(databricks.tables.to_arrow(table, columns=["k"], filters=filters).column("k").to_pylist()) == found


def test_what_cannot_be_asked_is_refused(databricks, name):
    for filters, message in (
        ([("nope", "=", 1)], "no column nope"),
        ([("k", "like", "a")], "'like' is not a filter operator"),
        ([("k", ">", 1)], "cannot be filtered"),
    ):
        with pytest.raises(TableError, match=message):
            databricks.tables.to_arrow(name, filters=filters)
    with pytest.raises(TableError, match="no column nope"):
        databricks.tables.largest(name, "nope")
    with pytest.raises(TableError, match=r"dev\.tables\.nowhere does not exist"):
        databricks.tables.to_arrow("dev.tables.nowhere")


def test_the_largest_value_is_that_of_the_rows_asked_for(databricks, name):
    assert databricks.tables.largest(name, "ts") is None
    databricks.tables.append(name, rows(("a", at(1, 3), 1.0), ("b", at(5), 2.0)))
    assert databricks.tables.largest(name, "ts") == at(5)
    assert databricks.tables.largest(name, "ts", filters=[("k", "=", "a")]) == at(1, 3)


def test_a_latest_view_shows_the_newest_row_of_each_key(databricks, name):
    view = ObjectName("dev", "tables", f"{name.name}_latest")
    databricks.tables.create_latest_view(view, of=name, keys=["k"], order_by=["ts"], description="Newest")
    databricks.tables.append(name, rows(("a", at(1), 1.0), ("a", at(2), 2.0), ("b", at(1), 3.0)))
    assert content(databricks, view) == [("a", at(2), 2.0), ("b", at(1), 3.0)]
    assert not databricks.tables.exists(view)
    assert view.name not in databricks.tables.list("dev", "tables")
    databricks.tables.create_latest_view(view, of=name, keys=["k"], order_by=["ts"], where={"k": "b"})
    assert content(databricks, view) == [("b", at(1), 3.0)]
    with pytest.raises(TableError, match="no column nope"):
        databricks.tables.create_latest_view(view, of=name, keys=["nope"], order_by=["ts"])
    with pytest.raises(TableError, match="is a table"):
        databricks.tables.create_latest_view(name, of=name, keys=["k"], order_by=["ts"])


def test_tags_are_set_and_removed(databricks, name):
    databricks.tables.set_tag(name, "owner", "Jo's team")
    databricks.tables.set_tag(name, "tier", "1")
    assert databricks.tables.describe(name).tags == {"owner": "Jo's team", "tier": "1"}
    databricks.tables.set_tag(name, "tier", None)
    assert databricks.tables.describe(name).tags == {"owner": "Jo's team"}


def test_a_table_made_again_has_nothing_of_the_old_one(databricks, name):
    databricks.tables.set_tag(name, "old", "1")
    databricks.tables.drop(name)
    assert not databricks.tables.exists(name)
    with pytest.raises(TableError, match="does not exist"):
        databricks.tables.drop(name)
    databricks.tables.create(name, SCHEMA, primary_keys=["k"])
    info = databricks.tables.describe(name)
    assert (info.primary_keys, dict(info.tags), info.version) == (("k",), {}, 0)


def test_large_frames_are_staged_and_nothing_is_left_of_it(databricks, name, monkeypatch):
    monkeypatch.setattr("mlplatform.workspace.databricks.spark_frames.STAGED_BYTES", 1)
    table = rows(("a", at(1, 7), None), ("b", at(2), 2.0))
    databricks.tables.append(name, table.append_column("tags", pa.array([["x", None], None])))
    assert content(databricks, name) == [("a", at(1, 7), None), ("b", at(2), 2.0)]
    assert databricks.tables.to_arrow(name, columns=["tags"], filters=[("k", "=", "a")]).to_pylist() == [
        {"tags": ["x", None]}
    ]
    assert list((databricks.ops_volume / "staging").iterdir()) == []


def test_an_empty_frame_is_a_frame(databricks, name):
    assert databricks.tables.append(name, rows()).rows == 0
    assert databricks.tables.merge(name, rows()).rows == 0
    assert databricks.tables.overwrite(name, rows().to_pandas()).rows == 0


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
