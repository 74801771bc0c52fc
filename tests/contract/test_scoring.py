"""log_model and score_batch: the spec travels with the model; every row comes back, with its prediction."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from mlplatform import FeatureFunction, FeatureLookup
from mlplatform.errors import FeatureStoreError, PlatformError, RegistryError
from mlplatform.features import artifacts
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops import records
from mlplatform.ops.records import GATE_DECISIONS, GateEvent
from mlplatform.protocols.feature_client import ReasonCodes
from mlplatform.protocols.feature_spec import FeatureSpec
from tests.support.feature_functions import ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", "UTC")
DAY = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)
SPINE = pa.table(
    {
        "id": [1, 2, 3, 1],
        "ts": pa.array([DAY] * 4, TIME),
        "due": [2.0, 4.0, 8.0, 0.0],
        "y": [0.0, 1.0, 1.0, 0.0],
        "note": list("abcd"),
    }
)
FEATURES = pa.table({"k": [1, 2], "t": pa.array([DAY] * 2, TIME), "paid": [1.0, 3.0], "n": [5, None]})
TABLE, FUNCTION, MODEL = "dev.scored.f", "dev.scored.ratio", "dev.scored.model"


@dataclass(frozen=True)
class Shop:
    """A model with a lookup, defaults and a function, registered once for the module."""

    ws: Workspace
    training_set: Any
    model: Any
    uris: dict[str, str]

    def score(self, frame: Any, uri: str = f"models:/{MODEL}@{CHAMPION}", **arguments: Any) -> pa.Table:
        return self.ws.fe.score_batch_arrow(model_uri=uri, df=frame, **arguments)


@pytest.fixture(scope="module")
def shop(ws: Workspace) -> Shop:
    ws.fe.create_table(name=TABLE, primary_keys=["k", "t"], df=FEATURES, timeseries_column="t")
    ws.functions.register(FUNCTION, ratio, parameters=[("paid", "double"), ("due", "double")], returns="double")
    training_set = ws.fe.create_training_set(
        df=SPINE,
        feature_lookups=[
            FeatureLookup(TABLE, "id", timestamp_lookup_key="ts", default_values={"n": 0, "paid": 0.5}),
            FeatureFunction(udf_name=FUNCTION, input_bindings={"paid": "paid", "due": "due"}, output_name="ratio"),
        ],
        label="y",
        exclude_columns=["id", "ts", "note", "ratio"],
    )
    frame = training_set.to_pandas()
    model = LinearRegression().fit(frame.drop(columns="y"), frame["y"])
    ws.registry.ensure_model(MODEL)
    info = ws.fe.log_model(
        model=model,
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=training_set,
        registered_model_name=MODEL,
        # MLflow's own default is a pickle where it is tracked on Databricks.
        serialization_format="skops",
    )
    version = int(info.registered_model_version)
    ws.registry.set_alias(MODEL, CHAMPION, version)
    uris = {
        "alias": f"models:/{MODEL}@{CHAMPION}",
        "version": f"models:/{MODEL}/{version}",
    }
    return Shop(ws, training_set, model, uris)


@pytest.fixture
def tagged(shop: Shop) -> Iterator[Callable[[str], None]]:
    """Give the version a digest for the time of a test; an empty one is none."""
    version = shop.ws.registry.aliases(MODEL)[CHAMPION]

    def tag(digest: str) -> None:
        shop.ws.registry.set_tags(MODEL, version, {artifacts.DIGEST_TAG: digest})

    yield tag
    tag("")


@pytest.mark.parametrize("form", ["alias", "version"])
def test_every_form_of_uri_gives_all_rows_with_what_was_looked_up(shop, form):
    scored = shop.score(SPINE, shop.uris[form])
    assert scored.column_names == [*SPINE.column_names, "n", "paid", "prediction"]
    assert [str(kind) for kind in scored.schema.types[-3:]] == ["int64", "double", "double"]
    expected = shop.model.predict(scored.select(["due", "n", "paid"]).to_pandas())
    np.testing.assert_allclose(scored.column("prediction").to_numpy(), expected, rtol=1e-9)
    found = {row["note"]: (row["n"], row["paid"]) for row in scored.to_pylist()}
    assert found == {"a": (5, 1.0), "b": (0, 3.0), "c": (0, 0.5), "d": (5, 1.0)}


@pytest.mark.parametrize(
    ("uri", "error", "says"),
    [
        (f"models:/{MODEL}@champoin", FeatureStoreError, "Did you mean champion"),
        ("models:/dev.scored.nothing@champion", FeatureStoreError, r"dev\.scored\.nothing.*no alias"),
        (f"models:/{MODEL}/99", FeatureStoreError, "no version 99"),
        ("dev.scored.model", FeatureStoreError, "is not a model URI"),
        (None, FeatureStoreError, "model_uri is a NoneType"),
        ("runs:/nowhere/model", RegistryError, "cannot be fetched"),
    ],
    ids=str,
)
def test_models_that_are_not_there(shop, uri, error, says):
    with pytest.raises(error, match=says):
        shop.score(SPINE, uri)


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
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_that_cannot_be_scored(shop, frame, says):
    with pytest.raises(FeatureStoreError, match=says):
        shop.score(frame)


def test_what_the_frame_has_wins_and_no_error_comes_from_a_lookup_that_is_not_run(shop):
    frame = SPINE.set_column(1, "ts", pa.array([None] * 4, TIME))
    frame = frame.append_column("paid", pa.array([1.0, None, 1.0, 1.0])).append_column("n", pa.array([1, 2, 3, 4]))
    scored = shop.score(frame).sort_by("note")
    assert scored.column_names == [*frame.column_names, "prediction"]
    assert scored.column("paid").to_pylist() == [1.0, 0.5, 1.0, 1.0]
    assert scored.column("n").to_pylist() == [1, 2, 3, 4]


def test_numbers_are_cast_to_what_the_model_was_fitted_on_and_given_back_as_they_were(shop):
    whole = shop.score(SPINE.set_column(2, "due", pa.array([2, 4, 8, 0], pa.int32())))
    assert whole.schema.field("due").type == pa.int32()
    assert whole.sort_by("note").column("prediction") == shop.score(SPINE).sort_by("note").column("prediction")


def test_matches_say_which_rows_were_found(shop):
    frame = pa.table(
        {
            "id": pa.array([1, 2, 3, None, 2], pa.int64()),
            "ts": pa.array([DAY] * 4 + [DAY - dt.timedelta(microseconds=1)], TIME),
            "due": [1.0] * 5,
            "place": [0, 1, 2, 3, 4],
        }
    )
    scored = shop.score(frame, matches=True).sort_by("place")
    # Row 1 was found, though one of its features is null.
    assert scored.column(f"matched:{TABLE}").to_pylist() == [True, True, False, False, False]
    assert scored.column("n").to_pylist() == [5, 0, 0, 0, 0]
    assert scored.column_names == [*frame.column_names, "n", "paid", f"matched:{TABLE}", "prediction"]


def test_the_frame_that_spark_gives_and_gets(shop):
    scored = shop.ws.fe.score_batch(model_uri=shop.uris["alias"], df=shop.ws.spark.createDataFrame(SPINE))
    assert scored.dtypes[-3:] == [("n", "bigint"), ("paid", "double"), ("prediction", "double")]
    assert scored.toArrow().sort_by("note").to_pylist() == shop.score(SPINE).sort_by("note").to_pylist()


def test_an_empty_frame_is_scored(shop):
    scored = shop.score(SPINE.slice(0, 0))
    assert scored.num_rows == 0
    assert scored.schema.equals(shop.score(SPINE).schema)


# Frames of any size


@pytest.fixture(scope="module")
def numbered() -> pa.Table:
    """Rows with one key found, one too early, one unknown, one null, and values of which some are ordinary."""
    return pa.table(
        {
            "id": pa.array([1, 2, 3, None, 1], pa.int64()),
            "ts": pa.array([DAY] * 4 + [DAY - dt.timedelta(microseconds=1)], TIME),
            "due": [2.0, 4.0, 8.0, 1.0, 4.0],
            "place": [0, 1, 2, 3, 4],
        }
    )


def scored_frame(shop: Shop, rows: pa.Table, **arguments: Any) -> pa.Table:
    frames = shop.ws.frames
    frame = frames.of(rows)
    with shop.ws.fe.score_frame(model_uri=shop.uris["alias"], frame=frame, keys=["place"], **arguments) as scored:
        return frames.collect(scored, at_most=100, what="the scored rows").sort_by("place")


def test_a_frame_is_scored_as_its_rows_are(shop, numbered):
    expected = shop.score(numbered, matches=True).sort_by("place")
    scored = scored_frame(shop, numbered)
    assert scored.column_names == ["place", "prediction", "features_unmatched"]
    assert scored.column("place") == expected.column("place")
    np.testing.assert_allclose(scored["prediction"].to_numpy(), expected["prediction"].to_numpy(), rtol=1e-12)
    assert scored["features_unmatched"].to_pylist() == [[], [], ["f"], ["f"], ["f"]]
    assert [not names for names in scored["features_unmatched"].to_pylist()] == expected[f"matched:{TABLE}"].to_pylist()


def test_nothing_is_scored_where_nothing_is_to_be(shop, numbered):
    assert scored_frame(shop, numbered.slice(0, 0)).num_rows == 0
    with pytest.raises(FeatureStoreError, match=r"1 of 5 row\(s\) have no time"):
        scored_frame(shop, numbered.set_column(1, "ts", pa.array([None] + [DAY] * 4, TIME)))


@pytest.mark.parametrize("batch_rows", [None, 2])
def test_reasons_are_what_a_reference_value_would_change(shop, numbered, batch_rows):
    """Of a linear model: the coefficient times the distance to the reference value, null's default counted as such."""
    weights = dict(zip(["due", "n", "paid"], shop.model.coef_, strict=True))
    ordinary = {"paid": 3.0, "due": 4.0, "n": None, "other": 1.0}
    scored = scored_frame(shop, numbered, reasons=ReasonCodes(ordinary, top=2), batch_rows=batch_rows)
    inputs = shop.score(numbered).sort_by("place").to_pylist()
    expected = []
    for row in inputs:
        effects = [(name, weights[name] * (row[name] - (ordinary[name] or 0))) for name in ("paid", "due", "n")]
        expected.append([item for item in sorted(effects, key=lambda item: -abs(item[1]))[:2] if abs(item[1]) > 1e-9])
    # A coefficient that is zero but for rounding makes a reason, too, in one home and not in the other.
    found = [
        [(item["feature"], item["contribution"]) for item in row if abs(item["contribution"]) > 1e-9]
        for row in scored["reason_codes"].to_pylist()
    ]
    assert [[name for name, _ in row] for row in found] == [[name for name, _ in row] for row in expected]
    for row, other in zip(found, expected, strict=True):
        np.testing.assert_allclose([value for _, value in row], [value for _, value in other], rtol=1e-9, atol=1e-12)
    assert scored["features_unmatched"].to_pylist() == [[], [], ["f"], ["f"], ["f"]]


