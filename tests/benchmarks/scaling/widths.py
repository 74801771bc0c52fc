"""What another feature costs: the same rows with more and more columns in the snapshot of the entity."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.scaling import data
from tests.benchmarks.scaling.child import COLUMNS
from tests.benchmarks.scaling.growth import HEAD, STAGES, line, slope, total
from tests.benchmarks.scaling.measured import Stretch, run_plan
from tests.benchmarks.scaling.prepared import job, prepare
from tests.benchmarks.scaling.result import MB, Result


def widths(arguments: argparse.Namespace, folder: Path) -> Result:
    """Run all stages at each number of columns."""
    found: dict[int, list[Stretch]] = {}
    for columns in arguments.columns:
        plan = data.Plan.evenly(arguments.wide_rows, drops=6, days=30, columns=columns, seed=arguments.seed)
        place = folder / f"{columns}_columns"
        prepare(plan, place, scoring={"every": "12 months"})
        as_of = f"{plan.end(len(plan.rows) - 1):%Y-%m-%d}"
        todo = job(arguments, place, [{"as_of": as_of, "stages": STAGES}]) | {"environment": {COLUMNS: str(columns)}}
        print(f"{columns} more columns, {arguments.wide_rows} orders", flush=True)
        print(HEAD, flush=True)
        found[columns] = []
        for stretch in run_plan(todo, place / "run"):
            if isinstance(stretch, Stretch):
                print(line(stretch), flush=True)
                found[columns].append(stretch)
    for few, many in pairwise(sorted(found)):
        for stage in STAGES:
            before, after = (total(found[columns], [stage]) for columns in (few, many))
            peaks = [max(item.driver for item in found[columns] if item.name == stage) for columns in (few, many)]
            each = (after - before) / (many - few)
            print(
                f"{stage} from {few} to {many} columns: slope {slope(few, many, before, after):.2f}, "
                f"{1000 * each:.1f} ms and {(peaks[1] - peaks[0]) / MB / (many - few):.2f} MB of the driver a column"
            )
    return Result({columns: [item.to_dict() for item in stages] for columns, stages in found.items()}, [])
