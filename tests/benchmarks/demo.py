"""The README's demo: `mlplatform simulate credit_risk` in an empty home, 25 quarters; its time, memory and stages.

    python tests/benchmarks/demo.py

Target: 60 s. `scale.py demo --against COMMIT` holds it against another state of the project.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.scaling.measured import ROOT, path_of, run_command
from tests.benchmarks.scaling.result import MB

MOST_SECONDS = 60


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="Write the figures there.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        command = [sys.executable, "-m", "mlplatform.cli", "simulate", "credit_risk", "--home", str(home)]
        stretch = run_command(command, cwd=ROOT, log=Path(name) / "log", environment=path_of(ROOT))
        for stage, seconds in _by_stage(home).items():
            print(f"  {stage}: {seconds:.1f} s")
    line = table.Line("the demo, 25 quarters", stretch.seconds, limit=MOST_SECONDS, peak_mb=stretch.tree / MB)
    print(f"{stretch.seconds:.1f} s, of processors {stretch.cpu:.1f} s")
    table.write(arguments.json, [line])


def _by_stage(home: Path) -> dict[str, float]:
    """Return the seconds of each stage over all steps, the longest first."""
    from deltalake import DeltaTable

    runs = DeltaTable(str(home / "tables" / "dev" / "ops" / "stage_runs")).to_pyarrow_table(
        columns=["stage", "seconds"]
    )
    sums = runs.group_by("stage").aggregate([("seconds", "sum")])
    found = {row["stage"]: row["seconds_sum"] for row in sums.to_pylist()}
    found["retrain, without training and gate"] = found.pop("retrain", 0.0)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    main()
