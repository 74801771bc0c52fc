"""Decisions of a year share one error: what each spends is on record, told, and the same when it is asked for again."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.gate import decision_log
from mlplatform.pipeline import Pipeline
from mlplatform.statistics.spending import Spending
from tests.support.tiny_gate import MODEL, NAMESPACE, SECOND, back, put
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

LATER = "2020-12-01"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """No challenger of these months is better."""
    return write_tiny_use_case(tmp_path_factory.mktemp("strict"), gate={"floor": 0.999})


def spending(ws, decision_id: str) -> Spending:
    (row,) = [it for it in decision_log.events(ws, NAMESPACE, decision_id=decision_id) if it.event == "decided"]
    return Spending(**row.spending)


def test_a_rejection_spends_what_the_next_decision_has_not_any_more(gate_at, strict):
    ws = gate_at("challenged")
    first = put(ws, strict).details
    # The first champion had nobody to be compared with.
    assert spending(ws, first["decision_id"]) == Spending("year", 0.025, 0.05, 0.0, 0)
    assert first["spending"] == {"per": "year", "level": 0.025, "allowed": 0.05, "spent": 0.0, "decisions": 0}
    # Again, the same question: the same answer, and nothing is spent.
    again = put(ws, strict).details
    assert {**again, "steps": []} == {**first, "steps": []}
    Pipeline(ws, open_tiny(ws, strict.folder), parse_as_of(LATER)).run(["ingest", "refine", "features"])
    second = put(ws, strict, LATER).details
    found = spending(ws, second["decision_id"])
    assert (found.spent, found.decisions) == (0.025, 1)
    # A month after the first it is about a quarter of what is left.
    assert found.level == pytest.approx(0.025 * 3 * 30 / 365.25)
    beats = next(check for check in second["checks"] if check["name"] == "beats_champion")
    assert beats["numbers"]["confidence"] == pytest.approx(1 - 2 * found.level)
    # The earlier decision is asked for again: it is what it was.
    again = put(ws, strict).details
    assert {**again, "steps": []} == {**first, "steps": []}


def test_promotions_by_hand_and_rollbacks_spend_nothing(gate_at, wide, strict):
    ws = gate_at("challenged")
    put(ws, wide, override="by order")
    back(ws, wide)
    decided = put(ws, strict, version=2).details
    assert spending(ws, decided["decision_id"]) == Spending("year", 0.025, 0.05, 0.0, 0)
    assert [it.spending for it in decision_log.events(ws, NAMESPACE) if it.kind != "gate"] == [{}] * 4


def test_evidence_and_commands_tell_what_was_spent(gate_at, strict):
    ws = gate_at("challenged")
    details = put(ws, strict).details
    text = "2.5% of the 5% a year, 0% spent by 0 decisions before, 2.5% left"
    run = ws.registry._connect().get_run(ws.registry.get(MODEL, 2).run_id)
    folder = Path(url2pathname(urlparse(run.info.artifact_uri).path)) / "gate" / details["decision_id"]
    assert json.loads((folder / "evidence.json").read_text())["spending"]["level"] == 0.025
    assert text in (folder / "evidence.html").read_text()
    ws.close()
    where = ["--home", str(ws.root), "--use-cases", str(strict.use_cases)]

    def call(*command: str) -> str:
        done = CliRunner().invoke(cli, [*command, *where])
        return " ".join(done.stdout.split())

    assert f"Error of the comparison: {text}" in call("gate", "tiny", "--as-of", SECOND, "--dry-run")
    assert f"error of the comparison: {text}" in call("explain", details["decision_id"])
    history = json.loads(call("history", "tiny", "--json"))
    assert [it["spending"].get("level") for it in history if it["event"] == "decided"] == [None, 0.025]


def test_each_decision_has_the_whole_where_the_settings_say_so(gate_at, tmp_path):
    each = write_tiny_use_case(tmp_path, gate={"floor": 0.999, "error_per": "decision"})
    ws = gate_at("challenged")
    details = put(ws, each).details
    assert spending(ws, details["decision_id"]) == Spending("decision", 0.05, 0.05)
    beats = next(check for check in details["checks"] if check["name"] == "beats_champion")
    assert beats["numbers"]["confidence"] == 0.9
