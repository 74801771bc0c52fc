"""Commands on the tiny use case that are killed, at a moment or before a write, and run again until they end.

A process that has all packages loaded forks each command: a tenth of a second instead of several. What is forked is
the command line itself, with an engine of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.support import writes
from tests.support.processes import children, wait_until_gone

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

_HANGS_SECONDS = 240
# Shares of a command's time.
_KEPT, _TO_FIND_NOTHING = 0.7, 0.3
_POLL_SECONDS, _LOOK_SECONDS = 0.005, 0.5
# Before that the command does not listen yet: in a terminal, Python is still importing.
_FIRST_SIGNAL_SECONDS = 0.05


@dataclass(frozen=True)
class Kill:
    """What is done to a command, and when.

    Attributes:
        kind: One of `KINDS`.
        seconds: After its beginning.
    """

    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} after {self.seconds:.2f} s"


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; below zero the signal that ended it.
        output: What it printed.
        seconds: How long it ran.
    """

    code: int
    output: str
    seconds: float


@dataclass
class Endured:
    """What a home went through until a command ended by itself.

    Attributes:
        kills: Where the command was killed, in order.
        last: How it ended in the end.
    """

    kills: list[str] = field(default_factory=list)
    last: Ended | None = None

    def __str__(self) -> str:
        return "; ".join(self.kills) or "no kill"


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _power_off(pid: int) -> None:
    for each in (pid, *children(pid)):
        _end(each, signal.SIGKILL)


def _interrupt(pid: int) -> None:
    os.kill(pid, signal.SIGINT)


def _interrupt_twice(pid: int) -> None:
    os.kill(pid, signal.SIGINT)
    time.sleep(0.1)
    _end(pid, signal.SIGINT)


def _terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def _kill_engine(pid: int) -> None:
    for each in children(pid):
        _end(each, signal.SIGKILL)


