"""Two very different use cases in one workspace, replayed by one command, stopped and gone on with; then a backfill."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both use cases, with a first step of their simulations alone."""
    made = tmp_path_factory.mktemp("use_cases")
    for name in ("credit_risk", "delivery_delay"):
        shutil.copytree(PROJECT / "use_cases" / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
        ends_after(made / name, 0)
    return made


def ends_after(use_case: Path, weeks: int) -> None:
    config = use_case / "config.yml"
    start = re.search(r"start: (\S+)", config.read_text())
    assert start is not None
    end = {0: start[1], 1: "2013-02-05"}[weeks]
    config.write_text(re.sub(r"end: \S+", f"end: {end}", config.read_text()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def mlplatform(*arguments: object, home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlplatform.cli", *map(str, arguments), "--home", str(home)]
    return subprocess.run(
        [*command, "--use-cases", str(folder)], capture_output=True, text=True, cwd=PROJECT, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def simulated(home: Path, folder: Path) -> Any:
    done = mlplatform("simulate", "credit_risk", "delivery_delay", "--json", home=home, folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["use_cases"]


def test_each_use_case_is_replayed_as_its_settings_say(simulated: Any) -> None:
    assert [(item["use_case"], item["every"], len(item["steps"])) for item in simulated] == [
        ("credit_risk", "quarter", 1),
        ("delivery_delay", "week", 1),
    ]
    credit, delay = (item["steps"][0] for item in simulated)
    assert (credit["as_of"][:10], credit["scored"], credit["decision"]) == ("2006-01-01", 3019, "v1 promoted")
    assert (delay["as_of"][:10], delay["decision"]) == ("2013-01-29", "v1 promoted")
    # The legs of the day before: scoring is daily, and the first one looks back a day.
    assert 800 < delay["scored"] < 1000
    assert all(Path(item["paths"]["report"]).is_file() for item in simulated)


def test_the_same_command_goes_on_where_it_stopped(simulated: Any, home: Path, folder: Path) -> None:
    ends_after(folder / "delivery_delay", 1)
    done = mlplatform("simulate", "credit_risk", "delivery_delay", home=home, folder=folder)
    assert done.returncode == 0, done.stderr
    # Nothing was run for the steps that had been done: one new step, and a summary for each.
    assert done.stderr.count(": score\n") == 1
    assert "credit_risk, every quarter" in done.stdout
    assert "delivery_delay, every week" in done.stdout
    row = next(line for line in done.stdout.splitlines() if "2013-02-05" in line)
    assert "v1" in row


def test_status_knows_both(simulated: Any, home: Path, folder: Path) -> None:
    done = mlplatform("status", "--json", home=home, folder=folder)
    champions = {fact["use_case"]: fact["champion"] for fact in json.loads(done.stdout)}
    assert champions.items() >= {"credit_risk": 1, "delivery_delay": 1}.items()


def test_a_backfill_of_what_is_right_changes_nothing(simulated: Any, home: Path, folder: Path) -> None:
    command = ("backfill", "delivery_delay", "--table", "origin", "--from", "2013-01-10", "--to", "2013-01-12T06:00")
    done = mlplatform(*command, "--json", home=home, folder=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # Three origins, every hour of two days and six hours, both ends included.
    assert (result["before"], result["after"]) == (3 * 55, 3 * 55)
    assert (result["added"], result["removed"], result["changed"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--table", "orgin", "--from", "2013-01-10", "--to", "2013-01-12"), 2, "Did you mean origin?"),
        (("--table", "origin", "--from", "2013-01-12", "--to", "2013-01-10"), 2, "Swap --from and --to."),
    ],
)
def test_a_backfill_says_what_is_wrong(
    simulated: Any, home: Path, folder: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = mlplatform("backfill", "delivery_delay", *arguments, home=home, folder=folder)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
