"""A home that cannot be one: nothing may be made there, written there, or read there; each is one message."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import ConfigError
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import disks

ROWS = pa.table({"k": [1]})


@pytest.mark.parametrize("below", ["", "home", "a/b/home"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_in_its_place_is_named(tmp_path: Path, below: str, read_only: bool) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"file is no folder") as caught:
        LocalWorkspace.open(root=tmp_path / "file" / below, read_only=read_only)
    assert "MLPLATFORM_HOME" in caught.value.hint
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_name_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        LocalWorkspace.open(root=tmp_path / ("x" * 300))


def test_a_folder_that_nobody_may_write_to_is_refused_and_can_be_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with LocalWorkspace.open(root=home) as ws:
        ws.tables.create("dev.x.t", ROWS.schema)
        ws.tables.append("dev.x.t", ROWS)
    with disks.read_only(home):
        with pytest.raises(ConfigError, match=r"read-only|[Pp]ermission|may not write") as caught:
            LocalWorkspace.open(root=home)
        assert str(home) in caught.value.message
        with LocalWorkspace.open(root=home, read_only=True) as ws:
            assert ws.tables.to_arrow("dev.x.t", at_most=9) == ROWS
            assert ws.frames.count(ws.frames.read("dev.x.t")) == 1
            assert ws.tables.read("dev.x.t").count() == 1
            assert ws.registry.aliases("dev.x.model") == {}
            with pytest.raises(Exception, match=r"[Rr]ead-only|[Pp]ermission"):
                ws.tables.append("dev.x.t", ROWS)
        with pytest.raises(ConfigError):
            LocalWorkspace.open(root=home / "below")


def test_a_folder_without_permissions_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may do everything; the same by a read-only file system is tested above")
    home = tmp_path / "home"
    home.mkdir(mode=0o000)
    for read_only in (False, True):
        if not read_only:
            continue
        with pytest.raises(ConfigError, match="Permission denied"):
            LocalWorkspace.open(root=home, read_only=read_only)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="Permission denied"):
            LocalWorkspace.open(root=tmp_path / "other")
    finally:
        tmp_path.chmod(0o700)


def test_who_only_reads_makes_nothing(tmp_path: Path) -> None:
    with LocalWorkspace.open(root=tmp_path / "absent", read_only=True) as ws:
        assert ws.tables.list("dev", "x") == []
        assert not ws.tables.exists("dev.x.t")
        assert ws.registry.aliases("dev.x.model") == {}
        scratch = ws.scratch
        assert scratch.is_dir()
    assert not scratch.exists()
    assert not list(tmp_path.iterdir())


def test_a_registry_is_read_from_a_copy_and_the_one_after_a_kill_too(tmp_path: Path) -> None:
    """What a killed writer left beside the database is taken back in the copy, and stays where it is."""
    import shutil
    import sqlite3

    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        ws.registry.ensure_model("dev.x.model")
    database = tmp_path / "home" / "mlflow" / "mlflow.db"
    # A hot journal, as a kill within a write leaves it: what the database was like before.
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE registered_models SET description = 'half'")
    connection.execute("CREATE TABLE filler AS SELECT randomblob(100000) AS bytes")
    shutil.copytree(tmp_path / "home", tmp_path / "killed")
    connection.rollback()
    connection.close()
    killed = tmp_path / "killed"
    assert (killed / "mlflow" / "mlflow.db-journal").stat().st_size > 0
    before = disks.contents(killed)
    with disks.read_only(killed), LocalWorkspace.open(root=killed, read_only=True) as ws:
        model = ws.registry._connect().get_registered_model("dev.x.model")
        assert not model.description
    assert disks.contents(killed) == before


@pytest.mark.parametrize("command", [["status"], ["run", "credit_risk"], ["quarantine", "credit_risk"]])
def test_the_command_line_says_it_in_one_message(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(cli, [*command, "--home", str(tmp_path / "file" / "home")])
    assert isinstance(done.exception, ConfigError)
    assert "file is no folder" in done.exception.message
