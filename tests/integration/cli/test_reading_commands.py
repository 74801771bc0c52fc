"""Commands that only look write nothing in the home: not a file, not a time, and they work where nobody may write."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import NotPromotedError, PlatformError
from tests.support import disks
from tests.support.homes import Homes
from tests.support.tiny_runs import clone
from tests.support.tiny_use_case import write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.tiny_use_case import TinyFolder

AS_OF = Homes.SECOND
STARTING_NO_ENGINE = (
    ("status",),
    ("status", "tiny", "--json"),
    ("history", "tiny"),
    ("quarantine", "tiny", "--rows", "2"),
    ("config", "show", "tiny"),
    ("--version",),
)
COMPUTING = (
    ("plan", "tiny", "--as-of", AS_OF),
    ("gate", "tiny", "--version", "1", "--as-of", AS_OF, "--dry-run"),
    ("rollback", "tiny", "--reason", "test", "--dry-run"),
    ("retrain", "tiny", "--as-of", AS_OF, "--dry-run"),
    ("maintain", "tiny", "--as-of", AS_OF, "--dry-run"),
    ("apply", "tiny", "--as-of", AS_OF, "--dry-run"),
    ("backfill", "tiny", "--table", "region", "--from", "2020-03-01", "--to", "2020-05-01", "--dry-run"),
    ("doctor", "--data", "tiny", "--quick"),
    ("repair", "tiny", "--dry-run"),
    ("setup", "tiny", "--dry-run"),
)


@pytest.fixture(scope="module")
def home(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion and the one before."""
    return clone(homes.second, tmp_path_factory.mktemp("looked at") / "home")


@pytest.fixture
def tiny(homes: Homes) -> TinyFolder:
    return homes.tiny


def look(command: Sequence[str], home: Path, tiny: TinyFolder) -> str:
    """Run a command; return what it printed. It may end without promotion, and in no other error."""
    where = ["--home", str(home), "--use-cases", str(tiny.use_cases)] if command[0] != "--version" else []
    done = CliRunner().invoke(cli, [*command, *where])
    code = done.exception.exit_code if isinstance(done.exception, PlatformError) else done.exit_code
    assert code in (0, NotPromotedError.exit_code), (done.exception, done.output)
    return done.stdout


@pytest.mark.parametrize("command", STARTING_NO_ENGINE, ids=" ".join)
def test_looking_changes_no_file_and_needs_no_right_to_write(
    command: Sequence[str], home: Path, tiny: TinyFolder
) -> None:
    before = disks.contents(home)
    look(command, home, tiny)
    assert disks.contents(home) == before
    with disks.read_only(home):
        look(command, home, tiny)


def test_a_decision_is_explained_where_nobody_may_write(home: Path, tiny: TinyFolder) -> None:
    before = disks.contents(home)
    with disks.read_only(home):
        decisions = json.loads(look(("history", "tiny", "--json"), home, tiny))
        text = json.dumps(decisions)
        found = re.search(r'"decision_id": "([^"]+)"', text)
        assert found is not None, text[:500]
        assert look(("explain", found[1]), home, tiny)
    assert disks.contents(home) == before


def test_asking_what_would_be_done_changes_no_file_and_needs_no_right_to_write(home: Path, tiny: TinyFolder) -> None:
    before = disks.contents(home)
    with disks.read_only(home):
        for command in COMPUTING:
            look(command, home, tiny)
    for command in COMPUTING:
        look(command, home, tiny)
    assert disks.contents(home) == before


def test_beginning_anew_is_looked_at_without_a_right_to_write(homes: Homes, tmp_path: Path, tiny: TinyFolder) -> None:
    lost = clone(homes.second, tmp_path / "home")
    next(lost.rglob("mlflow.db")).unlink()
    before = disks.contents(lost)
    with disks.read_only(lost):
        assert "A dry run" in look(("begin-anew", "tiny", "--reason", "test", "--dry-run"), lost, tiny)
    assert disks.contents(lost) == before


def test_the_doctor_makes_nothing(tmp_path: Path, tiny: TinyFolder) -> None:
    look(("doctor", "--json"), tmp_path / "none", tiny)
    assert not (tmp_path / "none").exists()


def test_looking_at_a_home_that_does_not_exist_makes_none(tmp_path: Path, tiny: TinyFolder) -> None:
    for command in (("status",), ("history", "tiny"), ("quarantine", "tiny")):
        look(command, tmp_path / "none", tiny)
    assert not (tmp_path / "none").exists()


def test_what_failed_and_was_mended_is_well_again_at_the_same_time(tmp_path: Path) -> None:
    tiny = write_tiny_use_case(tmp_path, months=3, rows_a_month=20)
    where = ["--home", str(tmp_path / "home"), "--use-cases", str(tiny.use_cases)]
    bad = tiny.data / "signups" / "signups_2020-03.csv"
    whole = bad.read_text(encoding="utf-8")

    def run(*stages: str) -> int:
        done = CliRunner().invoke(cli, ["run", "tiny", "--as-of", "2020-06-01", *stages, *where])
        return done.exit_code if done.exception is None else 1

    def status() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(look(("status", "tiny", "--json"), tmp_path / "home", tiny))
        return found

    bad.write_text("another,header\n1,2\n", encoding="utf-8")
    assert run("--stage", "ingest") == 1
    assert status()["state"] == "failed"
    bad.write_text(whole, encoding="utf-8")
    assert run("--stage", "ingest") == 0
    assert status()["failed"] == []
    assert status()["stages"] == {"ingest": "done"}
    bad.write_text(whole + "Z1,2020-03-05,north,1,1\n", encoding="utf-8")
    assert run("--stage", "ingest") == 0
    assert any("changed after" in note for note in status()["notes"])
    command = ["ingest", "tiny", "--as-of", "2020-06-01", "--again", "signups/signups_2020-03.csv"]
    assert CliRunner().invoke(cli, [*command, *where]).exception is None
    assert run("--stage", "ingest") == 0
    notes = status()["notes"]
    assert not any("changed after" in note for note in notes), notes
    assert any("was taken again" in note for note in notes), "which the run after it, that had nothing to do, leaves"
