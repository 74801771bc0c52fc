"""Uploading samples: what is sent where, that again sends nothing, and what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from click.testing import CliRunner
from databricks.sdk.errors import NotFound, PermissionDenied, TemporarilyUnavailable

from mlplatform.cli.main import cli
from mlplatform.cli.options import Options
from mlplatform.errors import DeploymentError, StageError, UsageError
from mlplatform.workspace.databricks.uploads import upload

LANDING = Path("/Volumes/dev/credit_risk/landing")
ROOT = Path(__file__).parents[3]


class Files:
    """`client.files` of a workspace that has one volume."""

    def __init__(self, volume: Path = LANDING):
        self.volume = PurePosixPath(volume.as_posix())
        self.there: dict[PurePosixPath, bytes] = {}
        self.directories: set[PurePosixPath] = set()
        self.sent: list[str] = []
        self.fails_at: dict[str, Exception] = {}

    def create_directory(self, directory_path: str) -> None:
        path = PurePosixPath(directory_path)
        if path != self.volume and self.volume not in path.parents:
            raise NotFound(f"Volume of {path} does not exist.")
        self.directories.add(path)

    def list_directory_contents(self, directory_path: str) -> Any:
        assert PurePosixPath(directory_path) in self.directories, "listing a folder that is not there is a 404"
        yield SimpleNamespace(name="folder", file_size=None)
        for path, content in self.there.items():
            if path.parent == PurePosixPath(directory_path):
                yield SimpleNamespace(name=path.name, file_size=len(content))

    def upload(self, file_path: str, contents: BinaryIO, *, overwrite: bool) -> None:
        path = PurePosixPath(file_path)
        if path.name in self.fails_at:
            raise self.fails_at[path.name]
        assert path.parent in self.directories
        assert overwrite
        self.sent.append(file_path)
        self.there[path] = contents.read()


class Databricks:
    """A Databricks workspace with nothing but volumes."""

    home, env, prefix = "databricks", "dev", ""

    def __init__(self, files: Files, landing: Path = LANDING):
        self.client, self._landing = SimpleNamespace(files=files), landing

    def landing(self, use_case: str) -> Path:
        return self._landing

    def upload(self, folder: Path, files: list[Path], landing: Path, *, overwrite: bool = False) -> Any:
        return upload(self.client, folder, files, landing, overwrite=overwrite)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def on_databricks(files: Files, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Options, "open", lambda self, name=None: Databricks(files))
    return files


def samples(folder: Path) -> list[Path]:
    made = {"loans/a.csv": "1,2\n", "loans/b.csv": "3\n", "other/c.csv": "4,5,6\n"}
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in made]


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["upload-samples", *arguments], catch_exceptions=False)


def test_files_land_at_the_same_places(files: Files, tmp_path: Path):
    done = upload(SimpleNamespace(files=files), tmp_path, samples(tmp_path), LANDING)
    assert files.there == {
        PurePosixPath(f"{LANDING}/loans/a.csv"): b"1,2\n",
        PurePosixPath(f"{LANDING}/loans/b.csv"): b"3\n",
        PurePosixPath(f"{LANDING}/other/c.csv"): b"4,5,6\n",
    }
    assert (done.uploaded, done.skipped, done.size) == (3, 0, 12)


def test_again_sends_only_what_is_missing_or_of_another_size(files: Files, tmp_path: Path):
    client, found = SimpleNamespace(files=files), samples(tmp_path)
    upload(client, tmp_path, found, LANDING)
    files.sent.clear()
    assert upload(client, tmp_path, found, LANDING).skipped == 3
    assert files.sent == []
    found[1].write_text("3,4\n", encoding="utf-8")
    assert upload(client, tmp_path, found, LANDING).uploaded == 1
    assert files.sent == [f"{LANDING}/loans/b.csv"]
    assert upload(client, tmp_path, found, LANDING, overwrite=True).uploaded == 3


def test_what_was_sent_before_a_failure_stays_and_again_completes_it(files: Files, tmp_path: Path):
    client, found = SimpleNamespace(files=files), samples(tmp_path)
    files.fails_at = {"b.csv": TemporarilyUnavailable("try later")}
    with pytest.raises(StageError, match="after 1 of 3") as raised:
        upload(client, tmp_path, found, LANDING)
    assert "Again" in raised.value.hint
    files.fails_at = {}
    done = upload(client, tmp_path, found, LANDING)
    assert (done.uploaded, done.skipped) == (2, 1)


@pytest.mark.parametrize(
    ("landing", "fails", "error", "says"),
    [
        (Path("/Volumes/dev/none/landing"), {}, StageError, "does not exist"),
        (LANDING, {"a.csv": PermissionDenied("no WRITE VOLUME")}, DeploymentError, "No files can be put"),
        (LANDING, {"a.csv": ConnectionResetError("gone")}, StageError, "ConnectionResetError"),
    ],
)
def test_what_cannot_be_done_says_why(files: Files, tmp_path: Path, landing: Path, fails: Any, error: Any, says: str):
    files.fails_at = fails
    with pytest.raises(error, match=says) as raised:
        upload(SimpleNamespace(files=files), tmp_path, samples(tmp_path), landing)
    assert raised.value.hint


def test_the_command_sends_a_use_cases_data_and_no_prose(on_databricks: Files):
    first, again = invoke("credit_risk"), invoke("credit_risk", "--json")
    data = ROOT / "use_cases" / "credit_risk" / "data"
    expected = sorted(
        path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file() and path.suffix != ".md"
    )
    assert sorted(name.removeprefix(f"{LANDING}/") for name in on_databricks.sent) == expected
    assert f"{len(expected)} file(s) uploaded" in first.output
    assert json.loads(again.output)["skipped"] == len(expected)


def test_churn_needs_no_upload(on_databricks: Files):
    assert "nothing to upload" in invoke("churn").output
    assert on_databricks.sent == []


def test_another_folder(on_databricks: Files, tmp_path: Path):
    samples(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.csv").write_text("x", encoding="utf-8")
    (tmp_path / "README.md").write_text("x", encoding="utf-8")
    assert "3 file(s) uploaded" in invoke("credit_risk", "--from", str(tmp_path)).output


def test_a_folder_without_data_is_a_mistake(on_databricks: Files, tmp_path: Path):
    for folder, says in ((tmp_path, "holds no files"), (tmp_path / "none", "no samples")):
        with pytest.raises(UsageError, match=says):
            invoke("credit_risk", "--from", str(folder))


def test_locally_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(ROOT)
    done = invoke("credit_risk", "--workspace", "local", "--home", str(tmp_path))
    assert done.exit_code == 0
    assert "nothing to upload" in done.output
