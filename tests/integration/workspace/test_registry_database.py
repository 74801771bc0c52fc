"""MLflow's database in the making: killed anywhere it is begun anew, and what was a registry is never a new one."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlplatform.errors import LostRegistryError, RegistryError
from mlplatform.workspace.local import registry_database
from mlplatform.workspace.local.registry import LocalRegistry

MODEL = "dev.registry.model"
KILLED = -signal.SIGKILL
# Of some thousand: the very first ones, those between the steps, the last ones.
STATEMENTS = (0, 1, 7, 40, 150, 400, 700, 1000)


def child(act: Any, *arguments: Any) -> int:
    """Run a function in a process of its own; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.tiny_preload"])
    process = context.Process(target=act, args=arguments)
    process.start()
    process.join(timeout=120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def die_at(statement: int) -> None:
    """Kill this process before it sends its database the statement of this number."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    sent = iter(range(10**9))

    @event.listens_for(Engine, "before_cursor_execute")
    def before(*arguments: Any) -> None:
        del arguments
        if next(sent) == statement:
            os.kill(os.getpid(), signal.SIGKILL)


def open_and_die(root: str, statement: int) -> None:
    die_at(statement)
    LocalRegistry(Path(root)).aliases(MODEL)


def open_and_die_after(root: str, seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
    LocalRegistry(Path(root)).aliases(MODEL)
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_the_name(root: str) -> None:
    Path.replace = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign]
    LocalRegistry(Path(root)).aliases(MODEL)


def make_in_place_and_die(root: str, statement: int) -> None:
    """As the first release made it: MLflow, in the file itself."""
    from mlflow import MlflowClient

    die_at(statement)
    uri = f"sqlite:///{root}/mlflow.db"
    MlflowClient(tracking_uri=uri, registry_uri=uri).search_registered_models(max_results=1)


def works(root: Path) -> None:
    """A model and a run can be kept, and are there when it is opened again."""
    registry = LocalRegistry(root)
    registry.ensure_model(MODEL)
    with registry.training_run("/dev/registry", "a run", {}) as run:
        run.log_metrics({"auc": 0.7})
    assert LocalRegistry(root).aliases(MODEL) == {}
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM registered_models").fetchone() == (1,)
    assert sorted(path.name for path in root.glob("mlflow.db*")) == ["mlflow.db"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a registry with a model and a run."""
    root = tmp_path_factory.mktemp("whole")
    works(root)
    return root / "mlflow.db"


@pytest.mark.parametrize("statements", [STATEMENTS[::3], pytest.param(STATEMENTS, marks=pytest.mark.slow)])
def test_killed_while_it_is_made_again_and_again_it_is_made_by_whoever_comes_next(tmp_path, statements):
    for statement in statements:
        assert child(open_and_die, str(tmp_path), statement) == KILLED
        assert not (tmp_path / "mlflow.db").exists(), f"half made, killed at {statement}"
    assert child(die_before_the_name, str(tmp_path)) == KILLED
    assert not (tmp_path / "mlflow.db").exists()
    works(tmp_path)


@pytest.mark.slow
def test_killed_at_fifty_random_moments_it_is_whole_or_not_there(tmp_path):
    moments = random.Random(11)
    for number in range(50):
        root = tmp_path / str(number % 5)
        root.mkdir(exist_ok=True)
        assert child(open_and_die_after, str(root), moments.uniform(0.0, 2.5)) == KILLED
        if (root / "mlflow.db").exists():
            assert registry_database._look(root / "mlflow.db").mark == registry_database._mark()
    for root in tmp_path.iterdir():
        works(root)


@pytest.mark.parametrize("statement", [3, 60, 600])
def test_what_an_earlier_release_left_half_made_is_begun_anew(tmp_path, statement):
    (tmp_path / "artifacts").mkdir()
    assert child(make_in_place_and_die, str(tmp_path), statement) == KILLED
    assert (tmp_path / "mlflow.db").exists()
    works(tmp_path)


@pytest.mark.parametrize("left", [b"", None])
def test_an_empty_file_in_a_new_home_is_begun_anew(tmp_path, left):
    if left is None:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
            connection.execute("PRAGMA user_version = 0")
            connection.execute("CREATE TABLE t (a)")
            connection.execute("DROP TABLE t")
    else:
        (tmp_path / "mlflow.db").write_bytes(left)
    works(tmp_path)


def test_a_database_that_is_whole_is_left_as_it_is_and_one_of_the_first_release_is_marked(tmp_path, whole, monkeypatch):
    database = Path(shutil.copy(whole, tmp_path / "mlflow.db"))
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 0")
    inode = database.stat().st_ino
    assert LocalRegistry(tmp_path).versions(MODEL) == []
    assert registry_database._look(database).mark == registry_database._mark()

    def never() -> str:
        raise AssertionError("it was looked into again")

    monkeypatch.setattr(registry_database, "_newest_revision", never)
    LocalRegistry(tmp_path).ensure_model(MODEL)
    assert database.stat().st_ino == inode


def emptied(database: Path) -> None:
    database.write_bytes(b"")


def cut(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000])


