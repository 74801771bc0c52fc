"""log_model and score_batch beyond the golden cases: URIs, flavors, result types, verification, restarts, lineage."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlflow
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import ArtifactError, FeatureStoreError, FunctionError, RegistryError
from mlplatform.features.spec import FeatureSpec
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.feature_functions import ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.workspace.local.training_set import LocalTrainingSet
    from mlplatform.workspace.model_store import ModelArtifact

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)
SPINE = pa.table(
    {
        "id": [1, 2, 3, 1],
        "ts": pa.array([DAY] * 4, TIME),
        "due": [2.0, 4.0, 8.0, 0.0],
        "y": [0, 1, 1, 0],
        "note": list("abcd"),
    }
)
FEATURES = pa.table({"k": [1, 2], "t": pa.array([DAY] * 2, TIME), "paid": [1.0, 3.0], "n": [5, None]})
MODEL = "dev.score.model"


@dataclass
class Shop:
    """A model with a lookup, a default and a function, registered once for the module."""

    ws: LocalWorkspace
    uris: dict[str, str] = field(default_factory=dict)

    def training_set(self, **arguments: Any) -> LocalTrainingSet:
        return self.ws.fe.create_training_set(
            **{
                "df": SPINE,
                "feature_lookups": [
                    FeatureLookup("dev.score.f", "id", timestamp_lookup_key="ts", default_values={"n": 0, "paid": 0.5}),
                    FeatureFunction(
                        udf_name="dev.score.ratio", input_bindings={"paid": "paid", "due": "due"}, output_name="ratio"
                    ),
                ],
                "label": "y",
                "exclude_columns": ["id", "ts", "note", "ratio"],
            }
            | arguments
        )

    def log(self, model: Any, training_set: LocalTrainingSet | None = None, **arguments: Any) -> Any:
        return self.ws.fe.log_model(
            **{
                "model": model,
                "artifact_path": "model",
                "flavor": mlflow.sklearn,
                "training_set": training_set or self.training_set(),
                "registered_model_name": MODEL,
            }
            | arguments
        )


def fitted(shop: Shop, kind: Any = LinearRegression) -> Any:
    frame = shop.training_set().to_pandas()
    return kind().fit(frame.drop(columns="y"), frame["y"])


@pytest.fixture(scope="module")
def shop(ws: LocalWorkspace) -> Iterator[Shop]:
    ws.fe.create_table(name="dev.score.f", primary_keys=["k", "t"], df=FEATURES, timeseries_column="t")
    ws.functions.register(
        "dev.score.ratio", ratio, parameters=[("paid", "double"), ("due", "double")], returns="double"
    )
    made = Shop(ws)
    info = made.log(fitted(made))
    ws.registry.set_alias(MODEL, "champion", 1)
    made.uris = {
        "alias": f"models:/{MODEL}@champion",
        "version": f"models:/{MODEL}/1",
        "run": f"runs:/{info.run_id}/model",
        "logged": info.model_uri,
    }
    yield made
    ws.fe.verify_model = None


@pytest.mark.parametrize("form", ["alias", "version", "run", "logged"])
def test_every_form_of_uri(shop: Shop, form: str) -> None:
    scored = shop.ws.fe.score_batch_arrow(model_uri=shop.uris[form], df=SPINE)
    assert scored.column_names == [*SPINE.column_names, "n", "paid", "prediction"]
    expected = fitted(shop).predict(scored.select(["due", "n", "paid"]).to_pandas())
    np.testing.assert_allclose(scored.column("prediction").to_numpy(), expected)
    assert sorted(scored.column("note").to_pylist()) == list("abcd")


@pytest.mark.parametrize(
    ("uri", "error", "says"),
    [
        (f"models:/{MODEL}@champoin", FeatureStoreError, "Did you mean champion"),
        ("models:/dev.score.nothing@champion", FeatureStoreError, "no alias"),
        (f"models:/{MODEL}/99", FeatureStoreError, "no version 99"),
        ("dev.score.model", FeatureStoreError, "is no model URI"),
        (None, FeatureStoreError, "model_uri is a NoneType"),
        ("runs:/nowhere/model", RegistryError, "cannot be fetched"),
        ("models:/m-0123", RegistryError, "cannot be fetched"),
    ],
)
def test_models_that_are_not_there(shop: Shop, uri: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        shop.ws.fe.score_batch_arrow(model_uri=uri, df=SPINE)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (SPINE.append_column("prediction", pa.array([1.0] * 4)), "'prediction' already"),
        (SPINE.drop_columns(["due"]), "lacks the required column.*'due'"),
        (SPINE.drop_columns(["id"]), "'id'"),
        (SPINE.drop_columns(["ts"]), "timestamp lookup key 'ts' is not in the frame"),
        (SPINE.append_column("due", pa.array([1.0] * 4)), "more than one column named 'due'"),
        (SPINE.set_column(2, "due", pa.array(["a"] * 4)), "'due' of the frame to score is string.*fitted on double"),
        (SPINE.set_column(1, "ts", pa.array([None] * 4, TIME)), r"4 of 4 row\(s\) have no time in 'ts'"),
    ],
)
def test_frames_that_cannot_be_scored(shop: Shop, frame: pa.Table, says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        shop.ws.fe.score_batch_arrow(model_uri=shop.uris["alias"], df=frame)


def test_no_error_for_a_lookup_that_is_not_run(shop: Shop) -> None:
    frame = SPINE.set_column(1, "ts", pa.array([None] * 4, TIME))
    frame = frame.append_column("paid", pa.array([1.0, None, 1.0, 1.0])).append_column("n", pa.array([1, 2, 3, 4]))
    scored = shop.ws.fe.score_batch_arrow(model_uri=shop.uris["alias"], df=frame)
    assert scored.column_names == [*frame.column_names, "prediction"]
    assert scored.column("paid").to_pylist() == [1.0, 0.5, 1.0, 1.0]


def test_an_excluded_function_that_nobody_consumes_is_not_called(shop: Shop) -> None:
    assert FeatureSpec.from_dict(shop.training_set().feature_spec.to_dict()).functions == ()


def test_numbers_are_cast_to_what_the_model_was_fitted_on(shop: Shop) -> None:
    whole = SPINE.set_column(2, "due", pa.array([2, 4, 8, 0], pa.int32()))
    scored = shop.ws.fe.score_batch_arrow(model_uri=shop.uris["alias"], df=whole)
    assert scored.schema.field("due").type == pa.int32()
    same = shop.ws.fe.score_batch_arrow(model_uri=shop.uris["alias"], df=SPINE)
    assert sorted(scored.column("prediction").to_pylist()) == sorted(same.column("prediction").to_pylist())


def test_the_frame_that_spark_gets(shop: Shop) -> None:
    scored = shop.ws.fe.score_batch(model_uri=shop.uris["alias"], df=shop.ws.spark.createDataFrame(SPINE.to_pandas()))
    assert scored.schema["prediction"].dataType.simpleString() == "double"
    assert scored.count() == 4
    assert shop.ws.fe.score_batch(model_uri=shop.uris["alias"], df=SPINE.slice(0, 0)).count() == 0


def test_probabilities(shop: Shop) -> None:
    """`array<double>` keeps both classes, `double` takes the positive one, which is the last."""
    model = fitted(shop, LogisticRegression)
    info = shop.log(model, pyfunc_predict_fn="predict_proba", registered_model_name=None)
    both = shop.ws.fe.score_batch_arrow(model_uri=info.model_uri, df=SPINE, result_type="array<double>")
    one = shop.ws.fe.score_batch_arrow(model_uri=info.model_uri, df=SPINE)
    expected = model.predict_proba(both.select(["due", "n", "paid"]).to_pandas())
    np.testing.assert_allclose(np.array(both.column("prediction").to_pylist()), expected)
    assert sorted(one.column("prediction").to_pylist()) == sorted(expected[:, 1].tolist())
    with pytest.raises(FeatureStoreError, match="are no int"):
        shop.ws.fe.score_batch_arrow(model_uri=info.model_uri, df=SPINE, result_type="int")
    with pytest.raises(FeatureStoreError, match=r"'dobule' is not a type.*\n.*double"):
        shop.ws.fe.score_batch_arrow(model_uri=info.model_uri, df=SPINE, result_type="dobule")


class Labels(mlflow.pyfunc.PythonModel):
    """Gives a text a row, or what it was told to give."""

    def __init__(self, result: Any = None) -> None:
        """Take what to give."""
        self.result = result

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Predict."""
        if self.result == "raise":
            raise KeyError("no such thing")
        return [f"n{value}" for value in model_input["n"]] if self.result is None else self.result


