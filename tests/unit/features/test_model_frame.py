"""The pandas frame of a model follows from its columns' declared types, whatever values a batch holds."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_frame import LARGEST, handed_over, model_frame
from mlplatform.features.scoring import plan_scoring
from mlplatform.protocols.feature_spec import FeatureSpec, SourceColumn
from mlplatform.protocols.lineage import AS_VALUES_SUGGEST, FILE_NAME, RULE, Lineage, frame_rule
from mlplatform.types import arrow_type, spark_type
from mlplatform.workspace.local.lookup_engine import Sources
from mlplatform.workspace.local.scoring import score

MOMENT = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "flag": ("boolean", [True, False]),
    "tiny": ("tinyint", [1, -3]),
    "small": ("smallint", [1, 300]),
    "plan": ("int", [1, 2, 3]),
    "big": ("bigint", [1, -(2**53), 2**53]),
    "single": ("float", [0.5, 1.25]),
    "number": ("double", [0.1, 2.0]),
    "money": ("decimal(10,2)", [Decimal("1.15"), Decimal("-0.07")]),
    "day": ("date", [MOMENT.date()]),
    "at": ("timestamp", [MOMENT]),
    "word": ("string", ["a", "b"]),
    "raw": ("binary", [b"x"]),
    "list": ("array<bigint>", [[1, None], []]),
    "flags": ("struct<x:boolean>", [{"x": True}, {"x": None}]),
    "named": ("map<string,int>", [[("a", 1)]]),
}
PANDAS = {
    "single": "float32",
    "at": "datetime64[ns]",
    **dict.fromkeys(["day", "word", "raw", "list", "flags", "named"], "object"),
}
ROWS = 60


def table(rows: int = ROWS) -> pa.Table:
    """Every column holds nulls here and there, and the first rows hold none."""
    columns = {}
    for place, (name, (kind, values)) in enumerate(COLUMNS.items()):
        drawn = [None if row % (place + 3) == 2 and row > 6 else values[row % len(values)] for row in range(rows)]
        columns[name] = pa.array(drawn, arrow_type(kind))
    return pa.table(columns)


TABLE = table()


@given(start=st.integers(0, ROWS - 1), length=st.integers(0, ROWS))
def test_the_types_are_those_of_the_declaration(start: int, length: int) -> None:
    for part in (
        TABLE.slice(start, length),
        pa.table([pa.nulls(3, field.type) for field in TABLE.schema], TABLE.schema),
    ):
        kinds = {name: str(kind) for name, kind in model_frame(part).dtypes.items()}
        assert kinds == {name: PANDAS.get(name, "float64") for name in COLUMNS}


def test_values_stay_what_they_are() -> None:
    frame, lists = model_frame(TABLE), TABLE.to_pydict()
    for name in ("flag", "tiny", "small", "plan", "big", "single", "number", "money"):
        given_values = [None if pd.isna(value) else value for value in frame[name]]
        assert given_values == [None if value is None else float(value) for value in lists[name]], name
    for name in ("day", "word", "raw"):
        assert frame[name].tolist() == lists[name], "null is None"
    assert [None if pd.isna(value) else value.tz_localize("UTC") for value in frame["at"]] == lists["at"]


def predictor() -> Any:
    """Models whose predictions hang on the types: text of numbers, codes, imputed flags."""
    numbers = ["flag", "tiny", "small", "single", "number", "money"]
    as_text = make_pipeline(FunctionTransformer(_as_text), OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer(
        (as_text, ["plan", "flag", "day", "at", "word"]),
        (OneHotEncoder(handle_unknown="ignore"), ["word", "flag", "small"]),
        (SimpleImputer(), numbers),
        sparse_threshold=0,
    )
    frame, labels = model_frame(TABLE), np.arange(ROWS) % 7
    linear = make_pipeline(columns, LinearRegression()).fit(frame, labels)
    trees = make_pipeline(columns, HistGradientBoostingRegressor(min_samples_leaf=2, max_iter=9)).fit(frame, labels)
    return lambda given: linear.predict(given) + trees.predict(given)


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(str)


PREDICT = predictor()
SPEC = FeatureSpec(columns=tuple(SourceColumn(name, data_type=kind) for name, (kind, _) in COLUMNS.items()))


def scored(rows: pa.Table, tmp_path: Path, batch_rows: int) -> list[float]:
    plan = plan_scoring(SPEC, rows.schema, "double", tables={}, functions={})
    sources = Sources(tables={}, functions={}, scratch=tmp_path, memory_limit=None)
    batches = score(plan, rows, PREDICT, sources, batch_rows=batch_rows)
    return [value for batch in batches for value in batch.column("prediction").to_pylist()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return scored(TABLE, tmp_path_factory.mktemp("whole"), 300)


@settings(max_examples=12)
@given(order=st.permutations(range(ROWS)), batch_rows=st.sampled_from([1, 7, 300]), count=st.integers(1, 20))
def test_a_prediction_does_not_depend_on_partition_and_order(
    whole: list[float], tmp_path_factory: pytest.TempPathFactory, order: list[int], batch_rows: int, count: int
) -> None:
    places = order[:count]
    found = scored(TABLE.take(places), tmp_path_factory.getbasetemp(), batch_rows)
    np.testing.assert_allclose(found, [whole[place] for place in places], rtol=1e-12)


def test_the_test_above_can_fail(whole: list[float]) -> None:
    """As values suggest, a whole column and one row of it are given to the model in different types."""
    alone = TABLE.slice(0, 1)
    assert dict(model_frame(alone, AS_VALUES_SUGGEST).dtypes) != dict(model_frame(TABLE, AS_VALUES_SUGGEST).dtypes)
    assert PREDICT(model_frame(alone, AS_VALUES_SUGGEST))[0] != pytest.approx(whole[0])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bigint", LARGEST + 1),
        ("bigint", -(2**63)),
        ("decimal(38,0)", Decimal(10) ** 30),
        ("decimal(20,2)", -Decimal(LARGEST + 1)),
        ("array<bigint>", [1, LARGEST + 1]),
        ("map<bigint,string>", [(LARGEST + 1, "a")]),
        ("map<string,bigint>", [("a", LARGEST + 1)]),
        ("struct<x:array<bigint>>", {"x": [LARGEST + 1]}),
    ],
)
@pytest.mark.parametrize("beside", [[], [None]], ids=["alone", "beside a null"])
def test_numbers_that_would_collapse_are_refused(kind: str, value: Any, beside: list[None]) -> None:
    rows = pa.table({"id": pa.array([value, *beside], arrow_type(kind))})
    with pytest.raises(FeatureStoreError, match=r"Column 'id' .*beyond 2\^53") as caught:
        model_frame(rows)
    assert "exclude_columns" in caught.value.hint
    assert "string" in caught.value.hint


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_infinite_number_stays_one_as_with_the_real_client(kind: pa.DataType, chunked: bool) -> None:
    values = [1.5, math.inf, -math.inf, math.nan, None]
    column = pa.chunked_array([values[:2], values[2:]], kind) if chunked else pa.array(values, kind)
    *numbers, nan, missing = model_frame(pa.table({"a": column}))["a"]
    assert numbers == values[:3]
    assert math.isnan(nan)
    assert math.isnan(missing)


@pytest.mark.parametrize("kind", ["timestamp", "array<timestamp>"])
def test_a_placeholder_far_away_is_refused(kind: str) -> None:
    far = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    rows = pa.table({"until": pa.array([far if kind == "timestamp" else [far]], arrow_type(kind))})
    with pytest.raises(FeatureStoreError, match="'until' holds timestamps"):
        model_frame(rows)


def test_what_is_handed_over_has_a_name_in_spark() -> None:
    for kind, _ in COLUMNS.values():
        if "timestamp" not in kind:
            assert spark_type(handed_over(arrow_type(kind)))


def test_a_models_record_says_how_it_is_given_its_columns(tmp_path: Path) -> None:
    lineage = Lineage(tables=(), functions=(), columns=("a",), labels=("y",), frame_rule=RULE)
    lineage.save(tmp_path)
    assert frame_rule(tmp_path, model_uri="m") == RULE
    record = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps({name: record[name] for name in record if name != "frame_rule"}))
    assert frame_rule(tmp_path, model_uri="m") == AS_VALUES_SUGGEST, "logged before there was a rule"
    (tmp_path / FILE_NAME).write_text(json.dumps(record | {"frame_rule": RULE + 1}))
    with pytest.raises(FeatureStoreError, match="newer version"):
        frame_rule(tmp_path, model_uri="m")
    (tmp_path / FILE_NAME).unlink()
    assert frame_rule(tmp_path, model_uri="m") == AS_VALUES_SUGGEST, "logged by another client"
