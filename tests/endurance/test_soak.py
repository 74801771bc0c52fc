"""Hundreds of steps in one process: memory, files and the time of a step stay what they were early on.

The steps are days of the use case `orders` of the benchmarks, with few rows each: what grows with the number of steps
shows, what grows with rows is `tests/benchmarks/scale.py`'s. `MLPLATFORM_TEST_STEPS=40` runs fewer.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.scaling import data
from tests.benchmarks.scaling.measured import Stretch, run_plan
from tests.benchmarks.scaling.prepared import job, prepare

STEPS = int(os.environ.get("MLPLATFORM_TEST_STEPS", "400"))
ROWS_A_DAY, FIRST_DAYS = 200, 30
# Of the last eighth of the steps by the second: the first one fills caches.
MOST_SECONDS, MOST_CPU, MOST_MEMORY = 1.5, 1.3, 1.15
# Of the second half by the first: files grow until they are put together, and then begin anew.
MOST_FILES = 1.2
MOST_LOG_BYTES = 1024**2


@dataclass(frozen=True)
class Soaked:
    """What was seen, step by step.

    Attributes:
        home: The workspace, closed.
        stretches: Time and memory of each step.
        left: What there was after each: files, and what the process held.
    """

    home: Path
    stretches: list[Stretch]
    left: list[dict[str, Any]]

    def held(self, name: str) -> list[float]:
        """Return what the process held after each step."""
        return [float(item["held"][name]) for item in self.left]


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    folder = tmp_path_factory.mktemp("soak")
    plan = data.Plan((FIRST_DAYS * ROWS_A_DAY, *[ROWS_A_DAY] * STEPS), (FIRST_DAYS, *[1] * STEPS), 5 * ROWS_A_DAY)
    prepare(plan, folder, scoring={"every": "1 day"})
    todo = [{"as_of": f"{plan.end(step):%Y-%m-%d}", "stages": None} for step in range(STEPS + 1)]
    found = Soaked(folder / "home", [], [])
    given = job(argparse.Namespace(home="local"), folder, todo) | {"count_files": True}
    for item in run_plan(given, folder / "run"):
        if isinstance(item, Stretch):
            found.stretches.append(item)
        elif item["event"] == "files":
            found.left.append(item)
    assert len(found.stretches) == len(found.left) == STEPS + 1
    return found


# One fixture feeds them all; it is what takes long.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def ratio(values: Sequence[float], middle: Callable[[Sequence[float]], float] = statistics.median) -> float:
    """Return the last eighth of the steps by the second."""
    eighth = STEPS // 8
    return middle(values[-eighth:]) / middle(values[1 + eighth : 1 + 2 * eighth])


def growth(values: Sequence[float]) -> float:
    """Return by what share values grow over as many steps again, by a line through those after the first quarter."""
    late = np.asarray(values[STEPS // 4 :])
    slope = np.polyfit(np.arange(late.size), late, 1)[0]
    return float(slope * late.size / np.median(late))


def test_a_late_step_takes_as_long_as_an_early_one(soaked: Soaked) -> None:
    cpu, seconds = ratio([item.cpu for item in soaked.stretches]), ratio([item.seconds for item in soaked.stretches])
    print(f"a late step by an early one: {seconds:.2f} of the time, {cpu:.2f} of the processor time")
    assert seconds < MOST_SECONDS
    assert cpu < MOST_CPU


@pytest.mark.parametrize("name", ["driver", "private"])
def test_memory_is_given_back_between_the_steps(soaked: Soaked, name: str) -> None:
    held = soaked.held(name)
    print(f"{name}: {ratio(held):.3f} of an early step, growing by {growth(held):.1%}, {held[-1] / 1024**2:.0f} MB")
    assert ratio(held) < MOST_MEMORY
    assert growth(held) < MOST_MEMORY - 1


@pytest.mark.parametrize("name", ["opened", "threads"])
def test_no_file_stays_open_and_no_thread_stays_on(soaked: Soaked, name: str) -> None:
    held = soaked.held(name)
    print(f"{name}: {held[STEPS // 8]:.0f}, then {held[-1]:.0f}")
    assert max(held[-STEPS // 8 :]) <= max(held[STEPS // 8 : STEPS // 4]) + 2


def test_small_files_are_put_together(soaked: Soaked) -> None:
    files = [item["files"] for item in soaked.left]
    halves = files[1 : STEPS // 2 + 1], files[STEPS // 2 + 1 :]
    print(f"files of the newest versions: {max(halves[0])} at most, then {max(halves[1])}")
    assert max(halves[1]) <= MOST_FILES * max(halves[0])


def test_nothing_is_left_over(soaked: Soaked) -> None:
    temporary = soaked.home / "tmp"
    assert not temporary.is_dir() or not list(temporary.iterdir())
    logs = sum(file.stat().st_size for file in (soaked.home / "logs").rglob("*") if file.is_file())
    locks = list(soaked.home.rglob("*.lock"))
    print(f"{logs} bytes of logs, {len(locks)} lock files")
    assert logs < MOST_LOG_BYTES
    # One for each name that is protected, not for each step.
    assert len(locks) < STEPS // 4
