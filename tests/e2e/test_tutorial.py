"""docs/adding-a-use-case.md does what it says: from a CSV that the project does not know to predictions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.told_pages import PROJECT, blocks, call, do

TUTORIAL = PROJECT / "docs" / "adding-a-use-case.md"
MOST_EDITED_LINES = 40


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
    printed = ""
    for block in blocks(TUTORIAL):
        # What is edited is the use case, nothing else.
        printed = do(block, where, printed, edits="use_cases/machine_failure/")
    return where


def test_there_is_something_to_run() -> None:
    kinds = [block.kind for block in blocks(TUTORIAL)]
    assert kinds.count("sh") >= 6
    assert kinds.count("diff") == 1


def test_few_lines_are_edited() -> None:
    (diff,) = [block.text for block in blocks(TUTORIAL) if block.kind == "diff"]
    assert 0 < edited(diff) <= MOST_EDITED_LINES


@pytest.mark.slow
def test_the_tutorial_ends_with_a_champion_and_predictions(folder: Path) -> None:
    status = json.loads(call(["mlplatform", "status", "machine_failure", "--json"], folder))
    assert status["champion"] is not None
    history = json.loads(call(["mlplatform", "history", "machine_failure", "--json"], folder))
    assert history
    shown = json.loads(call(["mlplatform", "config", "show", "machine_failure", "--json"], folder))
    values = {item["key"]: item for item in shown["settings"]}
    assert (values["label.horizon"]["value"], values["label.horizon"]["origin"]) == ("30 days", "config.yml line 9")
    tables = (folder / "use_cases" / "machine_failure" / "tables.py").read_text(encoding="utf-8")
    assert tables.count("repair_cost") == 1, "it is a landed column, and no fact"
