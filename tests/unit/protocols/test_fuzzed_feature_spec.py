"""Whatever stands in a `feature_spec.yaml`, it is a feature spec, or refused by an error of ours."""

from __future__ import annotations

import copy
import tempfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.errors import FeatureStoreError
from mlplatform.features.defaults import default_scalar
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
from tests.support.refusals import refusal

WHOLE: dict[str, Any] = {
    "input_columns": [
        {"region": {"source": "training_data", "topological_ordering": 0, "data_type": "string"}},
        {
            "loans": {
                "source": "feature_store",
                "table_name": "dev.risk.features_lender",
                "feature_name": "loans",
                "lookup_key": ["lender"],
                "timestamp_lookup_key": ["at"],
                "default_value": "0",
                "topological_ordering": 1,
            }
        },
        {"ratio": {"source": "on_demand_feature", "udf_name": "dev.risk.ratio", "input_bindings": {"a": "loans"}}},
    ],
    "input_tables": [{"dev.risk.features_lender": {"table_id": "x", "lookback_window": 86400.0}}],
    "input_functions": [{"dev.risk.ratio": {}}],
    "serialization_version": 11,
    "workspace_id": 7,
}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=6,
)


def places(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [place] if place else []
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return found + [inner for key, value in items for inner in places(value, (*place, key))]


def load(text: str) -> FeatureSpec | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feature_spec.yaml"
        path.write_text(text, encoding="utf-8")
        refused = refusal(FeatureSpec.load, path)
        if refused is None:
            return FeatureSpec.load(path)
        assert isinstance(refused, FeatureStoreError)
        assert any(part in refused.message for part in (str(path), "Column", "Table"))
        return None


def test_the_whole_of_it_is_read() -> None:
    spec = load(yaml.safe_dump(WHOLE))
    assert spec is not None
    assert spec.lookback("dev.risk.features_lender") == 86400.0


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(places(WHOLE)), VALUES)
def test_any_value_in_any_place_is_taken_or_refused(place: tuple[Any, ...], value: Any) -> None:
    _taken_or_refused(place, value)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.sampled_from(places(WHOLE)), VALUES)
def test_many_values_are_taken_or_refused(place: tuple[Any, ...], value: Any) -> None:
    _taken_or_refused(place, value)


def _taken_or_refused(place: tuple[Any, ...], value: Any) -> None:
    content: Any = copy.deepcopy(WHOLE)
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    spec = load(yaml.safe_dump(content, allow_unicode=True))
    if spec is not None:
        assert all(
            it.lookback_window is None or timedelta(seconds=it.lookback_window) >= timedelta(0) for it in spec.tables
        )


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_at_all_is_refused(text: str) -> None:
    assert load(text.encode("utf-8", "replace").decode()) is None


@pytest.mark.parametrize("seconds", [".nan", ".inf", "-1", "1.0e+300", "soon"])
def test_a_lookback_that_is_no_time_is_refused(seconds: str) -> None:
    text = yaml.safe_dump(WHOLE).replace("lookback_window: 86400.0", f"lookback_window: {seconds}")
    assert seconds in text
    assert load(text) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.float64("inf")])
def test_a_default_that_is_no_finite_number_is_refused_where_it_is_declared(value: Any) -> None:
    with pytest.raises(FeatureStoreError, match="is no finite number") as caught:
        FeatureLookup("dev.risk.x", "k", feature_names="a", default_values={"a": value})
    assert "missing value" in caught.value.hint


@pytest.mark.parametrize("value", [0, -1, 10**400, 1.5, "x", True, np.int64(3), np.float32(1.5), None, ""])
def test_any_other_default_is_taken(value: Any) -> None:
    assert FeatureLookup("dev.risk.x", "k", feature_names="a", default_values={"a": value}).default_values == {
        "a": value
    }


@pytest.mark.parametrize("value", [Decimal("NaN"), [1.0], {"a": 1}])
def test_what_is_no_default_at_all_stays_refused(value: Any) -> None:
    with pytest.raises(FeatureStoreError):
        FeatureLookup("dev.risk.x", "k", feature_names="a", default_values={"a": value})


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity", "1e400"])
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_a_default_on_file_that_is_no_finite_number_is_refused(text: str, kind: pa.DataType) -> None:
    with pytest.raises(FeatureStoreError, match="is no"):
        default_scalar(text, kind, of="a")


NAMES = st.text(max_size=20) | st.none() | st.integers() | st.lists(st.text(max_size=5) | st.integers(), max_size=3)


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES, NAMES, NAMES, st.dictionaries(st.text(max_size=5), SCALARS, max_size=2))
def test_a_lookup_declared_with_anything_is_one_or_refused(
    table: Any, key: Any, features: Any, time: Any, defaults: dict[str, Any]
) -> None:
    given = {"feature_names": features, "timestamp_lookup_key": time, "default_values": defaults}
    assert isinstance(refusal(FeatureLookup, table, key, **given), FeatureStoreError | None)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20), st.dictionaries(st.text(max_size=5), SCALARS, max_size=2) | NAMES, NAMES)
def test_a_function_declared_with_anything_is_one_or_refused(name: str, bindings: Any, output: Any) -> None:
    refused = refusal(FeatureFunction, udf_name=name, input_bindings=bindings, output_name=output)
    assert isinstance(refused, FeatureStoreError | None)
