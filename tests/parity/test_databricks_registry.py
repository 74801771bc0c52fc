"""The Databricks registry through the real MLflow client, on a stand-in that fails as it is told."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlplatform.errors import RegistryError
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.protocols.registry import ModelVersion, Registry, TableRead
from tests.parity.databricks_workspace import open_on
from tests.standin.environment import environment
from tests.standin.metastore import Column, FixedTables, TableInfo
from tests.standin.server import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlplatform.workspace.databricks.registry import DatabricksRegistry
    from tests.standin.models import Model

MODEL = "dev.tiny.model"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with StandIn(tmp_path_factory.mktemp("standin")) as standin, environment(standin):
        yield standin


@pytest.fixture
def standin(running: StandIn) -> StandIn:
    running.calls.clear()
    running.faults.clear()
    running.unexpected.clear()
    running.models.by_name.clear()
    return running


@pytest.fixture
def registry(standin: StandIn) -> DatabricksRegistry:
    return open_on(standin).registry


@pytest.fixture(scope="module")
def two_versions(running: StandIn) -> Model:
    """A model with two versions, logged and registered as trainings do."""
    # Made before the other fixtures of a test clear what the test before left.
    running.faults.clear()
    running.models.by_name.clear()
    registry = open_on(running).registry
    registry.ensure_model(MODEL, description="Tiny")
    for _ in range(2):
        train(registry)
    return copy.deepcopy(running.models.by_name[MODEL])


@pytest.fixture
def trained(two_versions: Model, standin: StandIn, registry: DatabricksRegistry) -> DatabricksRegistry:
    """The registry with a model of two versions."""
    standin.models.by_name[MODEL] = copy.deepcopy(two_versions)
    return registry


def train(registry: DatabricksRegistry, *, tables: Sequence[TableRead] = (), job: str = "", **options: Any) -> str:
    """Log and register a model as a training would, and return its run."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    registry.activate()
    mlflow.set_experiment(experiment_id=registry.experiment("/dev/tiny"))
    with mlflow.start_run(tags={"mlflow.databricks.jobID": job} if job else None) as run:
        if tables:
            registry.log_tables(run.info.run_id, tables)
        mlflow.sklearn.log_model(
            LinearRegression().fit([[0.0], [1.0]], [1.0, 2.0]),
            name="model",
            registered_model_name=MODEL,
            signature=mlflow.models.infer_signature(np.array([[0.5]]), np.array([1.5])),
            pip_requirements=["scikit-learn"],
            serialization_format="skops",
            **options,
        )
        return str(run.info.run_id)


def registry_calls(standin: StandIn) -> list[str]:
    """What was asked of the registry, in order, without the reads."""
    found = [call for call in standin.calls if "/unity-catalog/" in call.path and call.method != "GET"]
    return [f"{call.method} {call.path.rpartition('/unity-catalog/')[2]}" for call in found]


def test_it_keeps_the_protocol(registry):
    assert isinstance(registry, Registry)


def test_a_model_that_does_not_exist_has_no_aliases_and_no_versions(registry):
    assert registry.aliases(MODEL) == {}
    assert registry.versions(MODEL) == []


def test_training_does_not_make_the_model_and_names_the_command_that_does(registry, standin):
    with pytest.raises(RegistryError, match="does not exist, and training does not create it") as caught:
        registry.require_model(MODEL)
    assert "mlplatform setup" in caught.value.hint
    with pytest.raises(RegistryError, match="does not exist"):
        registry.set_deployment_job(MODEL, "12")
    assert standin.models.by_name == {}
    registry.ensure_model(MODEL)
    registry.require_model(MODEL)


def test_a_model_is_made_once(registry, standin):
    for text in ("Who pays late", "Another"):
        registry.ensure_model(MODEL, description=text)
    assert registry_calls(standin) == ["POST registered-models/create"]
    assert standin.models.by_name[MODEL].description == "Who pays late"


