"""Training sets beyond the golden cases: frames, snapshots, reproducibility, functions' failures, odd names."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import FeatureStoreError, FunctionError, TableError

if TYPE_CHECKING:
    from mlplatform.workspace.local.training_set import LocalTrainingSet
    from mlplatform.workspace.local.workspace import LocalWorkspace

TIME = pa.timestamp("us", "UTC")


def day(number: int) -> dt.datetime:
    return dt.datetime(2024, 1, number, tzinfo=dt.UTC)


def times(*days: int) -> pa.Array:
    return pa.array([day(number) for number in days], TIME)


SPINE = pa.table({"id": [1, 1, 2, 9], "ts": times(4, 6, 6, 6), "y": [0, 1, 0, 1]})
FEATURES = pa.table({"k": [1, 1, 2], "t": times(1, 5, 2), "a": [1.0, 2.0, None]})


@dataclass
class Shop:
    """A schema of its own with one feature table."""

    ws: LocalWorkspace
    schema: str

    @property
    def table(self) -> str:
        return f"dev.{self.schema}.f"

    def training_set(self, *more: Any, spine: Any = SPINE, **arguments: Any) -> LocalTrainingSet:
        lookup = FeatureLookup(self.table, "id", timestamp_lookup_key="ts")
        return self.ws.fe.create_training_set(df=spine, feature_lookups=[lookup, *more], label="y", **arguments)


@pytest.fixture
def shop(ws: LocalWorkspace) -> Shop:
    made = Shop(ws, f"s{uuid.uuid4().hex[:8]}")
    ws.fe.create_table(name=made.table, primary_keys=["k", "t"], df=FEATURES, timeseries_column="t")
    return made


def features(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted((row["id"], row["ts"].day, row["a"]) for row in table.to_pylist())


BEFORE = [(1, 4, 1.0), (1, 6, 2.0), (2, 6, None), (9, 6, None)]


@pytest.mark.parametrize("kind", ["arrow", "pandas", "spark"])
def test_every_kind_of_frame_gives_the_same(shop: Shop, kind: str) -> None:
    pandas = SPINE.to_pandas()
    spine = {"arrow": SPINE, "pandas": pandas}.get(kind)
    training_set = shop.training_set(spine=shop.ws.spark.createDataFrame(pandas) if spine is None else spine)
    assert features(training_set.to_arrow()) == BEFORE
    assert list(training_set.to_pandas().columns) == ["id", "ts", "a", "y"]


def test_the_spine_stays_what_it_was(shop: Shop) -> None:
    spine = SPINE.to_pandas()
    training_set = shop.training_set(spine=spine)
    spine["id"] = 0
    assert features(training_set.to_arrow()) == BEFORE


def test_as_recorded_after_later_writes(shop: Shop) -> None:
    training_set = shop.training_set()
    recorded = training_set.recorded_versions
    shop.ws.fe.write_table(name=shop.table, df=pa.table({"k": [2, 9], "t": times(3, 3), "a": [7.0, 8.0]}))
    after = [(1, 4, 1.0), (1, 6, 2.0), (2, 6, 7.0), (9, 6, 8.0)]
    assert features(training_set.to_arrow()) == after
    assert features(training_set.to_arrow(as_recorded=True)) == BEFORE
    assert features(training_set.load_df(as_recorded=True).toArrow()) == BEFORE
    shop.ws.fe.write_table(name=shop.table, df=pa.table({"k": [9], "t": times(4), "a": [0.0], "new": [True]}))
    assert features(training_set.to_arrow(as_recorded=True)) == BEFORE
    assert training_set.recorded_versions == recorded == {shop.table: recorded[shop.table]}


def test_as_recorded_notices_a_table_made_anew(shop: Shop) -> None:
    training_set = shop.training_set()
    shop.ws.fe.drop_table(name=shop.table)
    with pytest.raises(TableError, match="does not exist"):
        training_set.to_arrow()
    shop.ws.fe.create_table(name=shop.table, primary_keys=["k", "t"], df=FEATURES, timeseries_column="t")
    assert features(training_set.to_arrow()) == BEFORE
    with pytest.raises(FeatureStoreError, match="dropped and made again"):
        training_set.to_arrow(as_recorded=True)


def test_the_lineage_says_what_was_loaded(shop: Shop) -> None:
    training_set = shop.training_set()
    first = shop.ws.tables.version(shop.table)
    shop.ws.fe.write_table(name=shop.table, df=pa.table({"k": [2], "t": times(3), "a": [7.0]}))
    assert [table.version for table in training_set.lineage.tables] == [first]
    training_set.to_arrow()
    assert [table.version for table in training_set.lineage.tables] == [first + 1]


def test_names_that_differ_in_case_or_hold_anything(shop: Shop) -> None:
    spine = SPINE.append_column("ID", pa.array(["a", "b", "c", "d"])).append_column(
        'we"ird, .name', pa.array([1, 2, 3, 4])
    )
    result = shop.training_set(spine=spine).to_arrow()
    assert result.column_names == ["id", "ts", "ID", 'we"ird, .name', "a", "y"]
    assert features(result) == BEFORE


def test_an_empty_spine_and_an_empty_table(shop: Shop) -> None:
    empty = shop.training_set(spine=SPINE.slice(0, 0))
    assert empty.to_arrow().schema == shop.training_set().to_arrow().schema
    assert empty.load_df().toArrow().num_rows == 0
    shop.ws.tables.overwrite(shop.table, FEATURES.slice(0, 0))
    assert [row[2] for row in features(shop.training_set().to_arrow())] == [None] * 4


def test_a_spine_without_lookups(ws: LocalWorkspace) -> None:
    training_set = ws.fe.create_training_set(df=SPINE, feature_lookups=[], label="y", exclude_columns=["ts"])
    assert training_set.to_arrow() == SPINE.select(["id", "y"])
    assert ws.fe.create_training_set(df=SPINE, label=None).to_arrow() == SPINE


def test_a_column_added_later_is_looked_up(shop: Shop) -> None:
    shop.ws.fe.write_table(name=shop.table, df=pa.table({"k": [2], "t": times(3), "a": [7.0], "new": ["x"]}))
    result = shop.training_set().to_arrow()
    assert {(row["id"], row["new"]) for row in result.to_pylist()} == {(1, None), (2, "x"), (9, None)}


def test_a_failing_function_is_named_with_types_not_values(shop: Shop) -> None:
    name = f"dev.{shop.schema}.secret"
    shop.ws.functions.register(
        name, lambda a, n: a + n, parameters=[("a", "double"), ("n", "bigint")], returns="double"
    )
    function = FeatureFunction(udf_name=name, input_bindings={"a": "a", "n": "id"}, output_name="sum")
    with pytest.raises(FunctionError, match=rf"{name} raised TypeError .*\(a: NoneType, n: int\)") as refused:
        shop.training_set(function).to_arrow()
    assert "9" not in str(refused.value).replace(name, "")


@pytest.mark.parametrize(
    ("returned", "says"), [("text", "returned a str that is no double"), ([1.0], "returned a list")]
)
def test_a_function_must_return_what_it_declared(shop: Shop, returned: Any, says: str) -> None:
    name = f"dev.{shop.schema}.wrong"
    shop.ws.functions.register(name, lambda: returned, parameters=[], returns="double")
    with pytest.raises(FunctionError, match=says):
        shop.training_set(FeatureFunction(udf_name=name, output_name="z")).to_arrow()


def test_functions_see_python_values_of_every_type(shop: Shop) -> None:
    name = f"dev.{shop.schema}.kinds"
    shop.ws.functions.register(
        name,
        lambda t, a, i: f"{type(t).__name__} {t.utcoffset() if t else None} {type(a).__name__} {type(i).__name__}",
        parameters=[("t", "timestamp"), ("a", "double"), ("i", "bigint")],
        returns="string",
    )
    function = FeatureFunction(udf_name=name, input_bindings={"t": "ts", "a": "a", "i": "id"}, output_name="z")
    seen = set(shop.training_set(function).to_arrow().column("z").to_pylist())
    assert seen == {"datetime 0:00:00 float int", "datetime 0:00:00 NoneType int"}


def test_what_the_real_client_could_do_more_is_refused(ws: LocalWorkspace) -> None:
    with pytest.raises(FeatureStoreError, match="not from feature_spec"):
        ws.fe.create_training_set(df=SPINE, feature_spec="dev.x.spec", label=None)
    with pytest.raises(FeatureStoreError, match="A list is not a frame"):
        ws.fe.create_training_set(df=[1], label=None)
    with pytest.raises(FunctionError, match="not registered"):
        ws.fe.create_training_set(
            df=SPINE, feature_lookups=[FeatureFunction(udf_name="dev.x.none", output_name="z")], label=None
        )
    with pytest.raises(TableError, match="does not exist"):
        ws.fe.create_training_set(df=SPINE, feature_lookups=[FeatureLookup("dev.nowhere.f", "id")], label=None)


def test_a_column_that_no_file_has_yet_is_null_in_its_type(ws: LocalWorkspace) -> None:
    name = f"dev.s{uuid.uuid4().hex[:8]}.f"
    schema = pa.schema([("k", pa.int64()), ("tags", pa.list_(pa.string()))])
    ws.fe.create_table(name=name, primary_keys="k", schema=schema)
    result = ws.fe.create_training_set(df=SPINE, feature_lookups=[FeatureLookup(name, "id")], label="y").to_arrow()
    assert result.column("tags").null_count == SPINE.num_rows
    assert result.schema.field("tags").type == pa.list_(pa.field("element", pa.string()))


def test_lost_files_are_an_error_of_ours(shop: Shop) -> None:
    training_set = shop.training_set()
    for file in shop.ws.tables.path(shop.table).glob("*.parquet"):
        file.unlink()
    with pytest.raises((FeatureStoreError, TableError), match=shop.table):
        training_set.to_arrow()
