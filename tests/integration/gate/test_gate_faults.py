"""Every dependency of the gate failing in turn: rejected with the reason, or an error; never promoted."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from mlplatform.cli import options as cli_options
from mlplatform.cli.main import cli
from mlplatform.errors import FeatureStoreError, PlatformError, RegistryError, TableError
from mlplatform.gate import decision_log
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.pipeline import Pipeline
from tests.support.crossed import crossed, every
from tests.support.tiny_gate import MODEL, NAMESPACE, SECOND, context, put, told
from tests.support.tiny_runs import open_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

UNTOUCHED = {CHAMPION: 1, CHALLENGER: 2}
DONE = {CHAMPION: 2, PREVIOUS_CHAMPION: 1}


def http_error(code: str, text: str) -> Exception:
    from mlflow.exceptions import RestException

    return RestException({"error_code": code, "message": text})


FAILURES = {
    "timeout": lambda: TimeoutError("timed out after 30 s"),
    "403": lambda: http_error("PERMISSION_DENIED", "403 Forbidden"),
    "500": lambda: http_error("INTERNAL_ERROR", "500 Internal Server Error"),
}
# Every call of MLflow's client that the registry makes while a challenger is put to the gate and promoted.
CALLS = (
    "get_registered_model",
    "get_model_version",
    "set_model_version_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "get_run",
)


@pytest.mark.parametrize(("error", "call"), crossed(sorted(FAILURES), CALLS))
def test_a_call_to_the_registry_that_fails_promotes_nothing_by_itself_and_again_finishes(
    gate_at, wide, monkeypatch, call, error
):
    ws = gate_at("challenged")
    client = ws.registry._connect()

    def fail(*arguments: Any, **named: Any) -> Any:
        made = FAILURES[error]()
        raise made

    with monkeypatch.context() as patch:
        patch.setattr(client, call, fail)
        try:
            outcome = put(ws, wide).details["outcome"]
        except RegistryError:
            outcome = "error"
    assert outcome in ("error", "rejected")
    # Promoted is what is on record as applied; until then the champion is the old one, or the change is to be finished.
    assert ("applied", "gate", "promoted", 2) not in told(ws)
    between = ws.registry.aliases(MODEL)
    assert between[CHAMPION] == 1 or (between[CHAMPION] == 2 and decision_log.pending(ws, NAMESPACE) is not None)
    assert put(ws, wide).details["outcome"] == "promoted"
    assert ws.registry.aliases(MODEL) == DONE
    assert told(ws).count(("applied", "gate", "promoted", 2)) == 1


def test_what_the_registry_calls_not_found_alone_means_no_champion(gate_at, wide, monkeypatch):
    """A model that exists, with the alias gone, is judged by the rule for the first champion; a failure is not."""
    ws = gate_at("challenged")
    ws.registry.delete_alias(MODEL, CHAMPION)
    assert put(ws, wide, dry_run=True).details["champion"] is None
    client = ws.registry._connect()

    def fail(*arguments: Any) -> Any:
        raise http_error("PERMISSION_DENIED", "403 Forbidden")

    monkeypatch.setattr(client, "get_registered_model", fail)
    with pytest.raises(RegistryError, match="403"):
        put(ws, wide, dry_run=True)


@pytest.mark.parametrize(
    "error", every(3, [FeatureStoreError("lookup failed"), TimeoutError("late"), MemoryError("out of memory")])
)
def test_features_that_cannot_be_looked_up_reject_and_the_pipeline_fails_and_tries_again(
    gate_at, wide, monkeypatch, error
):
    ws = gate_at("challenged")

    def fail(**named: Any) -> Any:
        raise error

    use_case = open_tiny(ws, wide.folder)
    with monkeypatch.context() as patch:
        patch.setattr(ws.fe, "score_batch_arrow", fail)
        details = put(ws, wide).details
        assert (details["outcome"], str(error) in details["reason"]) == ("rejected", True)
        with pytest.raises(type(error)):
            Pipeline(ws, use_case, context(ws, wide).as_of).run(["gate"], due=True)
    assert ws.registry.aliases(MODEL) == UNTOUCHED
    assert ws.registry.get(MODEL, 2).tags["gate_outcome"] == "rejected"
    # A failure to look is no verdict about the challenger: the pipeline's next run decides.
    assert put(ws, wide, only_undecided=True).details["outcome"] == "promoted"


def scored(change: Any) -> Any:
    """Let the feature client's answer pass through a change."""

    def patch(ws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        original = ws.fe.score_batch_arrow
        monkeypatch.setattr(ws.fe, "score_batch_arrow", lambda **named: change(original(**named), named))

    return patch


def with_predictions(value: float, version: int) -> Any:
    def change(table: pa.Table, named: dict[str, Any]) -> pa.Table:
        if not named["model_uri"].endswith(f"/{version}"):
            return table
        place = table.column_names.index("prediction")
        made = pc.if_else(pc.equal(pa.array(range(table.num_rows)), 7), value, table.column("prediction"))
        return table.set_column(place, "prediction", made)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    every(
        2,
        [
            (with_predictions(float("nan"), 2), "1 of challenger"),
            (with_predictions(float("inf"), 2), "1 of challenger"),
            (with_predictions(float("nan"), 1), "1 of champion"),
            (lambda table, named: table.slice(0, 0), "gave 0 rows"),
            (lambda table, named: table.slice(1), "rows of other keys"),
            (lambda table, named: pa.concat_tables([table, table.slice(0, 1)]), "rows of other keys"),
            (lambda table, named: table.drop_columns(["prediction"]), "prediction"),
        ],
    ),
)
def test_predictions_that_are_none_reject(gate_at, wide, monkeypatch, change, says):
    ws = gate_at("challenged")
    scored(change)(ws, monkeypatch)
    details = put(ws, wide).details
    assert details["outcome"] == "rejected"
    assert says in details["reason"]
    assert ws.registry.aliases(MODEL) == UNTOUCHED
    assert told(ws)[-1] == ("decided", "gate", "rejected", 2)


