"""The stand-in, asked by the real SDK and the real MLflow client."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import (
    AlreadyExists,
    DatabricksError,
    InternalError,
    NotFound,
    PermissionDenied,
    ResourceDoesNotExist,
    TooManyRequests,
    Unauthenticated,
)
from databricks.sdk.service import catalog, dataquality
from mlflow.exceptions import MlflowException, RestException
from mlflow.models import infer_signature

from tests.standin.environment import environment
from tests.standin.metastore import Column, FixedTables, TableInfo
from tests.standin.server import USER, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

_MODEL = "dev.ml.churn"
_TABLE = "dev.churn.features"
_PREDICT_ROWS = np.array([[0.5], [2.5]])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One stand-in for the module, with the environment that leads to it."""
    with StandIn(tmp_path_factory.mktemp("standin")) as standin, environment(standin):
        yield standin


@pytest.fixture
def standin(running: StandIn) -> StandIn:
    """The stand-in, with no calls, faults or models left over from another test."""
    running.calls.clear()
    running.faults.clear()
    running.unexpected.clear()
    running.models.by_name.clear()
    running.metastore.provider = FixedTables(
        {
            _TABLE: TableInfo(
                [Column("customer", "bigint", nullable=False), Column("at", "timestamp"), Column("x", "double")]
            )
        }
    )
    return running


@pytest.fixture
def client(standin: StandIn) -> WorkspaceClient:
    """The SDK's client, which gives up after a second."""
    return WorkspaceClient(
        config=Config(host=standin.url, token=standin.token, retry_timeout_seconds=1, http_timeout_seconds=1)
    )


@pytest.fixture
def mlflow_client(standin: StandIn) -> MlflowClient:
    """MLflow's client of the registry in Unity Catalog."""
    from mlflow import MlflowClient

    del standin
    return MlflowClient(tracking_uri="databricks", registry_uri="databricks-uc")


