"""`mlplatform report`: a page at any time, an index of all use cases, and a link from the model's version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import UsageError
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import disks
from tests.support.tiny_runs import clone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.homes import Homes

MODEL = "dev.tiny.model"


@pytest.fixture(scope="module")
def home(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(homes.second, tmp_path_factory.mktemp("reported") / "home")


def report(homes: Homes, home: Path, *words: str) -> str:
    where = ["--home", str(home), "--use-cases", str(homes.tiny.use_cases)]
    done = CliRunner().invoke(cli, ["report", *words, *where], catch_exceptions=False, standalone_mode=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_report_is_written_where_it_is_asked_for_and_nothing_else_is(homes: Homes, home: Path, tmp_path: Path):
    before = disks.contents(home)
    with disks.read_only(home):
        told = report(homes, home, "tiny", "--out", str(tmp_path / "new" / "page.html"))
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert disks.contents(home) == before
    assert '<p class="verdict is-' in page
    assert str(tmp_path / "new" / "page.html") in told


def test_the_page_is_kept_with_the_champions_run_and_its_version_links_to_it(homes: Homes, home: Path, tmp_path: Path):
    copied = clone(home, tmp_path / "home")
    for _ in range(2):
        report(homes, copied, "tiny", "--log")
    with LocalWorkspace.open(root=copied) as ws:
        version = ws.registry.get(MODEL, ws.registry.aliases(MODEL)["champion"])
        address = version.tags["report"]
        assert address == f"runs:/{version.run_id}/report/tiny.html"
        import mlflow

        ws.registry.activate()
        kept = mlflow.artifacts.load_text(address)
    assert kept == (copied / "reports" / "tiny.html").read_text(encoding="utf-8")


def test_all_use_cases_have_a_report_and_an_index_that_leads_to_them(homes: Homes, home: Path, tmp_path: Path):
    told = json.loads(report(homes, home, "--all", "--out", str(tmp_path / "all"), "--json"))
    names = [item["use_case"] for item in told["use_cases"]]
    assert "tiny" in names
    index = (tmp_path / "all" / "index.html").read_text(encoding="utf-8")
    for name in names:
        assert f'href="{name}.html"' in index
        assert (tmp_path / "all" / f"{name}.html").is_file()
    (tiny,) = [item for item in told["use_cases"] if item["use_case"] == "tiny"]
    assert tiny["answer"] in ("yes", "with care", "no")


def test_looking_makes_no_workspace(homes: Homes, tmp_path: Path):
    with pytest.raises(UsageError, match="There is no workspace in"):
        report(homes, tmp_path / "none", "tiny")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("words", [(), ("tiny", "--all")])
def test_one_use_case_or_all_are_named(homes: Homes, home: Path, words: tuple[str, ...]):
    with pytest.raises(UsageError, match="Name a use case, or give --all"):
        report(homes, home, *words)


def test_a_folder_is_no_file_and_a_file_no_folder(homes: Homes, home: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="is a folder"):
        report(homes, home, "tiny", "--out", str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        report(homes, home, "--all", "--out", str(tmp_path / "file"))