def test_versions_come_with_their_tags_and_runs_oldest_first(trained):
    trained.set_tags(MODEL, 2, {"training_key": "k", "owner": "risk"})
    first, second = trained.versions(MODEL)
    assert (first.version, second.version) == (1, 2)
    assert (dict(first.tags), dict(second.tags)) == ({}, {"training_key": "k", "owner": "risk"})
    assert trained.get(MODEL, 2) == second
    assert second.run_id != first.run_id
    assert isinstance(second, ModelVersion)
    assert second.uri == f"models:/{MODEL}/2"


def test_a_registration_that_was_cut_off_is_no_version(trained, standin):
    standin.models.by_name[MODEL].versions[2].status = "PENDING_REGISTRATION"
    assert [item.version for item in trained.versions(MODEL)] == [1]
    with pytest.raises(RegistryError, match="not completed"):
        trained.get(MODEL, 2)


def test_aliases_are_set_moved_read_back_and_taken_away(trained, standin):
    standin.calls.clear()
    trained.set_alias(MODEL, CHALLENGER, 1)
    trained.set_alias(MODEL, PREVIOUS_CHAMPION, 1)
    trained.set_alias(MODEL, CHAMPION, 2)
    trained.set_alias(MODEL, CHALLENGER, 2)
    trained.delete_alias(MODEL, CHALLENGER)
    trained.delete_alias(MODEL, CHALLENGER)
    assert trained.aliases(MODEL) == {PREVIOUS_CHAMPION: 1, CHAMPION: 2}
    assert registry_calls(standin) == ["POST registered-models/alias"] * 4 + ["DELETE registered-models/alias"]


def test_what_does_not_exist_is_an_error(trained):
    with pytest.raises(RegistryError, match="version 9"):
        trained.get(MODEL, 9)
    with pytest.raises(RegistryError, match="alias champion"):
        trained.set_alias(MODEL, CHAMPION, 9)
    assert trained.aliases(MODEL) == {}


def test_a_deployment_job_is_linked_replaced_and_unlinked(trained, standin):
    standin.calls.clear()
    for job in ("12", "12", "13", None, None):
        trained.set_deployment_job(MODEL, job)
        assert standin.models.by_name[MODEL].deployment_job_id == (job or "")
    sent = [call.body["deployment_job_id"] for call in standin.calls if call.path.endswith("registered-models/update")]
    # Another one is linked only once the first has been taken away.
    assert sent == ["12", "", "13", ""]
    assert standin.models.by_name[MODEL].description == "Tiny"


def test_a_version_is_copied_with_its_tags_into_a_model_that_exists(trained, standin):
    trained.set_tags(MODEL, 2, {"owner": "risk"})
    origin, other = trained.get(MODEL, 2), "dev.tiny.adopted"
    with pytest.raises(RegistryError, match="does not exist, and training does not create it"):
        trained.copy_version(origin, other)
    trained.ensure_model(other)
    copied = trained.copy_version(origin, other)
    assert (copied.name, copied.version, copied.run_id) == (other, 1, origin.run_id)
    assert copied.tags["owner"] == "risk"
    assert loaded(copied) == pytest.approx(1.5)
    assert standin.unexpected == []


def test_the_page_of_a_version_tells_its_tables_and_metrics(trained, standin):
    """Read back by MLflow's own client; and Unity Catalog is told of the tables, by its own ids."""
    import mlflow

    read = [TableRead("dev.tiny.gold_spine", 0, "spine"), TableRead("dev.tiny.features_region", 3, "features")]
    standin.metastore.provider = FixedTables({it.name: TableInfo([Column("k", "bigint")]) for it in read})
    ids = {it.name: open_on(standin).client.tables.get(it.name).table_id for it in read}
    assert len({*ids.values(), ""}) == 3
    run_id = train(trained, tables=read, job="7")
    client = mlflow.MlflowClient()
    sources = [mlflow.data.get_source(item) for item in client.get_run(run_id).inputs.dataset_inputs]
    found = {it.delta_table_name: (it.delta_table_version, it.delta_table_id) for it in sources}
    assert found == {it.name: (it.version, ids[it.name]) for it in read}
    version = trained.versions(MODEL)[-1]
    assert version.run_id == run_id
    upstream = standin.models.by_name[MODEL].versions[version.version].upstream
    assert {it["name"]: it["table_id"] for it in upstream} == ids
    for _ in range(2):
        trained.log_metrics(version, {"holdout_roc_auc": 0.75, "nothing": float("nan")}, version.created_at)
    (output,) = client.get_run(run_id).outputs.model_outputs
    metrics = client.get_logged_model(output.model_id).metrics
    assert [(item.key, item.value) for item in metrics] == [("holdout_roc_auc", 0.75)]
    assert standin.unexpected == []


