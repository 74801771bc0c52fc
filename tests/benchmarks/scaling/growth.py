"""All stages on all rows at once, at several sizes."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.scaling import data
from tests.benchmarks.scaling.measured import Stretch, run_plan
from tests.benchmarks.scaling.prepared import job, prepare, size
from tests.benchmarks.scaling.result import GB, MB, Result, Target, short

STAGES = ("ingest", "refine", "features", "train", "gate", "score", "monitor")
COUNTED = ("refine", "features", "score", "monitor")
MOST_ROWS, MOST_TREE, MOST_SLOPE = 50_000_000, 6 * GB, 1.1
MOST_DRIVER_GROWTH = 100 * MB


def growth(arguments: argparse.Namespace, folder: Path) -> Result:
    """Run all stages on all rows at once, at each size."""
    sizes: dict[int, list[Stretch]] = {}
    for rows in arguments.rows:
        plan = data.Plan.evenly(rows, drops=6, days=30, seed=arguments.seed)
        place = folder / short(rows)
        landing = prepare(plan, place, scoring={"every": "12 months"})  # so that every order is due
        as_of = f"{plan.end(len(plan.rows) - 1):%Y-%m-%d}"
        todo = job(arguments, place, [{"as_of": as_of, "stages": STAGES}])
        print(f"{short(rows)} orders, {arguments.home}; {size(landing) / MB:,.0f} MB landed", flush=True)
        print(HEAD, flush=True)
        sizes[rows] = []
        for stretch in run_plan(todo, place / "run"):
            if isinstance(stretch, Stretch):
                print(line(stretch), flush=True)
                sizes[rows].append(stretch)
        counted, held = total(sizes[rows], COUNTED), size(place / "home")
        cpu = total(sizes[rows], COUNTED, "cpu")
        print(f"{', '.join(COUNTED)}: {counted:,.1f} s, of processors {cpu:,.1f} s", flush=True)
        print(f"the workspace holds {held / MB:,.0f} MB", flush=True)
        if not arguments.work:
            shutil.rmtree(place)
    return Result(
        {"home": arguments.home, "sizes": {rows: [item.to_dict() for item in found] for rows, found in sizes.items()}},
        _growth_targets(arguments.home, sizes),
    )


def _growth_targets(home: str, sizes: dict[int, list[Stretch]]) -> list[Target]:
    targets = []
    for small, large in pairwise(sorted(sizes)):
        between = f"from {short(small)} to {short(large)}"
        for stage in (*STAGES, COUNTED):
            names = [stage] if isinstance(stage, str) else stage
            wall, cpu = (
                slope(small, large, *(total(sizes[rows], names, what) for rows in (small, large)))
                for what in ("seconds", "cpu")
            )
            print(f"slope of {', '.join(names)} {between}: {wall:.2f}, of processor time {cpu:.2f}")
        if home == "local":
            steepness = slope(small, large, *(total(sizes[rows], COUNTED) for rows in (small, large)))
            targets.append(Target(f"time slope of {', '.join(COUNTED)} {between}", steepness, MOST_SLOPE))
        else:
            peak = {rows: max(item.driver for item in sizes[rows]) for rows in (small, large)}
            grown = (peak[large] - peak[small]) / MB
            targets.append(Target(f"growth of the driver's peak {between}", grown, MOST_DRIVER_GROWTH / MB, "MB "))
    if home == "local":
        largest = max(sizes)
        peak_tree = max(item.tree for item in sizes[largest] if item.name in COUNTED)
        name = f"peak of the tree at {short(largest)} (the target is of {short(MOST_ROWS)})"
        targets.append(Target(name, peak_tree / GB, MOST_TREE / GB, "GB "))
    return targets


HEAD = (
    f"{'stage':10s} {'rows in':>12s} {'seconds':>9s} {'cpu s':>9s} {'rows/s':>9s} {'driver':>9s} {'grown':>9s} "
    f"{'tree':>9s} {'private':>9s}  collected"
)


def line(stretch: Stretch) -> str:
    """Return a stage's line of the table."""
    rows = sum(stage["rows_in"] or 0 for stage in stretch.stages)
    status = ", ".join(stage["status"] for stage in stretch.stages if stage["status"] != "done")
    collected = [stage["collected"] for stage in stretch.stages if stage["collected"]]
    most = ", ".join(f"{item['rows']:,d} rows, most: {item['largest']} {item['largest_rows']:,d}" for item in collected)
    return (
        f"{stretch.name:10s} {rows:12,d} {stretch.seconds:9.1f} {stretch.cpu:9.1f} {rows / stretch.seconds:9,.0f} "
        f"{stretch.driver / MB:6,.0f} MB {(stretch.driver - stretch.driver_start) / MB:6,.0f} MB "
        f"{stretch.tree / MB:6,.0f} MB {stretch.private / MB:6,.0f} MB  {status}{most}"
    )


def total(found: Sequence[Stretch], stages: Sequence[str], what: str = "seconds") -> float:
    """Return the seconds, or the processor time, of some stages together."""
    return sum(getattr(item, what) for item in found if item.name in stages)


def slope(small: int, large: int, before: float, after: float) -> float:
    """Return the power of the number of rows by which something grows."""
    return math.log(after / before) / math.log(large / small)
