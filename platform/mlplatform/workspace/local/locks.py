"""One process at a time: an advisory file lock that the operating system releases when its holder dies."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = logging.getLogger(__name__)
_MOMENT_SECONDS, _LOOK_SECONDS = 2.0, 0.02


@contextmanager
def file_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of this name, waiting for it if another process (or thread) has it.

    Args:
        folder: Where lock files are kept.
        name: What is being protected; any text.
    """
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:80]
    # The digest keeps names apart that read the same once cleaned for the file system.
    path = folder / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.lock"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, name)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, name: str) -> None:
    """Wait for a lock, and say so where it takes longer than a moment."""
    aloud = time.monotonic() + _MOMENT_SECONDS
    while time.monotonic() < aloud:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOOK_SECONDS)
        else:
            return
    LOG.warning("Another process is at '%s': waiting for it to end.", name)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
