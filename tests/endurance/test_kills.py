"""Killed at random moments and before each of its writes, and run again, a command comes to the same as undisturbed.

Each seed stands for some kills, each of a kind and at a moment: the process alone or with its engine, the engine alone,
Ctrl-C, SIGTERM. A seed that failed is run again by `pytest -m '' -k second-seed17 tests/endurance`; on another day the
process is at another place at the same moment. `MLPLATFORM_TEST_SEEDS=100-199` takes other seeds.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crashes import Crashes, Endured, copy_home, drawn, left_behind
from tests.support.outcome import outcome_of
from tests.support.state import differences
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import NAME, write_tiny_use_case

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

FIRST, SECOND = "2020-08-01", "2020-11-01"
KILLS, FEW_KILLS, TRIES = 5, 3, 4
# Seeds that every run of the tests takes, and how many more there are by night: of each command. Kills before chosen
# writes are in `integration/test_pipeline.py`, too.
QUICK, NIGHTLY = {"first": 1}, {"first": 13, "second": 12, "new": 6, "replay": 6}
# These write all that is ever written.
EVERYWHERE = ("first", "second")
OTHER_SEEDS = "MLPLATFORM_TEST_SEEDS"


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Attributes:
        base: The home it goes on from; empty: there is none yet.
        words: What is typed.
    """

    base: str
    words: tuple[str, ...]


COMMANDS = {
    # All stages, from nothing but a registry to a first champion.
    "first": Command("registry", ("run", NAME, "--as-of", FIRST)),
    # All stages beside a champion, which a retraining replaces.
    "second": Command("first", ("run", NAME, "--as-of", SECOND)),
    # Its first second is that of the registry's database.
    "new": Command("", ("run", NAME, "--as-of", FIRST)),
    "replay": Command("registry", ("simulate", NAME, "--from", FIRST, "--to", SECOND, "--every", "month")),
}


class Bench:
    """Homes to go on from, and what commands come to in them undisturbed; each is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        # So wide a margin that every fair model is promoted.
        self.tiny = write_tiny_use_case(folder / "use_cases", gate={"margin": 0.2}, rows_a_month=200)
        self.tiny.soil()
        (folder / "scratch").mkdir()
        self.crashes = Crashes(self.tiny.use_cases, folder / "scratch")
        self._folder = folder
        self._outcomes: dict[str, dict[str, Any]] = {}
        self._seconds: dict[str, float] = {}

    def base(self, name: str) -> Path:
        """Return a home that nobody works in."""
        home = self._folder / "homes" / (name or "none")
        if name == "registry" and not home.exists():
            with LocalWorkspace.open(root=home) as ws:
                ws.registry.ensure_model("dev.tiny.model")
        elif name and not home.exists():
            self.undisturbed(name)
        return home

    def undisturbed(self, name: str) -> tuple[dict[str, Any], float]:
        """Return what a command comes to, and how many seconds it takes."""
        if name not in self._outcomes:
            command = COMMANDS[name]
            home = copy_home(self.base(command.base), self._folder / "homes" / name)
            self._seconds[name] = self.crashes.run(home, command.words).seconds
            self._outcomes[name] = self.outcome(home)
        return self._outcomes[name], self._seconds[name]

    def outcome(self, home: Path) -> dict[str, Any]:
        """Return what is in a home."""
        with LocalWorkspace.open(root=home) as ws:
            return outcome_of(ws, open_tiny(ws, self.tiny.folder))

    def check(self, name: str, home: Path, endured: Endured) -> None:
        """Check that a home is what it would be undisturbed, and that nothing is left over."""
        expected, _ = self.undisturbed(name)
        assert differences(self.outcome(home), expected) == {}, f"after {endured}"
        assert left_behind(home) == [], f"after {endured}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("kills"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    shutil.rmtree(tmp_path / "home", ignore_errors=True)


def cases() -> list[ParameterSet]:
    """Return commands with a seed each."""
    given = os.environ.get(OTHER_SEEDS)
    if given:
        first, _, last = given.partition("-")
        seeds = range(int(first), int(last or first) + 1)
        return [pytest.param(name, seed, id=f"{name}-seed{seed}") for name in COMMANDS for seed in seeds]
    found = []
    for name in COMMANDS:
        quick = QUICK.get(name, 0)
        for seed in range(1, quick + NIGHTLY[name] + 1):
            marks = () if seed <= quick else (pytest.mark.slow,)
            found.append(pytest.param(name, seed, id=f"{name}-seed{seed}", marks=marks))
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "seed"), cases())
def test_killed_again_and_again_it_ends_as_undisturbed(bench: Bench, home: Path, name: str, seed: int) -> None:
    command, (_, seconds) = COMMANDS[name], bench.undisturbed(name)
    # Where the command was quicker than the first kill, as it may be once files are in memory, another comes sooner.
    for times in range(TRIES):
        at = copy_home(bench.base(command.base), home / str(times))
        count = FEW_KILLS if seed <= QUICK.get(name, 0) else KILLS
        kills = drawn(seed + 1000 * times, seconds / 2**times, count)
        endured = bench.crashes.endure(at, command.words, kills)
        if endured.kills:
            break
    print(f"{name}, seed {seed}: {endured}")
    assert endured.kills, "no kill hit the command: a run without one proves nothing"
    bench.check(name, at, endured)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_killed_before_each_write_of_each_stage_it_ends_as_undisturbed(bench: Bench, home: Path, name: str) -> None:
    command = COMMANDS[name]
    copy_home(bench.base(command.base), home)
    endured = bench.crashes.endure_everywhere(home, command.words)
    print(f"{name}: {len(endured.kills)} places", *endured.kills, sep="\n  ")
    stages = {place.partition(":")[0] for place in endured.kills}
    assert stages >= {"ingest", "refine", "features", "train", "gate", "score", "monitor", "retrain"}
    bench.check(name, home, endured)


def test_a_difference_is_seen(bench: Bench, home: Path) -> None:
    """The suite can fail: a lost row, a moved alias and a file left over are each found."""
    copy_home(bench.base("first"), home)
    expected, _ = bench.undisturbed("first")
    assert differences(bench.outcome(home), expected) == {}
    with LocalWorkspace.open(root=home) as ws:
        rows = ws.tables.to_arrow("dev.tiny.gold_predictions", at_most=10**6)
        ws.tables.overwrite("dev.tiny.gold_predictions", rows.slice(1))
        ws.registry.delete_alias("dev.tiny.model", "champion")
    found = differences(bench.outcome(home), expected)
    assert {"gold_predictions", "aliases.champion"} <= found.keys()
    (home / ".functions.json.4711.part").touch()
    assert left_behind(home) == [str(home / ".functions.json.4711.part")]
