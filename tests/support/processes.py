"""Processes of the tests: which there are, waiting for their end, and holding one at a known place.

Nothing here waits for a length of time: a test whose outcome hangs on the clock fails on a busy machine.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOLD = """
def hold(*arguments, **named):
    import os
    with open(os.environ["TEST_REACHED"], "w") as reached:
        reached.write("here")
    with open(os.environ["TEST_RELEASED"]) as released:  # nobody ever writes into it
        released.read()
"""
"""Code of a function that says that it was reached, and then blocks."""
# Behind a shell's `&` SIGINT is ignored, and stays so in whatever is started there. What is started at a terminal takes
# it for its own, so that it hears of its end.
_AS_FROM_A_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, sys.argv[1:])
"""


@dataclass
class Held:
    """A process that has reached the place at which it is held.

    Attributes:
        process: The process.
        children: All processes below it, there at that time.
        terminal: What closes its terminal; None: it has none.
    """

    process: subprocess.Popen[str]
    children: set[int]
    terminal: Callable[[], None] | None = None


@contextmanager
def held(arguments: Sequence[str | Path], cwd: Path, folder: Path, *, terminal: bool = False) -> Iterator[Held]:
    """Start Python, and wait until it calls a function made of `HOLD`.

    Args:
        arguments: Of the interpreter: `-c`, code, ...
        cwd: Where it runs.
        folder: For the pipes.
        terminal: It runs at a terminal of its own, and what it writes there is thrown away.
    """
    reached, released = folder / "reached", folder / "released"
    os.mkfifo(reached)
    os.mkfifo(released)
    ours, theirs = os.openpty() if terminal else (None, None)
    shown = None if ours is None else os.fdopen(ours, "rb", buffering=0)
    process = subprocess.Popen(
        [sys.executable, "-c", _AS_FROM_A_TERMINAL, sys.executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL if theirs is None else theirs,
        stdout=subprocess.PIPE if theirs is None else theirs,
        stderr=subprocess.PIPE if theirs is None else theirs,
        text=True,
        cwd=cwd,
        env=os.environ | {"TEST_REACHED": str(reached), "TEST_RELEASED": str(released)},
        start_new_session=True,
    )
    if theirs is not None:
        os.close(theirs)
    pipe = os.open(reached, os.O_RDONLY | os.O_NONBLOCK)
    try:
        heard: list[Any] = [pipe] if shown is None else [pipe, shown]
        while True:
            ready = select.select(heard, [], [], 0.2)[0]
            if pipe in ready and os.read(pipe, 1):
                break
            if shown is not None and shown in ready:
                shown.read(1 << 16)  # else a full terminal keeps it waiting
            if process.poll() is not None:
                raise AssertionError(f"It ended with {process.returncode} before: {process.communicate()}")
        yield Held(process, children(process.pid), None if shown is None else shown.close)
    finally:
        os.close(pipe)
        if shown is not None:
            shown.close()
        if process.poll() is None:
            process.kill()
        process.communicate()


def alive(pid: int) -> bool:
    """Tell whether a process is there; one that only waits to be asked for its exit code is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return not Path("/proc").is_dir()
    return state.rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pids: Iterator[int] | set[int]) -> None:
    """Return when none of the processes is there; the time limit of the test is the only one."""
    left = set(pids)
    while left:
        left = {pid for pid in left if alive(pid)}
        time.sleep(0.02)


def children(pid: int) -> set[int]:
    """Return all processes below one; what has moved to a session of its own is still its child."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(status.parent.name)] = int(fields[1])
    found: set[int] = set()
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found