def overwritten(database: Path) -> None:
    database.write_bytes(b"not a database " * 1000)


def deleted(database: Path) -> None:
    database.unlink()


def without_rows(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in registry_database._CONTENT:
            connection.execute(f"DELETE FROM {table}")


def half_made(database: Path) -> None:
    database.unlink()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")


DAMAGE = {damage.__name__: damage for damage in (emptied, cut, overwritten, deleted, without_rows, half_made)}


@pytest.mark.parametrize("how", sorted(DAMAGE))
def test_a_registry_that_is_lost_is_an_error_with_the_way_out_and_left_as_it_is(tmp_path, whole, how):
    database = Path(shutil.copy(whole, tmp_path / "mlflow.db"))
    (tmp_path / "artifacts" / "models").mkdir(parents=True)
    (tmp_path / "artifacts" / "models" / "model.skops").write_bytes(b"a model")
    DAMAGE[how](database)
    before = database.read_bytes() if database.exists() else None
    for ask in (LocalRegistry.aliases, LocalRegistry.versions):
        with pytest.raises(LostRegistryError, match=r"mlflow\.db") as raised:
            ask(LocalRegistry(tmp_path), MODEL)
        assert "backup" in raised.value.hint
        assert "mlplatform begin-anew" in raised.value.hint
    assert (database.read_bytes() if database.exists() else None) == before
    assert LocalRegistry(tmp_path).lost()


@pytest.mark.parametrize("how", ["emptied", "overwritten", "deleted"])
def test_what_is_left_of_a_lost_registry_is_kept_aside_and_a_new_one_begins(tmp_path, whole, how):
    database = Path(shutil.copy(whole, tmp_path / "mlflow.db"))
    (tmp_path / "artifacts" / "models").mkdir(parents=True)
    (tmp_path / "artifacts" / "models" / "model.skops").write_bytes(b"a model")
    DAMAGE[how](database)
    registry = LocalRegistry(tmp_path)
    aside = Path(registry.set_aside())
    assert (aside / "artifacts" / "models" / "model.skops").read_bytes() == b"a model"
    assert (aside / "mlflow.db").exists() == (how != "deleted")
    assert registry.set_aside() == registry.lost() == ""
    works(tmp_path)


def test_a_registry_that_can_be_used_is_not_set_aside(tmp_path, whole):
    shutil.copy(whole, tmp_path / "mlflow.db")
    registry = LocalRegistry(tmp_path)
    assert (registry.lost(), registry.set_aside()) == ("", "")
    assert list(tmp_path.glob("set_aside*")) == []


def as_another_mlflow_left_it(database: Path) -> None:
    """A step back: without the mark, and of a revision that the installed MLflow has steps after."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("UPDATE alembic_version SET version_num = 'of_before'")


def test_a_database_of_another_mlflow_is_brought_up_to_date_beside_it(tmp_path, whole, monkeypatch):
    database = Path(shutil.copy(whole, tmp_path / "mlflow.db"))
    as_another_mlflow_left_it(database)
    newest = registry_database._newest_revision()

    def upgrade(part: Path) -> None:
        assert part != database
        with closing(sqlite3.connect(part)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (newest,))

    registry_database.prepare(database, tmp_path / "artifacts", make=emptied, upgrade=upgrade)
    now, before = registry_database._look(database), registry_database._look(tmp_path / "mlflow.db.of_before")
    assert (now.revision, now.mark, now.used) == (newest, registry_database._mark(), True)
    assert (before.revision, before.used) == ("of_before", True)


def test_a_database_that_cannot_be_brought_up_to_date_is_left_as_it_was(tmp_path, whole):
    database = Path(shutil.copy(whole, tmp_path / "mlflow.db"))
    as_another_mlflow_left_it(database)
    before = database.read_bytes()
    # MLflow itself: there is no way from a revision that it does not know.
    with pytest.raises(RegistryError, match=r"of_before.*could not be brought up to date"):
        LocalRegistry(tmp_path).aliases(MODEL)
    assert database.read_bytes() == before
    assert list(tmp_path.glob("*.part*")) == []


def test_a_full_disk_leaves_nothing_that_is_taken_for_a_registry(tmp_path, monkeypatch):
    def full(part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlplatform.workspace.local.registry._make", full)
    with pytest.raises(RegistryError, match="No space left"):
        LocalRegistry(tmp_path).aliases(MODEL)
    assert list(tmp_path.glob("mlflow.db*")) == []
    monkeypatch.undo()
    works(tmp_path)


def test_a_database_that_another_program_holds_is_not_taken_for_a_lost_one(tmp_path, whole, monkeypatch):
    database = Path(shutil.copy(whole, tmp_path / "mlflow.db"))
    connect = sqlite3.connect
    monkeypatch.setattr(registry_database.sqlite3, "connect", lambda path: connect(path, timeout=0.1))
    with closing(connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryError, match="cannot be read: database is locked") as raised:
            registry_database.prepare(database, tmp_path / "artifacts", make=emptied, upgrade=emptied)
        assert not isinstance(raised.value, LostRegistryError)
