"""docs/evidence_checklist.md: each promise's command shows what the page says, in an empty workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.told_pages import PROJECT, Block, blocks

PAGE = PROJECT / "docs" / "evidence_checklist.md"
SECONDS = 1800


def run(block: Block, home: Path) -> str:
    """Run what is typed in the project's folder, and return what is printed."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("MLPLATFORM_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # A terminal wide enough that no cell of a table is broken over lines.
    env = settings | {"PATH": path, "MLPLATFORM_HOME": str(home), "COLUMNS": "240"}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == int(block.word or 0), f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_each_promise_has_its_command() -> None:
    kinds = [block.kind for block in blocks(PAGE)]
    assert kinds.count("sh") >= 15
    assert set(kinds) == {"sh", "text"}
    promises = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("- [ ] ")]
    assert len(promises) == kinds.count("sh") - 1, "the first block is the workspace's"


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
def test_each_command_shows_what_the_page_says(tmp_path: Path) -> None:
    told = ""
    for block in blocks(PAGE)[1:]:
        if block.kind == "sh":
            told = " ".join(run(block, tmp_path).split())
            continue
        for line in filter(None, block.text.splitlines()):
            assert " ".join(line.split()) in told, f"{line!r} is not what was printed:\n{told}"