def test_files_are_kept_with_the_run_and_replaced(trained):
    version = trained.get(MODEL, 1)
    for text in ("first", "second"):
        trained.log_files(version, "gate/abc", {"report.html": text})
    import mlflow

    assert mlflow.artifacts.load_text(f"runs:/{version.run_id}/gate/abc/report.html") == "second"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "/Shared/mlplatform/dev/tiny"),
        ({"prefix": "dev_jo_"}, "/Shared/mlplatform/dev/dev_jo_tiny"),
        ({"experiment": "/Users/jo@example.com/tiny"}, "/Users/jo@example.com/tiny"),
    ],
)
def test_an_experiment_is_made_once_in_a_folder_that_is_there(standin, options, path):
    import mlflow

    registry = open_on(standin, **options).registry
    number = registry.experiment("/dev/tiny")
    assert registry.experiment("/dev/tiny") == number
    registry.activate()
    assert mlflow.get_experiment(number).name == path
    assert path.rpartition("/")[0] in standin.folders.made


def test_an_experiment_that_was_deleted_is_named(standin):
    import mlflow

    registry = open_on(standin, experiment="/Shared/gone").registry
    registry.activate()
    mlflow.delete_experiment(registry.experiment("/dev/tiny"))
    with pytest.raises(RegistryError, match="/Shared/gone was deleted"):
        registry.experiment("/dev/tiny")


@pytest.mark.parametrize("kind", ["403", "429", "500", "503", "drop_before"])
def test_what_cannot_be_read_is_never_no_champion(trained, standin, kind):
    trained.set_alias(MODEL, CHAMPION, 1)
    fault = standin.faults.add(kind, path="registered-models/get$", times=None)
    for read in (trained.aliases, trained.versions, trained.require_model):
        with pytest.raises(RegistryError) as caught:
            read(MODEL)
        assert standin.token not in str(caught.value)
        assert "does not exist" not in str(caught.value)
    assert fault.hits >= 3


WRITES: dict[
    str, tuple[str, Callable[[DatabricksRegistry], object], Callable[[DatabricksRegistry], object], object]
] = {
    "alias": (
        "registered-models/alias$",
        lambda registry: registry.set_alias(MODEL, CHAMPION, 2),
        lambda registry: registry.aliases(MODEL).get(CHAMPION),
        2,
    ),
    "tag": (
        "model-versions/set-tag$",
        lambda registry: registry.set_tags(MODEL, 2, {"training_key": "k"}),
        lambda registry: registry.get(MODEL, 2).tags.get("training_key"),
        "k",
    ),
    "model": (
        "registered-models/create$",
        lambda registry: registry.ensure_model("dev.tiny.other"),
        lambda registry: registry._registered("dev.tiny.other") is not None or None,
        True,
    ),
    "job": (
        "registered-models/update$",
        lambda registry: registry.set_deployment_job(MODEL, "12"),
        lambda registry: registry._deployment_job(MODEL) or None,
        "12",
    ),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["403", "500", "503", "drop_before"])
def test_a_write_that_fails_for_good_is_an_error_and_not_done(trained, standin, write, kind):
    path, do, read, wanted = WRITES[write]
    standin.faults.add(kind, path=path, times=None)
    with pytest.raises(RegistryError) as caught:
        do(trained)
    assert standin.token not in str(caught.value)
    if kind == "403":
        assert "It needs" in caught.value.hint
    assert read(trained) is None
    standin.faults.clear()
    do(trained)
    assert read(trained) == wanted


