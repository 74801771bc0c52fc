"""All benchmarks with a target, in one table: figures, what they are held against in the same run, ratios, memory.

    python tests/benchmarks/bench.py                       # all of them: about an hour on two cores
    python tests/benchmarks/bench.py start overhead
    python tests/benchmarks/bench.py --docs                # and write the table into docs/benchmarks.md

Each part is a script of its own, which says what it measures. Every run adds a line to `build/bench/history.jsonl`:
date, commit, machine, figures. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import table
from tests.benchmarks.scaling.measured import ROOT

PARTS: dict[str, list[str]] = {
    "demo": ["demo.py"],
    "overhead": ["overhead.py"],
    "as-of": ["as_of_join.py", "--shapes", "medium", "--tables", "1", "3", "16"],
    "start": ["start.py"],
    "scoring": ["score_batch.py", "--rows", "5000000"],
    "drift": ["drift.py"],
    "gate": ["gate.py"],
}
HISTORY = ROOT / "build" / "bench" / "history.jsonl"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- The table begins: made by tests/benchmarks/bench.py --docs -->", "<!-- The table ends -->"


def main() -> int:
    """Measure, print, keep; return 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"Some of: {', '.join(PARTS)}.")
    parser.add_argument("--docs", action="store_true", help="Write the table into docs/benchmarks.md.")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.parts) - set(PARTS))
    if unknown:
        parser.error(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    load = os.getloadavg()[0]
    lines, failed = [], []
    for name in arguments.parts or PARTS:
        print(f"-- {name}", flush=True)
        found = _measured(PARTS[name])
        lines += found
        if not found:
            failed.append(name)
    words = _words(load)
    print(f"\n{table.markdown(lines)}\n\n{words}")
    HISTORY.parent.mkdir(parents=True, exist_ok=True)
    with HISTORY.open("a", encoding="utf-8") as history:
        history.write(json.dumps(_machine() | {"load": load, "lines": [asdict(line) for line in lines]}) + "\n")
    if arguments.docs:
        _write_page(f"{words}\n\n{table.markdown(lines)}")
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    return int(bool(failed))


def _measured(command: list[str]) -> list[table.Line]:
    script, *options = command
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines.json"
        path = str(Path(__file__).with_name(script))
        done = subprocess.run([sys.executable, path, *options, "--json", str(file)], cwd=ROOT, check=False)
        return table.read(file) if done.returncode == 0 and file.exists() else []


def _machine() -> dict[str, Any]:
    described = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    commit = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit or "no git",
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "python": platform.python_version(),
    }


def _words(load: float) -> str:
    found = _machine()
    return (
        f"{found['date']}, commit `{found['commit']}`, {found['cores']} cores, {found['memory_gb']} GB, "
        f"Python {found['python']}; load of the machine when it began: {load:.1f}."
    )


def _write_page(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
