"""One logged model, scored in both homes: the same features, matches and predictions; and what ours does around it."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.sklearn
import numpy as np
import pyarrow as pa
import pytest

from mlplatform import FeatureLookup
from mlplatform.errors import FeatureStoreError, RegistryError
from mlplatform.features.artifacts import DIGEST_TAG, digest
from tests.standin.feature_models import registrable_feature_models
from tests.support.compare import assert_same

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from mlplatform.protocols.workspace import Workspace
    from mlplatform.workspace.databricks.training_set import DatabricksTrainingSet
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.standin.server import StandIn

_MODEL = "dev.scoring.model"
_CUSTOMERS = "dev.scoring.customers"
_ACTIVITY = "dev.scoring.activity"
_START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_MOMENT = pa.timestamp("us", tz="UTC")
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Logged:
    """A model logged through the real client."""

    ws: DatabricksWorkspace
    info: ModelInfo
    training_set: DatabricksTrainingSet
    run_id: str
    name: str = _MODEL

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.info.registered_model_version}"


def _days(*numbers: float | None) -> pa.Array:
    return pa.array([None if number is None else _START + dt.timedelta(days=number) for number in numbers], _MOMENT)


def _make_tables(ws: Any) -> None:
    """Integers with nulls among them: local and real clients give them to a model in different pandas types."""
    customers = pa.table(
        {
            "id": pa.array(range(40), pa.int64()),
            "segment": pa.array([n % 3 if n % 5 else None for n in range(40)], pa.int32()),
        }
    )
    activity = pa.table(
        {
            "id": pa.array([n for n in range(40) for _ in range(2)], pa.int64()),
            "at": _days(*(float(day) for _ in range(40) for day in (1, 20))),
            "orders": pa.array([n % 7 if n % 11 else None for n in range(80)], pa.int64()),
            "spend": pa.array([n * 1.25 if n % 9 else float("nan") for n in range(80)], pa.float64()),
        }
    )
    ws.fe.create_table(name=_CUSTOMERS, primary_keys="id", df=customers)
    ws.fe.create_table(name=_ACTIVITY, primary_keys=["id", "at"], timeseries_column="at", df=activity)


def _spine() -> pa.Table:
    """Keys that no table has, a null key, times before anything is known and long after."""
    return pa.table(
        {
            "id": pa.array([*range(38), 99, None], pa.int64()),
            "at": _days(*(float(n % 40) for n in range(40))),
            "amount": pa.array([n * 10 if n % 6 else None for n in range(40)], pa.int32()),
        }
    )


def _lookups() -> list[FeatureLookup]:
    return [
        FeatureLookup(_CUSTOMERS, "id", feature_names="segment"),
        FeatureLookup(
            _ACTIVITY,
            "id",
            feature_names=["orders", "spend"],
            timestamp_lookup_key="at",
            lookback_window=dt.timedelta(days=10),
            default_values={"orders": -1},
        ),
    ]


@dataclass(frozen=True)
class Fitted:
    """A model, and the training set that it was fitted on."""

    ws: DatabricksWorkspace
    model: Any
    training_set: DatabricksTrainingSet
    signature: Any

    def log(self, name: str = _MODEL) -> Logged:
        registry = self.ws.registry
        registry.activate()
        registry.ensure_model(name)
        with mlflow.start_run(experiment_id=registry.experiment("dev/scoring")) as run:
            info = self.ws.fe.log_model(
                model=self.model,
                artifact_path="model",
                flavor=mlflow.sklearn,
                training_set=self.training_set,
                registered_model_name=name,
                signature=self.signature,
                serialization_format="skops",
                skops_trusted_types=["numpy.dtype"],
                pip_requirements=["mlflow", "scikit-learn"],
                pyfunc_predict_fn="predict_proba",
            )
        return Logged(self.ws, info, self.training_set, run.info.run_id, name)


@pytest.fixture(scope="module")
def fitted(databricks: DatabricksWorkspace) -> Fitted:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    _make_tables(databricks)
    labels = pa.array([n % 2 for n in range(40)], pa.int64())
    training_set = databricks.fe.create_training_set(
        df=_spine().append_column("y", labels), feature_lookups=_lookups(), label="y", exclude_columns=["id", "at"]
    )
    data = training_set.to_pandas()
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(data.drop(columns="y"), data["y"])
    signature = mlflow.models.infer_signature(data.drop(columns="y").head(5), np.array([0.5]))
    return Fitted(databricks, model, training_set, signature)


@pytest.fixture(scope="module")
def logged(fitted: Fitted) -> Logged:
    """With MLflow from PyPI, which does not register what the client packages."""
    return fitted.log()


@pytest.fixture(scope="module")
def by_client(fitted: Fitted) -> Logged:
    """As the client packages it, where MLflow registers that."""
    with registrable_feature_models(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitted.ws.registry, "_refusal", None)  # to be asked anew
        assert fitted.ws.registry.feature_model_refusal() == ""
        return fitted.log("dev.scoring.by_client")


def _loader(logged: Logged) -> str:
    logged.ws.registry.activate()
    found = mlflow.models.get_model_info(logged.uri).flavors["python_function"]
    return str(found["loader_module"])


def test_what_mlflow_refuses_is_registered_without_the_client(logged: Logged, standin: StandIn) -> None:
    """Its own client scores it (as every test here shows), and the catalog knows the tables that it depends on."""
    assert "does not register models that the feature client packaged" in logged.ws.registry.feature_model_refusal()
    assert _loader(logged) == "mlplatform.features.packaged"
    number = int(logged.info.registered_model_version or 0)
    version = standin.models.by_name[_MODEL].versions[number]
    assert version.status == "READY"
    assert version.made_of["run_id"] == logged.run_id
    assert sorted(version.dependencies) == [("DATABRICKS_TABLE", _ACTIVITY), ("DATABRICKS_TABLE", _CUSTOMERS)]


def test_the_probe_registers_nothing(logged: Logged, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(standin.models.by_name)
    for allowed in (nullcontext(), registrable_feature_models()):
        monkeypatch.setattr(logged.ws.registry, "_refusal", None)
        with allowed:
            logged.ws.registry.feature_model_refusal()
    assert sorted(standin.models.by_name) == before


def test_it_scores_as_what_the_client_packaged(logged: Logged, by_client: Logged) -> None:
    assert _loader(by_client) == "databricks.feature_store.mlflow_model"
    ours, theirs = (
        _sorted(one.ws.fe.score_batch_arrow(model_uri=one.uri, df=_spine(), matches=True))
        for one in (logged, by_client)
    )
    assert_same(ours, theirs)


def test_what_the_client_packaged_elsewhere_can_be_copied(by_client: Logged) -> None:
    """As `adopt` does: with an MLflow that does not register it as it is."""
    registry, target = by_client.ws.registry, "dev.scoring.copied"
    registry.ensure_model(target)
    origin = registry.get(by_client.name, 1)
    registry.set_tags(by_client.name, 1, {"owner": "risk"})
    copied = registry.copy_version(registry.get(by_client.name, 1), target)
    assert (copied.name, copied.version, copied.tags["owner"]) == (target, 1, "risk")
    assert copied.run_id != origin.run_id
    score = by_client.ws.fe.score_batch_arrow
    assert_same(_sorted(score(model_uri=copied.uri, df=_spine())), _sorted(score(model_uri=origin.uri, df=_spine())))


@pytest.fixture(scope="module")
def at_home(ws: Workspace, logged: Logged) -> tuple[Workspace, str]:
    """The local workspace with the same tables, and the very files of the model under the same name."""
    logged.ws.registry.activate()
    files = mlflow.artifacts.download_artifacts(logged.uri)
    _make_tables(ws)
    ws.registry.activate()
    client = mlflow.MlflowClient()
    client.create_registered_model(_MODEL)
    version = client.create_model_version(_MODEL, source=Path(files).as_uri(), run_id=None)
    return ws, f"models:/{_MODEL}/{version.version}"


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([("id", "ascending"), ("at", "ascending")])


def test_both_homes_score_the_same(logged: Logged, at_home: tuple[Workspace, str]) -> None:
    local, uri = at_home
    ours = _sorted(local.fe.score_batch_arrow(model_uri=uri, df=_spine(), matches=True))
    real = _sorted(logged.ws.fe.score_batch_arrow(model_uri=logged.uri, df=_spine(), matches=True))

    assert real.schema.names == ours.schema.names
    assert_same(real.drop_columns(["prediction"]), ours.drop_columns(["prediction"]))
    np.testing.assert_allclose(real.column("prediction"), ours.column("prediction"), rtol=_TOLERANCE, atol=_TOLERANCE)
    assert len(set(real.column("prediction").to_pylist())) > 10, "a constant model would prove nothing"


def test_matches_say_which_lookups_found_a_row(logged: Logged) -> None:
    scored = logged.ws.fe.score_batch_arrow(model_uri=logged.uri, df=_spine(), matches=True)

    assert scored.schema.names[-3:] == [f"matched:{_CUSTOMERS}", f"matched:{_ACTIVITY}", "prediction"]
    assert scored.num_rows == _spine().num_rows
    for row in scored.to_pylist():
        age = (row["at"] - _START).days
        known = row["id"] is not None and row["id"] < 40
        assert row[f"matched:{_CUSTOMERS}"] == known
        assert row[f"matched:{_ACTIVITY}"] == (known and (1 <= age <= 11 or 20 <= age <= 30))


def test_a_scalar_is_the_positive_class(logged: Logged) -> None:
    score = logged.ws.fe.score_batch_arrow
    single = _sorted(score(model_uri=logged.uri, df=_spine())).column("prediction").to_pylist()
    both = (
        _sorted(score(model_uri=logged.uri, df=_spine(), result_type="array<double>")).column("prediction").to_pylist()
    )

    assert [pair[1] for pair in both] == single
    assert all(abs(sum(pair) - 1) < _TOLERANCE for pair in both)
    assert any(abs(pair[0] - pair[1]) > 0.1 for pair in both)


def test_a_frame_of_another_numeric_type_is_cast_for_the_model_and_given_back_as_it_was(logged: Logged) -> None:
    spine = _spine()
    wider = spine.set_column(2, "amount", spine.column("amount").cast(pa.float64()))
    expected = _sorted(logged.ws.fe.score_batch_arrow(model_uri=logged.uri, df=spine))
    result = _sorted(logged.ws.fe.score_batch_arrow(model_uri=logged.uri, df=wider))
    assert result.schema.field("amount").type == pa.float64()
    assert result.column("prediction").to_pylist() == expected.column("prediction").to_pylist()

    halves = spine.set_column(2, "amount", pa.array([0.5] * 40))
    with pytest.raises(FeatureStoreError, match=r"does not fit int.*in 40 of 40"):
        logged.ws.fe.score_batch(model_uri=logged.uri, df=halves)


def test_the_version_is_found_by_its_run_and_keeps_its_lineage(logged: Logged) -> None:
    version = next(item for item in logged.ws.registry.versions(_MODEL) if item.run_id == logged.run_id)
    assert version.version == logged.info.registered_model_version

    lineage = logged.ws.fe.lineage(logged.uri)
    assert {table.name: table.version for table in lineage.tables} == logged.training_set.recorded_versions
    assert lineage.columns == ("amount", "segment", "orders", "spend")
    assert lineage.labels == ("y",)


def test_files_are_verified_before_the_model_is_loaded(logged: Logged) -> None:
    fe, registry = logged.ws.fe, logged.ws.registry
    with pytest.raises(RegistryError, match="No digest"):
        fe.score_batch(model_uri=logged.uri, df=_spine(), trusted_types=())
    registry.activate()
    folder = Path(mlflow.artifacts.download_artifacts(logged.uri))
    number = int(logged.info.registered_model_version or 0)
    registry.set_tags(_MODEL, number, {DIGEST_TAG: "abc"})
    with pytest.raises(RegistryError, match="not those registered"):
        fe.score_batch(model_uri=logged.uri, df=_spine())
    registry.set_tags(_MODEL, number, {DIGEST_TAG: digest(folder)})
    assert fe.score_batch(model_uri=logged.uri, df=_spine(), trusted_types=()).count() == 40
    assert fe.score_batch(model_uri=logged.uri, df=_spine()).count() == 40


def test_a_spark_frame_is_scored_as_it_is(logged: Logged) -> None:
    df = logged.ws.spark.createDataFrame(_spine())
    scored = logged.ws.fe.score_batch(model_uri=logged.uri, df=df)
    assert scored.columns == ["id", "at", "amount", "segment", "orders", "spend", "prediction"]
    assert_same(scored.toArrow(), logged.ws.fe.score_batch_arrow(model_uri=logged.uri, df=_spine()))


def test_another_training_set_is_refused(databricks: DatabricksWorkspace) -> None:
    with pytest.raises(FeatureStoreError, match="training_set is a NoneType"):
        databricks.fe.log_model(model=object(), artifact_path="model", flavor=mlflow.sklearn)
