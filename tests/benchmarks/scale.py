"""What grows with the number of rows, and what a step costs: time and peak memory of every stage.

    python tests/benchmarks/scale.py                                  # growth (100k, 1M) and the demo
    python tests/benchmarks/scale.py growth --rows 1M,10M,50M --check
    python tests/benchmarks/scale.py growth --home databricks --rows 1M,10M --check   # with the extra databricks
    python tests/benchmarks/scale.py steps --check
    python tests/benchmarks/scale.py demo --against ../other-checkout

The data are generated, in the shape of the sample use cases: see `scaling/orders`. What is measured runs in a child
process; its memory, and that of all that it started (Sail, or the JVM and its Python workers), is sampled from
outside. `driver` is the Python process alone, by the kernel's own peak; `tree` is the sum over all processes, in which
pages that several share count several times.

Parts:
  growth  ingest to monitor, on all rows at once, at each of the sizes: training and gate are bounded
  steps   days that bring 1,000 orders each: what a late one costs, by an early one
  merge   1,000 updated keys into 20M rows; see merge.py
  demo    `mlplatform simulate credit_risk`, beside the same of another checkout
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

# Also where the script is run by its path, from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.scaling import data
from tests.benchmarks.scaling.child import USE_CASE
from tests.benchmarks.scaling.measured import MB, ROOT, Stretch, path_of, run_command, run_plan

PARTS = ("growth", "steps", "merge", "demo")
STAGES = ("ingest", "refine", "features", "train", "gate", "score", "monitor")
COUNTED = ("refine", "features", "score", "monitor")
# The commit before rows stayed in the engine: what `demo` is held against unless told otherwise.
BEFORE = "e856ded"
GB = 1024 * MB
MOST_ROWS, MOST_TREE, MOST_SLOPE = 50_000_000, 6 * GB, 1.1
MOST_DRIVER_GROWTH = 100 * MB
MOST_STEP_RATIO, MOST_FLAT = 1.3, 1.2
MOST_DEMO_RATIO = 1.1  # not slower; two runs of the same code differ by this much on a busy machine
SETTINGS: dict[str, Any] = {
    "owner": "benchmark@example.com",
    "description": "Probability that an order is returned within 14 days.",
    "task": "classification",
    "label": {"horizon": "14 days"},
    "training": {"metric": "roc_auc", "min_rows": 500, "max_rows": 20_000, "search": {"max_evals": 1}},
    "gate": {"floor": 0.52, "min_rows": 200, "min_positives": 30},
    "monitoring": {
        "min_rows": 100, "performance_floor": None, "performance_window": "12 months", "retrain_every": "20 years",
        "retrain_on": [], "max_model_age": None,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What must be reached, and what was.

    Attributes:
        name: What is meant.
        value: What was measured.
        limit: The largest value that is fine.
        unit: Of both.
    """

    name: str
    value: float
    limit: float
    unit: str = ""

    @property
    def reached(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit

    def __str__(self) -> str:
        verdict = "reached" if self.reached else "MISSED"
        return f"{verdict}: {self.name}: {self.value:,.2f} {self.unit}(at most {self.limit:,.2f})"


@dataclass(frozen=True)
class Result:
    """What a part measured: figures as plain data, and the targets that they speak of."""

    figures: dict[str, Any]
    targets: list[Target]


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = _arguments()
    parts: dict[str, Callable[[argparse.Namespace, Path], Result]] = {
        "growth": growth, "steps": steps, "merge": merge, "demo": demo,
    }  # fmt: skip
    found: dict[str, Any] = {"machine": _machine(), "parts": {}}
    targets: list[Target] = []
    with _folder(arguments.work) as folder:
        for name in arguments.parts or ["growth", "demo"]:
            print(f"-- {name}", flush=True)
            result = parts[name](arguments, folder / name)
            targets += result.targets
            found["parts"][name] = result.figures
            for target in result.targets:
                print(target, flush=True)
    found["targets"] = [asdict(target) | {"reached": target.reached} for target in targets]
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return int(arguments.check and not all(target.reached for target in targets))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default growth and demo")
    parser.add_argument("--rows", type=_sizes, default=_sizes("100k,1M"), help="growth: sizes, as 1M,10M,50M")
    parser.add_argument("--home", choices=("local", "databricks"), default="local", help="growth and steps")
    parser.add_argument("--steps", type=int, default=400, help="steps: how many there are")
    parser.add_argument("--step-rows", type=int, default=1000, help="steps: orders of each")
    parser.add_argument("--early", type=int, default=20, help="steps: the early one")
    parser.add_argument("--neighbours", type=int, default=7, help="steps: the median of so many around each is taken")
    parser.add_argument("--against", help="demo: another checkout's folder, or a commit of this one")
    parser.add_argument("--repeat", type=int, default=2, help="demo: runs of each, of which the quickest counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--work", type=Path, help="keep data and workspaces in this folder; default: a temporary one")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return arguments


def _sizes(text: str) -> list[int]:
    units = {"k": 1000, "M": 1_000_000}
    return [int(float(item.rstrip("kM")) * units.get(item[-1], 1)) for item in text.split(",")]


def growth(arguments: argparse.Namespace, folder: Path) -> Result:
    """Run all stages on all rows at once, at each size."""
    sizes: dict[int, list[Stretch]] = {}
    for rows in arguments.rows:
        plan = data.Plan.evenly(rows, drops=6, days=30, seed=arguments.seed)
        place = folder / _short(rows)
        landing = _prepare(plan, place, scoring={"every": "12 months"})  # so that every order is due
        as_of = f"{plan.end(len(plan.rows) - 1):%Y-%m-%d}"
        job = _job(arguments, place, [{"as_of": as_of, "stages": STAGES}])
        print(f"{_short(rows)} orders, {arguments.home}; {_size(landing) / MB:,.0f} MB landed", flush=True)
        print(_HEAD, flush=True)
        sizes[rows] = []
        for stretch in run_plan(job, place / "run"):
            if isinstance(stretch, Stretch):
                print(_line(stretch), flush=True)
                sizes[rows].append(stretch)
        counted, held = _sum(sizes[rows], COUNTED), _size(place / "home")
        cpu = _sum(sizes[rows], COUNTED, "cpu")
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
        between = f"from {_short(small)} to {_short(large)}"
        for stage in (*STAGES, COUNTED):
            names = [stage] if isinstance(stage, str) else stage
            wall, cpu = (
                _slope(small, large, *(_sum(sizes[rows], names, what) for rows in (small, large)))
                for what in ("seconds", "cpu")
            )
            print(f"slope of {', '.join(names)} {between}: {wall:.2f}, of processor time {cpu:.2f}")
        if home == "local":
            slope = _slope(small, large, *(_sum(sizes[rows], COUNTED) for rows in (small, large)))
            targets.append(Target(f"time slope of {', '.join(COUNTED)} {between}", slope, MOST_SLOPE))
        else:
            peak = {rows: max(item.driver for item in sizes[rows]) for rows in (small, large)}
            grown = (peak[large] - peak[small]) / MB
            targets.append(Target(f"growth of the driver's peak {between}", grown, MOST_DRIVER_GROWTH / MB, "MB "))
    if home == "local":
        largest = max(sizes)
        peak_tree = max(item.tree for item in sizes[largest] if item.name in COUNTED)
        name = f"peak of the tree at {_short(largest)} (the target is of {_short(MOST_ROWS)})"
        targets.append(Target(name, peak_tree / GB, MOST_TREE / GB, "GB "))
    return targets


def steps(arguments: argparse.Namespace, folder: Path) -> Result:
    """Run a first step on a month of orders, then days of 1,000 orders each."""
    count, rows = arguments.steps, arguments.step_rows
    plan = data.Plan((30 * rows, *[rows] * count), (30, *[1] * count), 5 * rows, arguments.seed)
    _prepare(plan, folder, scoring={"every": "1 day"}, maintenance=True)
    job = _job(
        arguments, folder, [{"as_of": f"{plan.end(step):%Y-%m-%d}", "stages": None} for step in range(count + 1)]
    )
    found: list[Stretch] = []
    files: list[dict[str, Any]] = []
    for item in run_plan(job | {"count_files": True}, folder / "run"):
        if isinstance(item, Stretch):
            found.append(item)
        elif item["event"] == "files":
            files.append(item)
            if (len(files) - 1) % 20 == 0:
                print(_step_line(len(files) - 1, found[-1], item), flush=True)
    early, late = (_around(step, arguments.neighbours, count) for step in (arguments.early, count))
    figures = {
        "steps": [item.to_dict() | {"files": held} for item, held in zip(found, files, strict=True)],
        "early": _step_figures(early, found, files),
        "late": _step_figures(late, found, files),
    }
    targets = []
    for name, limit in (
        ("seconds", MOST_STEP_RATIO),
        ("tree", MOST_FLAT),
        ("driver", MOST_FLAT),
        ("data_files", MOST_FLAT),
    ):
        ratio = figures["late"][name] / figures["early"][name]
        targets.append(Target(f"{name} of a step, {late} by {early}", ratio, limit))
    early_cpu, late_cpu = figures["early"]["cpu"], figures["late"]["cpu"]
    print(
        f"processor time of a step: {early_cpu:.2f} s, then {late_cpu:.2f} s, {late_cpu / early_cpu:.2f} times as much"
    )
    stages = sorted(figures["early"]["stages"], key=lambda stage: -figures["late"]["stages"].get(stage, 0))
    for stage in stages:
        print(
            f"{stage}: {figures['early']['stages'][stage]:.2f} s, then {figures['late']['stages'].get(stage, 0):.2f} s"
        )
    return Result(figures, targets)


def _around(step: int, neighbours: int, last: int) -> range:
    """Return so many steps with a step in their middle; at the end, those that lead to it."""
    first = min(max(step - neighbours // 2, 1), last - neighbours + 1)
    return range(first, first + neighbours)


def _step_figures(which: range, found: Sequence[Stretch], files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def median(values: Iterator[float]) -> float:
        return statistics.median(values)

    by_stage: dict[str, list[float]] = {}
    for step in which:
        for stage in found[step].stages:
            by_stage.setdefault(stage["stage"], []).append(stage["seconds"])
    return {
        "seconds": median(found[step].seconds for step in which),
        "cpu": median(found[step].cpu for step in which),
        "tree": median(found[step].tree for step in which),
        "driver": median(found[step].driver for step in which),
        "data_files": median(files[step]["data_files"] for step in which),
        "log_files": median(files[step]["log_files"] for step in which),
        "data_bytes": median(files[step]["data_bytes"] for step in which),
        "stages": {stage: statistics.median(seconds) for stage, seconds in by_stage.items()},
    }


def _step_line(step: int, stretch: Stretch, files: dict[str, Any]) -> str:
    return (
        f"step {step:4d}: {stretch.seconds:6.2f} s  driver {stretch.driver / MB:6,.0f} MB  tree "
        f"{stretch.tree / MB:6,.0f} MB  {files['data_files']:6,d} data files  {files['log_files']:6,d} of logs  "
        f"{files['data_bytes'] / MB:6,.0f} MB"
    )


def merge(arguments: argparse.Namespace, folder: Path) -> Result:
    """Leave it to its own benchmark, and take its exit code."""
    del folder
    script = Path(__file__).with_name("merge.py")
    options = ["--check"] if arguments.check else []
    done = subprocess.run([sys.executable, str(script), *options], check=False)
    return Result({"exit_code": done.returncode}, [Target("exit code of merge.py", done.returncode, 0)])


def demo(arguments: argparse.Namespace, folder: Path) -> Result:
    """Replay credit risk by quarter, in turns with the other checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {"here": ROOT}
    other = _other_checkout(arguments.against, folder / "against")
    if other is not None:
        places["there"] = other
    found: dict[str, list[Stretch]] = {name: [] for name in places}
    for number in range(arguments.repeat):
        # In turns, and each first once: other work on the machine disturbs both alike.
        for name in sorted(places, reverse=bool(number % 2)):
            home = folder / f"home_{name}"
            shutil.rmtree(home, ignore_errors=True)
            place = places[name]
            stretch = run_command(
                [sys.executable, "-m", "mlplatform.cli", "simulate", "credit_risk", "--home", str(home)],
                cwd=place,
                log=folder / f"{name}.log",
                environment=path_of(place),
            )
            found[name].append(stretch)
            peaks = f"driver {stretch.driver / MB:,.0f} MB, tree {stretch.tree / MB:,.0f} MB"
            print(f"{name} ({place}): {stretch.seconds:.1f} s, of processors {stretch.cpu:.1f} s, {peaks}", flush=True)
            shutil.rmtree(home)
    quickest = {name: min(item.seconds for item in runs) for name, runs in found.items()}
    least = {name: min(item.cpu for item in runs) for name, runs in found.items()}
    told = (f"{name} {seconds:.1f} s, of processors {least[name]:.1f} s" for name, seconds in quickest.items())
    print(f"the demo: {'; '.join(told)}")
    figures = {name: [item.to_dict() for item in runs] for name, runs in found.items()}
    if other is None:
        return Result(figures, [])
    ratio = quickest["here"] / quickest["there"]
    return Result(figures, [Target("time of the demo, here by there", ratio, MOST_DEMO_RATIO)])


def _other_checkout(against: str | None, folder: Path) -> Path | None:
    """Return a folder with another state of the project; None where there is none to be had."""
    if against and Path(against).is_dir():
        return Path(against).resolve()
    commit = against or BEFORE
    folder.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        if against:
            message = f"{against} is neither a folder nor a commit of {ROOT}"
            raise SystemExit(message)
        print(f"This checkout does not reach back to {commit}: nothing to hold the demo against.")
        return None
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    return folder


def _prepare(plan: data.Plan, place: Path, *, scoring: dict[str, Any], maintenance: bool = False) -> Path:
    """Write the data and the use case; what an earlier run left is removed. Return where the files landed."""
    landing, folder = place / "landing", place / "use_cases" / USE_CASE
    data.write(plan, landing)
    for left in (place / "home", place / "use_cases"):
        shutil.rmtree(left, ignore_errors=True)
    ours = Path(__file__).with_name("scaling") / USE_CASE
    shutil.copytree(ours, folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {**SETTINGS, "landing": str(landing.resolve()), "scoring": scoring}
    known = _known_settings()
    if "max_rows" in known["gate"]:
        settings["gate"] = {**SETTINGS["gate"], "max_rows": SETTINGS["training"]["max_rows"]}
    if maintenance and "maintenance" in known:
        settings["maintenance"] = MAINTENANCE
    (folder / "config.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return landing


MAINTENANCE: dict[str, Any] = {}


def _known_settings() -> dict[str, set[str]]:
    """Return the sections of settings and their keys, as the platform at hand knows them."""
    command = [sys.executable, "-m", "mlplatform.cli", "config", "schema"]
    schema = subprocess.run(command, capture_output=True, check=True, env=os.environ | path_of(ROOT))
    described = json.loads(schema.stdout)
    known: dict[str, set[str]] = {}
    for name, section in described["properties"].items():
        reference = str(section.get("$ref", "")).rpartition("/")[2]
        known[name] = set(described.get("$defs", {}).get(reference, {}).get("properties", {}))
    return known


def _job(arguments: argparse.Namespace, place: Path, steps: list[dict[str, Any]]) -> dict[str, Any]:
    root, use_cases = place / "home", place / "use_cases"
    return {"home": arguments.home, "root": str(root), "use_cases": str(use_cases), "steps": steps}


_HEAD = (
    f"{'stage':10s} {'rows in':>12s} {'seconds':>9s} {'cpu s':>9s} {'rows/s':>9s} {'driver':>9s} {'grown':>9s} "
    f"{'tree':>9s} {'private':>9s}  collected"
)


def _line(stretch: Stretch) -> str:
    rows = sum(stage["rows_in"] or 0 for stage in stretch.stages)
    status = ", ".join(stage["status"] for stage in stretch.stages if stage["status"] != "done")
    collected = [stage["collected"] for stage in stretch.stages if stage["collected"]]
    most = ", ".join(f"{item['rows']:,d} rows, most: {item['largest']} {item['largest_rows']:,d}" for item in collected)
    return (
        f"{stretch.name:10s} {rows:12,d} {stretch.seconds:9.1f} {stretch.cpu:9.1f} {rows / stretch.seconds:9,.0f} "
        f"{stretch.driver / MB:6,.0f} MB {(stretch.driver - stretch.driver_start) / MB:6,.0f} MB "
        f"{stretch.tree / MB:6,.0f} MB {stretch.private / MB:6,.0f} MB  {status}{most}"
    )


def _sum(found: Sequence[Stretch], stages: Sequence[str], what: str = "seconds") -> float:
    return sum(getattr(item, what) for item in found if item.name in stages)


def _slope(small: int, large: int, before: float, after: float) -> float:
    return math.log(after / before) / math.log(large / small)


def _short(rows: int) -> str:
    if rows % 1_000_000 == 0:
        return f"{rows // 1_000_000}M"
    return f"{rows // 1000}k" if rows % 1000 == 0 else str(rows)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        yield wanted.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="scale") as made:
        yield Path(made)


def _machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpus": os.cpu_count(), "memory_bytes": memory, "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main())
