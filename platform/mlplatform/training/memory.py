"""How much memory there is for what a training does side by side."""

from __future__ import annotations

import os
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
# Of the control group, in its newer and its older form: the limit, what is used of it, and what of that is pages of
# files that the system gives back when they are wanted.
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def available(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Return how many bytes can be taken without swapping: of the machine, and of the control group of a container.

    Args:
        proc: Where Linux tells of the machine; where there is no such folder, half of the machine's memory is taken.
        cgroup: Where it tells of the control group.
    """
    return max(0, min([_of_machine(proc), *_of_group(cgroup)]))


def side_by_side(wanted: int, bytes_each: int, free: int | None = None) -> int:
    """Return how many of what takes so many bytes may run at a time: half of the free memory stays free; at least one.

    Args:
        wanted: How many would be run.
        bytes_each: What one of them takes.
        free: Free bytes; None: of this machine.

    Examples:
        >>> side_by_side(8, 10**9, free=6 * 10**9), side_by_side(8, 10**9, free=10**6)
        (3, 1)
    """
    free = available() if free is None else free
    return max(1, min(wanted, free // 2 // max(1, bytes_each)))


def _of_machine(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    kilobytes = {line.partition(":")[0]: line.split()[1] for line in lines}
    return int(kilobytes.get("MemAvailable", kilobytes["MemFree"])) * 1024


def _of_group(cgroup: Path) -> list[int]:
    for limit, used, stat, cached in _LIMITS:
        try:
            most = (cgroup / limit).read_text(encoding="ascii").strip()
            taken = (cgroup / used).read_text(encoding="ascii").strip()
        except OSError:
            continue
        # `max`: this group has no limit of its own.
        return [int(most) - int(taken) + _stated(cgroup / stat, cached)] if most.isdigit() else []
    return []


def _stated(stat: Path, name: str) -> int:
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines()]
    except OSError:
        return 0
    return next((int(line[1]) for line in lines if line[0] == name), 0)
