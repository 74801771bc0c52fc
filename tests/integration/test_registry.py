"""The registry: aliases are what the registered model says, and what cannot be read is never "no champion"."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlplatform.errors import RegistryError
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.workspace.local.registry import LocalRegistry

MODEL = "dev.registry.model"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with three versions of a model."""
    folder = tmp_path_factory.mktemp("registry")
    registry = LocalRegistry(folder)
    for _ in range(3):
        add_version(registry, folder)
    return folder


@pytest.fixture
def registry(root: Path) -> LocalRegistry:
    opened = LocalRegistry(root)
    for alias in opened.aliases(MODEL):
        opened.delete_alias(MODEL, alias)
    return opened


def add_version(registry: LocalRegistry, folder: Path, model: str = MODEL) -> int:
    client = registry._connect()
    if not registry.versions(model):
        client.create_registered_model(model)
    run = client.create_run(registry.experiment("/registry"))
    return int(client.create_model_version(model, (folder / "artifacts").as_uri(), run_id=run.info.run_id).version)


def damaged(root: Path, target: Path) -> sqlite3.Connection:
    """Copy a registry's database to damage it."""
    target.mkdir(parents=True, exist_ok=True)
    (target / "mlflow.db").write_bytes((root / "mlflow.db").read_bytes())
    return sqlite3.connect(target / "mlflow.db")


def test_a_model_that_does_not_exist_has_no_aliases_and_no_versions(registry):
    assert registry.aliases("dev.registry.absent") == {}
    assert registry.versions("dev.registry.absent") == []


def test_a_model_is_made_once_and_keeps_its_description(registry):
    registry.ensure_model("dev.registry.made", description="Who pays late")
    registry.ensure_model("dev.registry.made", description="Another")
    registry.require_model("dev.registry.made")
    assert registry._connect().get_registered_model("dev.registry.made").description == "Who pays late"
    assert registry.aliases("dev.registry.made") == {}


def test_training_needs_no_setup_on_this_machine(registry):
    registry.require_model("dev.registry.fresh")
    assert registry._connect().get_registered_model("dev.registry.fresh").name == "dev.registry.fresh"


def test_a_deployment_job_is_kept_as_a_tag_of_the_model(registry):
    def tags() -> dict[str, str]:
        return dict(registry._connect().get_registered_model(MODEL).tags)

    for job in ("12", "13"):
        registry.set_deployment_job(MODEL, job)
        assert tags() == {"deployment_job_id": job}
    for _ in range(2):
        registry.set_deployment_job(MODEL, None)
        assert tags() == {}
    with pytest.raises(RegistryError, match="link a deployment job"):
        registry.set_deployment_job("dev.registry.absent", "12")


def test_a_model_without_aliases_has_none(registry):
    assert registry.aliases(MODEL) == {}


def test_an_alias_is_set_moved_read_back_and_taken_away(registry, root):
    registry.set_alias(MODEL, CHALLENGER, 2)
    registry.set_alias(MODEL, CHAMPION, 1)
    assert LocalRegistry(root).aliases(MODEL) == {CHALLENGER: 2, CHAMPION: 1}
    registry.set_alias(MODEL, CHAMPION, 2)
    registry.delete_alias(MODEL, CHALLENGER)
    registry.delete_alias(MODEL, CHALLENGER)
    registry.delete_alias(MODEL, PREVIOUS_CHAMPION)
    assert LocalRegistry(root).aliases(MODEL) == {CHAMPION: 2}


def test_versions_come_oldest_first_with_their_runs_and_tags(registry):
    registry.set_tags(MODEL, 2, {"owner": "me", "number": 3})  # type: ignore[dict-item]
    versions = registry.versions(MODEL)
    assert [version.version for version in versions] == [1, 2, 3]
    assert versions[1].tags == {"owner": "me", "number": "3"}
    assert registry.get(MODEL, 2) == versions[1]
    assert versions[1].uri == f"models:/{MODEL}/2"
    assert all(version.run_id for version in versions)
    assert versions[0].created_at <= versions[1].created_at <= versions[2].created_at


def test_ten_versions_are_counted_not_spelled(registry, root):
    for _ in range(11):
        add_version(registry, root, "dev.registry.many")
    assert [version.version for version in registry.versions("dev.registry.many")] == list(range(1, 12))


@pytest.mark.parametrize("act", ["get", "set_alias", "set_tags"])
def test_a_version_that_does_not_exist_is_a_registry_error(registry, act):
    arguments = {"get": (MODEL, 99), "set_alias": (MODEL, CHAMPION, 99), "set_tags": (MODEL, 99, {"a": "b"})}
    with pytest.raises(RegistryError):
        getattr(registry, act)(*arguments[act])
    assert registry.aliases(MODEL) == {}


def test_an_experiment_is_made_once_with_its_files_under_our_folder(registry, root):
    one, two = registry.experiment("/dev/a"), LocalRegistry(root).experiment("/dev/a")
    assert one == two != registry.experiment("/dev/b")
    assert registry._connect().get_experiment(one).artifact_location == (root / "artifacts").as_uri()


def test_a_registry_whose_file_is_garbage_is_an_error_and_never_no_champion(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"not a database " * 1000)
    for ask in (lambda registry: registry.aliases(MODEL), lambda registry: registry.versions(MODEL)):
        with pytest.raises(RegistryError):
            ask(LocalRegistry(tmp_path))


@pytest.mark.parametrize("table", ["registered_models", "registered_model_aliases"])
def test_a_registry_that_breaks_while_it_is_open_is_an_error_and_never_no_champion(root, tmp_path, table):
    with closing(damaged(root, tmp_path)) as connection:
        registry = LocalRegistry(tmp_path)
        registry.set_alias(MODEL, CHAMPION, 1)
        with connection:
            connection.execute(f"DROP TABLE {table}")
        with pytest.raises(RegistryError, match="aliases of"):
            registry.aliases(MODEL)
        with pytest.raises(RegistryError):
            registry.set_alias(MODEL, CHAMPION, 2)


def test_an_answer_that_is_an_error_of_the_server_is_an_error(registry, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED

    client = registry._connect()
    for error in (
        MlflowException("down", error_code=INTERNAL_ERROR),
        MlflowException("not yours", error_code=PERMISSION_DENIED),
        ConnectionError("reset"),
        TimeoutError("late"),
    ):

        def fail(name: str, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(client, "get_registered_model", fail)
        with pytest.raises(RegistryError, match="Nothing was assumed"):
            registry.aliases(MODEL)


def test_an_alias_that_reads_back_otherwise_is_an_error(registry, monkeypatch):
    client = registry._connect()
    monkeypatch.setattr(client, "set_registered_model_alias", lambda *arguments: None)
    with pytest.raises(RegistryError, match="was set to version 2, but reads None"):
        registry.set_alias(MODEL, CHAMPION, 2)


def test_a_database_that_is_gone_while_its_artifacts_are_there_is_an_error(root, tmp_path):
    damaged(root, tmp_path).close()
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "model").touch()
    (tmp_path / "mlflow.db").unlink()
    with pytest.raises(RegistryError):
        LocalRegistry(tmp_path).aliases(MODEL)