def test_texts(shop: Shop) -> None:
    info = shop.log(Labels(), flavor=mlflow.pyfunc, registered_model_name=None)
    scored = shop.ws.fe.score_batch_arrow(model_uri=info.model_uri, df=SPINE, result_type="string")
    assert sorted(scored.column("prediction").to_pylist()) == ["n0", "n0", "n5", "n5"]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ([1.0], r"1 prediction\(s\) for 4"),
        ("raise", "failed on a batch of 4.*KeyError"),
        ([[1.0] * 3] * 4, "array<double>"),
    ],
)
def test_models_that_fail(shop: Shop, result: Any, says: str) -> None:
    info = shop.log(Labels(result), flavor=mlflow.pyfunc, registered_model_name=None)
    with pytest.raises(FeatureStoreError, match=says):
        shop.ws.fe.score_batch_arrow(model_uri=info.model_uri, df=SPINE)


def test_a_model_is_verified_before_anything_in_it_is_loaded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.ws.registry.set_tags(MODEL, 1, {"artifact_digest": "abc"})
    seen: list[ModelArtifact] = []

    def refuse(artifact: ModelArtifact) -> None:
        seen.append(artifact)
        raise ArtifactError("Not this one.")

    monkeypatch.setattr(shop.ws.fe, "verify_model", refuse)
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda *_: pytest.fail("loaded"))
    for uri in shop.uris.values():
        with pytest.raises(ArtifactError, match="Not this one"):
            shop.ws.fe.score_batch_arrow(model_uri=uri, df=SPINE)
    assert seen[0].tags["artifact_digest"] == "abc"
    assert (seen[1].name, seen[1].version, seen[1].uri) == (MODEL, 1, shop.uris["version"])


