"""What is costly to make, and the same for several modules: made once for a whole run of the tests, then copied.

With pytest-xdist each worker is a process of its own, with fixtures of its own; the run's folder is what they share.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pytest

Made = TypeVar("Made")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Return what the first worker that asks for it makes; the others wait until it is there.

    Args:
        factory: Of pytest: knows the run's folder.
        name: Of what is made: the same for all who share it.
        make: Makes it in a folder that is there and empty; what it returns is pickled. Nobody may write there later.
    """
    own = factory.getbasetemp()
    # A worker's own folder lies in the run's.
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made_once" / name
    kept = folder.with_name(f"{name}.pickle")
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker whose making failed
            folder.mkdir()
            kept.write_bytes(pickle.dumps(make(folder)))
    made: Made = pickle.loads(kept.read_bytes())
    return made
