"""Every block of code in README, documentation and runbook is judged; what is not run says why in one list."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mlplatform import EventSpine
from mlplatform.config.settings import UseCaseSettings, load_settings
from tests.support import documents
from tests.support.command_lines import parse, words_of
from tests.support.documents import ALONE, NOT_RUN, PROGRAMS, PROJECT, TOLD, CodeBlock, code_blocks
from use_cases.credit_risk import tables

MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
LEAST = {"owner": "a@example.com", "label": {"horizon": "30 days"}, "gate": {"floor": 0.5}}
SECTIONS = {*UseCaseSettings.model_fields, "environments"}


def is_settings(block: CodeBlock) -> bool:
    """Tell whether a block holds settings of a use case."""
    if block.kind not in ("", "yaml", "yml"):
        return False
    try:
        held = yaml.safe_load(block.text)
    except yaml.YAMLError:
        return False
    return isinstance(held, dict) and set(held) <= SECTIONS


def given(*kinds: str) -> list[Any]:
    return [pytest.param(block, id=block.name) for block in code_blocks() if block.kind in kinds]


def test_they_are_found() -> None:
    by_page = {block.page for block in code_blocks()}
    assert {"README.md", "docs/gate.md", "docs/runbook/README.md", "docs/runbook/failed-job.md"} <= by_page
    assert len(code_blocks()) > 100


@pytest.mark.parametrize("block", [pytest.param(block, id=block.name) for block in code_blocks()])
def test_each_block_is_of_a_kind_that_is_judged_or_says_why_not(block: CodeBlock) -> None:
    judged = (
        block.in_shell
        or block.kind in ("python", "py", "toml", "json", "text")
        or (block.kind == "diff" and block.page in TOLD)
        or is_settings(block)
    )
    assert judged or block.why_not, f"{block.name}: what is this, and who looks at it?\n{block.text}"


def test_what_is_not_run_is_there_and_says_why() -> None:
    used = {key for key in NOT_RUN for block in code_blocks() if block.page == key[0] and block.why_not == NOT_RUN[key]}
    assert used == set(NOT_RUN), "the list names blocks that are gone"
    assert all(NOT_RUN.values())
    assert all(PROGRAMS.values())


def test_pages_that_tell_a_story_are_told_by_their_tests() -> None:
    for page, test in TOLD.items():
        assert Path(page).name in (PROJECT / test).read_text(encoding="utf-8"), test


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_what_is_typed_is_what_a_shell_takes() -> None:
    for page in {block.page for block in code_blocks()}:
        script = "\n".join(
            # A place to be filled in, as <workspace>, would be read as a file.
            re.sub(r"<([a-z ]+)>", r"\1", re.sub(r"^\s*\$ ", "", block.text, flags=re.MULTILINE))
            for block in code_blocks()
            if block.page == page and block.in_shell
        )
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}: {done.stderr}"


COMMANDS = [
    pytest.param(command, id=f"{block.name}: {command}"[:150])
    for block in code_blocks()
    if block.in_shell
    for command in block.commands()
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_exists(command: str) -> None:
    program = documents.first_word(command)
    assert program in PROGRAMS, f"nobody looks at {program}"
    match program:
        case "mlplatform":
            try:
                parse(words_of(command))
            except click.exceptions.Exit:
                return  # --help, --version
        case "make":
            assert re.search(rf"^{re.escape(documents.words(command)[1])}:", MAKEFILE, re.MULTILINE), command
        case "pytest":
            check_pytest(documents.words(command)[1:])
        case "python":
            check_python(documents.words(command)[1:])
        case "pip":
            check_pip(command)
        case "databricks":
            check_databricks(documents.words(command)[1:])


def check_pytest(words: list[str]) -> None:
    for word in words:
        path, _, test = word.partition("::")
        if "/" in path:
            assert (PROJECT / path).exists() or path.startswith("use_cases/machine_failure"), word
            assert not test or f"def {test}" in (PROJECT / path).read_text(encoding="utf-8"), word


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words
    elif words[0] not in ("-c", "-"):
        written = {block.word for block in code_blocks() if block.kind == "python"}
        assert (PROJECT / words[0]).is_file() or words[0] in written, words


def check_pip(command: str) -> None:
    for extras in re.findall(r"\[([\w,]+)\]", command):
        assert set(extras.split(",")) <= set(EXTRAS), command
    for file in re.findall(r"-r (\S+)", command):
        assert (PROJECT / file).is_file(), command


def check_databricks(words: list[str]) -> None:
    """Look a job's key up among the bundle's; the rest is the Databricks CLI's."""
    if words[:2] != ["bundle", "run"]:
        return
    keys = {
        key
        for path in (PROJECT / "resources").glob("*.yml")
        for key in yaml.safe_load(path.read_text(encoding="utf-8")).get("resources", {}).get("jobs", {})
    }
    assert set(words) & keys, words


@pytest.mark.parametrize("block", [pytest.param(b, id=b.name) for b in code_blocks() if is_settings(b)])
def test_settings_are_settings(block: CodeBlock, tmp_path: Path) -> None:
    held = yaml.safe_load(block.text)
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(merged(held)), encoding="utf-8")
    for env in ("dev", *held.get("environments", ())):
        load_settings(path, env)


def merged(held: dict[str, Any]) -> dict[str, Any]:
    """Add what a use case has to say to the settings that a page shows."""
    metric = held.get("training", {}).get("metric")
    least = LEAST | ({"task": "regression"} if metric in ("mae", "rmse") else {})
    both = {
        key: {**least[key], **held[key]}
        if isinstance(least.get(key), dict) and isinstance(held.get(key), dict)
        else held[key]
        for key in held
    }
    return {**least, **both}


@pytest.mark.parametrize("block", given("toml", "json"))
def test_what_is_shown_as_toml_or_json_is_that(block: CodeBlock) -> None:
    assert (tomllib if block.kind == "toml" else json).loads(block.text)


PYTHON = [
    pytest.param(text, id=f"{block.name} {number}")
    for block in code_blocks()
    for number, text in enumerate(block.python)
]


@pytest.mark.parametrize("text", PYTHON)
def test_python_compiles_and_what_it_imports_exists(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mlplatform"):
            module = importlib.import_module(node.module)
            for item in node.names:
                assert hasattr(module, item.name), f"{node.module} has no {item.name}"


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.name) for b in code_blocks() if b.page in ALONE and b.kind == "python"]
)
def test_python_that_needs_no_workspace_runs(block: CodeBlock) -> None:
    # Parts of a use case's module: the page says whose.
    names = {"EventSpine": EventSpine, "Loans": tables.Loans, "Outcomes": tables.Outcomes, "__name__": "__page__"}
    exec(compile(block.text, block.name, "exec"), names)


def test_a_block_that_nobody_judges_is_noticed() -> None:
    block = CodeBlock("docs/gate.md", 1, "rust", "", "fn main() {}")
    with pytest.raises(AssertionError, match="who looks at it"):
        test_each_block_is_of_a_kind_that_is_judged_or_says_why_not(block)
    with pytest.raises(AssertionError, match="nobody looks at cargo"):
        test_a_command_is_one_that_exists("cargo run")
    with pytest.raises(click.UsageError):
        test_a_command_is_one_that_exists("mlplatform runn credit_risk")