@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_answers_are_lost_is_done(trained, standin, write):
    path, do, read, wanted = WRITES[write]
    fault = standin.faults.add("drop_after", path=path, times=None)
    do(trained)
    assert fault.hits >= 1
    assert read(trained) == wanted


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["429", "503", "500", "drop_before", "drop_after", "latency"])
def test_a_passing_fault_is_not_noticed(trained, standin, write, kind):
    path, do, read, wanted = WRITES[write]
    fault = standin.faults.add(kind, path=path, times=1, seconds=0.1)
    do(trained)
    assert fault.hits == 1
    assert read(trained) == wanted


# An upload that is cut off again and again is not among these: MLflow's own client repeats it for five minutes.
CUT_OFF = [
    ("model-versions/create$", "403", None),
    ("model-versions/create$", "500", None),
    ("model-versions/create$", "drop_after", None),
    ("model-versions/create$", "drop_after", 1),
    ("model-versions/finalize$", "500", None),
    ("model-versions/finalize$", "drop_after", None),
    ("model-versions/finalize$", "drop_after", 1),
    ("/fs/files/Models/", "403", None),
]


@pytest.mark.parametrize(("path", "kind", "times"), CUT_OFF)
def test_a_registration_ends_with_a_whole_version_or_none(registry, standin, path, kind, times):
    registry.ensure_model(MODEL)
    fault = standin.faults.add(kind, path=path, times=times)
    run = ""
    with contextlib.suppress(Exception):  # MLflow raises what it likes
        run = train(registry)
    assert fault.hits >= 1
    standin.faults.clear()
    # What is there is whole; of what was cut off nothing is seen.
    found = registry.versions(MODEL)
    assert [item.run_id for item in found] == [run] if run else len(found) <= 1
    assert all(loaded(item) == pytest.approx(1.5) for item in found)
    again = train(registry)
    newest = registry.versions(MODEL)[-1]
    assert newest.run_id == again
    registry.set_alias(MODEL, CHALLENGER, newest.version)
    assert loaded(newest) == pytest.approx(1.5)


def loaded(version: ModelVersion) -> float:
    """Return what the version predicts for 0.5."""
    import mlflow

    return float(mlflow.pyfunc.load_model(version.uri).predict(np.array([[0.5]]))[0])


def test_a_write_that_cannot_be_read_back_is_an_error(trained, standin):
    standin.faults.add("drop_after", path="registered-models/alias$", times=None)
    standin.faults.add("500", path="registered-models/get$", skip=1, times=None)
    with pytest.raises(RegistryError, match="set alias champion"):
        trained.set_alias(MODEL, CHAMPION, 2)


class Contested(dict[str, int]):
    """Aliases that somebody else moves to version 1 as soon as they are set."""

    def __setitem__(self, alias: str, version: int) -> None:
        super().__setitem__(alias, 1)


def test_an_alias_that_somebody_else_moves_is_not_taken_for_set(trained, standin):
    standin.models.by_name[MODEL].aliases = Contested()
    with pytest.raises(RegistryError, match="was set to version 2, but reads 1"):
        trained.set_alias(MODEL, CHAMPION, 2)


def test_a_host_that_does_not_answer_is_an_error_in_seconds(standin, monkeypatch):
    registry = open_on(standin).registry
    registry._workspace.config.host = "http://127.0.0.1:9"
    registry._workspace.api_client._cfg.host = "http://127.0.0.1:9"
    monkeypatch.setenv("DATABRICKS_HOST", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(RegistryError, match=r"reach http://127\.0\.0\.1:9"):
        registry.aliases(MODEL)
    assert time.monotonic() - started < 20


def test_nothing_but_what_the_stand_in_knows_was_asked(trained, standin):
    trained.set_alias(MODEL, CHAMPION, 1)
    assert standin.unexpected == []
