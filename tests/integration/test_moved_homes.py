"""A home that was moved or copied works on its own files, and on no others."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlplatform.errors import PlatformError
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import disks
from tests.support.homes import Homes
from tests.support.state import business_state, differences
from tests.support.tiny_runs import clone, run_tiny

pytestmark = pytest.mark.slow  # whole runs; that a registry's addresses follow is tested with the registry
SECOND = Homes.SECOND
NAMESPACE = Namespace("dev", "tiny")


def run_second(root: Path, homes: Homes) -> None:
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, homes.tiny.folder, SECOND)


def state_of(root: Path) -> dict[str, Any]:
    with LocalWorkspace.open(root=root, read_only=True) as ws:
        return business_state(ws, NAMESPACE)


def test_a_copy_goes_on_by_itself_wherever_it_is_moved(homes: Homes, tmp_path: Path) -> None:
    original = clone(homes.first, tmp_path / "original")
    before = disks.contents(original)
    copy = clone(original, tmp_path / "My {first} jörg's #1" / "home")
    moved = tmp_path / "100% *?" / "home"
    shutil.copytree(copy, moved)
    run_second(copy, homes)
    assert disks.contents(original) == before
    assert differences(state_of(copy), state_of(homes.second)) == {}
    check_nothing_names(copy, original)
    # Where both others are gone, too: its models' files are its own, also for who only reads.
    shutil.rmtree(original)
    shutil.rmtree(copy)
    with LocalWorkspace.open(root=moved, read_only=True) as ws:
        assert ws.registry.aliases(NAMESPACE.model) == {CHAMPION: 1}
        version = ws.registry.get(NAMESPACE.model, 1)
        assert (ws.registry.download(version, tmp_path / "files") / "MLmodel").is_file()


def test_a_copy_without_its_models_files_is_an_error_though_the_original_has_them(homes: Homes, tmp_path: Path) -> None:
    copy = clone(homes.first, tmp_path / "home")
    shutil.rmtree(copy / "mlflow" / "artifacts")
    with LocalWorkspace.open(root=copy) as ws, pytest.raises(PlatformError, match=r"files of|gone|fetch"):
        run_tiny(ws, homes.tiny.folder, SECOND, ["ingest", "refine", "features", "score"])
    with LocalWorkspace.open(root=copy, read_only=True) as ws:
        predictions = NAMESPACE.gold("predictions")
        assert len(ws.tables.to_arrow(predictions, at_most=10**6, columns=["as_of"])["as_of"].unique()) == 1


def check_nothing_names(home: Path, before: Path) -> None:
    """Check that nothing which is followed in a home names the folder that it was copied from."""
    names = {f"{before}/", before.as_uri()}
    found = set()
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                if any(name in str(value) for name in names for value in row):
                    found.add(table)
    assert found == set()
    for file in home.rglob("*"):
        if file.is_file() and file.suffix in {".json", ".yaml", ".yml", ".txt", ""} and "logs" not in file.parts:
            text = file.read_bytes()
            assert not any(name.encode() in text for name in names), file
