"""The training-set rules that need no rows: names, collisions, cycles, keys, types, defaults."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import FeatureStoreError
from mlplatform.features.declaration import declare, split
from mlplatform.features.training_set import (
    FunctionCall,
    Join,
    LookupPlan,
    check_score_frame,
    make_plan,
    sources_needed,
)
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.functions import FunctionInfo
from mlplatform.protocols.tables import TableInfo
from mlplatform.types import arrow_type

SERIES, PLAIN, WIDE = "dev.x.series", "dev.x.plain", "dev.x.wide"


def _schema(**columns: str) -> pa.Schema:
    return pa.schema([(name, arrow_type(kind)) for name, kind in columns.items()])


TABLES = {
    SERIES: TableInfo(SERIES, 1, _schema(k="bigint", t="timestamp", a="double", next="string"), ("k", "t"), "t"),
    PLAIN: TableInfo(PLAIN, 2, _schema(p="string", w="double", q="bigint"), ("p",)),
    WIDE: TableInfo(WIDE, 3, _schema(p="string", d="date", f="decimal(9,2)", s="smallint"), ("p", "d")),
    "dev.x.heap": TableInfo("dev.x.heap", 0, _schema(p="string")),
}
FUNCTIONS = {
    "dev.x.double": FunctionInfo("dev.x.double", (("v", "double"),), "double", lambda v: v),
    "dev.x.name": FunctionInfo("dev.x.name", (("v", "double"),), "string", str),
    "dev.x.now": FunctionInfo("dev.x.now", (), "bigint", lambda: 1),
}
SPINE = _schema(id="bigint", ts="timestamp", x="double", y="int")


def spec(*features: Any, spine: pa.Schema = SPINE, label: Any = ("y",), exclude: tuple[str, ...] = ()) -> FeatureSpec:
    lookups, functions = split(features)
    return declare(
        spine.names,
        lookups,
        functions,
        labels=label,
        exclude_columns=exclude,
        tables=TABLES,
        table_ids={},
        registered=FUNCTIONS,
    )


def plan(*features: Any, spine: pa.Schema = SPINE, **arguments: Any) -> LookupPlan:
    declared = spec(*features, spine=spine, **arguments)
    wanted = [column.output_name for column in declared.columns]
    return make_plan(declared, spine, outputs=wanted, tables=TABLES, functions=FUNCTIONS)


def series(**arguments: Any) -> FeatureLookup:
    return FeatureLookup(**{"table_name": SERIES, "lookup_key": "id", "timestamp_lookup_key": "ts"} | arguments)


def double(source: str, output: str) -> FeatureFunction:
    return FeatureFunction(udf_name="dev.x.double", input_bindings={"v": source}, output_name=output)


def test_columns_come_in_the_declared_order_and_labels_are_no_columns() -> None:
    declared = spec(double("a", "a2"), series(feature_names=["next", "a"]), exclude=("ts", "unknown"))
    assert declared.included == ["id", "x", "next", "a", "a2"]


def test_an_excluded_column_stays_in_the_spec_only_where_it_is_consumed() -> None:
    declared = spec(series(), double("a", "a2"), exclude=("id", "ts", "a", "next"))
    assert [(column.output_name, column.include) for column in declared.columns] == [
        ("id", False),
        ("x", True),
        ("a", False),
        ("a2", True),
    ]


def test_what_nobody_consumes_is_not_computed() -> None:
    declared = spec(series(), FeatureLookup(PLAIN, "next"), double("w", "w2"), exclude=("w2", "w"))
    assert declared.functions == ()
    assert [table.table_name for table in declared.tables] == [PLAIN, SERIES]
    assert sources_needed(declared, declared.included, ["id", "ts", "x", "q"]) == ([SERIES], [])


def test_lookups_and_functions_may_feed_each_other_in_any_order() -> None:
    made = plan(
        double("w", "w2"),
        FeatureLookup(PLAIN, "key", feature_names="w"),
        FeatureFunction(udf_name="dev.x.name", input_bindings={"v": "a"}, output_name="key"),
        series(feature_names="a"),
    )
    assert [[type(step) for step in stage] for stage in made.stages] == [[Join], [FunctionCall], [Join], [FunctionCall]]
    assert [step.output for step in made.calls] == ["key", "w2"]


def test_lookups_of_one_table_by_the_same_keys_are_one_join() -> None:
    made = plan(
        series(feature_names="a"), series(feature_names="next"), series(feature_names="a", rename_outputs={"a": "b"})
    )
    (join,) = made.joins
    assert join.outputs == (("a", "a"), ("next", "next"), ("a", "b"))
    assert join.time == ("ts", "t")


def test_defaults_are_typed() -> None:
    made = plan(
        series(default_values={"a": 0, "next": ""}), FeatureLookup(PLAIN, "next", default_values={"q": -1, "w": None})
    )
    assert {name: value.as_py() for name, value in made.defaults.items()} == {"a": 0.0, "q": -1}


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ([series(rename_outputs={"a": "x"})], r"output 'x' \(feature 'a' of dev\.x\.series\).*a column of the frame"),
        ([series(rename_outputs={"a": "y"})], "output 'y'.*the label"),
        ([series(rename_outputs={"a": "next"})], "output 'next'.*feature 'a'"),
        ([series(), double("a", "next")], r"output 'next' \(function dev\.x\.double\)"),
        ([series(feature_names=["b"])], "no feature 'b'"),
        ([series(default_values={"b": 1})], "default for 'b' belongs to no feature"),
        ([FeatureLookup(PLAIN, "nokey")], "lookup key column.*'nokey' of the lookup of dev.x.plain"),
        ([FeatureLookup(PLAIN, "y")], "'y' of the lookup of dev.x.plain is the label"),
        ([double("y", "z")], "'y' of function dev.x.double is the label"),
        ([double("nothing", "z")], "input binding column.*'nothing'"),
        ([FeatureFunction(udf_name="dev.x.double", input_bindings={"u": "x"}, output_name="z")], r"\['v'\].*\['u'\]"),
        ([FeatureFunction(udf_name="dev.x.double", input_bindings={"v": "x"})], "no output_name"),
        ([double("z", "z2"), double("z2", "z")], "circle: z2 -> z -> z2"),
        (
            [series(lookback_window=dt.timedelta(1)), series(rename_outputs={"a": "b", "next": "c"})],
            "86400.0 s and None s",
        ),
        ([FeatureLookup("dev.x.heap", "id")], "no primary keys"),
        (["features"], "holds a str"),
    ],
)
def test_a_declaration_is_refused(features: list[Any], says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        spec(*features)


@pytest.mark.parametrize(
    ("label", "exclude", "says"),
    [
        (["z"], (), "label column 'z' is not in the frame"),
        (["y"], ("y",), "'y' is also in exclude_columns"),
        (["y", "y"], (), "'y' is given more than once"),
        (["y", "x", "id", "ts"], (), "Nothing is left"),
    ],
)
def test_labels_are_checked(label: list[str], exclude: tuple[str, ...], says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        spec(label=label, exclude=exclude)


@pytest.mark.parametrize(
    ("features", "spine", "says"),
    [
        ([series(lookup_key=["id", "x"])], SPINE, r"1 primary key\(s\) \['k'\].*2 lookup key\(s\) \['id', 'x'\]"),
        ([series(timestamp_lookup_key=None)], SPINE, r"1 timeseries column\(s\) \['t'\].*0 timestamp lookup key"),
        ([series(timestamp_lookup_key="when")], SPINE, "timestamp lookup key 'when' is not in the frame"),
        (
            [FeatureLookup(PLAIN, "s", timestamp_lookup_key="ts")],
            _schema(s="string", ts="timestamp", y="int"),
            "0 timeseries",
        ),
        ([series()], _schema(id="int", ts="timestamp", y="int"), "'k' is bigint, but the lookup key 'id' is int"),
        (
            [series()],
            _schema(id="bigint", ts="date", y="int"),
            "'t' is timestamp, but the timestamp lookup key 'ts' is date",
        ),
        ([double("id", "z")], SPINE, "Parameter 'v' of function dev.x.double is double.*'id' bound to it is bigint"),
        (
            [FeatureLookup(WIDE, ["p", "d"], default_values={"f": 1})],
            _schema(p="string", d="date", y="int"),
            r"'f' is decimal\(9,2\), which takes no default",
        ),
        (
            [FeatureLookup(WIDE, ["p", "d"], feature_names="s", default_values={"s": 70_000})],
            _schema(p="string", d="date", y="int"),
            "'70000' of feature 's' is no smallint",
        ),
    ],
)
def test_keys_and_types_are_refused(features: list[Any], spine: pa.Schema, says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        plan(*features, spine=spine)


def test_a_frame_to_score_needs_what_comes_with_it() -> None:
    declared = spec(series(), exclude=("ts",))
    check_score_frame(declared, ["id", "x", "extra"])
    with pytest.raises(FeatureStoreError, match="'x'"):
        check_score_frame(declared, ["id"])
    with pytest.raises(FeatureStoreError, match="'prediction' already"):
        check_score_frame(declared, ["id", "x", "prediction"])