def _end(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it was faster


@dataclass(frozen=True)
class _Kind:
    strike: Callable[[int], None]
    codes: frozenset[int]
    weight: int
    needs_children: bool = False


_STOPPED = frozenset({130, -signal.SIGINT, -signal.SIGTERM})
# Kind -> how it is done, the exit codes that it may come to beside 0, and how often of 20.
KINDS: dict[str, _Kind] = {
    "killed": _Kind(_kill, frozenset({-signal.SIGKILL}), 6),
    "killed with its engine": _Kind(_power_off, frozenset({-signal.SIGKILL}), 4),
    "Ctrl-C": _Kind(_interrupt, _STOPPED, 4),
    "Ctrl-C twice": _Kind(_interrupt_twice, _STOPPED, 1),
    "SIGTERM": _Kind(_terminate, _STOPPED, 1),
    # It is started again where it is needed again, else the command ends with an error of ours.
    "its engine killed": _Kind(_kill_engine, frozenset({1}), 4, needs_children=True),
}


def drawn(seed: int, seconds: float, count: int) -> list[Kill]:
    """Return kills of random kinds at random moments, the same for the same seed.

    Args:
        seed: Of the kinds and moments.
        seconds: How long the command takes undisturbed.
        count: How many.
    """
    rng = random.Random(seed)
    names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
    found, left = [], seconds
    for _ in range(count):
        moment = rng.uniform(0, left)
        found.append(Kill(rng.choices(names, weights)[0], moment))
        # What was done by then is kept, but for a stage; to find that nothing is left to do takes time, too.
        left = max(left - _KEPT * moment, _TO_FIND_NOTHING * seconds)
    return found


@dataclass
class Crashes:
    """Runs commands in a home, and kills them.

    Attributes:
        use_cases: The folder of the tiny use case.
        scratch: For logs, and for the temporary files of the commands.
    """

    use_cases: Path
    scratch: Path

    def run(self, home: Path, words: Sequence[str], kill: Kill | None = None, visited: Path | None = None) -> Ended:
        """Run a command until it ends, or is killed.

        Args:
            home: The home.
            words: The command and its options.
            kill: What is done to it.
            visited: The places where an earlier one died; it dies at the first that is not among them, and adds it.

        Raises:
            AssertionError: If it hangs, leaves a process behind, ends in another way than it should, or with a stack
                trace.
        """
        log, begun = self.scratch / "command.log", self.scratch / "begun"
        log.unlink(missing_ok=True)
        begun.unlink(missing_ok=True)
        # What a process that is killed leaves in `/tmp` is nobody's to remove; here it goes with the test.
        temporary = self.scratch / "tmp"
        temporary.mkdir(exist_ok=True)
        options = ["--home", str(home), "--use-cases", str(self.use_cases)]
        process = _context().Process(
            target=_command, args=([*words, *options], str(log), str(begun), str(temporary), visited, str(home))
        )
        process.start()
        while not begun.exists() and process.is_alive():
            time.sleep(_POLL_SECONDS)
        started = time.monotonic()
        below = _strike(process, kill) if kill else set()
        while process.is_alive() and time.monotonic() < started + _HANGS_SECONDS:
            below |= children(process.pid or 0)
            process.join(timeout=_LOOK_SECONDS)
        hangs = process.is_alive()
        if hangs:
            process.kill()
            process.join()
        ended = Ended(process.exitcode or 0, _text(log), time.monotonic() - started)
        told = f"{' '.join(words)}, {kill or 'undisturbed'}: exit code {ended.code}\n{ended.output[-4000:]}"
        assert not hangs, f"It hangs. {told}"
        wait_until_gone(below)
        expected = {0} | (KINDS[kill.kind].codes if kill else set()) | ({-signal.SIGKILL} if visited else set())
        assert ended.code in expected, told
        assert "Traceback" not in ended.output, told
        if ended.code == 1:
            assert "\nError: " in f"\n{ended.output}", told
        return ended

    def endure(self, home: Path, words: Sequence[str], kills: Sequence[Kill]) -> Endured:
        """Run a command, killed each time at a moment, and at last undisturbed; one that is done is killed no more."""
        endured = Endured()
        for kill in kills:
            endured.last = self.run(home, words, kill)
            if endured.last.code == 0:
                return endured
            endured.kills.append(f"{kill}: exit code {endured.last.code}")
        endured.last = self.run(home, words)
        return endured

    def endure_everywhere(self, home: Path, words: Sequence[str]) -> Endured:
        """Run a command, killed once before each write; each run goes on from where the one before died."""
        visited = self.scratch / "visited"
        visited.write_text("", encoding="utf-8")
        while True:
            ended = self.run(home, words, visited=visited)
            if ended.code == 0:
                return Endured(visited.read_text(encoding="utf-8").splitlines(), ended)


def left_behind(home: Path) -> list[str]:
    """Return what killed commands left in a home, once a command has run to its end."""
    folders = (home / "tmp", home / "tables" / ".dropped")
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    # Another process may be writing a report, or moving a data file into a table: of these what is old is removed, by
    # the next report and by `maintain` (`test_kept_versions.py`).
    unfinished = (
        path
        for path in home.rglob("*")
        if writes.is_unfinished(path.name) and path.parent.name != "reports" and not path.name.startswith("_part-")
    )
    return sorted(str(path) for path in (*found, *unfinished))


def copy_home(source: Path, target: Path) -> Path:
    """Copy a home that nobody works in; of no home, return where one will be made."""
    if source.exists():
        shutil.copytree(source, target)
    return target


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.tiny_preload"])
    return context


def _strike(process: ForkServerProcess, kill: Kill) -> set[int]:
    """Wait for the moment, and do it; return the processes that were there below it."""
    kind, pid = KINDS[kill.kind], process.pid or 0
    process.join(timeout=kill.seconds if kind.codes is not _STOPPED else max(kill.seconds, _FIRST_SIGNAL_SECONDS))
    below = children(pid)
    while kind.needs_children and not below and process.is_alive():
        time.sleep(_POLL_SECONDS)
        below = children(pid)
    if process.is_alive():
        kind.strike(pid)
    return below


def _command(words: list[str], log: str, begun: str, temporary: str, visited: Path | None, home: str) -> NoReturn:
    """Be the command line."""
    os.setsid()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)
    os.environ["TMPDIR"], tempfile.tempdir = temporary, None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if visited is not None:
        writes.die_before_the_next(Path(home), visited)
    from mlplatform.cli.main import main

    sys.argv = ["mlplatform", *words]
    Path(begun).touch()
    main()


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
