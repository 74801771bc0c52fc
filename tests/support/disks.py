"""Disks of the tests: of a known size, or read-only. What this machine cannot do is skipped."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BLOCK = 4096


class SmallDisk:
    """A file system in memory, of a size that can be changed.

    Attributes:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        """Take a mounted one; `small_disk` makes it."""
        self.folder = folder

    def leave(self, free: int) -> None:
        """Let so many bytes be free, whatever is on it."""
        state = os.statvfs(self.folder)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        size = -(-(used + free) // _BLOCK) * _BLOCK
        _run("mount", "-o", f"remount,size={max(size, _BLOCK)}", str(self.folder))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a file system in memory; skips the test where this process may not."""
    folder.mkdir()
    done = _run("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder), check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write to a folder: root by a mount, others by its permissions."""
    if os.geteuid() == 0:
        done = _run("mount", "--bind", str(folder), str(folder), check=False)
        if done.returncode:
            pytest.skip(f"root may write anywhere, and nothing can be mounted here: {done.stderr.strip()}")
        _run("mount", "-o", "remount,ro,bind", str(folder))
        try:
            yield
        finally:
            _run("umount", "--lazy", str(folder))
        return
    places = [folder, *folder.rglob("*")]
    modes = {place: stat.S_IMODE(place.stat().st_mode) for place in places}
    for place, mode in modes.items():
        place.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for place, mode in modes.items():
            place.chmod(mode)


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """Return digest and time of change of all files and folders below one, by path."""
    found = {}
    for place in [folder, *sorted(folder.rglob("*"))]:
        digest = hashlib.sha256(place.read_bytes()).hexdigest() if place.is_file() else ""
        found[str(place.relative_to(folder))] = (digest, place.stat().st_mtime_ns)
    return found


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"there is no {command[0]} here")
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=check)
