"""Training sets beyond the golden cases: frames, snapshots, reproducibility, functions' failures, odd names."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import FeatureStoreError, TableError

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


def test_the_spine_stays_what_it_was(shop: Shop) -> None:
    spine = SPINE.to_pandas()
    training_set = shop.training_set(spine=spine)
    spine["id"] = 0
    assert features(training_set.to_arrow()) == BEFORE


def test_names_that_differ_in_case_or_hold_anything(shop: Shop) -> None:
    spine = SPINE.append_column("ID", pa.array(["a", "b", "c", "d"])).append_column(
        'we"ird, .name', pa.array([1, 2, 3, 4])
    )
    result = shop.training_set(spine=spine).to_arrow()
    assert result.column_names == ["id", "ts", "ID", 'we"ird, .name', "a", "y"]
    assert features(result) == BEFORE


def test_a_failing_function_is_named_with_types_not_values(shop: Shop) -> None:
    name = f"dev.{shop.schema}.secret"
    shop.ws.functions.register(
        name, lambda a, n: a + n, parameters=[("a", "double"), ("n", "bigint")], returns="double"
    )
    function = FeatureFunction(udf_name=name, input_bindings={"a": "a", "n": "id"}, output_name="sum")
    with pytest.raises(FeatureStoreError, match=rf"{name} raised TypeError .*\(a: NoneType, n: int\)") as refused:
        shop.training_set(function).to_arrow()
    assert "9" not in str(refused.value).replace(name, "")


@pytest.mark.parametrize(
    ("returned", "says"), [("text", "returned a str that is no double"), ([1.0], "returned a list")]
)
def test_a_function_must_return_what_it_declared(shop: Shop, returned: Any, says: str) -> None:
    name = f"dev.{shop.schema}.wrong"
    shop.ws.functions.register(name, lambda: returned, parameters=[], returns="double")
    with pytest.raises(FeatureStoreError, match=says):
        shop.training_set(FeatureFunction(udf_name=name, output_name="z")).to_arrow()


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


def test_a_table_that_holds_a_key_twice_is_an_error_and_doubles_no_row(ws: LocalWorkspace) -> None:
    """Another tool wrote to it: writes of our own keep keys unique."""
    rows = pa.table({"k": [1, 2], "a": [1.0, 2.0]})
    ws.fe.create_table(name="dev.twice.f", primary_keys=["k"], df=rows)
    write_deltalake(str(ws.tables.path("dev.twice.f")), rows.slice(0, 1), mode="append")
    ws.tables.forget("dev.twice.f")
    spine = pa.table({"id": [1, 2], "y": [0, 1]})
    lookup = FeatureLookup(table_name="dev.twice.f", lookup_key="id")
    made = ws.fe.create_training_set(df=spine, feature_lookups=[lookup], label="y")
    with pytest.raises(FeatureStoreError, match=r"dev\.twice\.f holds rows with equal keys \(k\): 2 row\(s\) found 3"):
        made.to_arrow()