def test_the_model_carries_its_spec_where_the_real_client_looks(shop: Shop, tmp_path: Any) -> None:
    shop.ws.registry.activate()
    folder = mlflow.artifacts.download_artifacts(shop.uris["version"], dst_path=str(tmp_path))
    spec = FeatureSpec.load(f"{folder}/data/feature_store")
    assert spec.included == ["due", "n", "paid"]
    assert spec.features[0].default_value == "0"
    model = mlflow.pyfunc.load_model(shop.uris["version"])
    assert model.metadata.signature.inputs.required_input_names() == ["id", "due"]
    assert model.metadata.signature.inputs.optional_input_names() == ["n", "paid"]
    with pytest.raises(FeatureStoreError, match="score_batch"):
        model.predict(SPINE.select(["id", "due"]).to_pandas())


def test_lineage(shop: Shop) -> None:
    lineage = shop.ws.fe.lineage(shop.uris["alias"])
    assert [(table.name, table.version) for table in lineage.tables] == [
        ("dev.score.f", shop.ws.tables.version("dev.score.f"))
    ]
    assert (lineage.columns, lineage.labels, lineage.model_uri) == (("due", "n", "paid"), ("y",), shop.uris["alias"])
    training_set = shop.training_set(exclude_columns=["id", "ts", "note"])
    assert training_set.lineage.functions == ("dev.score.ratio",)


def test_logging_is_fast_and_stays_in_the_callers_run(shop: Shop) -> None:
    model, training_set = fitted(shop), shop.training_set()
    shop.ws.registry.activate()
    with mlflow.start_run(experiment_id=shop.ws.registry.experiment("mine")) as run:
        started = time.perf_counter()
        info = shop.log(model, training_set)
        assert time.perf_counter() - started < 3  # under 1 s on an idle machine; 8 to 14 s when MLflow guesses
        assert info.run_id == run.info.run_id
        assert mlflow.active_run() is not None


