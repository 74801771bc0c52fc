"""A home that was moved or copied works on its own files, and on no others."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlplatform.errors import PlatformError
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import disks
from tests.support.state import business_state, differences
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import TinyFolder

FIRST, SECOND = "2020-08-01", "2020-11-01"
NAMESPACE = Namespace("dev", "tiny")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, wide: TinyFolder) -> Path:
    """A home with a champion, in a folder with an odd name."""
    root = tmp_path_factory.mktemp("original") / "My {first} jörg's home #1"
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, wide.folder, FIRST)
    return root


def second_run(root: Path, wide: TinyFolder) -> dict[str, object]:
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, wide.folder, SECOND)
        return business_state(ws, NAMESPACE)


def test_a_copy_goes_on_without_the_original_and_leaves_it_alone(
    original: Path, wide: TinyFolder, tmp_path: Path
) -> None:
    copies = [Path(shutil.copytree(original, tmp_path / name / "home")) for name in ("a b", "plain")]
    before = disks.contents(original)
    states = [second_run(copy, wide) for copy in copies]
    assert disks.contents(original) == before
    assert differences(*states) == {}
    # And the same where the original is gone, twice over.
    moved = tmp_path / "ü" / "home"
    shutil.move(Path(shutil.copytree(original, tmp_path / "before" / "home")), moved)
    again = tmp_path / "100% *" / "home"
    with LocalWorkspace.open(root=moved, read_only=True) as ws:
        assert ws.registry.aliases(NAMESPACE.model) == {CHAMPION: 1}
        version = ws.registry.get(NAMESPACE.model, 1)
        assert (ws.registry.download(version, tmp_path / "files") / "MLmodel").is_file()
    shutil.move(moved, again)
    assert differences(second_run(again, wide), states[0]) == {}


def test_a_copy_without_its_models_files_is_an_error_though_the_original_has_them(
    original: Path, wide: TinyFolder, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(original, tmp_path / "home"))
    shutil.rmtree(copy / "mlflow" / "artifacts")
    with LocalWorkspace.open(root=copy) as ws, pytest.raises(PlatformError, match=r"files of|gone|fetch"):
        run_tiny(ws, wide.folder, SECOND, ["ingest", "refine", "features", "score"])
    with LocalWorkspace.open(root=copy, read_only=True) as ws:
        predictions = NAMESPACE.gold("predictions")
        assert len(ws.tables.to_arrow(predictions, at_most=10**6, columns=["as_of"])["as_of"].unique()) == 1


def test_nothing_in_a_moved_home_that_is_followed_names_where_it_was(
    original: Path, wide: TinyFolder, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(original, tmp_path / "home"))
    second_run(copy, wide)
    names = {str(original), original.as_uri()}
    found = set()
    with closing(sqlite3.connect(copy / "mlflow" / "mlflow.db")) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                if any(name in str(value) for name in names for value in row):
                    found.add(table)
    assert found == set()
    for file in copy.rglob("*"):
        if (
            file.is_file()
            and file.suffix in {".json", ".yaml", ".yml", ".txt", "", ".crc"}
            and "logs" not in file.parts
        ):
            text = file.read_bytes()
            assert not any(name.encode() in text for name in names), file
