"""One process at a time: an advisory file lock that the operating system releases when its holder dies."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
