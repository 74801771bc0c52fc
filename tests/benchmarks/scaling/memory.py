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


def sample(pid: int) -> Sample:
    """Look at a process and its descendants, also those in sessions of their own."""
    children: dict[int, list[int]] = defaultdict(list)
    used: dict[int, float] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            # A process may end while it is looked at.
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                fields = text.rpartition(")")[2].split()
                children[int(fields[_PARENT])].append(int(entry.name))
                used[int(entry.name)] = sum(map(int, fields[_USER_TIME : _USER_TIME + 2])) / _TICKS
    cpu: dict[int, float] = {}
    stack, driver, tree, private = [pid], 0, 0, 0
    while stack:
        current = stack.pop()
        stack += children[current]
        status = _status(current)
        resident = status.get("VmRSS", 0)
        driver = resident if current == pid else driver
        tree += resident
        private += status.get("RssAnon", 0) + status.get("RssShmem", 0)
        cpu[current] = used.get(current, 0.0)
    return Sample(driver, tree, private, cpu)


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
