"""Memory of a process and of all that it started, as the kernel counts it."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# Written there, the kernel begins to look for a process's peak anew.
_RESET_PEAK = "5"
KB = 1024


@dataclass(frozen=True)
class Sample:
    """Resident memory at one moment, in bytes.

    Attributes:
        driver: Of the process itself.
        tree: Of the process and all its descendants. Pages that several map are counted for each: an upper bound.
        private: Of the same, without pages of files, which the kernel takes back when it needs them.
        processes: How many there are.
    """

    driver: int
    tree: int
    private: int
    processes: int


def sample(pid: int) -> Sample:
    """Look at a process and its descendants, also those in sessions of their own."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            # A process may end while it is looked at.
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                children[int(text.rpartition(")")[2].split()[1])].append(int(entry.name))
    found, stack, driver, tree, private = 0, [pid], 0, 0, 0
    while stack:
        current = stack.pop()
        stack += children[current]
        status = _status(current)
        resident = status.get("VmRSS", 0)
        driver = resident if current == pid else driver
        tree += resident
        private += status.get("RssAnon", 0) + status.get("RssShmem", 0)
        found += 1
    return Sample(driver, tree, private, found)


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