@pytest.fixture
def registered(standin: StandIn, mlflow_client: MlflowClient) -> Any:
    """A fitted model, logged and registered as version 1."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    mlflow.set_tracking_uri("databricks")
    mlflow.set_registry_uri("databricks-uc")
    mlflow.set_experiment("/Shared/standin")
    model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    with mlflow.start_run() as run:
        mlflow.log_param("depth", 3)
        mlflow.log_metric("auc", 0.75)
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(_PREDICT_ROWS, model.predict(_PREDICT_ROWS)),
            registered_model_name=_MODEL,
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
    assert standin.unexpected == []
    assert mlflow_client.get_run(run.info.run_id).data.metrics == {"auc": 0.75}
    return model


def test_a_logged_model_is_registered_and_loads_back(
    standin: StandIn, registered: Any, mlflow_client: MlflowClient
) -> None:
    import mlflow

    version = mlflow_client.get_model_version(_MODEL, "1")
    assert version.status == "READY"
    assert mlflow_client.get_run(version.run_id).data.params == {"depth": "3"}
    assert (standin.files.folder / "Models" / "dev" / "ml" / "churn" / "1" / "MLmodel").is_file()
    order = [
        call.path.rpartition("/")[2] for call in standin.calls.writes().filter(path="unity-catalog/model-versions")
    ]
    assert order == ["create", "finalize"]
    loaded = mlflow.pyfunc.load_model(f"models:/{_MODEL}/1")
    assert list(loaded.predict(_PREDICT_ROWS)) == list(registered.predict(_PREDICT_ROWS))
    assert standin.unexpected == []


@pytest.mark.usefixtures("registered")
def test_files_of_a_finalized_version_cannot_be_changed(client: WorkspaceClient) -> None:
    with pytest.raises(PermissionDenied):
        client.files.upload("/Models/dev/ml/churn/1/MLmodel", io.BytesIO(b"other"), overwrite=True)


@pytest.mark.usefixtures("registered")
def test_aliases_move_and_vanish_with_their_version(standin: StandIn, mlflow_client: MlflowClient) -> None:
    import mlflow

    mlflow_client.set_registered_model_alias(_MODEL, "champion", "1")
    copied = mlflow_client.copy_model_version(f"models:/{_MODEL}@champion", "prod.ml.churn")
    assert (copied.name, str(copied.version)) == ("prod.ml.churn", "1")
    mlflow.register_model(f"models:/{_MODEL}/1", _MODEL)
    mlflow_client.set_registered_model_alias(_MODEL, "champion", "2")
    assert mlflow_client.get_model_version_by_alias(_MODEL, "champion").version == "2"
    assert mlflow_client.get_model_version(_MODEL, "1").aliases == []
    mlflow_client.delete_model_version(_MODEL, "2")
    assert mlflow_client.get_registered_model(_MODEL).aliases == {}
    # Numbers are not given again.
    assert str(mlflow.register_model(f"models:/{_MODEL}/1", _MODEL).version) == "3"
    assert standin.unexpected == []


@pytest.mark.usefixtures("registered")
def test_missing_aliases_versions_and_models_are_errors_with_the_services_codes(mlflow_client: MlflowClient) -> None:
    questions = [
        lambda: mlflow_client.get_model_version_by_alias(_MODEL, "champion"),
        lambda: mlflow_client.get_model_version(_MODEL, "9"),
        lambda: mlflow_client.set_registered_model_alias(_MODEL, "champion", "9"),
        lambda: mlflow_client.get_registered_model("dev.ml.none"),
        lambda: mlflow_client.get_model_version_by_alias("dev.ml.none", "champion"),
    ]
    for ask in questions:
        with pytest.raises(RestException) as caught:
            ask()
        assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException) as exists:
        mlflow_client.create_registered_model(_MODEL)
    assert exists.value.error_code == "RESOURCE_ALREADY_EXISTS"


@pytest.mark.usefixtures("registered")
def test_tags_descriptions_and_the_deployment_job_are_kept(standin: StandIn, mlflow_client: MlflowClient) -> None:
    mlflow_client.set_registered_model_tag(_MODEL, "owner", "risk")
    mlflow_client.set_model_version_tag(_MODEL, "1", "gate", "passed")
    mlflow_client.update_model_version(_MODEL, "1", "the first")
    mlflow_client.update_registered_model(_MODEL, deployment_job_id="77")
    model, version = mlflow_client.get_registered_model(_MODEL), mlflow_client.get_model_version(_MODEL, "1")
    assert (model.tags, model.deployment_job_id) == ({"owner": "risk"}, "77")
    assert (version.tags, version.description) == ({"gate": "passed"}, "the first")
    mlflow_client.delete_model_version_tag(_MODEL, "1", "gate")
    mlflow_client.delete_registered_model_tag(_MODEL, "owner")
    assert mlflow_client.get_model_version(_MODEL, "1").tags == {}
    assert mlflow_client.get_registered_model(_MODEL).tags == {}
    found = mlflow_client.search_model_versions(f"name='{_MODEL}'")
    assert [v.version for v in found] == ["1"]
    assert standin.unexpected == []


def test_a_model_without_signature_is_refused_before_it_is_uploaded(
    standin: StandIn, mlflow_client: MlflowClient
) -> None:
    import mlflow
    from sklearn.linear_model import LinearRegression

    mlflow.set_tracking_uri("databricks")
    mlflow.set_experiment("/Shared/standin")
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            LinearRegression().fit([[0.0]], [1.0]),
            name="model",
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
    mlflow_client.create_registered_model(_MODEL)
    with pytest.raises(MlflowException, match="signature"):
        mlflow_client.create_model_version(_MODEL, logged.model_uri)
    assert len(standin.calls.filter("PUT", "Models")) == 0


def test_secrets_go_out_in_base64_and_are_never_recorded(standin: StandIn, client: WorkspaceClient) -> None:
    client.secrets.create_scope("churn")
    client.secrets.put_secret("churn", "password", string_value="hunter2")
    assert client.secrets.get_secret("churn", "password").value == "aHVudGVyMg=="
    assert client.dbutils.secrets.get("churn", "password") == "hunter2"
    with pytest.raises(ResourceDoesNotExist):
        client.secrets.get_secret("churn", "other")
    assert "hunter2" not in repr(list(standin.calls))


def test_a_job_is_started_once_per_token_and_runs_through_its_states(standin: StandIn, client: WorkspaceClient) -> None:
    job = standin.jobs.add("train", states=("PENDING", "RUNNING", "SUCCESS"), parameters={"env": "dev"})
    first = client.jobs.run_now(job, idempotency_token="once", job_parameters={"env": "prod"}).response.run_id
    assert client.jobs.run_now(job, idempotency_token="once").response.run_id == first
    assert client.jobs.run_now(job, idempotency_token="again").response.run_id != first
    states = [client.jobs.get_run(first).state for _ in range(4)]
    assert [state.life_cycle_state.value for state in states] == ["PENDING", "RUNNING", "TERMINATED", "TERMINATED"]
    assert states[-1].result_state.value == "SUCCESS"
    assert [found.job_id for found in client.jobs.list(name="train")] == [job]
    with pytest.raises(ResourceDoesNotExist):
        client.jobs.get(1)


def test_files_go_up_and_come_back(client: WorkspaceClient) -> None:
    path = "/Volumes/dev/churn/landing/2026/drop 1.csv"
    client.files.upload(path, io.BytesIO(b"a,b\n1,2\n"))
    with pytest.raises(AlreadyExists):
        client.files.upload(path, io.BytesIO(b"other"), overwrite=False)
    assert client.files.download(path).contents.read() == b"a,b\n1,2\n"
    assert client.files.get_metadata(path).content_length == 8
    assert [entry.path for entry in client.files.list_directory_contents("/Volumes/dev/churn/landing/2026")] == [path]
    client.files.delete(path)
    with pytest.raises(NotFound):
        client.files.download(path)


def test_a_tables_key_and_tags_end_with_the_table(standin: StandIn, client: WorkspaceClient) -> None:
    known = standin.metastore
    known.set_primary_key(_TABLE, ["customer", "at"], timeseries="at")
    known.set_tag("tables", _TABLE, "owner", "risk")
    table = client.tables.get(_TABLE)
    key = table.table_constraints[0].primary_key_constraint
    assert (key.child_columns, key.timeseries_columns) == (["customer", "at"], ["at"])
    assert [(column.name, column.type_text) for column in table.columns[:1]] == [("customer", "bigint")]
    assert [t.tag_key for t in client.entity_tag_assignments.list("tables", _TABLE)] == ["owner"]
    assert isinstance(known.provider, FixedTables)
    again = TableInfo(known.provider.tables.pop(_TABLE).columns, identity="made again")
    assert client.tables.exists(_TABLE).table_exists is False
    with pytest.raises(NotFound):
        client.tables.get(_TABLE)
    known.provider.tables[_TABLE] = again
    assert not client.tables.get(_TABLE).table_constraints
    assert list(client.entity_tag_assignments.list("tables", _TABLE)) == []


def test_tags_grants_functions_and_schemas_through_the_sdk(standin: StandIn, client: WorkspaceClient) -> None:
    tag = catalog.EntityTagAssignment(entity_name=f"{_TABLE}.x", tag_key="pii", entity_type="columns", tag_value="no")
    client.entity_tag_assignments.create(tag)
    with pytest.raises(AlreadyExists):
        client.entity_tag_assignments.create(tag)
    assert standin.metastore.tags("columns", f"{_TABLE}.x") == {"pii": "no"}
    standin.metastore.grant("table", _TABLE, "scorers", ["select"])
    found = client.grants.get("table", _TABLE).privilege_assignments
    assert [(grant.principal, [p.value for p in grant.privileges]) for grant in found] == [("scorers", ["SELECT"])]
    standin.metastore.add_function("dev.churn.Ratio", [("a", "double"), ("b", "double")], "double", "return a / b")
    function = client.functions.get("dev.churn.ratio")
    assert [p.name for p in function.input_params.parameters] == ["a", "b"]
    client.schemas.create("ops", "dev")
    assert sorted(schema.name for schema in client.schemas.list("dev")) == ["churn", "ops"]
    assert [c.name for c in client.catalogs.list()] == ["dev", "prod", "staging"]
    assert client.current_user.me().user_name == USER
    assert standin.unexpected == []


def test_a_table_has_one_monitor(client: WorkspaceClient) -> None:
    table_id = client.tables.get(_TABLE).table_id
    monitor = dataquality.Monitor(object_type="table", object_id=table_id)
    with pytest.raises(ResourceDoesNotExist):
        client.data_quality.get_monitor("table", table_id)
    client.data_quality.create_monitor(monitor)
    with pytest.raises(AlreadyExists):
        client.data_quality.create_monitor(monitor)
    config = client.data_quality.get_monitor("table", table_id).data_profiling_config
    assert config.status.value == "DATA_PROFILING_STATUS_ACTIVE"


@pytest.mark.parametrize(
    ("kind", "error"),
    [("403", PermissionDenied), ("429", TooManyRequests), ("500", InternalError)],
)
def test_errors_that_it_is_told_to_give(
    standin: StandIn, client: WorkspaceClient, kind: Any, error: type[DatabricksError]
) -> None:
    fault = standin.faults.add(kind, path="/secrets/put", times=None, retry_after=1)
    standin.secrets.put("faults", "key", "before")
    with pytest.raises((error, TimeoutError)) as caught:
        client.secrets.put_secret("faults", "key", string_value="after")
    assert isinstance(caught.value, error) or isinstance(caught.value.__cause__, error)
    assert fault.hits >= 1
    assert client.dbutils.secrets.get("faults", "key") == "before"
    hit = standin.calls.filter(path="/secrets/put")[0]
    assert (hit.status, hit.fault, hit.took_effect) == (int(kind), kind, False)


def test_a_client_that_waits_gets_through_a_429(standin: StandIn, client: WorkspaceClient) -> None:
    client.config.retry_timeout_seconds = 5
    patient = WorkspaceClient(
        config=Config(host=standin.url, token=standin.token, retry_timeout_seconds=10, http_timeout_seconds=1)
    )
    standin.faults.add("429", path="/scim/", times=1, retry_after=1)
    assert patient.current_user.me().user_name == USER
    assert [call.status for call in standin.calls.filter(path="/scim/")] == [429, 200]


@pytest.mark.parametrize(("kind", "after"), [("drop_before", "before"), ("drop_after", "after")])
def test_a_dropped_connection_before_or_after_the_write(
    standin: StandIn, client: WorkspaceClient, kind: Any, after: str
) -> None:
    standin.secrets.put("faults", "key", "before")
    standin.faults.add(kind, path="/secrets/put", times=None)
    with pytest.raises(TimeoutError):
        client.secrets.put_secret("faults", "key", string_value="after")
    assert client.dbutils.secrets.get("faults", "key") == after
    hit = standin.calls.filter(path="/secrets/put")[0]
    assert (hit.status, hit.took_effect) == (None, kind == "drop_after")


def test_latency_is_felt_and_the_call_goes_through(standin: StandIn, client: WorkspaceClient) -> None:
    standin.faults.add("latency", path="/scim/", seconds=0.3)
    started = time.monotonic()
    assert client.current_user.me().user_name == USER
    assert time.monotonic() - started >= 0.3


@pytest.mark.usefixtures("registered")
def test_a_fault_can_pick_its_call_by_body_and_place(standin: StandIn, mlflow_client: MlflowClient) -> None:
    standin.faults.add("403", path="registered-models/alias", body='"alias": "champion"', skip=1)
    mlflow_client.set_registered_model_alias(_MODEL, "champion", "1")
    mlflow_client.set_registered_model_alias(_MODEL, "challenger", "1")
    with pytest.raises(RestException) as caught:
        mlflow_client.set_registered_model_alias(_MODEL, "champion", "1")
    assert caught.value.error_code == "PERMISSION_DENIED"


def test_an_unknown_fault_is_refused(standin: StandIn) -> None:
    with pytest.raises(ValueError, match="Unknown kind of fault '418'"):
        standin.faults.add("418")  # type: ignore[arg-type]


def test_it_takes_no_other_token_and_never_keeps_one(standin: StandIn, client: WorkspaceClient) -> None:
    stranger = WorkspaceClient(config=Config(host=standin.url, token="another", retry_timeout_seconds=1))
    with pytest.raises(Unauthenticated):
        stranger.current_user.me()
    client.current_user.me()
    calls = standin.calls.filter(path="/scim/")
    assert [(call.authorized, call.status) for call in calls] == [(True, 401), (True, 200)]
    standin.assert_token_not_in(repr(list(standin.calls)))
    with pytest.raises(AssertionError, match="token stands in the text") as caught:
        standin.assert_token_not_in(f"Bearer {standin.token}")
    assert standin.token not in str(caught.value)


def test_what_it_does_not_know_is_not_found_and_remembered(standin: StandIn, client: WorkspaceClient) -> None:
    with pytest.raises(NotFound):
        client.clusters.get("1")
    assert standin.unexpected == ["GET /api/2.1/clusters/get?cluster_id=1"]
    with pytest.raises(NotFound):
        client.experiments._api.do("GET", "/api/2.0/mlflow/no-such-thing")
    assert standin.unexpected[1:] == ["GET /api/2.0/mlflow/no-such-thing"]
