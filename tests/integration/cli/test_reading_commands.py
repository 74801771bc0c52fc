"""Commands that only look write nothing in the home: not a file, not a time, and they work where nobody may write."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.errors import NotPromotedError, PlatformError
from tests.support import disks
from tests.support.homes import Homes
from tests.support.tiny_runs import clone

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
