"""A workspace made by an earlier release opens: its history reads as written, and the next run goes on from it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import relocate

_KEPT = Path(__file__).parents[2] / "fixtures" / "workspaces"
_MADE_AT = "/workspace"
_NEXT = "2020-09-01"


@pytest.fixture(scope="module", params=sorted(path.name for path in _KEPT.glob("*.tar.xz")))
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked folder: `home`, `use_cases` with the code of that time, and `history.json` as printed then."""
    folder: Path = tmp_path_factory.mktemp("old")
    with tarfile.open(_KEPT / request.param) as archive:
        archive.extractall(folder, filter="data")
    relocate(folder / "workspace" / "home", f"{_MADE_AT}/home")
    return folder / "workspace"


@pytest.fixture(scope="module")
def ws(old: Path) -> Iterator[LocalWorkspace]:
    """The workspace, open."""
    with LocalWorkspace.open(root=old / "home") as opened:
        yield opened


def _json(old: Path, *command: str) -> object:
    where = ["--home", str(old / "home"), "--use-cases", str(old / "use_cases")]
    done = CliRunner().invoke(cli, [*command, "--json", *where], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_its_decisions_read_as_they_were_written(old: Path):
    assert _json(old, "history", "tiny") == json.loads((old / "history.json").read_text(encoding="utf-8"))


def test_its_status_names_the_champion(old: Path):
    status = _json(old, "status", "tiny")
    assert isinstance(status, dict)
    assert status["champion"] == 3
    assert status["as_of"].startswith("2020-08-01")


def test_the_next_run_goes_on_from_it(old: Path, ws: LocalWorkspace):
    before = {
        name: ws.tables.to_arrow(f"dev.tiny.{name}", at_most=10**6).num_rows for name in ws.tables.list("dev", "tiny")
    }
    summary = Pipeline(ws, discovery.opener("tiny", old / "use_cases")(ws), parse_as_of(_NEXT)).run()
    runs = {run.stage: run for run in summary.stages}
    after = {name: ws.tables.to_arrow(f"dev.tiny.{name}", at_most=10**6).num_rows for name in before}
    # The 150 subscriptions of August and nothing of what was there: no file is taken again, no row scored again.
    assert runs["ingest"].result.rows_out == after["bronze_signups"] - before["bronze_signups"] + (
        after["bronze_cancellations"] - before["bronze_cancellations"]
    )
    assert after["silver_signups"] - before["silver_signups"] == 150
    assert after["gold_predictions"] - before["gold_predictions"] == runs["score"].result.rows_out
    # What earlier runs computed counts as computed.
    assert 0 < runs["features"].result.rows_out < after["features_region"]
    assert 0 < runs["score"].result.rows_out <= 2 * 150
    assert ws.registry.aliases("dev.tiny.model")["champion"] >= 3
