"""docs/reliability.md: each line names the test that proves it, and that test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "function"), NAMED, ids="::".join)
def test_a_test_that_the_page_names_exists(file: str, function: str):
    path = ROOT / file
    assert path.is_file(), f"{file} does not exist"
    functions = {
        node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)
    }
    assert not function or function in functions, f"{file} has no {function}"


def test_each_guarantee_names_a_test():
    for title in ("What each stage guarantees", "What holds whatever happens"):
        section = PAGE.split(f"## {title}\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
        rows = [line for line in section.splitlines() if line.startswith("|")][2:]
        assert rows
        for row in rows:
            assert "`tests/" in row.rsplit("|", maxsplit=2)[1], row