def test_score_batch_takes_a_frame(shop, numbered):
    scored = shop.ws.fe.score_batch(model_uri=shop.uris["alias"], df=shop.ws.frames.of(numbered))
    assert sorted(row["place"] for row in scored.select("place").collect()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("trusted", [None, [], ["builtins.eval"]], ids=str)
@pytest.mark.parametrize("form", ["alias", "version"])
def test_files_that_are_not_those_registered_are_refused_whoever_scores(shop, tagged, form, trusted):
    tagged("abc")
    with pytest.raises(RegistryError, match="not those registered"):
        shop.score(SPINE, shop.uris[form], trusted_types=trusted)


def test_the_files_registered_are_scored_whoever_scores(shop, tagged, tmp_path: Path):
    tagged(digest_of(shop.ws, shop.uris["version"], tmp_path))
    for trusted in (None, [], ["some.other.Type"]):
        assert shop.score(SPINE, trusted_types=trusted).num_rows == 4


class OpensAFile(mlflow.pyfunc.PythonModel):
    """A model that opens a file for writing when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def predict(self, model_input: Any) -> Any:
        return [0.0] * len(model_input)

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_a_pickled_model_of_the_platform_is_refused_before_it_is_loaded(shop, tmp_path: Path):
    opened, name = tmp_path / "opened", "dev.scored.pickled"
    shop.ws.registry.ensure_model(name)
    info = shop.ws.fe.log_model(
        model=OpensAFile(opened),
        artifact_path="model",
        flavor=mlflow.pyfunc,
        training_set=shop.training_set,
        registered_model_name=name,
        pip_requirements=["mlflow"],
    )
    uri = f"models:/{name}/{info.registered_model_version}"
    digest = digest_of(shop.ws, uri, tmp_path)
    shop.ws.registry.set_tags(name, int(info.registered_model_version), {artifacts.DIGEST_TAG: digest})
    opened.unlink(missing_ok=True)
    for trusted in (None, [], ["builtins.open", "_io.open"]):
        with pytest.raises(RegistryError, match="may be pickled"):
            shop.score(SPINE, uri, trusted_types=trusted)
    assert not opened.exists()


class FailsOnEight(mlflow.pyfunc.PythonModel):
    """A model that cannot predict what is due at 8, and fails on a batch in which it is."""

    def predict(self, model_input: Any) -> Any:
        if (model_input["due"] == 8.0).any():
            raise ValueError("eight is not known")
        return model_input["due"].to_numpy() * 2


def test_a_row_that_a_model_fails_on_gets_no_prediction_and_the_others_do(shop, numbered):
    name = "dev.scored.fails"
    shop.ws.registry.ensure_model(name)
    info = shop.ws.fe.log_model(
        model=FailsOnEight(),
        artifact_path="model",
        flavor=mlflow.pyfunc,
        training_set=shop.training_set,
        registered_model_name=name,
        pip_requirements=["mlflow"],
    )
    uri, frames = f"models:/{name}/{info.registered_model_version}", shop.ws.frames
    # With the reference value that it does not know, it fails on every row: that is no reason.
    for reasons in (None, ReasonCodes({"due": 8.0, "paid": 3.0}, top=2)):
        given = frames.of(numbered)
        with shop.ws.fe.score_frame(model_uri=uri, frame=given, keys=["place"], reasons=reasons) as scored:
            rows = frames.collect(scored, at_most=100, what="the scored rows").sort_by("place")
        values = [None if value is None or np.isnan(value) else value for value in rows["prediction"].to_pylist()]
        assert values == [4.0, 8.0, None, 2.0, 8.0]
        if reasons is not None:
            assert [rows["reason_codes"][place].as_py() for place in (0, 1, 3, 4)] == [[], [], [], []]
    # Asked by its user, it fails as it does.
    with pytest.raises(PlatformError, match="eight is not known"):
        shop.ws.fe.score_batch_arrow(model_uri=uri, df=numbered)


def test_what_a_decision_judged_is_scored_whatever_the_tag_says(shop, tmp_path: Path):
    ws, namespace = shop.ws, Namespace("dev", "judged")
    name = str(namespace.model)
    ws.registry.ensure_model(name)
    info = ws.fe.log_model(
        model=shop.model,
        artifact_path="model",
        flavor=mlflow.sklearn,
        training_set=shop.training_set,
        registered_model_name=name,
        serialization_format="skops",
    )
    version = int(info.registered_model_version)
    uri = f"models:/{name}/{version}"
    digest = digest_of(ws, uri, tmp_path)
    records.ensure(ws, namespace)
    for recorded, tag, refused in (("0" * 64, digest, True), (digest, "0" * 64, False), (digest, "", False)):
        event = GateEvent(
            decision_id=f"d{recorded[:3]}{tag[:3]}",
            event="decided",
            kind="gate",
            use_case="judged",
            model=name,
            as_of=DAY,
            outcome="promoted",
            reason="",
            challenger_version=version,
            artifact_digest=recorded,
            recorded_at=dt.datetime.now(dt.UTC),
        )
        ws.tables.overwrite(namespace.ops("gate_decisions"), GATE_DECISIONS.to_arrow([event]))
        ws.registry.set_tags(name, version, {artifacts.DIGEST_TAG: tag})
        for trusted in (None, ()):
            if refused:
                with pytest.raises(RegistryError, match=rf"{re.escape(uri)} are not those that were judged"):
                    shop.score(SPINE, uri, trusted_types=trusted)
            else:
                assert shop.score(SPINE, uri, trusted_types=trusted).num_rows == 4


def digest_of(ws: Workspace, uri: str, folder: Path) -> str:
    ws.registry.activate()
    return artifacts.digest(Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder / "files"))))


def test_who_names_trusted_types_gets_none_but_the_platform_s_own_models(shop):
    assert shop.score(SPINE).num_rows == 4
    for trusted in ([], ["sklearn.linear_model._base.LinearRegression"]):
        with pytest.raises(RegistryError, match="No digest is recorded"):
            shop.score(SPINE, trusted_types=trusted)
        with pytest.raises(RegistryError, match="No digest is recorded"):
            shop.ws.fe.score_batch(model_uri=shop.uris["alias"], df=SPINE, trusted_types=trusted)


def test_the_model_carries_its_spec_and_where_its_features_came_from(shop, tmp_path: Path):
    shop.ws.registry.activate()
    folder = mlflow.artifacts.download_artifacts(shop.uris["version"], dst_path=str(tmp_path))
    spec = FeatureSpec.load(f"{folder}/data/feature_store")
    assert spec.included == ["due", "n", "paid"]
    assert [(item.feature_name, item.default_value) for item in spec.features] == [("n", "0"), ("paid", "0.5")]
    # A function whose output nothing consumes is not part of it.
    assert spec.functions == ()
    lineage = shop.ws.fe.lineage(shop.uris["alias"])
    assert [(table.name, table.version) for table in lineage.tables] == [(TABLE, shop.ws.tables.version(TABLE))]
    assert (lineage.columns, lineage.labels) == (("due", "n", "paid"), ("y",))


def test_what_cannot_be_logged(shop):
    for arguments, says in (
        ({"training_set": "none"}, "training_set is a str"),
        ({"flavor": "sklearn"}, "is not an MLflow flavor"),
        ({"serialization_format": "no such format"}, "cannot be logged|Logging the model"),
    ):
        with pytest.raises(FeatureStoreError, match=says):
            shop.ws.fe.log_model(
                **{
                    "model": shop.model,
                    "artifact_path": "model",
                    "flavor": mlflow.sklearn,
                    "training_set": shop.training_set,
                }
                | arguments
            )


def test_a_model_logged_without_features_says_so(shop):
    shop.ws.registry.activate()
    with mlflow.start_run(experiment_id=shop.ws.registry.experiment("/dev/scored")) as run:
        mlflow.sklearn.log_model(shop.model, name="model", pip_requirements=["scikit-learn"])
    with pytest.raises(FeatureStoreError, match="log_model"):
        shop.score(SPINE, f"runs:/{run.info.run_id}/model")


def test_a_run_of_the_callers_stays_open_and_gets_the_model(shop):
    shop.ws.registry.activate()
    with mlflow.start_run(experiment_id=shop.ws.registry.experiment("/dev/scored")) as run:
        info = shop.ws.fe.log_model(
            model=shop.model, artifact_path="model", flavor=mlflow.sklearn, training_set=shop.training_set
        )
        assert info.run_id == run.info.run_id
        assert mlflow.active_run() is not None
