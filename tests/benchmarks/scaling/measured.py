"""Running something in a child process, and watching its memory from outside."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.scaling import memory
from tests.benchmarks.scaling.child import EVENTS

SECONDS_BETWEEN_SAMPLES = 0.05
ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Stretch:
    """What a stage, or a whole command, took; memory in bytes.

    Attributes:
        name: What ran.
        seconds: How long.
        cpu: Processor time of all processes, in seconds: what other work on the machine disturbs less.
        driver_start: Resident memory of the process itself when it began.
        driver: Its peak.
        tree: Peak of the process and all that it started.
        private: The same, without pages of files.
        stages: What the pipeline says about its stages.
    """

    name: str
    as_of: str = ""
    seconds: float = 0.0
    cpu: float = 0.0
    driver_start: int = 0
    driver: int = 0
    tree: int = 0
    private: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with no process known."""
        self._cpu_before: dict[int, float] = {}
        self._cpu_now: dict[int, float] = {}

    def see(self, seen: memory.Sample) -> None:
        """Take a sample; the first one stands for the beginning."""
        first = not self._cpu_now
        self._cpu_now |= seen.cpu
        if first:
            self._cpu_before = dict(seen.cpu)
        self.cpu = sum(used - self._cpu_before.get(pid, 0.0) for pid, used in self._cpu_now.items())
        self.driver_start = self.driver_start or seen.driver
        self.driver = max(self.driver, seen.driver)
        self.tree = max(self.tree, seen.tree)
        self.private = max(self.private, seen.private)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def run_plan(plan: Mapping[str, Any], folder: Path) -> Iterator[Stretch | dict[str, Any]]:
    """Run a plan in a process of its own; yield each stretch when it ends, and each other event as it is.

    Args:
        plan: What `tests.benchmarks.scaling.child` takes.
        folder: For the plan and the log.

    Raises:
        RuntimeError: If it fails, with the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, log = folder / "plan.json", folder / "child.log"
    file.write_text(json.dumps(plan), encoding="utf-8")
    theirs, ours = _pipe()
    environment = os.environ | path_of(ROOT) | {EVENTS: str(ours)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.scaling.child", str(file)],
            stdout=output, stderr=subprocess.STDOUT, env=environment, pass_fds=[ours],
        )  # fmt: skip
    os.close(ours)
    try:
        yield from _watched(process, theirs)
    finally:
        os.close(theirs)
        if process.poll() is None:
            process.terminate()  # the workspace ends what it started
        code = process.wait(timeout=60)
    if code:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        raise RuntimeError(f"The measured process ended with {code}; the end of {log}:\n{tail}")


def path_of(checkout: Path) -> dict[str, str]:
    """Return the variable by which Python finds a checkout's packages before installed ones."""
    return {"PYTHONPATH": os.pathsep.join([str(checkout / "platform"), str(checkout)])}


def _pipe() -> tuple[int, int]:
    theirs, ours = os.pipe()
    os.set_inheritable(ours, True)
    return theirs, ours


def _watched(process: subprocess.Popen[bytes], events: int) -> Iterator[Stretch | dict[str, Any]]:
    watch = memory.Watch(process.pid)
    current: Stretch | None = None
    text = b""
    while True:
        ready, _, _ = select.select([events], [], [], SECONDS_BETWEEN_SAMPLES)
        if current is not None:
            current.see(watch.look())
        if not ready:
            continue
        more = os.read(events, 1 << 16)
        if not more:
            return
        *lines, text = (text + more).split(b"\n")
        for event in map(json.loads, lines):
            if event["event"] == "begin":
                memory.reset_peak(process.pid)
                current = Stretch(event["name"], event["as_of"])
                current.see(watch.look())
            elif event["event"] == "end" and current is not None:
                current.see(watch.look())
                current.seconds, current.stages = event["seconds"], event["stages"]
                current.driver = max(current.driver, memory.peak_since_reset(process.pid))
                yield current
                current = None
            else:
                yield event


def run_command(command: Sequence[str], *, cwd: Path, log: Path, environment: Mapping[str, str]) -> Stretch:
    """Run a command; return how long it took, and its memory.

    Raises:
        RuntimeError: If it fails, with the end of its output.
    """
    stretch = Stretch(Path(command[-1]).name)
    before = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command), cwd=cwd, stdout=output, stderr=subprocess.STDOUT, env=os.environ | dict(environment)
        )
    watch = memory.Watch(process.pid)
    while process.poll() is None:
        stretch.see(watch.look())
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    stretch.seconds = time.perf_counter() - before
    if process.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    return stretch
