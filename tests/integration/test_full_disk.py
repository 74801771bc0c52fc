"""A disk that is full: each stage says so, and with room the same command goes on to what an undisturbed run leaves."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from mlplatform import no_space
from mlplatform.cli.main import cli
from mlplatform.errors import PlatformError, StageError, TableError
from mlplatform.naming import Namespace
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import disks
from tests.support.homes import Homes
from tests.support.state import business_state, differences
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

FIRST, SECOND = Homes.FIRST, Homes.SECOND
KIB = 1024


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One engine for all runs: it takes longest to start."""
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("engine")) as ws:
        yield ws.spark


def state_of(root: Path) -> dict[str, Any]:
    with LocalWorkspace.open(root=root, read_only=True) as ws:
        return business_state(ws, Namespace(ws.catalog, "tiny"))


def climb(
    disk: disks.SmallDisk, base: Path, tiny: TinyFolder, spark: SparkSession, as_of: str, stairs: list[int]
) -> list[str]:
    """Run with ever more room on the disk until a run ends well; return what was said before."""
    root = clone(base, disk.folder / "home")
    told = []
    for free in stairs:
        disk.leave(free)
        try:
            with LocalWorkspace.open(root=root, spark=spark) as ws:
                run_tiny(ws, tiny.folder, as_of)
        except PlatformError as error:
            told.append(str(error))
        else:
            break
    else:
        disk.leave(1 << 29)
        with LocalWorkspace.open(root=root, spark=spark) as ws:
            run_tiny(ws, tiny.folder, as_of)
    assert all(text.startswith("There is no space left on the disk") for text in told), told
    return told


@pytest.mark.slow
def test_a_run_that_met_a_full_disk_goes_on_once_there_is_room(
    tmp_path: Path, homes: Homes, spark: SparkSession
) -> None:
    with disks.small_disk(tmp_path / "disk") as disk:
        told = climb(disk, homes.first, homes.tiny, spark, SECOND, [0, 200 * KIB, 600 * KIB])
        assert told
        assert "the same command again" in told[-1]
        assert differences(state_of(disk.folder / "home"), state_of(homes.second)) == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("before", "after", "as_of"), [("empty", "first", FIRST), ("first", "second", SECOND)])
@pytest.mark.parametrize(("stair", "stages_met"), [(24, 3), (100, 2)])
def test_wherever_the_disk_gets_full(
    tmp_path: Path,
    homes: Homes,
    spark: SparkSession,
    before: str,
    after: str,
    as_of: str,
    stair: int,
    stages_met: int,
) -> None:
    with disks.small_disk(tmp_path / "disk") as disk:
        # What one run could write before it stopped is there for the next: each comes a little further.
        told = climb(
            disk, getattr(homes, before), homes.tiny, spark, as_of, [number * stair * KIB for number in range(40)]
        )
        assert len(told) > 3
        stages = {line.split("the stage ")[1].split()[0] for line in told if "the stage " in line}
        assert len(stages) >= stages_met, told
        assert differences(state_of(disk.folder / "home"), state_of(getattr(homes, after))) == {}


def test_the_command_line_says_so_and_with_room_the_same_command_goes_on(tmp_path: Path) -> None:
    tiny = write_tiny_use_case(tmp_path / "use_cases", months=2, rows_a_month=20)
    with disks.small_disk(tmp_path / "disk") as disk:
        home = disk.folder / "home"
        home.mkdir(mode=0o700)
        where = ["--home", str(home), "--use-cases", str(tiny.use_cases)]
        run = ["run", "tiny", "--as-of", "2020-03-01", "--stage", "ingest", *where]
        for free in (0, 40 * KIB):
            disk.leave(free)
            done = CliRunner().invoke(cli, run)
            # As the command line shows it.
            told = no_space.told(done.exception, "the command") or done.exception
            assert isinstance(told, StageError), done.output
            assert "There is no space left on the disk" in told.message
            assert str(home) in told.message
            # Looking needs no room there.
            assert CliRunner().invoke(cli, ["status", "tiny", *where], catch_exceptions=False).exit_code == 0
        disk.leave(1 << 27)
        assert CliRunner().invoke(cli, run, catch_exceptions=False).exit_code == 0
        with LocalWorkspace.open(root=home, read_only=True) as ws:
            assert ws.frames.count(ws.frames.read("dev.tiny.bronze_signups")) == 40


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/home/x"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/home/x"),
        OSError(errno.EFBIG, "File too large", "/home/x"),
        RuntimeError("Generic LocalFileSystem error: Unable to write /home/x: No space left on device (os error 28)"),
        TableError("Computing rows failed: IO Error: Could not write file '/home/x': No space left on device"),
        ValueError("(sqlite3.OperationalError) database or disk is full"),
        RuntimeError("Out of Memory Error: failed to offload (the 'max_temp_directory_size' setting) /home/x"),
    ],
)
def test_each_engine_is_understood(error: Exception) -> None:
    outer = TableError("the table could not be written", hint="drop it")
    outer.__cause__ = error
    for raised in (error, outer):
        told = no_space.told(raised, "the stage score", "/data/home")
        assert told is not None
        assert told.message.startswith("There is no space left on the disk of /data/home: the stage score stopped.")
        assert "/home/x" in told.message or "sqlite3" in told.message
        assert no_space.told(told, "the command") is None
    assert no_space.told(TableError("a column is missing"), "the stage score") is None
