"""Memory of a process and of all that it started, as the kernel counts it."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# Written there, the kernel begins to look for a process's peak anew.
_RESET_PEAK = "5"
KB = 1024
_TICKS = os.sysconf("SC_CLK_TCK")
# Places in what follows a process's name in its `stat`.
_PARENT, _USER_TIME = 1, 11
_LOOKS_A_TREE = 10


@dataclass(frozen=True)
class Sample:
    """Resident memory at one moment, in bytes.

    Attributes:
        driver: Of the process itself.
        tree: Of the process and all its descendants. Pages that several map are counted for each: an upper bound.
        private: Of the same, without pages of files, which the kernel takes back when it needs them.
        cpu: Seconds of processor time that each of them has used so far, by process id.
    """

    driver: int
    tree: int
    private: int
    cpu: Mapping[int, float]


class Watch:
    """Looks at a process and its descendants, also those in sessions of their own."""

    def __init__(self, pid: int) -> None:
        """Take the process."""
        self.pid = pid
        self._looks = 0
        self._tree: list[int] = []

    def look(self) -> Sample:
        """Return what they have now; which they are is looked up at every tenth look, since that costs more."""
        if self._looks % _LOOKS_A_TREE == 0:
            self._tree = _descendants(self.pid)
        self._looks += 1
        driver, tree, private = 0, 0, 0
        cpu: dict[int, float] = {}
        for pid in self._tree:
            status = _status(pid)
            resident = status.get("VmRSS", 0)
            driver = resident if pid == self.pid else driver
            tree += resident
            private += status.get("RssAnon", 0) + status.get("RssShmem", 0)
            fields = _stat(pid)
            if fields:
                cpu[pid] = sum(map(int, fields[_USER_TIME : _USER_TIME + 2])) / _TICKS
        return Sample(driver, tree, private, cpu)


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[_PARENT])].append(int(entry.name))
    found, stack = [], [pid]
    while stack:
        found.append(stack.pop())
        stack += children[found[-1]]
    return found


def _stat(pid: int) -> list[str]:
    """Return what follows a process's name in its `stat`; nothing where it has ended meanwhile."""
    with contextlib.suppress(OSError):
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()
    return []


def peak_since_reset(pid: int) -> int:
    """Return the most memory that a process had since `reset_peak`, in bytes: exact, where samples miss short peaks."""
    return _status(pid).get("VmHWM", 0)


def reset_peak(pid: int) -> None:
    """Begin to look for a process's peak anew, where the kernel lets us."""
    with contextlib.suppress(OSError):
        (_PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK, encoding="utf-8")


def _status(pid: int) -> dict[str, int]:
    with contextlib.suppress(OSError):
        lines = (_PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines()
        pairs = (line.split(":", 1) for line in lines if line.endswith("kB"))
        return {name: int(value.split()[0]) * KB for name, value in pairs}
    return {}
