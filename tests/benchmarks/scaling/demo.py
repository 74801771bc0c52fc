"""The demo, beside the same of another checkout."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.scaling.measured import ROOT, Stretch, path_of, run_command
from tests.benchmarks.scaling.result import MB, Result, Target

# The commit before rows stayed in the engine: what the demo is held against unless told otherwise.
BEFORE = "e856ded5fef80231c8f3ff47e4c93650f2f5fe91"
MOST_RATIO = 1.1  # not slower; two runs of the same code differ by this much on a busy machine


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
    return Result(figures, [Target("time of the demo, here by there", ratio, MOST_RATIO)])


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
