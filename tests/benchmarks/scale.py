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
  crowd   the same in a workspace that 1, 100 and 1,000 use cases have written their records into
  widths  ingest to monitor with 10, 100 and 1,000 features more
  merge   1,000 updated keys into 20M rows; see merge.py
  demo    `mlplatform simulate credit_risk`, beside the same of another checkout
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Also where the script is run by its path, from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.scaling.demo import demo
from tests.benchmarks.scaling.growth import growth
from tests.benchmarks.scaling.result import Result, Target
from tests.benchmarks.scaling.steps import crowd, steps
from tests.benchmarks.scaling.widths import widths

MOST_OF_REWRITE = 0.1


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = _arguments()
    found: dict[str, Any] = {"machine": _machine(), "parts": {}}
    targets: list[Target] = []
    with _folder(arguments.work) as folder:
        for name in arguments.parts or ["growth", "demo"]:
            print(f"-- {name}", flush=True)
            result = PARTS[name](arguments, folder / name)
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
    parser.add_argument("--columns", type=_sizes, default=_sizes("10,100,1k"), help="widths: numbers of features")
    parser.add_argument("--wide-rows", type=_size, default=50_000, help="widths: orders")
    parser.add_argument("--merge-rows", type=_size, default=20_000_000, help="merge: rows of the table")
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
    return [_size(item) for item in text.split(",")]


def _size(text: str) -> int:
    return int(float(text.rstrip("kM")) * {"k": 1000, "M": 1_000_000}.get(text[-1], 1))


def merge(arguments: argparse.Namespace, folder: Path) -> Result:
    """Let its own benchmark measure, and hold it against the target.

    Updates of one time, as a feature table gets them, are the target's; keys drawn from the whole table lie in every
    file, so that there is nothing to leave out.
    """
    command = [sys.executable, str(Path(__file__).with_name("merge.py")), "--json", "--scratch", str(folder)]
    options = ["--rows", str(arguments.merge_rows), "--updates", "1000"]
    done = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE)
    figures: dict[str, Any] = json.loads(done.stdout)
    for name, outcome in figures["outcomes"].items():
        print(f"{name}: {outcome['seconds']:.1f} s, of rewriting {outcome['of_rewrite']:.3f}", flush=True)
    targets = [
        Target(f"merge of 1,000 keys of {name}, of rewriting", figures["outcomes"][name]["of_rewrite"], MOST_OF_REWRITE)
        for name in ("latest", "day")
    ]
    return Result(figures, targets)


PARTS: dict[str, Callable[[argparse.Namespace, Path], Result]] = {
    "growth": growth,
    "steps": steps,
    "crowd": crowd,
    "widths": widths,
    "merge": merge,
    "demo": demo,
}


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
