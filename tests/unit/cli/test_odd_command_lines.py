"""Odd command lines, in this process: an exit code, one message that says what and the way out, and no traceback.

What is wrong shows before a workspace is opened: nothing is written for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlplatform.cli.main import main

Run = Callable[..., tuple[int, str, str]]

TIMES = {
    "9999-12-31": "not plausible",
    "9999-12-31T23:59:59-05:00": "beyond the calendar",
    "0000-01-01": "not a time",
    "0001-01-01": "not plausible",
    "0001-01-01T00:00:00+05:00": "beyond the calendar",
    "2567-01-01": "not plausible",  # 2024 in Thailand
    "1445-06-01": "not plausible",  # 2023 by the Islamic calendar
    "1402-10-11": "not plausible",  # 2024 in Iran
    "5784-01-01": "not plausible",  # 2023 by the Hebrew calendar
    "R6-01-01": "not a time",
    "令和6年1月1日": "not a time",
    "\u0662\u0660\u0662\u0664-01-01": "not a time",  # 2024 in Arabic digits
    "2024-13-01": "not a time",
    "2024-02-30": "not a time",
    "2024-01-01T25:00": "not a time",
    "2024-01-01'; DROP TABLE x": "not a time",
    "2024": "not a time",
    "1704067200": "not a time",
    "-1": "not a time",
    "yesterday": "not a time",
    "9" * 5000: "5,000 characters",
    "h\udcff": "not a time",
    "2024-\0-01": "not a time",
    "2024-01-01\n2025-01-01": "not a time",
}
TAKE_A_TIME = {
    "run": ["run", "credit_risk"],
    "plan": ["plan", "credit_risk"],
    "check": ["check", "credit_risk"],
    "score": ["score", "credit_risk"],
    "monitor": ["monitor", "credit_risk"],
    "retrain": ["retrain", "credit_risk"],
    "gate": ["gate", "credit_risk"],
    "promote": ["promote", "credit_risk", "--version", "1"],
    "rollback": ["rollback", "credit_risk", "--reason", "x"],
    "apply": ["apply", "credit_risk"],
    "rebuild": ["rebuild", "credit_risk", "--table", "features_lender"],
    "maintain": ["maintain", "credit_risk"],
}
NAMES = {
    "credit_rsk": "Did you mean credit_risk",
    "Credit_Risk": "There is no use case",
    "credit risk": "There is no use case",
    "credit-risk": "There is no use case",
    "../credit_risk": "There is no use case",
    "/etc/passwd": "There is no use case",
    "": "There is no use case",
    ".": "There is no use case",
    "a\nb": "'a\\nb'",
    "\x1b[31mred": "There is no use case",
    "h\udcff": "There is no use case",
    "größe": "There is no use case",
    "👻": "There is no use case",
    "x" * 100_000: "100,000 characters",
    "'; DROP TABLE x --": "There is no use case",
    "{{ 1 + 1 }}": "There is no use case",
    "%s%n": "There is no use case",
    "con\0fig": "There is no use case",
}
LINES: dict[str, tuple[list[str], int, str]] = {
    # Ranges
    "a range that ends before it starts": (
        ["simulate", "credit_risk", "--from", "2007-01-01", "--to", "2006-01-01", "--every", "day"],
        2,
        "lies before",
    ),
    "87 million steps": (
        ["simulate", "credit_risk", "--from", "1900-01-01", "--to", "2065-01-01", "--every", "1 minute"],
        2,
        "86,783,041 steps",
    ),
    "steps by the hour for two centuries": (
        ["simulate", "credit_risk", "--from", "1900-01-01", "--to", "2060-01-01", "--every", "hour"],
        2,
        "at most 100,000",
    ),
    "a range from the year 1": (
        ["simulate", "credit_risk", "--from", "0001-01-01"],
        2,
        "--from 0001-01-01 is not plausible",
    ),
    "a range to the year 9999": (
        ["simulate", "credit_risk", "--to", "9999-12-31"],
        2,
        "--to 9999-12-31 is not plausible",
    ),
    "steps of nothing": (["simulate", "credit_risk", "--every", "0 days"], 2, "does not move the time on"),
    "steps of 10^21 months": (
        ["simulate", "credit_risk", "--every", "1000000000000000000000 months"],
        2,
        "1,000 years",
    ),
    "steps of 5,000 digits": (["simulate", "credit_risk", "--every", "9" * 5000 + " days"], 2, "not a duration"),
    "steps of a fortnight": (["simulate", "credit_risk", "--every", "fortnight"], 2, "not a duration"),
    "a backfill from the year 1": (
        ["backfill", "credit_risk", "--table", "lender", "--from", "0001-01-01", "--to", "2006-01-01"],
        2,
        "not plausible",
    ),
    "a backfill to the year 9999": (
        ["backfill", "credit_risk", "--table", "lender", "--from", "2006-01-01", "--to", "9999-12-31"],
        2,
        "not plausible",
    ),
    "scoring since the year 1": (
        ["score", "credit_risk", "--as-of", "2006-01-01", "--since", "0001-01-01"],
        2,
        "--since 0001-01-01 is not plausible",
    ),
    "scoring since later": (
        ["score", "credit_risk", "--as-of", "2006-01-01", "--since", "2007-01-01"],
        2,
        "does not lie before",
    ),
    # Options
    "no command": ([], 2, "Usage"),
    "a command of none": (["nonsense"], 2, "No such command"),
    "a command that is empty": ([""], 2, "No such command"),
    "a command that is no text": (["h\udcff"], 2, "No such command"),
    "an option of none": (["run", "credit_risk", "--asof", "2006-01-01"], 2, "--as-of"),
    "an option without its value": (["run", "credit_risk", "--as-of"], 2, "requires an argument"),
    "a name too many": (["run", "credit_risk", "churn"], 2, "unexpected extra argument"),
    "no name": (["run"], 2, "Missing argument"),
    "a version of zero": (["promote", "credit_risk", "--version", "0"], 2, "not in the range"),
    "a version of 10^30": (["promote", "credit_risk", "--version", "1" + "0" * 30], 2, "not in the range"),
    "a version of 5,000 digits": (["gate", "credit_risk", "--version", "9" * 5000], 2, "--version"),
    "a version that is no number": (["gate", "credit_risk", "--version", "v3"], 2, "not a valid integer"),
    "a rollback to 10^30": (
        ["rollback", "credit_risk", "--reason", "x", "--to", "1" + "0" * 30],
        2,
        "not in the range",
    ),
    "rows without end": (["quarantine", "credit_risk", "--rows", "1" + "0" * 30], 2, "not in the range"),
    "rows below zero": (["quarantine", "credit_risk", "--rows", "-1"], 2, "not in the range"),
    "a stage of none": (["run", "credit_risk", "--stage", "trian", "--as-of", "2006-01-01"], 2, "Did you mean train"),
    "a stage that is empty": (["run", "credit_risk", "--stage", "", "--as-of", "2006-01-01"], 2, "stage"),
    "an alias of none": (["score", "credit_risk", "--as-of", "2006-01-01", "--alias", "winner"], 2, "champion"),
    "a workspace of none": (["run", "credit_risk", "--workspace", "locl"], 2, "Did you mean local"),
    "an environment of none": (["status", "--env", "prd"], 2, "Did you mean prod"),
    "an environment that is empty": (["status", "--env", ""], 2, "There is no environment ''"),
    "an environment that is a path": (["status", "--env", "../prod"], 2, "There is no environment"),
    "an environment that is no text": (["status", "--env", "h\udcff"], 2, "There is no environment"),
    "a catalog that is a path": (["history", "credit_risk", "--catalog", "../x"], 2, "not a valid catalog"),
    "a catalog of 5,000 signs": (["history", "credit_risk", "--catalog", "c" * 5000], 2, "not a valid catalog"),
    "a catalog of SQL": (["history", "credit_risk", "--catalog", "x; DROP"], 2, "not a valid catalog"),
    "a prefix that is a path": (["history", "credit_risk", "--prefix", "../"], 2, "not a valid catalog"),
    "a home that is empty": (["status", "--home", ""], 2, "it is empty"),
    "a folder of use cases that is empty": (["status", "--use-cases", ""], 2, "it is empty"),
    "a folder of use cases that is none": (["status", "--use-cases", "nowhere"], 2, "is not a folder"),
    "a folder of use cases of 5,000 signs": (["status", "--use-cases", "u" * 5000], 2, "is not a folder"),
    "a folder of use cases with a NUL": (["status", "--use-cases", "a\0b"], 2, "is no"),
    "a home of 5,000 signs": (["history", "credit_risk", "--home", "h" * 5000], 2, "File name too long"),
    "a promotion forced without a reason": (["promote", "credit_risk", "--version", "1", "--force"], 2, "go together"),
    "a promotion forced with blanks": (
        ["promote", "credit_risk", "--version", "1", "--force", "--reason", "  "],
        2,
        "go together",
    ),
    "maintenance of nothing": (["maintain"], 2, "Which use cases"),
    "maintenance of some and of all": (["maintain", "credit_risk", "--all"], 2, "Which use cases"),
    "a model that is no name": (
        ["deployment", "approval", "--model-name", "model", "--model-version", "1"],
        2,
        "three-level name",
    ),
    "a model with SQL in it": (
        ["deployment", "approval", "--model-name", "dev.x';--.model", "--model-version", "1"],
        2,
        "not a valid",
    ),
    "a decision of none": (["explain", "zzzz"], 2, "No decisions begin with"),
    "a decision that is no text": (["explain", "h\udcff"], 2, "No decisions begin with"),
    "a decision with a percent sign": (["explain", "%"], 2, "No decisions begin with"),
    "a quarantine of none": (["quarantine", "credit_risk", "--table", "../x"], 2, "has no quarantine"),
    # A new use case
    "a new use case without an entity": (
        ["new-use-case", "upsell", "--task", "classification", "--from-csv", "x.csv", "--label", "y"],
        2,
        "no --entity",
    ),
    "a new use case from no file": (
        ["new-use-case", "upsell", "--task", "regression", "--row-numbers", "--from-csv", "x.csv", "--label", "y"],
        2,
        "There is no file",
    ),
    "a new use case from a file of 5,000 signs": (
        ["new-use-case", "upsell", "--task", "regression", "--row-numbers", "--from-csv", "x" * 5000, "--label", "y"],
        2,
        "File name too long",
    ),
    "a new use case from a folder": (
        ["new-use-case", "upsell", "--task", "regression", "--row-numbers", "--from-csv", ".", "--label", "y"],
        2,
        "There is no file",
    ),
    "a new use case called class": (
        ["new-use-case", "class", "--task", "regression", "--row-numbers", "--from-csv", "x", "--label", "y"],
        2,
        "a word of the Python language",
    ),
    "a new use case called by a path": (
        ["new-use-case", "../x", "--task", "regression", "--row-numbers", "--from-csv", "x", "--label", "y"],
        2,
        "not a valid use-case name",
    ),
    "a new use case with a horizon of nothing": (
        [
            "new-use-case",
            "upsell",
            "--task",
            "regression",
            "--row-numbers",
            "--from-csv",
            "x",
            "--label",
            "y",
            "--horizon",
            "0 days",
        ],
        2,
        "known after its prediction",
    ),
    "a bundle where there is none": (["bundle", "generate", "--project", "nowhere"], 2, "databricks.yml"),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder; nothing but the installed use cases is there."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "ENV", "CATALOG", "PREFIX", "WORKSPACE", "USE_CASES"):
        monkeypatch.delenv(f"MLPLATFORM_{name}", raising=False)

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, said.out, said.err

    return command


def check(done: tuple[int, str, str], code: int, says: str, folder: Path) -> None:
    exit_code, out, err = done
    assert exit_code == code, err
    text = " ".join(f"{out} {err}".split())  # click wraps lines
    assert says in text
    assert "Traceback" not in text
    assert "Hint:" in err or "Try 'mlplatform" in err or "Usage" in text, "the way out"
    assert len(err) < 3000, "a message is read"
    assert "\x1b" not in err, "nothing of it acts on the terminal"
    assert not list(folder.rglob("*.parquet")), "nothing was written for it"


def test_there_are_as_many_as_promised() -> None:
    assert len(TIMES) + len(TAKE_A_TIME) + len(NAMES) + len(LINES) >= 110


@pytest.mark.parametrize(("time", "says"), TIMES.items(), ids=ascii)
def test_a_time_that_nobody_can_have_meant(time: str, says: str, run: Run, tmp_path: Path) -> None:
    check(run("run", "credit_risk", "--as-of", time), 2, says, tmp_path)


@pytest.mark.parametrize("words", TAKE_A_TIME.values(), ids=TAKE_A_TIME)
def test_no_command_takes_such_a_time(words: list[str], run: Run, tmp_path: Path) -> None:
    for time in ("9999-12-31", "0001-01-01"):
        check(run(*words, "--as-of", time), 2, "not plausible", tmp_path)


@pytest.mark.parametrize(("name", "says"), NAMES.items(), ids=lambda it: ascii(it[:20]))
def test_a_use_case_of_an_odd_name(name: str, says: str, run: Run, tmp_path: Path) -> None:
    check(run("run", "--as-of", "2006-01-01", "--", name), 2, says, tmp_path)


@pytest.mark.parametrize(("words", "code", "says"), LINES.values(), ids=LINES)
def test_a_command_line_that_is_odd(words: list[str], code: int, says: str, run: Run, tmp_path: Path) -> None:
    check(run(*words), code, says, tmp_path)


def test_a_file_of_the_system_that_cannot_be_had_is_one_message_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", "/data/home/mlflow.db")

    monkeypatch.setattr("mlplatform.discovery.find_use_cases", full)
    code, out, err = run("status")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "Error: '/data/home/mlflow.db': Input/output error.",
        "Hint:  --debug shows what was being done with it.",
    ]
