"""The whole cycle of two use cases in one workspace: replayed by one command, gone on with, and then looked at.

They are as different as the samples are: quarters of loans whose labels come three years later, and weeks of flights.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.typed import Ended, typed

PROJECT = Path(__file__).resolve().parents[2]
SIMULATE = ("simulate", "credit_risk", "delivery_delay")
# Where each of the two commands ends: the first step of either, then one more.
ENDS = {"credit_risk": ("2006-01-01", "2006-04-01"), "delivery_delay": ("2013-01-29", "2013-02-05")}
# How good the models are is not what is tested: no search, and of the flights fewer rows, of the months that have any.
QUICKER = {
    "credit_risk": {"max_evals: 8": "max_evals: 1"},
    "delivery_delay": {"min_rows: 15000": "min_rows: 5000", "max_rows: 60000": "max_rows: 8000\n  importance_rows: 0"},
}
LATER_MONTHS = [f"*_2013-{month:02}.csv.gz" for month in range(3, 13)]


@dataclass(frozen=True)
class Cycle:
    """What the two commands came to.

    Attributes:
        home: The workspace.
        use_cases: The folder of both use cases.
        first: How the first command ended.
        then: How the second one did, which was asked for JSON.
    """

    home: Path
    use_cases: Path
    first: Ended
    then: Ended

    def typed(self, *words: str, code: int = 0) -> Ended:
        """Run a command of the use cases in the workspace."""
        return typed(*words, "--home", self.home, "--use-cases", self.use_cases, code=code)


def replaced(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert len(re.findall(old, text)) == 1, old
    config.write_text(re.sub(old, new, text))


def simulated(home: Path, use_cases: Path, command: int, *options: str) -> Ended:
    """Have the settings end where this command ends, and run it."""
    for name, ends in ENDS.items():
        replaced(use_cases / name / "config.yml", r"end: \S+", f"end: {ends[command]}")
    return typed(*SIMULATE, *options, "--home", home, "--use-cases", use_cases, code=0)


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Cycle:
    home, use_cases = tmp_path_factory.mktemp("cycle"), tmp_path_factory.mktemp("use_cases")
    left_out = shutil.ignore_patterns("__pycache__", "tests", *LATER_MONTHS)
    for name, changes in QUICKER.items():
        shutil.copytree(PROJECT / "use_cases" / name, use_cases / name, ignore=left_out)
        for old, new in changes.items():
            replaced(use_cases / name / "config.yml", old, new)
    first = simulated(home, use_cases, 0)
    return Cycle(home, use_cases, first, simulated(home, use_cases, 1, "--json"))


def test_each_use_case_is_replayed_as_its_settings_say(cycle: Cycle) -> None:
    assert "credit_risk, every quarter" in cycle.first.stdout
    assert "delivery_delay, every week" in cycle.first.stdout
    # A note, which tells what lies before the first scoring, has the day, too.
    lines = [line for line in cycle.first.stdout.splitlines() if not line.startswith("Note: ")]
    assert "v1" in next(line for line in lines if "2013-01-29" in line)
    assert cycle.first.stderr.count(": score\n") == 2
    credit, delay = cycle.then.json["use_cases"]
    assert [(item["use_case"], item["every"], len(item["steps"])) for item in (credit, delay)] == [
        ("credit_risk", "quarter", 2),
        ("delivery_delay", "week", 2),
    ]
    first = delay["steps"][0]
    assert (first["as_of"][:10], first["decision"]) == ("2013-01-29", "v1 promoted")
    # The legs of the day before: scoring is daily, and the first one looks back a day.
    assert 800 < first["scored"] < 1000
    assert delay["steps"][1]["champion"] == 1


def test_the_same_command_goes_on_where_it_stopped(cycle: Cycle) -> None:
    # Nothing was run for the steps that had been done: one more of each.
    assert cycle.then.stderr.count(": score\n") == 2


def test_each_step_scores_its_quarter_with_the_champion(cycle: Cycle) -> None:
    steps = cycle.then.json["use_cases"][0]["steps"]
    assert [step["as_of"][:10] for step in steps] == ["2006-01-01", "2006-04-01"]
    # The loans of 2005Q4 and 2006Q1, as the data's README counts them.
    assert [step["scored"] for step in steps] == [3019, 3553]
    assert [step["champion"] for step in steps] == [1, 1]
    assert steps[0]["decision"] == "v1 promoted"
    assert all(step["label_mean"] is None for step in steps), "no label of 2005 or later is mature in 2006"
    assert all("drift" in step["alerts"] for step in steps)


def test_the_reports_are_there(cycle: Cycle) -> None:
    for item in cycle.then.json["use_cases"]:
        page = Path(item["paths"]["report"]).read_text()
        assert item["use_case"] in page
        assert "<svg" in page


def test_status_and_history_agree_with_it(cycle: Cycle) -> None:
    status = cycle.typed("status", "credit_risk", "--json").json
    assert status["champion"] == 1
    assert status["as_of"].startswith("2006-04-01")
    assert status["failed"] == []
    events = cycle.typed("history", "credit_risk", "--json").json
    told = [(event["event"], event["outcome"]) for event in events]
    assert told == [("decided", "promoted"), ("applied", "promoted")]
    assert {check["name"] for check in events[0]["checks"]} >= {"evidence", "floor", "beats_trivial", "beats_champion"}


def test_status_knows_both(cycle: Cycle) -> None:
    champions = {fact["use_case"]: fact["champion"] for fact in cycle.typed("status", "--json").json}
    assert champions.items() >= {"credit_risk": 1, "delivery_delay": 1}.items()


def test_explain_tells_a_decision_by_the_beginning_of_its_id(cycle: Cycle) -> None:
    events = cycle.typed("history", "credit_risk", "--json").json
    beginning = events[0]["decision_id"][:6]
    told = cycle.typed("explain", beginning).stdout
    assert f"Decision {events[0]['decision_id']} about dev.credit_risk.model" in told
    assert "rows_from: holdout" in told
    assert "beats_trivial" in told
    shown = cycle.typed("explain", beginning, "--json").json
    assert all({"feature", "loss", "low", "high"} <= item.keys() for event in shown for item in event.pop("features"))
    assert shown == events
    assert "Champions of credit_risk" in cycle.typed("history", "credit_risk").stdout


def test_nothing_to_go_back_to_and_no_challenger_have_their_exit_codes(cycle: Cycle) -> None:
    cycle.typed("rollback", "credit_risk", "--reason", "a test", code=2)
    cycle.typed("promote", "credit_risk", "--version", "1", "--force", code=2)
    cycle.typed("explain", "no such decision", code=2)
    cycle.typed("gate", "credit_risk", "--as-of", "2006-04-01", code=3)
    assert cycle.typed("status", "credit_risk", "--json").json["champion"] == 1


def test_scoring_again_appends_nothing(cycle: Cycle) -> None:
    said = cycle.typed("score", "credit_risk", "--as-of", "2006-04-01").stdout
    assert said.startswith("credit_risk as of 2006-04-01: 0 of 3553 due rows newly scored by version 1")


def test_monitoring_again_tells_the_same_and_says_what_the_estimate_is_blind_to(cycle: Cycle) -> None:
    before = cycle.typed("monitor", "credit_risk", "--as-of", "2006-04-01", "--json").json
    said = cycle.typed("monitor", "credit_risk", "--as-of", "2006-04-01").stdout
    assert "3553 predictions in the window" in said
    assert "estimated roc_auc before labels" in said
    assert "base rate" in said
    assert "labels of 6572 predictions: 0 known, 6572 waiting, 0 never came" in said
    again = cycle.typed("monitor", "credit_risk", "--as-of", "2006-04-01", "--json").json
    assert again == before
    assert {alert["event"] for alert in before["alerts"]} == {"repeated"}


def test_a_retraining_is_looked_at_before_it_is_made(cycle: Cycle) -> None:
    dry = cycle.typed("retrain", "credit_risk", "--as-of", "2006-04-01", "--dry-run", "--json").json
    assert (dry["due"], dry["dry_run"]) == (False, True)
    assert "no alarm" in dry["reasons"][0]
    said = cycle.typed("retrain", "credit_risk", "--as-of", "2007-01-01", "--dry-run").stdout
    assert "a retraining is due" in said
    assert "schedule: 12 months since the training at 2006-01-01" in said


def test_an_alias_that_nobody_has_is_one_message(cycle: Cycle) -> None:
    done = cycle.typed("score", "credit_risk", "--as-of", "2006-04-01", "--alias", "challenger", code=1)
    assert "has no challenger; nothing can score" in done.stderr


def test_the_state_is_private_to_the_user(cycle: Cycle) -> None:
    assert cycle.home.stat().st_mode & 0o777 == 0o700


def test_a_backfill_of_what_is_right_changes_nothing(cycle: Cycle) -> None:
    command = ("backfill", "delivery_delay", "--table", "origin", "--from", "2013-01-10", "--to", "2013-01-12T06:00")
    result = cycle.typed(*command, "--json").json
    # Three origins, every hour of two days and six hours, both ends included.
    assert (result["before"], result["after"]) == (3 * 55, 3 * 55)
    assert (result["added"], result["removed"], result["changed"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--table", "orgin", "--from", "2013-01-10", "--to", "2013-01-12"), "Did you mean origin?"),
        (("--table", "origin", "--from", "2013-01-12", "--to", "2013-01-10"), "Swap --from and --to."),
    ],
)
def test_a_backfill_says_what_is_wrong(cycle: Cycle, arguments: tuple[str, ...], says: str) -> None:
    assert says in cycle.typed("backfill", "delivery_delay", *arguments, code=2).stderr
