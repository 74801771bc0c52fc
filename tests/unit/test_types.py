"""Spark type names and Arrow types, and what a frame may be made of."""

from __future__ import annotations

import datetime as dt
from typing import Any

import mlflow.types
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql.pandas.types import from_arrow_type

from mlplatform.errors import FeatureStoreError
from mlplatform.types import (
    TIMESTAMP,
    TYPES,
    arrow_type,
    declared_type,
    normal_schema,
    normal_table,
    spark_type,
)

_ANY: dict[type, tuple[int, ...]] = {dt.date: (2024, 1, 1), dt.datetime: (2024, 1, 1)}

SCALARS = st.sampled_from(
    ["boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string", "binary", "date", "timestamp"]
) | st.builds(lambda p, s: f"decimal({p + s},{s})", st.integers(1, 19), st.integers(0, 19))
NAMES = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds("array<{}>".format, inner)
        | st.builds("map<{},{}>".format, SCALARS, inner)
        | st.builds("struct<a:{},b_1:{}>".format, inner, inner)
    ),
    max_leaves=5,
)


@given(NAMES)
def test_there_and_back(name: str) -> None:
    assert spark_type(arrow_type(name)) == name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("integer", pa.int32()),
        ("long", pa.int64()),
        (" BIGINT ", pa.int64()),
        ("Decimal( 10 , 2 )", pa.decimal128(10, 2)),
    ],
)
def test_spellings(name: str, kind: pa.DataType) -> None:
    assert arrow_type(name) == kind


@pytest.mark.parametrize(
    "name", ["", "bigin", "decimal(39,1)", "decimal(2,3)", "array<>", "array<int", "map<int>", "struct<a>"]
)
def test_no_types(name: str) -> None:
    with pytest.raises(FeatureStoreError, match="is not a type"):
        arrow_type(name)


def test_a_timestamp_without_zone_is_refused_with_the_way_out() -> None:
    with pytest.raises(FeatureStoreError, match=r"timestamp_ntz.*\n?.*UTC"):
        arrow_type("timestamp_ntz")
    with pytest.raises(FeatureStoreError, match=r"Column 'ts' of the spine.*(?s:.)*tz_localize\('UTC'\)"):
        normal_schema(pa.schema([("ts", pa.timestamp("us"))]), of="the spine")


@pytest.mark.parametrize(
    ("kind", "normal"),
    [
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.timestamp("ns", "Europe/Berlin"), TIMESTAMP),
        (pa.date64(), pa.date32()),
        (pa.binary(4), pa.binary()),
        (pa.large_list(pa.large_string()), pa.list_(pa.field("element", pa.string()))),
        (pa.decimal256(20, 2), pa.decimal128(20, 2)),
    ],
)
def test_variants_of_one_type_become_one(kind: pa.DataType, normal: pa.DataType) -> None:
    table = normal_table(pa.table({"a": pa.array([None, None], kind)}), of="the frame")
    assert table.schema.field("a").type == normal


def test_an_instant_stays_one() -> None:
    moment = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
    table = pa.table({"t": pa.array([moment], pa.timestamp("ns", "Europe/Berlin"))})
    assert normal_table(table, of="it").column("t")[0].as_py() == moment


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"a": pa.array([1], pa.int64()), "b": pa.nulls(1)}), "'b' of it has no type"),
        (pa.table([pa.array([1]), pa.array([1])], names=["a", "a"]), "more than one column named 'a'"),
        (pa.table({"a": pa.array([1], pa.uint64())}), "Spark has no type for Arrow's uint64"),
        (pa.table({"a": pa.array([1], pa.duration("us"))}), "Spark has no type"),
        (
            pa.table({"a": pa.array([1], pa.int64()).cast(pa.timestamp("ns", "UTC"))}),
            "'a' of it does not fit timestamp",
        ),
    ],
)
def test_what_is_refused(table: Any, says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        normal_table(table, of="it")


@pytest.mark.parametrize("name", TYPES)
def test_the_table_of_types_agrees_with_pyspark_and_mlflow(name: str) -> None:
    item = TYPES[name]
    assert (arrow_type(name), spark_type(item.arrow)) == (item.arrow, name)
    assert from_arrow_type(item.arrow).simpleString() == name
    if item.signature is not None:
        mlflow_type = mlflow.types.DataType[item.signature]
        # MLflow has fewer types: of those that it shares with Spark, it says Spark's own.
        assert mlflow_type.to_spark().simpleString() == {"smallint": "int", "date": "timestamp"}.get(name, name)
    if item.annotation is not None:
        assert pa.infer_type([item.annotation(*_ANY.get(item.annotation, ()))]).id == item.arrow.id


def test_what_may_be_declared_is_every_scalar_and_decimals() -> None:
    declared = [name for name, item in TYPES.items() if item.declared]
    assert [declared_type(name) for name in declared] == [TYPES[name].arrow for name in declared]
    assert declared_type("decimal(38,38)") == pa.decimal128(38, 38)
    for name in (
        "binary",
        "tinyint",
        "array<int>",
        "map<string,int>",
        "struct<a:int>",
        "timestamp_ntz",
        "decimal(0,0)",
        "",
    ):
        with pytest.raises(FeatureStoreError, match="is no type of a declared column") as caught:
            declared_type(name)
        assert caught.value.hint
