"""What features are worth: on record with the run, with the model's files, in the report, and in `explain`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mlplatform.cli.main import cli
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.reporting.report import write_report
from mlplatform.training.challenger import IMPORTANCE_FILE
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.homes import Homes
from tests.support.tiny_gate import MODEL
from tests.support.tiny_runs import clone, open_tiny

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = {"price", "seats", "price_a_seat", "region", "region_cancellations"}


@pytest.fixture(scope="module")
def home(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(homes.second, tmp_path_factory.mktemp("importance") / "home")


def test_what_features_are_worth_is_logged_and_in_the_report(homes: Homes, home: Path, tmp_path: Path) -> None:
    with LocalWorkspace.open(root=home) as ws:
        use_case = open_tiny(ws, homes.tiny.folder)
        trained = [run for run in STAGE_RUNS.newest(ws, use_case.namespace, 100) if run.stage == "train"]
        measured = next(run.details for run in trained if run.details.get("importance"))
        assert {item["feature"] for item in measured["importance"]} == INPUTS
        # The price decides most of the label (see the tiny use case).
        assert measured["importance"][0]["feature"] in ("price", "price_a_seat")
        noise = {item["feature"] for item in measured["importance"] if item["low"] <= 0}
        assert set(measured.get("no_better_than_noise", ())) == noise

        logged = ws.registry.load_json(ws.registry.get(MODEL, measured["version"]), IMPORTANCE_FILE)
        assert logged["metric"] == "roc_auc"
        assert logged["features"] == measured["importance"]

        settings, spine = use_case.settings, use_case.label_spine()
        page = write_report(ws, use_case.namespace, spine, settings, tmp_path).read_text(encoding="utf-8")
    assert re.search(r"What each feature is worth to version \d", page)
    table = page.partition("What the features are worth")[2]
    assert all(name in table for name in INPUTS)


def test_a_decision_tells_what_the_challenger_goes_by(homes: Homes, home: Path) -> None:
    def told(*command: str) -> str:
        done = CliRunner().invoke(cli, [*command, "--home", str(home), "--use-cases", str(homes.tiny.use_cases)])
        assert done.exit_code == 0, (done.exception, done.output)
        return done.stdout

    decided = [event for event in json.loads(told("history", "tiny", "--json")) if event["challenger_version"]]
    text = told("explain", decided[0]["decision_id"])
    assert f"What the features of v{decided[0]['challenger_version']} are worth" in text
    assert all(name in text for name in INPUTS)
    (first, *_) = json.loads(told("explain", decided[0]["decision_id"], "--json"))
    assert {item["feature"] for item in first["features"]} == INPUTS
