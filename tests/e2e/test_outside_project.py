"""A tiny project of somebody else's, which depends on the built wheel and brings a use case of its own."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import venv
import zipfile
from datetime import date, timedelta
from pathlib import Path

import pytest

from mlplatform.scaffold.render import new_use_case

PROJECT = Path(__file__).resolve().parents[2]
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "their-models"
version = "1.0"
dependencies = ["mlplatform"]

[project.entry-points."mlplatform.use_cases"]
renewal = "their_models.renewal:Renewal"

[tool.hatch.build.targets.wheel]
packages = ["their_models"]
"""
AS_OF = "2024-06-01"


def build(project: Path, to: Path) -> Path:
    """Build a wheel with the build backend of this environment: none is downloaded."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(to), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = to.glob("*.whl")
    return built


def write_csv(path: Path) -> Path:
    dice = random.Random(5)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["contract", "asked_on", "plan", "price", "renewed"])
        for number in range(600):
            price = dice.uniform(1, 10)
            day = date(2024, 1, 1) + timedelta(days=number % 200)
            renewed = "yes" if dice.random() < 1 - price / 11 else "no"
            writer.writerow([f"C{number}", day, dice.choice("abc"), f"{price:.2f}", renewed])
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with both wheels installed, which sees ours for the dependencies."""
    base = tmp_path_factory.mktemp("outside")
    theirs = base / "their-models"
    new_use_case(
        "renewal",
        write_csv(base / "contracts.csv"),
        into=theirs / "their_models",
        task="classification",
        entity="contract",
        label="renewed",
        timestamp="asked_on",
    )
    (theirs / "their_models" / "__init__.py").touch()
    (theirs / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    home = base / "env"
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    for number, project in enumerate((PROJECT, theirs)):
        with zipfile.ZipFile(build(project, base / f"dist{number}")) as archive:
            archive.extractall(site)
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    # Appended, so that the wheels' files come first; not as a site folder, whose .pth would add the checkout.
    (site / "zz_dependencies.pth").write_text(f"{ours}\n", encoding="utf-8")
    return home


def mlplatform(environment: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command where no `use_cases` folder lies."""
    command = [environment / "bin" / "python", "-m", "mlplatform.cli", *arguments]
    env = {key: value for key, value in os.environ.items() if not key.startswith("MLPLATFORM_")}
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=env, check=False, timeout=600
    )


def test_the_installed_use_case_is_found_by_its_entry_point(environment: Path, tmp_path: Path) -> None:
    done = mlplatform(environment, "config", "show", "renewal", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["file"].startswith(str(environment))
    wrong = mlplatform(environment, "config", "show", "renewals", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Did you mean renewal?" in wrong.stderr


def test_it_reaches_a_champion_and_predictions(environment: Path, tmp_path: Path) -> None:
    done = mlplatform(environment, "run", "renewal", "--as-of", AS_OF, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stages = {stage["stage"]: stage for stage in json.loads(done.stdout)["stages"]}
    assert stages["gate"]["details"]["outcome"] == "promoted"
    assert stages["score"]["rows_out"] > 0


def write_second(environment: Path, tmp_path: Path) -> Path:
    """Write a use case by the installed command into a folder that nobody knows; return that folder."""
    folder = tmp_path / "elsewhere"
    csv_file = write_csv(tmp_path / "contracts.csv")
    arguments = ("--task", "classification", "--entity", "contract", "--timestamp", "asked_on", "--label", "renewed")
    made = mlplatform(
        environment, "new-use-case", "second", *arguments, "--from-csv", csv_file, "--use-cases", folder, cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    return folder


def test_a_folder_of_use_cases_anywhere_is_found_too(environment: Path, tmp_path: Path) -> None:
    folder = write_second(environment, tmp_path)
    done = mlplatform(environment, "config", "show", "second", "--use-cases", folder, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"].startswith(str(folder))


@pytest.mark.slow
def test_such_a_use_case_keeps_the_contract(environment: Path, tmp_path: Path) -> None:
    folder = write_second(environment, tmp_path)
    done = mlplatform(environment, "check", "second", "--use-cases", folder, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {item["check"]: item["status"] for item in json.loads(done.stdout)["checks"]}
    assert checks.pop("resources") == "skipped", "no bundle deploys it"
    for name in ("leaks", "incremental"):
        assert checks.pop(name) == "skipped", "no contract has a history, so there is no feature table"
    assert set(checks.values()) == {"passed"}
