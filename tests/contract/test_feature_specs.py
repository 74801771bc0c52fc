"""Feature specs that are kept under a name: the same in both homes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import FeatureStoreError
from mlplatform.protocols.feature_spec import FeatureSpec
from tests.support.compare import assert_same

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
MOMENT = pa.timestamp("us", tz="UTC")


def ratio(x: float | None, y: float | None) -> float | None:
    return None if x is None or not y else x / y


def days(*numbers: float) -> pa.Array:
    return pa.array([START + dt.timedelta(days=number) for number in numbers], MOMENT)


@pytest.fixture(scope="module")
def named(ws: Any) -> dict[str, Any]:
    """Tables, a function, a spine, and the lookups and functions of a spec."""
    ws.fe.create_table(
        name="dev.specs.customers",
        primary_keys="id",
        df=pa.table(
            {"id": pa.array([1, 2], pa.int64()), "segment": ["a", "b"], "size": pa.array([3, None], pa.int32())}
        ),
    )
    ws.fe.create_table(
        name="dev.specs.activity",
        primary_keys=["id", "at"],
        timeseries_column="at",
        df=pa.table({"id": pa.array([1, 1, 2], pa.int64()), "at": days(1, 9, 2), "spend": [1.5, 2.5, 4.0]}),
    )
    ws.functions.register("dev.specs.ratio", ratio, parameters=[("x", "double"), ("y", "double")], returns="double")
    return {
        "spine": pa.table(
            {
                "id": pa.array([1, 2, 3], pa.int64()),
                "at": days(10, 10, 10),
                "amount": [5.0, 8.0, 9.0],
                "y": pa.array([0, 1, 0], pa.int64()),
            }
        ),
        "features": [
            FeatureLookup("dev.specs.customers", "id", feature_names=["segment", "size"], default_values={"size": -1}),
            FeatureLookup(
                "dev.specs.activity",
                "id",
                feature_names="spend",
                rename_outputs={"spend": "spent"},
                timestamp_lookup_key="at",
                lookback_window=dt.timedelta(days=5),
            ),
            FeatureFunction(
                udf_name="dev.specs.ratio", input_bindings={"x": "spent", "y": "amount"}, output_name="share"
            ),
        ],
    }


def rows(training_set: Any) -> pa.Table:
    return training_set.to_arrow().sort_by("id")


def test_a_training_set_by_a_spec_s_name_is_that_of_its_lookups(ws: Any, named: dict[str, Any], fresh: Any) -> None:
    name = fresh("spec")
    spec = ws.fe.create_feature_spec(name=name, features=named["features"], exclude_columns=["segment"])
    assert isinstance(spec, FeatureSpec)
    ask = ws.fe.create_training_set
    by_name = ask(df=named["spine"], feature_spec=name, label="y", exclude_columns=["id", "at"])
    by_lookups = ask(
        df=named["spine"], feature_lookups=named["features"], label="y", exclude_columns=["id", "at", "segment"]
    )
    assert by_name.feature_spec.to_dict() == by_lookups.feature_spec.to_dict()
    whole = rows(ask(df=named["spine"], feature_spec=name, label="y"))
    assert_same(
        whole, rows(ask(df=named["spine"], feature_lookups=named["features"], label="y", exclude_columns=["segment"]))
    )
    # By hand: a default, a lookback of five days, a function of what was looked up.
    assert whole.select(["size", "spent", "share", "y"]).to_pydict() == {
        "size": [3, -1, -1],
        "spent": [2.5, None, None],
        "share": [0.5, None, None],
        "y": [0, 1, 0],
    }


def test_the_same_again_changes_nothing_and_another_is_refused(ws: Any, named: dict[str, Any], fresh: Any) -> None:
    name = fresh("spec")
    first = ws.fe.create_feature_spec(name=name, features=named["features"])
    assert ws.fe.create_feature_spec(name=name, features=named["features"]).included == first.included
    with pytest.raises(FeatureStoreError, match="says something else"):
        ws.fe.create_feature_spec(name=name, features=named["features"][:1])
    ws.fe.delete_feature_spec(name=name)
    ws.fe.create_feature_spec(name=name, features=named["features"][:1])


def test_what_is_wrong_is_named(ws: Any, named: dict[str, Any], fresh: Any) -> None:
    name = fresh("spec")
    for ask in (
        lambda: ws.fe.create_training_set(df=named["spine"], feature_spec=name, label="y"),
        lambda: ws.fe.delete_feature_spec(name=name),
    ):
        with pytest.raises(FeatureStoreError, match=f"There is no feature spec {name}"):
            ask()
    with pytest.raises(FeatureStoreError, match="not from both"):
        ws.fe.create_training_set(df=named["spine"], feature_spec=name, feature_lookups=named["features"], label="y")
    lookup = FeatureLookup("dev.specs.customers", "id", feature_names="nothing_like_it")
    with pytest.raises(ValueError, match="nothing_like_it"):
        ws.fe.create_feature_spec(name=name, features=[lookup])


def test_requirements_of_a_spec_go_into_the_models_trained_on_it(
    ws: Any, named: dict[str, Any], fresh: Any, tmp_path: Path
) -> None:
    import mlflow.sklearn
    from sklearn.dummy import DummyClassifier

    name = fresh("spec")
    ws.fe.create_feature_spec(
        name=name, features=named["features"], exclude_columns=["segment"], extra_pip_requirements=["holidays>=0.5"]
    )
    training_set = ws.fe.create_training_set(
        df=named["spine"], feature_spec=name, label="y", exclude_columns=["id", "at"]
    )
    data = training_set.to_pandas()
    info = ws.fe.log_model(
        model=DummyClassifier().fit(data.drop(columns="y"), data["y"]),
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=training_set,
        serialization_format="skops",
    )
    folder = Path(mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(tmp_path)))
    listed = (folder / "data" / "feature_store" / "raw_model" / "requirements.txt").read_text()
    assert "holidays>=0.5" in listed
    assert ws.fe.score_batch(model_uri=info.model_uri, df=named["spine"].drop_columns("y")).count() == 3


def test_methods_that_are_not_offered_say_why(ws: Any) -> None:
    assert not hasattr(ws.fe, "publish_table")
    with pytest.raises(FeatureStoreError, match=r"no publish_table \(refused\): online stores"):
        ws.fe.publish_table(name="dev.specs.customers")
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        ws.fe.nothing_of_the_kind()


def test_the_real_client_is_there_where_there_is_one(ws: Any, home: str) -> None:
    if home == "databricks":
        from databricks.feature_engineering import FeatureEngineeringClient

        assert isinstance(ws.fe.real_client(), FeatureEngineeringClient)
        return
    with pytest.raises(FeatureStoreError, match="no FeatureEngineeringClient"):
        ws.fe.real_client()


def test_an_environment_is_built_within_databricks_only(
    ws: Any, home: str, tmp_path: Path, named: dict[str, Any]
) -> None:
    says = "only support running in Databricks runtime" if home == "databricks" else "scores in its own"
    with pytest.raises(FeatureStoreError, match=says):
        ws.fe.build_model_env("models:/dev.specs.model/1", str(tmp_path))
    if home == "local":
        with pytest.raises(FeatureStoreError, match="scores in its own"):
            ws.fe.score_batch(model_uri="models:/dev.specs.model/1", df=named["spine"], prebuilt_env_uri="/x.tar.gz")
