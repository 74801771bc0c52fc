"""The declarations: the real constructors' parameters, and refusals in our own words."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import FeatureStoreError

TABLE = "dev.x.f"


def test_one_name_or_a_list_are_the_same() -> None:
    one = FeatureLookup(TABLE, "id", feature_names="a", timestamp_lookup_key="ts")
    many = FeatureLookup(TABLE, ["id"], feature_names=["a"], timestamp_lookup_key=["ts"])
    assert (one.lookup_key, one.feature_names, one.timestamp_lookup_key) == (["id"], ["a"], "ts")
    assert (many.lookup_key, many.feature_names, many.timestamp_lookup_key) == (["id"], ["a"], "ts")
    assert FeatureLookup(TABLE, "id", timestamp_lookup_key=[]).timestamp_lookup_key is None


def test_the_declaration_does_not_change_with_what_it_was_given() -> None:
    keys, renamed = ["id"], {"a": "b"}
    lookup = FeatureLookup(TABLE, keys, rename_outputs=renamed)
    keys.append("other")
    renamed["c"] = "d"
    lookup.lookup_key.append("third")
    assert (lookup.lookup_key, lookup.rename_outputs) == (["id"], {"a": "b"})


def test_the_deprecated_names_work() -> None:
    lookup = FeatureLookup(TABLE, "id", feature_name="a", output_name="b")
    assert (lookup.feature_names, lookup.rename_outputs) == (["a"], {"a": "b"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"lookup_key": []}, "no lookup_key"),
        ({"lookup_key": [["id"]]}, r"lookup_key of the lookup of dev\.x\.f holds \['id'\] \(list\)"),
        ({"feature_names": ["a", 1]}, r"holds 1 \(int\)"),
        ({"feature_names": "a", "feature_name": "a"}, "both feature_names and feature_name"),
        (
            {"feature_name": "a", "output_name": "b", "rename_outputs": {"a": "c"}},
            "both rename_outputs and output_name",
        ),
        ({"rename_outputs": ["a"]}, "rename_outputs of dev.x.f is a list"),
        ({"timestamp_lookup_key": ["a", "b"]}, "2 timestamp lookup keys: a, b"),
        ({"lookback_window": dt.timedelta(1)}, "no timestamp_lookup_key"),
        ({"lookback_window": dt.timedelta(-1), "timestamp_lookup_key": "ts"}, "no timedelta of zero or more"),
        ({"lookback_window": 5, "timestamp_lookup_key": "ts"}, "lookback_window 5"),
        ({"default_values": [1]}, "default_values of dev.x.f is a list"),
        ({"default_values": {"a": 1}, "rename_outputs": {"a": "b"}}, "Key it by the output name, 'b'"),
        ({"default_values": {"amont": 1}, "feature_names": ["amount"]}, "Did you mean amount"),
        ({"default_values": {"a": dt.date(2024, 1, 1)}}, "is a date"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        FeatureLookup(**{"table_name": TABLE, "lookup_key": "id"} | arguments)


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="wndow"):
        FeatureLookup(TABLE, "id", wndow=1)


def test_functions() -> None:
    function = FeatureFunction(udf_name="Dev.X.G", input_bindings=None)
    assert (function.udf_name, function.input_bindings, function.output_name) == ("dev.x.g", {}, None)
    with pytest.raises(FeatureStoreError, match="udf_name"):
        FeatureFunction(udf_name="")
    with pytest.raises(FeatureStoreError, match=r"input_bindings of dev\.x\.g is a list"):
        FeatureFunction(udf_name="dev.x.g", input_bindings=["a"])  # type: ignore[arg-type]
