"""docs/changing.md does what it says: a column more, another feature under a champion, history corrected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.told_pages import PROJECT, blocks, call, do

PAGE = PROJECT / "docs" / "changing.md"
USE_CASE = "use_cases/delivery_delay"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of its own with a copy of the use case."""
    shutil.copytree(PROJECT / USE_CASE, tmp_path / USE_CASE, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    return tmp_path


def test_its_edits_fit_the_use_case_one_after_the_other(folder: Path) -> None:
    diffs = [block for block in blocks(PAGE) if block.kind == "diff"]
    assert len(diffs) >= 3
    for block in diffs:
        do(block, folder, "", edits=f"{USE_CASE}/")
    # The page adds a feature in one line.
    lines = diffs[0].text.splitlines()
    assert len([line for line in lines if line.startswith("+") and not line.startswith("+++")]) == 1


@pytest.mark.slow
def test_the_story_goes_as_it_is_told(folder: Path) -> None:
    printed = ""
    for block in blocks(PAGE):
        printed = do(block, folder, printed, edits=f"{USE_CASE}/")
    changes = json.loads(call(["mlplatform", "history", "delivery_delay", "--changes", "--json"], folder))
    kinds = [change["kind"] for change in changes]
    assert kinds[:2] == ["additive", "breaking"]
    assert changes[1]["reason"] == "three hours count too much in a mean"
    status = json.loads(call(["mlplatform", "status", "delivery_delay", "--json"], folder))
    assert status["champion"] is not None
