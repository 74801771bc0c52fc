"""The deployment job's tasks on a real workspace: evaluate, approval, deploy; and training that only registers."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from mlplatform.as_of import parse_as_of
from mlplatform.cli.main import cli
from mlplatform.errors import NotPromotedError, PlatformError, StageError
from mlplatform.gate import decision_log
from mlplatform.naming import CHALLENGER, CHAMPION
from mlplatform.pipeline import Pipeline
from tests.support.crossed import crossed
from tests.support.job_task import run_task
from tests.support.tiny_gate import FIRST, MODEL, NAMESPACE, SECOND, told
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    limits = {"margin": 0.2, "approval": "manual"}
    return write_tiny_use_case(tmp_path_factory.mktemp("by_hand"), months=1, rows_a_month=1, gate=limits)


def task(ws: Any, tiny: TinyFolder, name: str, *, version: int = 1, model: str = str(MODEL), prefix: str = "") -> Any:
    where = ["--home", str(ws.root), "--use-cases", str(tiny.use_cases), f"--prefix={prefix}"]
    return CliRunner().invoke(cli, ["deployment", name, "--model-name", model, "--model-version", str(version), *where])


def code(done: Any) -> int:
    if isinstance(done.exception, PlatformError):
        return done.exception.exit_code
    assert done.exception is None, done.exception
    return done.exit_code


def test_a_version_is_evaluated_then_approved_then_promoted(gate_at, by_hand):
    ws = gate_at("trained")
    ws.registry.delete_alias(MODEL, CHALLENGER)  # as --register-only leaves it
    assert code(task(ws, by_hand, "evaluate")) == 0
    assert ws.registry.aliases(MODEL) == {CHALLENGER: 1}
    assert told(ws) == [("decided", "gate", "promoted", 1)]
    # Nobody has approved: neither of the others goes on.
    for name in ("approval", "deploy"):
        done = task(ws, by_hand, name)
        assert code(done) == 3
        assert "Approval_Check" in str(done.exception)
    assert CHAMPION not in ws.registry.aliases(MODEL)
    ws.registry.set_tags(MODEL, 1, {"Approval_Check": "APPROVED"})
    # Also when it is approved before it is evaluated: what evaluates does not promote.
    assert code(task(ws, by_hand, "evaluate")) == 0
    assert CHAMPION not in ws.registry.aliases(MODEL)
    assert code(task(ws, by_hand, "approval")) == 0
    assert code(task(ws, by_hand, "deploy")) == 0
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1}
    assert [event for event, *_ in told(ws)] == ["decided", "applied"]
    assert code(task(ws, by_hand, "deploy")) == 0, "again changes nothing"
    assert [event for event, *_ in told(ws)] == ["decided", "applied"]


def test_a_version_that_the_gate_rejects_is_not_promoted_whoever_approves(gate_at, tmp_path):
    limits = {"floor": 0.999, "approval": "manual"}
    strict = write_tiny_use_case(tmp_path / "strict", months=1, rows_a_month=1, gate=limits)
    ws = gate_at("trained")
    ws.registry.set_tags(MODEL, 1, {"Approval_Check": "Approved"})
    for name in ("evaluate", "deploy"):
        assert code(task(ws, strict, name)) == 3
    assert CHAMPION not in ws.registry.aliases(MODEL)


# On the main thread the other tests call them.
@pytest.mark.parametrize(
    "off_main_thread",
    [pytest.param(False, marks=pytest.mark.slow, id="main thread"), pytest.param(True, id="another thread")],
)
def test_as_tasks_a_refusal_is_raised_and_what_was_left_undecided_returns(gate_at, tmp_path, off_main_thread):
    """As the runner of jobs calls them, on the thread that it has."""
    limits = {"floor": 0.999, "approval": "manual"}
    strict = write_tiny_use_case(tmp_path / "strict", months=1, rows_a_month=1, gate=limits)
    ws = gate_at("trained")
    where = [f"--home={ws.root}", f"--use-cases={strict.use_cases}"]
    evaluate = ["deployment", "evaluate", f"--model-name={MODEL}", "--model-version=1", *where]
    done = run_task(evaluate, off_main_thread=off_main_thread)
    assert isinstance(done.error, NotPromotedError)
    assert done.error.exit_code == 3
    assert "was not promoted (rejected)" in str(done.error)
    # The stage of a schedule: a rejection is on record, and the job goes on.
    gate = ["run", "tiny", "--stage=gate", "--due", f"--as-of={FIRST}", *where]
    done = run_task(gate, off_main_thread=off_main_thread)
    assert done.success, done.error
    assert done.returned is None
    assert CHAMPION not in ws.registry.aliases(MODEL)


def test_the_labels_known_at_the_training_decide(gate_at, wide):
    """So that the decision is the one that the gate would have made at once, whenever somebody approves."""
    ws = gate_at("challenged")
    assert code(task(ws, wide, "evaluate", version=2)) == 0
    (decided,) = [row for row in decision_log.events(ws, NAMESPACE) if row.challenger_version == 2]
    assert decided.as_of == parse_as_of(SECOND)
    assert ws.registry.aliases(MODEL)[CHAMPION] == 1, "approval is auto, and still it waits"


@pytest.mark.parametrize(
    ("of", "name"),
    crossed(
        [
            ("prod.tiny.model", ""),
            ("dev.dev_jo_tiny.dev_jo_model", ""),
            ("dev.tiny.model", "dev_jo_"),
            ("dev.tiny.champion", ""),
            ("dev.unknown.model", ""),
            ("tiny.model", ""),
        ],
        ["evaluate", "approval", "deploy"],
    ),
)
def test_a_model_of_elsewhere_is_wrong_use(gate_at, by_hand, name, of):
    model, prefix = of
    ws = gate_at("trained")
    assert code(task(ws, by_hand, name, model=model, prefix=prefix)) == 2
    assert told(ws) == []


@pytest.mark.parametrize("name", ["evaluate", "approval", "deploy"])
def test_a_version_that_does_not_exist_is_not_promoted(gate_at, by_hand, name):
    done = task(gate_at("trained"), by_hand, name, version=9)
    assert isinstance(done.exception, NotPromotedError)


def test_training_that_only_registers_sets_no_alias(gate_at, wide):
    ws = gate_at("trained")
    pipeline = Pipeline(ws, open_tiny(ws, wide.folder), parse_as_of(SECOND))
    pipeline.run(["ingest", "refine", "features", "train"], register_only=True)
    assert [version.version for version in ws.registry.versions(MODEL)] == [1, 2]
    assert ws.registry.aliases(MODEL) == {CHALLENGER: 1}
    # The same training without the flag finds the version, and completes it.
    Pipeline(ws, open_tiny(ws, wide.folder), parse_as_of(SECOND)).run(["train"])
    assert ws.registry.aliases(MODEL) == {CHALLENGER: 2}


def test_a_gate_that_is_not_due_is_left_out(gate_at, wide):
    ws = gate_at("trained")
    ws.registry.delete_alias(MODEL, CHALLENGER)
    opened = open_tiny(ws, wide.folder)
    with pytest.raises(StageError, match="no challenger"):
        Pipeline(ws, opened, parse_as_of(FIRST)).run(["gate"])
    summary = Pipeline(ws, opened, parse_as_of(FIRST)).run(["gate"], due=True)
    assert [(run.stage, run.status) for run in summary.stages] == [("gate", "skipped")]
