"""The registry: aliases are what the registered model says, and what cannot be read is never "no champion"."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlplatform.errors import RegistryError
from mlplatform.naming import CHAMPION
from mlplatform.workspace.local import registry_database
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


def test_an_experiment_is_made_once_with_its_files_under_our_folder(registry, root):
    one, two = registry.experiment("/dev/a"), LocalRegistry(root).experiment("/dev/a")
    assert one == two != registry.experiment("/dev/b")
    assert registry._connect().get_experiment(one).artifact_location == (root / "artifacts").as_uri()


@pytest.mark.parametrize("become", [shutil.move, shutil.copytree])
def test_a_workspace_that_was_moved_or_copied_takes_its_files_along(tmp_path, become):
    before, after = tmp_path / "before", tmp_path / "a new place"
    first = LocalRegistry(before / "mlflow")
    add_version(first, before / "mlflow")
    first.log_files(first.get(MODEL, 1), "kept", {"a.json": '{"a": 1}'})
    elsewhere = first._connect().create_experiment("theirs", artifact_location="file:///elsewhere/files")
    become(before, after)
    second = LocalRegistry(after / "mlflow")
    version = second.get(MODEL, 1)
    second.log_files(version, "kept", {"b.json": '{"b": 2}'})
    # What is left behind may hold what it held, and no more.
    assert not list(before.rglob("b.json"))
    shutil.rmtree(before, ignore_errors=True)
    assert [second.load_json(version, f"kept/{name}.json") for name in "ab"] == [{"a": 1}, {"b": 2}]
    client = second._connect()
    assert client.get_model_version(MODEL, "1").source == (after / "mlflow" / "artifacts").as_uri()
    assert client.get_experiment(elsewhere).artifact_location == "file:///elsewhere/files"


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
        with pytest.raises(RegistryError, match=f"read the model {MODEL}"):
            registry.aliases(MODEL)
        with pytest.raises(RegistryError):
            registry.set_alias(MODEL, CHAMPION, 2)


def test_a_database_that_is_gone_while_its_artifacts_are_there_is_an_error(root, tmp_path):
    damaged(root, tmp_path).close()
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "model").touch()
    (tmp_path / "mlflow.db").unlink()
    with pytest.raises(RegistryError):
        LocalRegistry(tmp_path).aliases(MODEL)


def test_an_error_of_ours_passes_as_it_is(registry):
    own = RegistryError("It is gone.")
    with pytest.raises(RegistryError) as caught, registry._translated("read it"):
        raise own
    assert caught.value is own


def test_an_answer_is_remembered_until_anybody_writes(registry, root, monkeypatch):
    another = LocalRegistry(root)
    asked: list[str] = []
    for name in ("get_registered_model", "get_model_version", "search_model_versions"):
        ask = getattr(MlflowClient, name)

        def noted(*given: Any, ask: Any = ask, name: str = name, **named: Any) -> Any:
            asked.append(name)
            return ask(*given, **named)

        monkeypatch.setattr(MlflowClient, name, noted)

    def all_of() -> tuple[object, ...]:
        return registry.aliases(MODEL), registry.get(MODEL, 2), registry.versions(MODEL)

    another.set_tags(MODEL, 1, {"reason": "another"})
    first = all_of()
    assert set(asked) == {"get_registered_model", "get_model_version", "search_model_versions"}
    asked.clear()
    assert all_of() == first
    assert asked == []
    another.set_alias(MODEL, CHAMPION, 2)
    assert all_of()[0] == {CHAMPION: 2}
    another.set_tags(MODEL, 2, {"reason": "a test"})
    assert all_of()[1].tags["reason"] == "a test"
    registry.delete_alias(MODEL, CHAMPION)
    assert all_of()[0] == {}
    number = add_version(another, root)
    assert [version.version for version in all_of()[2]][-1] == number


def test_nothing_is_remembered_while_somebody_writes_or_where_a_log_is_kept_beside(registry, root, tmp_path):
    database = registry.database
    before = registry_database.state(database)
    assert before is not None
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE registered_models SET description = 'half' WHERE name = ?", (MODEL,))
        assert registry_database.state(database) is None
        assert registry.aliases(MODEL) == {}
        writer.execute("ROLLBACK")
    assert registry_database.state(database) is not None
    with damaged(root, tmp_path) as copy:
        assert registry_database.state(tmp_path / "mlflow.db") is not None
        copy.execute("PRAGMA journal_mode = WAL")
        assert registry_database.state(tmp_path / "mlflow.db") is None
    assert registry_database.state(tmp_path / "none.db") is None
