"""Candidates for the frame API on three stages: the cost of one call, and time and peak memory on many rows.

    python tests/benchmarks/frames.py
    python tests/benchmarks/frames.py --rows 10000000
    python tests/benchmarks/frames.py --rows 10000000 --stages refine --contenders narwhals-duckdb pyspark-sail

A contender is a way to write a stage (narwhals, ibis, plain PySpark) over an engine (DuckDB, Sail, Spark on the JVM).
The stages: `due`, the rows to score (a range of times without those predicted earlier, with literals, sorted);
`window`, what monitoring counts (rows, nulls, matches, cells of 20 columns, by model version); `refine`, what becomes
of landed rows (known by key, repeated, failing; staged once, then read for silver and for the quarantine).

Tables are Delta tables, written chunk by chunk; an engine reads their files. `call` is the median of a stage on 1,000
rows that gives Arrow, `staged` of one that writes Parquet, both warm, tables opened anew each time. On many rows each
stage has its own process, and its rows go where the home puts them: DuckDB streams them into delta-rs; Sail writes
Parquet, which DuckDB streams into delta-rs; Spark on the JVM writes Parquet only (Databricks writes Delta by itself).
The peak is the resident memory of the whole tree of processes; seconds are those of the stage by the clock, the
processor's are the whole tree's. ibis takes part where it can be imported, the JVM (by `--contenders` only) where
there is a `java`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from frame_candidates.engines import Duck, Spark
from frame_candidates.stages import STAGES, Ibis, Narwhals, PySpark, run
from frame_candidates.tables import write_tables

SMALL = 1_000
WARM_UP = 5
CONTENDERS = ("narwhals-duckdb", "ibis-duckdb", "pyspark-sail", "narwhals-sail", "pyspark-jvm", "narwhals-jvm")
BY_DEFAULT = CONTENDERS[:3]  # a call on the JVM takes seconds


def main() -> None:
    """Run the contenders one after the other and print two tables."""
    arguments = _parser().parse_args()
    if arguments.child:
        _child(json.loads(arguments.child))
    contenders = [name for name in arguments.contenders if _available(name)]
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        if arguments.calls:
            _compare_calls(contenders, arguments, Path(scratch))
        if arguments.rows:
            _compare_rows(contenders, arguments, Path(scratch))


def _compare_calls(contenders: Sequence[str], arguments: argparse.Namespace, scratch: Path) -> None:
    print(f"| contender, {SMALL:,} rows | stage | call, ms | CPU, ms | staged, ms |\n|---|---|---|---|---|")
    tables = write_tables(scratch / "small", SMALL)
    for contender in contenders:
        for stage in arguments.stages:
            task = {"contender": contender, "stage": stage, "tables": tables, "scratch": str(scratch)}
            outcome = _measured(task | {"calls": arguments.calls}, arguments.timeout)
            cells = [outcome["error"]] if "error" in outcome else [f"{value:.0f}" for value in outcome["ms"]]
            print(f"| {' | '.join([contender, stage, *cells])} |", flush=True)


def _compare_rows(contenders: Sequence[str], arguments: argparse.Namespace, scratch: Path) -> None:
    print(f"| contender, {arguments.rows:,} rows | stage | seconds | CPU seconds | peak of the tree | rows out |")
    print("|---|---|---|---|---|---|")
    tables = write_tables(scratch / "large", arguments.rows)
    for stage in arguments.stages:
        expected: list[int] | None = None
        for contender in contenders:
            task = {"contender": contender, "stage": stage, "tables": tables, "scratch": str(scratch)}
            outcome = _measured(task, arguments.timeout)
            print(_line(contender, stage, outcome), flush=True)
            if "error" not in outcome:
                expected = expected or outcome["rows"]
                assert outcome["rows"] == expected, "the contenders give different rows"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--contenders", nargs="+", default=BY_DEFAULT, choices=CONTENDERS)
    parser.add_argument("--scratch", help="A folder for tables and results; default: the system's for temporary files.")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def _available(contender: str) -> bool:
    if contender.startswith("ibis") and importlib.util.find_spec("ibis") is None:
        print(f"{contender} is skipped: ibis is not installed here (pip install 'ibis-framework[duckdb]').")
        return False
    if contender.endswith("jvm") and shutil.which("java") is None:
        print(f"{contender} is skipped: there is no java on the path.")
        return False
    return True


def _line(contender: str, stage: str, outcome: dict[str, Any]) -> str:
    if "error" in outcome:
        return f"| {contender} | {stage} | {outcome['error']} | | | |"
    rows = " + ".join(f"{count:,}" for count in outcome["rows"])
    cells = [f"{outcome['seconds']:.1f}", f"{outcome['cpu']:.1f}", f"{outcome['peak_mb']:,.0f} MB", rows]
    return f"| {contender} | {stage} | {' | '.join(cells)} |"


def _measured(task: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Run a task in a process of its own, and watch the memory of all that it starts."""
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    peak, deadline = 0, time.monotonic() + timeout
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as messages:
        with subprocess.Popen(command, stdout=output, stderr=messages) as process:
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                peak = max(peak, sum(_of_tree(watched, lambda member: member.memory_info().rss)))
                if time.monotonic() > deadline:
                    for member in [*watched.children(recursive=True), watched]:
                        member.kill()
                    return {"error": f"more than {timeout:.0f} s"}
                time.sleep(0.05)
        output.seek(0)
        messages.seek(0)
        if process.returncode:
            reason = (messages.read().strip().splitlines() or ["?"])[-1]
            return {"error": f"exit {process.returncode}: {reason[:100]}"}
        outcome: dict[str, Any] = json.loads(output.read().strip().splitlines()[-1])
    return outcome | {"peak_mb": peak / 2**20}


