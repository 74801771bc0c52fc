"""The blocks of code in README, documentation and runbook: what each is, and why some are not run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

from docs.tools.pages import pages

PROJECT = Path(__file__).resolve().parents[2]
TOLD: Mapping[str, str] = {
    "README.md": "tests/e2e/test_readme.py",
    "README.pt-BR.md": "tests/unit/repository/test_readme.py",
    "docs/adding-a-use-case.md": "tests/e2e/test_tutorial.py",
    "docs/changing.md": "tests/e2e/test_changing.py",
    "docs/evidence_checklist.md": "tests/e2e/test_evidence.py",
}
"""Pages that tell a story: a test does their blocks one after the other, and holds what is printed against them."""
ALONE = ("docs/errors.md", "docs/gate.md", "docs/immature.md")
"""Pages whose Python needs no workspace."""
PROGRAMS: Mapping[str, str] = {
    "mlplatform": "parsed as click does; run where a page tells a story",
    "make": "its target exists; CI runs those that matter",
    "pytest": "its files and tests exist; CI runs them",
    "python": "the script or module exists",
    "pip": "the extras exist; installing takes the network",
    "databricks": "the Databricks CLI needs a workspace; bundle keys are looked up",
    "eval": "of the reader's shell",
    "export": "of the reader's shell",
    "source": "of the reader's shell",
    "_MLPLATFORM_COMPLETE=fish_source": "of the reader's shell",
    "id=$(mlplatform": "run where its page tells a story",
}
"""How a line of a shell is judged by the program that it begins with, and why it is not run."""
NOT_RUN: Mapping[tuple[str, str], str] = {
    ("docs/architecture/containers.md", "platform/mlplatform/"): "a list of folders",
    ("docs/plan.md", "features_lender      ~ code changed"): "what a plan looks like",
    ("docs/changing.md", "features_lender: column"): "what a run says",
    ("docs/runbook/damaged-data.md", "Error: The table"): "what a command says",
    ("docs/runbook/disaster-recovery.md", "Error: The registry"): "what a command says",
    ("docs/runbook/failed-job.md", "Error: "): "what a command says",
    ("docs/runbook/quarantine-full.md", "Note: quarantine_facts"): "what a run says",
    ("docs/runbook/stuck-approval.md", "Error: Version 2"): "what a command says",
    ("docs/adding-a-use-case.md", "def fit("): "one method of a class; it is compiled",
    (
        "docs/feature-client.md",
        "archive = ws.fe.build_model_env",
    ): "MLflow builds it within Databricks' runtime only; it is compiled",
}
"""Blocks that no test runs, by page and beginning, and why."""
_PYTHON_WITHIN = re.compile(r"^python - <<'(\w+)'\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class CodeBlock:
    """A block of code on a page.

    Attributes:
        page: The page, from the project's folder.
        line: The line that it begins on.
        kind: The word behind its fence; "" where it has none, or is indented.
        word: The rest of that line: a file, an exit code.
        text: What stands in it.
    """

    page: str
    line: int
    kind: str
    word: str
    text: str

    @property
    def name(self) -> str:
        """Its place, for the name of a test."""
        return f"{self.page}:{self.line}"

    @property
    def why_not(self) -> str:
        """Why it is not run; "" where it is."""
        begins = self.text.lstrip()
        return next(
            (why for (page, start), why in NOT_RUN.items() if page == self.page and begins.startswith(start)), ""
        )

    @property
    def in_shell(self) -> bool:
        """Whether it is typed in a shell."""
        return self.kind in ("sh", "console") or (not self.kind and first_word(self.text) in PROGRAMS)

    @property
    def python(self) -> list[str]:
        """The programs in Python that it holds: itself, or what a shell hands to Python."""
        if self.kind in ("python", "py"):
            return [self.text]
        return [found[1] for found in _PYTHON_WITHIN.findall(self.text)] if self.in_shell else []

    def commands(self) -> Iterator[str]:
        """Yield the lines of a shell, continued ones put together, without comments and what is handed to Python."""
        text = _PYTHON_WITHIN.sub("", self.text).replace("\\\n", " ")
        for line in text.splitlines():
            command = line.strip().removeprefix("$ ")
            if command and not command.startswith("#"):
                yield command


def first_word(text: str) -> str:
    """Return the program that a line begins with.

    Examples:
        >>> first_word("  $ mlplatform status"), first_word("")
        ('mlplatform', '')
    """
    words = text.strip().removeprefix("$ ").split(maxsplit=1)
    return words[0] if words else ""


@cache
def code_blocks() -> tuple[CodeBlock, ...]:
    """Return the blocks of README, documentation and runbook, page by page."""
    parser = MarkdownIt("commonmark").enable("table")
    found = []
    for page, text in pages().items():
        if not page.startswith(("docs/", "README")):
            continue
        for token in parser.parse(text):
            if token.type in ("fence", "code_block") and token.map:
                kind, _, word = token.info.strip().partition(" ")
                found.append(CodeBlock(page, token.map[0] + 1, kind, word, token.content))
    return tuple(found)


def words(command: str) -> list[str]:
    """Return the words of a command, its comment left out."""
    return shlex.split(command, comments=True)