@pytest.mark.parametrize(
    ("limits", "outcome", "says"),
    every(
        2,
        [
            ({"slices": {"columns": ["regoin"]}}, "rejected", "Did you mean region?"),
            ({"baseline_by": ["regoin"]}, "rejected", "Did you mean region?"),
            ({"cluster_by": ["acount"]}, "rejected", "Did you mean account?"),
            ({"min_positives": 10**6}, "insufficient", "1000000 are needed"),
            ({"min_rows": 10**6}, "insufficient", "1000000 are needed"),
        ],
    ),
)
def test_settings_that_cannot_be_met_never_promote(gate_at, tmp_path, limits, outcome, says):
    ws = gate_at("challenged")
    own = write_tiny_use_case(tmp_path, months=1, rows_a_month=1, gate={"margin": 0.2, **limits})
    details = put(ws, own).details
    assert (details["outcome"], says in details["reason"]) == (outcome, True)
    assert ws.registry.aliases(MODEL) == UNTOUCHED


def test_no_label_at_all_is_insufficient(gate_at, wide):
    ws = gate_at("challenged")
    details = put(ws, wide, "2020-02-01").details
    assert (details["outcome"], details["rows_from"]) == ("insufficient", "no labels")
    assert ws.registry.aliases(MODEL) == UNTOUCHED


def test_a_metric_that_is_not_defined_rejects(gate_at, wide, monkeypatch):
    from mlplatform.statistics import metrics
    from mlplatform.statistics.metrics import Metric

    undefined = Metric("roc_auc", lambda labels, made: float("nan"), greater_is_better=True)
    monkeypatch.setitem(metrics.METRICS, "roc_auc", undefined)
    ws = gate_at("challenged")
    assert put(ws, wide).details["outcome"] == "rejected"
    assert ws.registry.aliases(MODEL) == UNTOUCHED


@pytest.mark.parametrize("missing", ["trained_through", "trained_as_of"])
def test_a_version_that_does_not_say_what_it_was_trained_on_rejects(gate_at, wide, missing):
    ws = gate_at("challenged")
    ws.registry._connect().delete_model_version_tag(str(MODEL), "2", missing)
    details = put(ws, wide).details
    assert (details["outcome"], f"lacks the tag {missing}" in details["reason"]) == ("rejected", True)