def _of_tree(process: psutil.Process, measure: Callable[[psutil.Process], float]) -> Iterator[float]:
    try:
        members = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in members:
        try:
            yield measure(member)
        except psutil.Error:  # it has just ended
            continue


def _child(task: dict[str, Any]) -> None:
    way, engine_name = task["contender"].split("-")
    scratch = Path(tempfile.mkdtemp(dir=task["scratch"]))
    engine = Duck(scratch) if engine_name == "duckdb" else Spark(scratch, jvm=engine_name == "jvm")
    dialect = {"narwhals": Narwhals, "ibis": Ibis, "pyspark": PySpark}[way](engine)
    status = 1
    try:
        outcome = _calls(dialect, task, scratch) if "calls" in task else _rows(dialect, task, scratch)
        print(json.dumps(outcome), flush=True)
        status = 0
    except Exception:  # noqa: BLE001  (said, and the process ended all the same)
        traceback.print_exc()
    finally:
        engine.close()
        shutil.rmtree(scratch, ignore_errors=True)
        sys.stderr.flush()
        os._exit(status)  # threads of Spark's client would keep the process


def _busy() -> float:
    return sum(_of_tree(psutil.Process(), lambda member: sum(member.cpu_times()[:2])))


def _rows(dialect: Any, task: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Run a stage once; its rows are written."""
    started, busy = time.perf_counter(), _busy()
    parts = run(
        dialect, task["stage"], task["tables"], scratch, lambda rows, name: dialect.engine.write(rows, scratch / name)
    )
    seconds, cpu = time.perf_counter() - started, _busy() - busy
    return {"seconds": seconds, "cpu": cpu, "rows": [getattr(part, "num_rows", part) for part in parts]}


def _calls(dialect: Any, task: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Return milliseconds of a call: by the clock and by the processor into Arrow, by the clock into Parquet."""

    def median(take: Callable[[Any, Path], Any], kind: str) -> tuple[float, float]:
        seconds, busy = [], 0.0
        for call in range(WARM_UP + task["calls"]):
            if call == WARM_UP:
                busy = _busy()
            folder = scratch / f"{kind}_{call}"
            started = time.perf_counter()
            run(dialect, task["stage"], task["tables"], folder, lambda rows, name, to=folder: take(rows, to / name))
            seconds.append(time.perf_counter() - started)
        cpu = (_busy() - busy) / task["calls"]
        return statistics.median(seconds[WARM_UP:]) * 1000, cpu * 1000

    arrow = median(lambda rows, _: dialect.engine.arrow(rows), "arrow")
    return {"ms": [*arrow, median(dialect.engine.stage, "parquet")[0]]}


if __name__ == "__main__":
    main()
