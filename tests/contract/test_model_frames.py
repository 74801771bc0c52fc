"""What a model is given depends neither on the rows beside a row nor on the home: one pandas type a Spark type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from mlplatform import FeatureLookup
from mlplatform.errors import FeatureStoreError

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 5, 12, tzinfo=dt.UTC)
ROWS = 24
TABLE = "dev.frames.f"
FEATURES = pa.table(
    {
        "store": pa.array(range(ROWS), pa.int32()),
        "t": pa.array([DAY] * ROWS, TIME),
        "visits": pa.array([None if n % 5 == 1 else n for n in range(ROWS)], pa.int64()),
        "tiny": pa.array([None if n % 7 == 2 else n for n in range(ROWS)], pa.int16()),
        "flag": pa.array([None if n % 5 == 3 else n % 2 == 0 for n in range(ROWS)]),
        "open": pa.array([None if n % 4 == 3 else n % 3 == 0 for n in range(ROWS)]),
    }
)
# The key `store` is an input, too: it must still find its rows when the model is given it as a float.
SPINE = pa.table(
    {
        "store": pa.array(range(ROWS), pa.int32()),
        "t": pa.array([DAY] * ROWS, TIME),
        "items": pa.array([None if n % 6 == 4 else 100 - n for n in range(ROWS)], pa.int32()),
        "member": pa.array([None if n % 4 == 1 else n % 3 == 0 for n in range(ROWS)]),
        "day": pa.array([None if n % 3 == 2 else DAY.date() for n in range(ROWS)]),
        "seen": pa.array([None if n % 3 == 1 else DAY for n in range(ROWS)], TIME),
        "name": pa.array([None if n % 2 else "a" for n in range(ROWS)]),
        "y": [float(n * n) for n in range(ROWS)],
    }
)
LOOKUP = FeatureLookup(TABLE, "store", timestamp_lookup_key="t", default_values={"open": True})
TYPES = {
    "store": "float64",
    "items": "float64",
    "member": "float64",
    "day": "object",
    "seen": "datetime64[ns]",
    "name": "object",
    "flag": "float64",
    "open": "float64",
    "tiny": "float64",
    "visits": "float64",
}


class Spy(mlflow.pyfunc.PythonModel):
    """Predicts what it is given."""

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the types, the same for each row."""
        types = {name: str(kind) for name, kind in model_input.dtypes.items()}
        nulls = {
            name: sorted({type(value).__name__ for value in column[column.isna()]})
            for name, column in model_input.items()
        }
        return [str([(name, types[name], nulls[name]) for name in types])] * len(model_input)


@pytest.fixture(scope="module")
def table(ws: Workspace) -> str:
    ws.fe.create_table(name=TABLE, primary_keys=["store", "t"], df=FEATURES, timeseries_column="t")
    return TABLE


def logged(ws: Workspace, training_set: Any, model: Any, name: str, flavor: Any = mlflow.sklearn) -> str:
    extra = {"skops_trusted_types": ["numpy.dtype"]} if flavor is mlflow.sklearn else {}
    ws.registry.ensure_model(name)
    info = ws.fe.log_model(
        model=model,
        artifact_path="model",
        flavor=flavor,
        training_set=training_set,
        registered_model_name=name,
        **extra,
    )
    return f"models:/{name}/{info.registered_model_version}"


@pytest.mark.usefixtures("table")
def test_a_rows_prediction_does_not_depend_on_its_batch(ws: Workspace) -> None:
    training_set = ws.fe.create_training_set(
        df=SPINE, feature_lookups=[LOOKUP], label="y", exclude_columns=["t", "day", "seen", "name"]
    )
    frame = training_set.to_pandas()
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(frame.drop(columns="y"), frame["y"])
    uri = logged(ws, training_set, model, "dev.frames.linear")
    # scikit-learn itself on the training frame is the judge.
    expected = dict(zip(frame["store"].astype(int), model.predict(frame.drop(columns="y")), strict=True))
    rows = SPINE.drop_columns(["y"])
    all_null = rows.filter(pa.compute.is_null(rows.column("items")))
    for part in (rows, rows.slice(0, 1), rows.slice(4, 1), rows.slice(5, 7), all_null):
        scored = ws.fe.score_batch_arrow(model_uri=uri, df=part)
        found = dict(zip(scored.column("store").to_pylist(), scored.column("prediction").to_pylist(), strict=True))
        assert sorted(found) == sorted(part.column("store").to_pylist())
        np.testing.assert_allclose([found[n] for n in sorted(found)], [expected[n] for n in sorted(found)], rtol=1e-9)
    # What was looked up comes back in the types in which it was declared.
    both = ws.fe.score_batch_arrow(model_uri=uri, df=rows).sort_by("store")
    assert [str(both.schema.field(name).type) for name in ("store", "items", "member", "flag", "tiny")] == [
        "int32",
        "int32",
        "bool",
        "bool",
        "int16",
    ]
    assert both.column("visits").to_pylist() == FEATURES.column("visits").to_pylist()
    assert both.column("open").to_pylist() == [n is None or n for n in FEATURES.column("open").to_pylist()]


