"""The whole cycle on real loans through the command line: three quarters, stopped and gone on with, then looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SIMULATE = ("simulate", "credit_risk", "--from", "2006-01-01", "--every", "quarter", "--json")


def mlplatform(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "mlplatform.cli", *arguments, "--home", str(home)],
        capture_output=True, text=True, cwd=PROJECT, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cycle")


@pytest.fixture(scope="module")
def simulated(home: Path) -> Any:
    mlplatform(home, *SIMULATE, "--to", "2006-01-01")
    (use_case,) = mlplatform(home, *SIMULATE, "--to", "2006-07-01")["use_cases"]
    return use_case


def test_each_step_scores_its_quarter_with_the_champion(simulated: Any) -> None:
    steps = simulated["steps"]
    assert [step["as_of"][:10] for step in steps] == ["2006-01-01", "2006-04-01", "2006-07-01"]
    # The loans of 2005Q4, 2006Q1 and 2006Q2, as the data's README counts them.
    assert [step["scored"] for step in steps] == [3019, 3553, 3557]
    assert [step["champion"] for step in steps] == [1, 1, 1]
    assert steps[0]["decision"] == "v1 promoted"
    assert all(step["label_mean"] is None for step in steps), "no label of 2005 or later is mature in 2006"
    assert all("drift" in step["alerts"] for step in steps)


def test_the_report_is_there(simulated: Any) -> None:
    page = Path(simulated["paths"]["report"]).read_text()
    assert "credit_risk" in page
    assert "<svg" in page


def test_status_and_history_agree_with_it(simulated: Any, home: Path) -> None:
    status = mlplatform(home, "status", "credit_risk", "--json")
    assert status["champion"] == 1
    assert status["as_of"].startswith("2006-07-01")
    assert status["failed"] == []
    events = mlplatform(home, "history", "credit_risk", "--json")
    told = [(event["event"], event["outcome"]) for event in events]
    assert told == [("decided", "promoted"), ("applied", "promoted")]
    assert {check["name"] for check in events[0]["checks"]} >= {"evidence", "floor", "beats_trivial", "beats_champion"}


def test_explain_tells_a_decision_by_the_beginning_of_its_id(simulated: Any, home: Path) -> None:
    events = mlplatform(home, "history", "credit_risk", "--json")
    beginning = events[0]["decision_id"][:6]
    told = mlplatform(home, "explain", beginning)
    assert f"Decision {events[0]['decision_id']} about dev.credit_risk.model" in told
    assert "rows_from: holdout" in told
    assert "beats_trivial" in told
    shown = mlplatform(home, "explain", beginning, "--json")
    assert all({"feature", "loss", "low", "high"} <= item.keys() for event in shown for item in event.pop("features"))
    assert shown == events
    assert "Champions of credit_risk" in mlplatform(home, "history", "credit_risk")


def test_nothing_to_go_back_to_and_no_challenger_have_their_exit_codes(simulated: Any, home: Path) -> None:
    for code, arguments in (
        (2, ("rollback", "credit_risk", "--reason", "a test")),
        (2, ("promote", "credit_risk", "--version", "1", "--force")),
        (2, ("explain", "no such decision")),
        (3, ("gate", "credit_risk", "--as-of", "2006-07-01")),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "mlplatform.cli", *arguments, "--home", str(home)],
            capture_output=True, text=True, cwd=PROJECT, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert mlplatform(home, "status", "credit_risk", "--json")["champion"] == 1


def test_scoring_again_appends_nothing(simulated: Any, home: Path) -> None:
    said = mlplatform(home, "score", "credit_risk", "--as-of", "2006-07-01")
    assert said.startswith("credit_risk as of 2006-07-01: 0 of 3557 due rows newly scored by version 1")


def test_monitoring_again_tells_the_same_and_says_what_the_estimate_is_blind_to(simulated: Any, home: Path) -> None:
    before = mlplatform(home, "monitor", "credit_risk", "--as-of", "2006-07-01", "--json")
    said = mlplatform(home, "monitor", "credit_risk", "--as-of", "2006-07-01")
    assert "3557 predictions in the window" in said
    assert "estimated roc_auc before labels" in said
    assert "base rate" in said
    assert "labels of 10129 predictions: 0 known, 10129 waiting, 0 never came" in said
    again = mlplatform(home, "monitor", "credit_risk", "--as-of", "2006-07-01", "--json")
    assert again == before
    assert {alert["event"] for alert in before["alerts"]} == {"repeated"}


def test_a_retraining_is_looked_at_before_it_is_made(simulated: Any, home: Path) -> None:
    dry = mlplatform(home, "retrain", "credit_risk", "--as-of", "2006-07-01", "--dry-run", "--json")
    assert (dry["due"], dry["dry_run"]) == (False, True)
    assert "no alarm" in dry["reasons"][0]
    said = mlplatform(home, "retrain", "credit_risk", "--as-of", "2007-01-01", "--dry-run")
    assert "a retraining is due" in said
    assert "schedule: 12 months since the training at 2006-01-01" in said


def test_an_alias_that_nobody_has_is_one_message(simulated: Any, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlplatform.cli", "score", "credit_risk", "--as-of", "2006-07-01",
         "--alias", "challenger", "--home", str(home)],
        capture_output=True, text=True, cwd=PROJECT, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1
    assert "has no challenger; nothing can score" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_state_is_private_to_the_user(simulated: Any, home: Path) -> None:
    assert home.stat().st_mode & 0o777 == 0o700
