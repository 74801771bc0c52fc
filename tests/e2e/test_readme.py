"""The use case that the README shows is whole: as it stands it passes the contract, and a run scores with it."""

from __future__ import annotations

import csv
import math
import random
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents import CodeBlock, code_blocks, words
from tests.support.typed import typed

README = "README.md"
FIRST, AFTER_LAST = date(2024, 1, 1), date(2025, 2, 1)


def blocks() -> list[CodeBlock]:
    return [block for block in code_blocks() if block.page == README]


def deliver(landing: Path) -> None:
    """Write the files that the README speaks of: 8 subscriptions a day; small ones, and those of one plan, end."""
    dice = random.Random(3)
    signups, endings = defaultdict(list), defaultdict(list)
    for number in range(8 * (AFTER_LAST - FIRST).days):
        began = FIRST + timedelta(days=number // 8)
        account, plan, seats = f"A{number:05d}", dice.choice(["basic", "team", "pro"]), dice.randint(1, 20)
        signups[f"{began:%Y-%m}"].append((account, began, plan, seats))
        if dice.random() < 1 / (1 + math.exp(0.3 * seats - 1 - 1.5 * (plan == "basic"))):
            ended = began + timedelta(days=dice.randint(3, 80))
            endings[f"{ended:%Y-%m}"].append((account, ended))
    landing.mkdir()
    for name, header, files in (
        ("signups", ("account", "began_at", "plan", "seats"), signups),
        ("endings", ("account", "ended_at"), endings),
    ):
        for month, rows in files.items():
            with (landing / f"{name}_{month}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    for block in blocks():
        if block.word:
            path = folder / block.word
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    deliver(folder / "use_cases" / "subscriptions" / "data")
    return folder


def commands_about(use_case: str) -> list[list[str]]:
    lines = (line for block in blocks() for line in block.commands() if line.startswith("mlplatform"))
    return [command for command in (words(line)[1:] for line in lines) if use_case in command]


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    """What the commands below the use case say, one after the other; nobody is here to look at a browser."""
    commands = commands_about("subscriptions")
    assert [command[0] for command in commands] == ["check", "run", "report"]
    return {
        command[0]: typed(*(word for word in command if word != "--open"), "--json", where=folder, code=0).json
        for command in commands
    }


def test_it_keeps_the_contract(told: dict[str, Any]) -> None:
    by_check = {check["check"]: check["status"] for check in told["check"]["checks"]}
    assert by_check.pop("resources") == "skipped"  # there is no bundle
    assert by_check
    assert set(by_check.values()) == {"passed"}


def test_a_run_promotes_a_champion_that_scores_what_is_due(told: dict[str, Any], folder: Path) -> None:
    by_stage = {stage["stage"]: stage for stage in told["run"]["stages"]}
    assert {stage["status"] for stage in by_stage.values()} == {"done"}
    assert by_stage["score"]["rows_out"] == 8 * 30  # of the last 30 days: how often it is scored is not set
    assert typed("status", "subscriptions", "--json", where=folder, code=0).json["champion"] == 1


def test_the_report_is_written(told: dict[str, Any]) -> None:
    page = Path(told["report"]["report"]).read_text(encoding="utf-8")
    assert "<h1>subscriptions</h1>" in page


@pytest.mark.slow
def test_the_commands_for_a_file_of_ones_own_lead_to_a_report(tmp_path: Path) -> None:
    """A file with semicolons, decimal commas, days as they are written in Brazil, and Latin-1."""
    dice = random.Random(4)
    lines = ["Código;Data;Cidade;Valor;Comprou"]
    for number in range(1000):
        day, value = date(2024, 1, 1) + timedelta(days=number // 5), round(dice.lognormvariate(6, 1.5), 2)
        bought = "sim" if value + dice.gauss(0, 300) > 450 else "não"
        city = dice.choice(["São Paulo", "Maceió", "Goiânia"])
        lines.append(f"{number:05d};{day:%d/%m/%Y};{city};{str(value).replace('.', ',')};{bought}")
    (tmp_path / "vendas.csv").write_text("\r\n".join(lines) + "\r\n", encoding="latin-1")
    (tmp_path / "use_cases").mkdir()
    commands = commands_about("vendas")
    assert [command[0] for command in commands] == ["new-use-case", "run", "report"]
    made, run, report = (
        typed(*(word for word in command if word != "--open"), "--json", where=tmp_path, code=0).json
        for command in commands
    )
    assert made
    assert {stage["status"] for stage in run["stages"]} <= {"done", "skipped"}
    assert next(stage for stage in run["stages"] if stage["stage"] == "refine")["rows_quarantined"] in (0, None)
    assert "<h1>vendas</h1>" in Path(report["report"]).read_text(encoding="utf-8")
