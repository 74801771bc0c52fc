"""Every command that the documents show is one that the command line takes, as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mlplatform.cli.main import cli
from tests.support.command_lines import parse, words_of

PROJECT = Path(__file__).resolve().parents[3]
FOLDERS = ("", "docs/**/", "use_cases/*/", "tests/")
PAGES = [
    *sorted(path for folder in FOLDERS for path in PROJECT.glob(f"{folder}*.md")),
    *(PROJECT / "platform" / "mlplatform" / "scaffold" / "templates").glob("*.md.j2"),
]
SCRIPTS = [PROJECT / "Makefile", *sorted((PROJECT / ".ci").iterdir())]
IN_CODE = re.compile(r"^(?:\s*\$ |\s*)(mlplatform .*)$")
IN_SCRIPT = re.compile(r"(?:^|[\s/])(mlplatform (?:[a-z-]+ ?)+.*)$")
IN_TEXT = re.compile(r"`(mlplatform(?:-job)? [^`]+)`")


def shown() -> Iterator[tuple[str, str, bool]]:
    """Yield where a command stands, the command, and whether it is whole: in running text it may be just a name."""
    for path in (*PAGES, *SCRIPTS):
        where = path.relative_to(PROJECT).as_posix()
        if where == "CHANGELOG.md":  # what was once
            continue
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            match = (IN_CODE if path in PAGES else IN_SCRIPT).match(line) if path in PAGES else IN_SCRIPT.search(line)
            if match and not line.lstrip().startswith("#"):
                yield where, match[1], True
            for mention in IN_TEXT.findall(line):
                yield where, mention, False


DOCUMENTED = list(shown())


def test_they_are_found() -> None:
    pages = {where for where, _, whole in DOCUMENTED if whole}
    assert {
        "README.md",
        "docs/gate.md",
        "docs/databricks.md",
        "docs/adding-a-use-case.md",
        "CONTRIBUTING.md",
        "Makefile",
    } <= pages
    assert len(DOCUMENTED) > 80


@pytest.mark.parametrize(("where", "text", "whole"), [pytest.param(*it, id=f"{it[0]}: {it[1]}") for it in DOCUMENTED])
def test_a_command_that_is_shown_is_taken(where: str, text: str, whole: bool) -> None:
    words = words_of(text)
    try:
        parse(words)
    except click.exceptions.Exit:
        return  # --help, --version
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
        assert not whole, f"{where}: {text} lacks something"
    except click.UsageError as error:
        if not whole and error.message == "Missing command.":
            return
        pytest.fail(f"{where}: {text}: {error.format_message()}")


EXAMPLES = [
    pytest.param(line.strip(), id=line.strip())
    for command in cli.commands.values()
    for item in (command.commands.values() if isinstance(command, click.Group) else [command])
    for line in (item.epilog or "").replace("\\\n", " ").splitlines()
    if line.strip().startswith("mlplatform ")
]


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_in_the_help_is_taken(line: str) -> None:
    parse(words_of(line))


def tasks() -> Iterator[Any]:
    for path in sorted((PROJECT / "resources").glob("*.yml")):
        jobs = yaml.safe_load(path.read_text(encoding="utf-8")).get("resources", {}).get("jobs", {})
        for key, job in jobs.items():
            for task in job["tasks"]:
                if "python_wheel_task" in task:
                    parameters = task["python_wheel_task"]["parameters"]
                    yield pytest.param(parameters, id=f"{key} {task['task_key']}")


@pytest.mark.parametrize("parameters", list(tasks()))
def test_a_task_of_a_job_is_taken(parameters: list[str]) -> None:
    values = {"model_version": "3"}
    parse(
        [
            re.sub(r"\{\{job\.parameters\.(\w+)\}\}", lambda match: values.get(match[1], "x"), word)
            for word in parameters
        ]
    )