@pytest.mark.usefixtures("table")
def test_each_declared_type_has_one_pandas_type(ws: Workspace) -> None:
    training_set = ws.fe.create_training_set(df=SPINE, feature_lookups=[LOOKUP], label="y", exclude_columns=["t"])
    assert {name: str(kind) for name, kind in training_set.to_pandas().drop(columns="y").dtypes.items()} == TYPES
    uri = logged(ws, training_set, Spy(), "dev.frames.spy", mlflow.pyfunc)
    rows = SPINE.drop_columns(["y"])
    seen: dict[str, set[str]] = {name: set() for name in TYPES}
    missing: dict[str, set[str]] = {name: set() for name in TYPES}
    for part in (rows, rows.slice(0, 1), rows.slice(1, 1), rows.slice(3, 2)):
        scored = ws.fe.score_batch_arrow(model_uri=uri, df=part, result_type="string")
        for said in set(scored.column("prediction").to_pylist()):
            for name, kind, nulls in eval(said):
                seen[name].add(kind)
                missing[name].update(nulls)
    assert {name: sorted(kinds) for name, kinds in seen.items()} == {name: [kind] for name, kind in TYPES.items()}
    # Stores are never null, and the default fills `open`.
    empty = {"float64": {"float"}, "datetime64[ns]": {"NaTType"}, "object": {"NoneType"}}
    assert missing == {name: set() if name in ("store", "open") else empty[kind] for name, kind in TYPES.items()}


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ([1, 2**53 + 1], pa.int64(), r"'big' \(bigint\) holds numbers beyond 2\^53"),
        ([None, -(2**53) - 1], pa.int64(), r"'big' \(bigint\) holds numbers beyond 2\^53"),
        ([DAY, dt.datetime(9999, 12, 31, tzinfo=dt.UTC)], TIME, "'big' holds timestamps"),
    ],
    ids=["bigint", "beside a null", "timestamp"],
)
def test_what_would_collapse_is_refused_by_name(ws: Workspace, fresh: Any, values: Any, kind: Any, says: str) -> None:
    spine = pa.table({"x": [1.0, 2.0], "big": pa.array([None, None], kind), "y": [0.0, 1.0]})
    training_set = ws.fe.create_training_set(df=spine, feature_lookups=[], label="y")
    uri = logged(ws, training_set, Spy(), fresh("spy"), mlflow.pyfunc)
    large = spine.set_column(1, "big", pa.array(values, kind))
    with pytest.raises(FeatureStoreError, match=says):
        ws.fe.score_batch_arrow(model_uri=uri, df=large.drop_columns(["y"]), result_type="string")
    with pytest.raises(FeatureStoreError, match=says):
        ws.fe.create_training_set(df=large, feature_lookups=[], label="y").to_pandas()


def test_a_looked_up_decimal_is_a_float(ws: Workspace, fresh: Any) -> None:
    table = fresh("money")
    rows = pa.table(
        {"k": [1, 2], "paid": pa.array([Decimal("1.15"), None], pa.decimal128(10, 2))},
    )
    ws.fe.create_table(name=table, primary_keys=["k"], df=rows)
    training_set = ws.fe.create_training_set(
        df=pa.table({"k": [1, 2, 3], "y": [0.0, 1.0, 2.0]}),
        feature_lookups=[FeatureLookup(table, "k")],
        label="y",
        exclude_columns=["k"],
    )
    frame = training_set.to_pandas()
    assert frame["paid"].dtype == np.float64
    assert sorted(frame["paid"].dropna()) == [1.15]
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(frame[["paid"]], frame["y"])
    uri = logged(ws, training_set, model, fresh("model"))
    for part in (pa.table({"k": [1, 2]}), pa.table({"k": [1]}), pa.table({"k": [3]})):
        scored = ws.fe.score_batch_arrow(model_uri=uri, df=part)
        assert scored.schema.field("paid").type == pa.decimal128(10, 2)
        assert scored.column("prediction").null_count == 0
