"""Small files that are written whole or not at all: whoever reads meanwhile sees the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file under another name, and rename it; what killed processes left of it is removed.

    Args:
        path: The file; its folder exists.
        text: What it is to hold.
    """
    for left in path.parent.glob(f".{path.name}.*.part"):
        writer = left.name.removesuffix(".part").rpartition(".")[2]
        if writer.isdigit() and not is_running(int(writer)):
            left.unlink(missing_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def is_running(pid: int) -> bool:
    """Tell whether a process of this number runs, whosever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
