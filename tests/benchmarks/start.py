"""What a command costs before it does anything, a run that finds nothing new, and what an installation weighs.

    python tests/benchmarks/start.py

`--help` and `status` (in a home with one cycle of credit risk) are held against `python -c "import mlflow"` in the same
run, the median of `--repeat` processes each, in turns. A run with nothing new is the second of the same time in one
process. The installation is the wheel with its core dependencies, and with the extra `local`, installed into folders of
their own (which asks the package index where the cache does not have them).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.scaling.measured import ROOT, path_of
from tests.benchmarks.scaling.result import MB

AS_OF = "2006-01-01"
MOST_HELP, MOST_STATUS, MOST_IDLE = 0.25, 0.5, 0.3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", help="Write the figures there.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        lines = [*_started(Path(name), arguments.repeat), *_installed(Path(name))]
    print(table.markdown(lines))
    table.write(arguments.json, lines)


def _started(folder: Path, repeat: int) -> list[table.Line]:
    home = folder / "home"
    idle = _idle(home)
    cli = [sys.executable, "-m", "mlplatform.cli"]
    commands = {
        "mlflow": [sys.executable, "-c", "import mlflow"],
        "package": [sys.executable, "-c", "import mlplatform"],
        "help": [*cli, "--help"],
        "status": [*cli, "status", "credit_risk", "--home", str(home)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeat + 1):
        for name, command in commands.items():
            before = time.perf_counter()
            environment = os.environ | path_of(ROOT)
            subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - before)
    # The first of each reads files that lie in memory afterwards.
    median = {name: statistics.median(measured[1:]) for name, measured in seconds.items()}
    against = {"against": "`import mlflow`", "other": median["mlflow"]}
    return [
        table.Line("`mlplatform --help`", median["help"], limit=MOST_HELP, **against),
        table.Line("`mlplatform status credit_risk`", median["status"], limit=MOST_STATUS, **against),
        table.Line("`import mlplatform`", median["package"], **against),
        table.Line("a run that finds nothing new", idle, limit=MOST_IDLE),
    ]


def _idle(home: Path) -> float:
    """Run one cycle, then the same again some times, in this process; return the median of the latter, in seconds."""
    from mlplatform import Pipeline, open_use_case, open_workspace, parse_as_of

    with open_workspace(root=home) as ws:
        use_case = open_use_case(ws, "credit_risk", ROOT / "use_cases")
        ws.registry.ensure_model(use_case.model)
        taken = []
        for _ in range(6):
            before = time.perf_counter()
            Pipeline(ws, use_case, parse_as_of(AS_OF)).run()
            taken.append(time.perf_counter() - before)
    return statistics.median(taken[1:])


def _installed(folder: Path) -> list[table.Line]:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        print("There is no uv: the installation is not weighed.")
        return []
    lines = []
    for what, extra in (("core", ""), ("with the extra local", "[local]")):
        target = folder / f"installed{extra}"
        command = [uv, "pip", "install", "--quiet", "--target", str(target), "--python", sys.executable]
        subprocess.run([*command, f"mlplatform{extra} @ {ROOT.as_uri()}"], check=True)
        size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
        lines.append(table.Line(f"an installation, {what}", size / MB, "MB"))
    return lines


if __name__ == "__main__":
    main()
