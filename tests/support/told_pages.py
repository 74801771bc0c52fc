"""Pages of the documentation that tell a story: their blocks are done, and what is printed is held against them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = 900


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        kind: `sh`: is run; `diff`: is applied; `python`: is written; `text`: lines that what ran last has printed.
        word: The file of `python`; what `sh` exits with, unless that is 0.
        text: What it holds.
    """

    kind: str
    word: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    return [Block(*found) for found in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def call(command: list[str], folder: Path, *, code: int = 0, given: str | None = None) -> str:
    """Run in the folder with this environment's programs, and none of this project's settings; return what is printed.

    Args:
        command: The command.
        folder: Where it runs.
        code: What it has to exit with.
        given: What it reads.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {key: value for key, value in os.environ.items() if not key.startswith("MLPLATFORM_")} | {"PATH": path}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=_SECONDS, input=given
    )
    assert done.returncode == code, f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if not code else done.stdout + done.stderr


def do(block: Block, folder: Path, printed: str, *, edits: str) -> str:
    """Do what a block says, and return what was printed last.

    Args:
        block: The block.
        folder: Where.
        printed: By what ran before.
        edits: Where the files lie that a diff may touch.
    """
    if block.kind == "python":
        (folder / block.word).write_text(block.text, encoding="utf-8")
    elif block.kind == "sh":
        return call(["bash", "-euo", "pipefail", "-c", block.text], folder, code=int(block.word or 0))
    elif block.kind == "diff":
        files = re.findall(r"^\+\+\+ b/(\S+)$", block.text, re.MULTILINE)
        assert files
        assert all(file.startswith(edits) for file in files)
        call(["git", "apply", "-p1", "-"], folder, given=block.text)
    elif block.kind == "text":
        told = " ".join(printed.split())
        for line in filter(None, block.text.splitlines()):
            assert " ".join(line.split()) in told, f"{line!r} is not what was printed:\n{printed}"
    return printed
