"""Steps that bring the same number of rows each: what a late one costs, by an early one, and beside other use cases."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.scaling import data
from tests.benchmarks.scaling.measured import Stretch, run_plan
from tests.benchmarks.scaling.prepared import MOST_TRAINED, SETTINGS, job, prepare
from tests.benchmarks.scaling.result import MB, Result, Target

# Of a late step, by an early one.
LIMITS = {"seconds": 1.3, "tree": 1.2, "driver": 1.2}
# Of the second half of the steps, by the first: files grow until they are put together, and then begin anew.
MOST_FILES = 1.2
SHOWN_EVERY = 20
FIRST_DAYS = 120
CROWDS = (1, 100, 1000)
STEPS_OF_A_CROWD = 9


def steps(arguments: argparse.Namespace, folder: Path) -> Result:
    """Run a first step on four months of orders, then days of 1,000 orders each.

    All that is bounded is at its bound from the early step on: the windows of the features (three months) and of the
    monitor (a week of known labels), and the samples of training, gate and monitor. What grows after that is history.
    """
    count = arguments.steps
    found, files = _run(arguments, folder, count, {})
    early, late = (_around(step, arguments.neighbours, count) for step in (arguments.early, count))
    figures: dict[str, Any] = {
        "steps": [item.to_dict() | {"held": held} for item, held in zip(found, files, strict=True)],
        "early": _of(early, found, files),
        "late": _of(late, found, files),
    }
    # Small files are put together in some steps only, which the median passes over.
    wide = min(50, count // 2)
    figures["mean_early"], figures["mean_late"] = (
        statistics.fmean(found[step].seconds for step in which)
        for which in (range(1, wide + 1), range(count - wide + 1, count + 1))
    )
    print(f"mean of the first {wide} steps {figures['mean_early']:.2f} s, of the last {figures['mean_late']:.2f} s")
    print(f"processor time of a step: {figures['early']['cpu']:.2f} s, then {figures['late']['cpu']:.2f} s")
    _show_stages(figures["early"]["stages"], figures["late"]["stages"])
    targets = [
        Target(
            f"{name} of a step, {_named(late)} by {_named(early)}",
            figures["late"][name] / figures["early"][name],
            limit,
        )
        for name, limit in LIMITS.items()
    ]
    halves = files[1 : count // 2 + 1], files[count // 2 + 1 :]
    most = [max(held["files"] for held in half) for half in halves]
    targets.append(Target("most files in the second half, by the first", most[1] / most[0], MOST_FILES))
    return Result(figures, targets)


def crowd(arguments: argparse.Namespace, folder: Path) -> Result:
    """Run steps in a workspace whose own tables hold the records of as many steps of other use cases, too."""
    places = [1 + number * STEPS_OF_A_CROWD for number in range(len(CROWDS))]
    copies = {place: many - before for place, before, many in zip(places, (1, *CROWDS), CROWDS, strict=False)}
    last = places[-1] + STEPS_OF_A_CROWD - 1
    found, files = _run(arguments, folder, last, copies)
    figures = {}
    for place, many in zip(places, CROWDS, strict=True):
        # The first ones find the new rows, or put small files together.
        which = range(place + 2, place + STEPS_OF_A_CROWD)
        figures[many] = _of(which, found, files)
        seconds, cpu = figures[many]["seconds"], figures[many]["cpu"]
        print(f"{many} use case(s): a step takes {seconds:.2f} s, of processors {cpu:.2f} s")
    _show_stages(figures[CROWDS[0]]["stages"], figures[CROWDS[-1]]["stages"])
    return Result({"use_cases": figures}, [])


def _run(
    arguments: argparse.Namespace, folder: Path, count: int, copies: dict[int, int]
) -> tuple[list[Stretch], list[dict[str, Any]]]:
    rows = arguments.step_rows
    plan = data.Plan((FIRST_DAYS * rows, *[rows] * count), (FIRST_DAYS, *[1] * count), 5 * rows, arguments.seed)
    monitoring = SETTINGS["monitoring"] | {"performance_window": "7 days", "max_rows": MOST_TRAINED}
    prepare(plan, folder, scoring={"every": "1 day"}, monitoring=monitoring)
    todo = [
        {"as_of": f"{plan.end(step):%Y-%m-%d}", "stages": None, "copies": copies.get(step, 0)}
        for step in range(count + 1)
    ]
    found: list[Stretch] = []
    files: list[dict[str, Any]] = []
    for item in run_plan(job(arguments, folder, todo) | {"count_files": True}, folder / "run"):
        if isinstance(item, Stretch):
            found.append(item)
        elif item["event"] == "files":
            files.append(item)
            if (len(files) - 1) % SHOWN_EVERY == 0:
                print(_line(len(files) - 1, found[-1], item), flush=True)
    return found, files


def _around(step: int, neighbours: int, last: int) -> range:
    """Return so many steps with a step in their middle; at the end, those that lead to it."""
    first = min(max(step - neighbours // 2, 1), last - neighbours + 1)
    return range(first, first + neighbours)


def _named(steps: range) -> str:
    return f"{steps[0]} to {steps[-1]}"


def _of(which: range, found: Sequence[Stretch], files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians over some steps."""
    by_stage: dict[str, list[float]] = {}
    for step in which:
        for stage in found[step].stages:
            by_stage.setdefault(stage["stage"], []).append(stage["seconds"])
    measured = {name: [getattr(found[step], name) for step in which] for name in ("seconds", "cpu", "tree", "driver")}
    counted = {name: [files[step][name] for step in which] for name in ("files", "files_on_disk", "log_files", "bytes")}
    return {
        **{name: statistics.median(values) for name, values in (measured | counted).items()},
        "stages": {stage: statistics.median(seconds) for stage, seconds in by_stage.items()},
    }


def _show_stages(early: dict[str, float], late: dict[str, float]) -> None:
    for stage in sorted(late, key=lambda stage: -late[stage]):
        print(f"  {stage}: {early.get(stage, 0):.2f} s, then {late[stage]:.2f} s")


def _line(step: int, stretch: Stretch, held: dict[str, Any]) -> str:
    return (
        f"step {step:4d}: {stretch.seconds:6.2f} s  cpu {stretch.cpu:6.2f} s  driver {stretch.driver / MB:6,.0f} MB  "
        f"tree {stretch.tree / MB:6,.0f} MB  {held['files']:5,d} files with {held['bytes'] / MB:,.0f} MB  "
        f"{held['files_on_disk']:6,d} on disk  {held['log_files']:6,d} of logs"
    )