def test_the_signature_must_be_known(shop: Shop) -> None:
    from mlflow.types import Schema
    from mlflow.types.schema import ColSpec

    unlabelled = shop.training_set(label=None)
    with pytest.raises(FeatureStoreError, match="has no label"):
        shop.log(fitted(shop), unlabelled)
    info = shop.log(fitted(shop), unlabelled, output_schema=Schema([ColSpec("double")]), registered_model_name=None)
    assert info.signature.outputs is not None
    decimal = SPINE.append_column("m", pa.array([None] * 4, pa.decimal128(9, 2)))
    with pytest.raises(FeatureStoreError, match=r"'m' of type decimal\(9,2\)"):
        shop.log(fitted(shop), shop.training_set(df=decimal))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"training_set": "none"}, "training_set is a str"), ({"flavor": "sklearn"}, "is no MLflow flavor")],
)
def test_what_cannot_be_logged(shop: Shop, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(FeatureStoreError, match=says):
        shop.log(None, **arguments)


def test_a_model_logged_without_features_says_so(shop: Shop) -> None:
    shop.ws.registry.activate()
    with mlflow.start_run(experiment_id=shop.ws.registry.experiment("mine")):
        info = mlflow.sklearn.log_model(fitted(shop), name="plain", pip_requirements=["scikit-learn"])
    with pytest.raises(FeatureStoreError, match=r"log_model"):
        shop.ws.fe.score_batch_arrow(model_uri=info.model_uri, df=SPINE)


_SCORE = """
import sys, datetime as dt, pyarrow as pa
from mlplatform import open_workspace
ws = open_workspace(root=sys.argv[1])
frame = pa.table({"id": [1], "ts": pa.array([dt.datetime(2024, 1, 5, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
                  "due": [2.0]})
print(ws.fe.score_batch_arrow(model_uri=sys.argv[2], df=frame).column("ratio").to_pylist())
"""


def test_importable_functions_survive_a_restart(shop: Shop) -> None:
    training_set = shop.training_set(exclude_columns=["id", "ts", "note"])
    frame = training_set.to_pandas().fillna(0)
    model = LinearRegression().fit(frame.drop(columns="y"), frame["y"])
    info = shop.log(model, training_set, registered_model_name=None)
    done = subprocess.run(
        [sys.executable, "-c", _SCORE, str(shop.ws.root), info.model_uri], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[0.5]\n", done.stderr


def test_a_lambda_must_be_registered_again(ws: LocalWorkspace) -> None:
    ws.functions.register("dev.score.lambda", lambda: 1, parameters=[], returns="int")
    with LocalWorkspace.open(root=ws.root) as again:
        assert again.functions.get("dev.score.ratio").fn is ratio
        with pytest.raises(FunctionError, match="Register it again"):
            again.functions.get("dev.score.lambda")
        with pytest.raises(FunctionError, match=r"Did you mean dev\.score\.ratio"):
            again.functions.get("dev.score.rtio")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"returns": "dubble"}, "'dubble' is not a type"),
        ({"parameters": [("a", "double")]}, r"\['a'\], but is \(paid.*due"),
        ({"parameters": [("a", "int"), ("a", "int")]}, "a parameter twice"),
        ({"fn": "ratio"}, "is a str, which cannot be called"),
    ],
)
def test_functions_that_cannot_be_registered(ws: LocalWorkspace, arguments: dict[str, Any], says: str) -> None:
    declared = {"fn": ratio, "parameters": [("paid", "double"), ("due", "double")], "returns": "double"} | arguments
    with pytest.raises(FunctionError, match=says):
        ws.functions.register("dev.score.bad", **declared)


def test_what_mlflow_refuses_to_store_is_our_error(shop: Shop) -> None:
    training_set = shop.training_set(exclude_columns=["id", "ts", "note"])
    with pytest.raises(FeatureStoreError, match="The model cannot be logged"):
        shop.ws.fe.log_model(
            model=LinearRegression(),
            artifact_path="model",
            flavor=mlflow.sklearn,
            training_set=training_set,
            serialization_format="no such format",
        )