@pytest.mark.parametrize("call", ["to_arrow", "version", "exists", "append"])
def test_tables_that_fail_promote_nothing(gate_at, wide, monkeypatch, call):
    ws = gate_at("challenged")

    def fail(*arguments: Any, **named: Any) -> Any:
        raise TableError("storage does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(ws.tables, call, fail)
        # Raised where the decision itself could not be written, or those before not be read.
        with suppress(TableError):
            assert put(ws, wide).details["outcome"] == "rejected"
    assert ws.registry.aliases(MODEL) == UNTOUCHED
    assert ("decided", "gate", "promoted", 2) not in told(ws)


def test_evidence_that_cannot_be_stored_rejects_and_is_decided_anew(gate_at, wide, monkeypatch):
    ws = gate_at("challenged")

    def fail(*arguments: Any) -> Any:
        raise RegistryError("the artifact store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(ws.registry, "log_files", fail)
        details = put(ws, wide).details
        assert (details["outcome"], "could not be stored" in details["reason"]) == ("rejected", True)
        with pytest.raises(RegistryError):
            put(ws, wide, version=2, override="now")
    assert ws.registry.aliases(MODEL) == UNTOUCHED
    assert put(ws, wide).details["outcome"] == "promoted"


# The command line's exit codes


@pytest.fixture
def command(gate_at, wide, monkeypatch) -> Any:
    """Run a command on a copy of the workspace, in this process, where its parts can be made to fail."""
    ws = gate_at("challenged")
    monkeypatch.setattr(cli_options.Options, "open_use_case", _opening(ws, wide))

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, [*arguments, "--as-of", SECOND])
        error = done.exception
        code = error.exit_code if isinstance(error, PlatformError) else done.exit_code
        assert error is None or isinstance(error, PlatformError), error
        return code, f"{done.output}{error or ''}"

    return ws, run


def _opening(ws: Any, tiny: TinyFolder) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def open_use_case(self: Any, name: str, *, read_only: bool = False) -> Any:
        del read_only  # the workspace is open already
        yield ws, open_tiny(ws, tiny.folder)

    return open_use_case


@pytest.mark.parametrize(
    ("arguments", "error"),
    crossed(
        [["gate", "tiny"], ["promote", "tiny", "--version", "2"]],
        [TimeoutError("late"), http_error("PERMISSION_DENIED", "403 Forbidden")],
    ),
)
def test_a_gate_that_cannot_look_exits_with_3(command, monkeypatch, arguments, error):
    ws, run = command

    def fail(*arguments: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ws.registry._connect(), "get_registered_model", fail)
        code, said = run(*arguments)
    assert (code, "Nothing was decided, or not finished" in said) == (3, True)
    assert ws.registry.aliases(MODEL) == UNTOUCHED


def test_the_commands_exit_with_what_they_did(command):
    ws, run = command
    assert run("promote", "tiny", "--version", "2", "--force")[0] == 2
    assert run("promote", "tiny", "--version", "77")[0] == 2
    code, said = run("gate", "tiny", "--dry-run")
    assert (code, "A dry run; nothing was changed. The real run would:" in said) == (0, True)
    assert ws.registry.aliases(MODEL) == UNTOUCHED
    dry = said.split("would:")[1].strip()
    code, said = run("gate", "tiny")
    assert (code, said.split("Done:")[1].strip()) == (0, dry)
    assert run("rollback", "tiny", "--reason", "a test")[0] == 0
    assert ws.registry.aliases(MODEL) == {CHAMPION: 1}
    assert run("rollback", "tiny", "--reason", "a test")[0] == 2
    code, said = run("gate", "tiny", "--version", "2")
    assert (code, "was applied before" in said) == (3, True)
    code, _ = run("promote", "tiny", "--version", "2", "--force", "--reason", "after all")
    assert (code, ws.registry.aliases(MODEL)) == (0, DONE)
