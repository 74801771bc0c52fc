"""docs/adding-a-use-case.md does what it says: from a CSV that the project does not know to predictions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TUTORIAL = PROJECT / "docs" / "adding-a-use-case.md"
MOST_EDITED_LINES = 40
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    kind: str
    file: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))]


def run(command: list[str], folder: Path, **more: str) -> str:
    """Run in the folder with this environment's programs, and none of this project's settings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {key: value for key, value in os.environ.items() if not key.startswith("MLPLATFORM_")} | {"PATH": path}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900, **more
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def edited(diff: str) -> int:
    """How many lines are added, or taken away without another in their place."""
    count = 0
    for hunk in re.split(r"^@@.*$", diff, flags=re.MULTILINE)[1:]:
        lines = [line for line in hunk.splitlines() if not line.startswith(("+++", "---"))]
        added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
        count += max(added, removed)
    return count


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after everything in the tutorial was done."""
    where = tmp_path_factory.mktemp("tutorial")
    output = ""
    for block in blocks():
        if block.kind == "python":
            (where / block.file).write_text(block.text, encoding="utf-8")
        elif block.kind == "sh":
            output = run(["bash", "-euo", "pipefail", "-c", block.text], where)
        elif block.kind == "diff":
            # What is edited is the use case, nothing else.
            files = re.findall(r"^\+\+\+ b/(\S+)$", block.text, re.MULTILINE)
            assert files
            assert all(file.startswith("use_cases/machine_failure/") for file in files)
            run(["git", "apply", "-p1", "-"], where, input=block.text)
        elif block.kind == "text":
            told = " ".join(output.split())
            for line in filter(None, block.text.splitlines()):
                assert " ".join(line.split()) in told, f"{line!r} is not what was printed:\n{output}"
    return where


def test_there_is_something_to_run() -> None:
    kinds = [block.kind for block in blocks()]
    assert kinds.count("sh") >= 6
    assert kinds.count("diff") == 1


def test_few_lines_are_edited() -> None:
    (diff,) = [block.text for block in blocks() if block.kind == "diff"]
    assert 0 < edited(diff) <= MOST_EDITED_LINES


@pytest.mark.slow
def test_the_tutorial_ends_with_a_champion_and_predictions(folder: Path) -> None:
    status = json.loads(run(["mlplatform", "status", "machine_failure", "--json"], folder))
    assert status["champion"] is not None
    history = json.loads(run(["mlplatform", "history", "machine_failure", "--json"], folder))
    assert history
    shown = json.loads(run(["mlplatform", "config", "show", "machine_failure", "--json"], folder))
    values = {item["key"]: item for item in shown["settings"]}
    assert (values["label.horizon"]["value"], values["label.horizon"]["origin"]) == ("30 days", "config.yml line 9")
    tables = (folder / "use_cases" / "machine_failure" / "tables.py").read_text(encoding="utf-8")
    assert tables.count("repair_cost") == 1, "it is a landed column, and no fact"
