"""Whatever fails while an alias, features, a model or predictions are written: done, or clearly not; again finishes it.

Each kind of fault (an answer later than the timeout, 429, 500, 403, a connection lost before and after the write took
effect) hits each of the four writes, on the tiny use case.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform import open_workspace, pipeline
from mlplatform.errors import RegistryError, TableError, UnavailableError
from mlplatform.gate import evaluation
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION
from mlplatform.training import stage as train
from mlplatform.training.label_frame import table_digest
from mlplatform.workspace.databricks import delta
from mlplatform.workspace.databricks.feature_client import DatabricksFeatureClient
from mlplatform.workspace.databricks.registry import DatabricksRegistry
from mlplatform.workspace.databricks.tables import DatabricksTables
from tests.parity.fault_bench import DECISIONS, GOLD, MODEL, REGION, Bench
from tests.parity.fault_kinds import (
    CONFLICT,
    KINDS,
    UNHEARD,
    Commits,
    Killed,
    die,
    failing_commits,
    leave_nothing_when_killed,
)
from tests.support.state import differences
from tests.support.tiny_use_case import write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.mark import ParameterSet
    from pyspark.sql import SparkSession

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.standin.server import StandIn

ALIAS, VERSION = r"/registered-models/alias$", r"/model-versions/"
BEFORE_PROMOTION = {CHAMPION: 1, CHALLENGER: 2}
BETWEEN = {PREVIOUS_CHAMPION: 1, **BEFORE_PROMOTION}
PROMOTED = {CHAMPION: 2, PREVIOUS_CHAMPION: 1}
TIMEOUT, LATER = 2, 2.5
# What is worst: done, but nobody said so. The others, by each write, are run by `make parity-slow`: each takes long.
EACH_KIND = [pytest.param(kind, marks=() if kind == "drop_after" else pytest.mark.slow) for kind in KINDS]


def _slow(*values: Any) -> ParameterSet:
    return pytest.param(*values, marks=pytest.mark.slow)


# The stage at which a test begins; all before it are done.
AT_FEATURES, AT_TRAIN, AT_GATE, AT_SCORE = (
    pytest.mark.parametrize("bench", [stage], indirect=True) for stage in ("features", "train", "gate", "score")
)


@pytest.fixture(scope="module")
def built(
    features: DatabricksWorkspace,
    standin: StandIn,
    delta_spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bench]:
    """The use case after two undisturbed cycles; what is computed for them is remembered, to be quick when repeated."""
    del features
    # So wide a margin that every fair model is promoted.
    tiny = write_tiny_use_case(tmp_path_factory.mktemp("faults"), rows_a_month=150, gate={"margin": 0.2})
    with pytest.MonkeyPatch.context() as patch:
        scores = lambda self, **named: (named["model_uri"], table_digest(named["df"]), named.get("matches"))  # noqa: E731
        patch.setattr(
            DatabricksFeatureClient,
            "score_batch_arrow",
            remembered(DatabricksFeatureClient.score_batch_arrow, scores),
        )
        patch.setattr(train, "training_data", remembered(train.training_data, lambda *given: given[3].digest))
        versions = lambda context, _, *models, **parts: (  # noqa: E731
            context.as_of,
            *(model and model.version for model in models),
        )
        patch.setattr(evaluation, "gather", remembered(evaluation.gather, versions))
        # The bench goes back in time by RESTORE; to the platform it must look as if what came later had never been.
        patch.setattr(DatabricksTables, "replaced_since", lambda *_: False)
        bench = Bench(standin, delta_spark, tiny)
        bench.build()
        # The platform's own tables are there by now; to look at each of them takes seconds here.
        patch.setattr(pipeline.records, "ensure", lambda *_: [])
        yield bench


@pytest.fixture
def bench(
    built: Bench, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Bench]:
    """The bench, at a stage."""
    built.go_back(request.param)
    if request.node.callspec.params.get("kind") == "latency":
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT))
    yield built
    built.standin.assert_token_not_in(caplog.text)
    assert not built.standin.unexpected
    built.standin.faults.clear()


def remembered(function: Callable[..., Any], key: Callable[..., Any]) -> Callable[..., Any]:
    answers: dict[Any, Any] = {}

    def answer(*arguments: Any, **named: Any) -> Any:
        made = key(*arguments, **named)
        if made not in answers:
            answers[made] = function(*arguments, **named)
        return answers[made]

    return answer


def finish(bench: Bench, stage: str) -> None:
    """Run the same again, undisturbed: it comes to what it would have come to without the fault."""
    bench.standin.faults.clear()
    assert bench.attempt(stage) is None
    assert differences(bench.state(stage), bench.after[stage]) == {}


# Alias set


@AT_GATE
@pytest.mark.parametrize("kind", EACH_KIND)
def test_an_alias_is_set_or_it_is_not_and_the_record_says_so(bench, kind):
    fault = bench.standin.faults.add(
        kind, method="POST", path=ALIAS, body=f'"alias": "{CHAMPION}"', times=None, seconds=LATER
    )
    error = bench.attempt("gate")
    assert fault.hits > 0
    assert (error is None) == (kind in UNHEARD)
    if error is None:
        assert differences(bench.state("gate"), bench.after["gate"]) == {}
        return
    assert isinstance(error, RegistryError)
    assert error.message.startswith(f"Could not set alias champion of {MODEL} to version 2")
    assert ("ownership of the model" in error.hint) == (kind == "403")
    assert bench.aliases() == BETWEEN
    assert bench.told() == [("decided", "promoted", 2)]
    finish(bench, "gate")


@AT_GATE
@pytest.mark.parametrize(
    ("kind", "skip", "aliases", "told"),
    [
        _slow("500", 0, BEFORE_PROMOTION, []),
        ("drop_after", 0, BEFORE_PROMOTION, [("decided", "promoted", 2)]),
        ("500", 1, PROMOTED, [("decided", "promoted", 2)]),
        _slow("drop_after", 1, PROMOTED, [("decided", "promoted", 2), ("applied", "promoted", 2)]),
    ],
)
def test_no_alias_moves_before_the_decision_is_on_record(bench, monkeypatch, kind, skip, aliases, told):
    with monkeypatch.context() as patch:
        failing_commits(f"Appending to {DECISIONS}", kind, bench.standin.token, skip=skip).install(patch)
        assert isinstance(bench.attempt("gate"), TableError)
    assert (bench.aliases(), bench.told()) == (aliases, told)
    if len(told) == 2:
        # All was done but for the answer.
        assert differences(bench.state("gate"), bench.after["gate"]) == {}
    else:
        finish(bench, "gate")


@AT_GATE
def test_a_busy_registry_is_asked_again_when_it_says(bench):
    fault = bench.standin.faults.add("429", method="POST", path=ALIAS, retry_after=2)
    started = time.monotonic()
    bench.open().registry.set_alias(MODEL, CHAMPION, 2)
    assert (fault.hits, time.monotonic() - started >= 2) == (1, True)
    assert [call.status for call in bench.standin.calls.filter("POST", ALIAS)] == [429, 200]
    assert bench.aliases()[CHAMPION] == 2
    bench.standin.faults.add("429", method="GET", path="/unity-catalog/tables/", retry_after=1)
    started = time.monotonic()
    assert bench.open().tables.describe(REGION).primary_keys == ("region", "known_at")
    assert time.monotonic() - started >= 1


@AT_GATE
def test_first_the_decision_is_recorded_then_the_previous_champion_set_then_the_champion(bench, monkeypatch):
    appended: list[tuple[str, int]] = []
    whole = delta.append_rows

    def noting(name: Any, *arguments: Any, **named: Any) -> None:
        whole(name, *arguments, **named)
        appended.append((name.name, len(bench.standin.calls)))

    monkeypatch.setattr(delta, "append_rows", noting)
    bench.run("gate")
    calls = list(bench.standin.calls)
    moves = [
        (place, call.body["alias"], call.body["version"])
        for place, call in enumerate(calls)
        if call.method == "POST" and re.search(ALIAS, call.path)
    ]
    assert [(alias, version) for _, alias, version in moves] == [(PREVIOUS_CHAMPION, "1"), (CHAMPION, "2")]
    decided, applied = (place for name, place in appended if name == "gate_decisions")
    assert decided <= moves[0][0] < moves[1][0] < applied


@AT_GATE
@pytest.mark.parametrize(("alias", "between"), [_slow(PREVIOUS_CHAMPION, BEFORE_PROMOTION), (CHAMPION, BETWEEN)])
def test_a_process_that_dies_between_the_steps_of_a_promotion(bench, monkeypatch, alias, between):
    set_alias = DatabricksRegistry.set_alias

    def dying(self: DatabricksRegistry, model: Any, name: str, version: int) -> None:
        if name == alias:
            die()
        set_alias(self, model, name, version)

    with monkeypatch.context() as patch:
        leave_nothing_when_killed(patch)
        patch.setattr(DatabricksRegistry, "set_alias", dying)
        with pytest.raises(Killed):
            bench.run("gate")
    assert bench.aliases() == between
    assert bench.told() == [("decided", "promoted", 2)]
    finish(bench, "gate")


@AT_GATE
@pytest.mark.slow
def test_a_registry_that_keeps_failing_is_never_taken_for_no_champion(bench, monkeypatch):
    for kind in KINDS:
        bench.standin.faults.add(kind, path=r"/registered-models/get$", times=None, seconds=LATER)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT) if kind == "latency" else "30")
        for stage in ("gate", "score"):
            error = bench.attempt(stage)
            assert isinstance(error, RegistryError), kind
            assert error.message.startswith(f"Could not read the model {MODEL}")
        bench.standin.faults.clear()
    assert (bench.aliases(), bench.told()) == (BEFORE_PROMOTION, [])
    assert not bench.standin.calls.filter("POST", ALIAS)


# Feature write


@AT_FEATURES
@pytest.mark.parametrize("kind", EACH_KIND)
def test_features_are_written_whole_or_not_at_all(bench, monkeypatch, kind):
    before = bench.rows(REGION)
    with monkeypatch.context() as patch:
        faulty = failing_commits(f"Merging into {REGION}", kind, bench.standin.token).install(patch)
        error = bench.attempt("features")
    assert faulty.hits == 1
    assert isinstance(error, TableError)
    assert error.message.startswith(f"Merging into {REGION}: ")
    assert ("privilege" in error.hint) == (kind == "403")
    assert bench.rows(REGION) == (bench.after["features"][REGION.name] if kind in UNHEARD else before)
    finish(bench, "features")


@AT_FEATURES
@pytest.mark.slow
def test_features_are_not_written_when_unity_catalog_does_not_say_what_the_table_is(bench):
    before = bench.rows(REGION)
    for kind in KINDS:
        fault = bench.standin.faults.add(
            kind, method="GET", path=f"/unity-catalog/tables/{REGION}$", times=None, seconds=LATER
        )
        error = bench.attempt("features", timeout=TIMEOUT if kind == "latency" else 30)
        assert fault.hits > 0, kind
        assert isinstance(error, TableError), kind
        assert str(REGION) in error.message
        bench.standin.faults.clear()
    assert bench.rows(REGION) == before
    finish(bench, "features")


@AT_FEATURES
def test_a_feature_write_yields_to_other_writers_and_gives_up_in_the_end(bench, monkeypatch):
    before = bench.rows(REGION)
    monkeypatch.setattr(delta, "ATTEMPTS", 3)
    with monkeypatch.context() as patch:
        Commits(f"Merging into {REGION}", CONFLICT).install(patch)
        assert isinstance(bench.attempt("features"), UnavailableError)
    assert bench.rows(REGION) == before
    with monkeypatch.context() as patch:
        faulty = Commits(f"Merging into {REGION}", CONFLICT, times=2).install(patch)
        finish(bench, "features")
    assert faulty.hits == 2


# Model registration


@AT_TRAIN
@pytest.mark.parametrize("kind", EACH_KIND)
def test_a_model_is_registered_with_its_tags_or_is_no_challenger(bench, kind):
    fault = bench.standin.faults.add(kind, method="POST", path=f"{VERSION}create$", times=None, seconds=LATER)
    error = bench.attempt("train")
    assert fault.hits > 0
    assert error is not None
    assert bench.aliases() == {CHAMPION: 1}
    assert [version.version for version in bench.open().registry.versions(MODEL)] == [1]
    finish(bench, "train")


@AT_TRAIN
@pytest.mark.parametrize(
    ("kind", "method", "path", "body"),
    [
        _slow("500", "POST", "/mlflow/runs/create$", ""),
        _slow("500", "PUT", "/fs/files/Models/", ""),
        _slow("drop_before", "POST", f"{VERSION}finalize$", ""),
        # A version that is there although nobody said so is left by the test above, too.
        _slow("drop_after", "POST", f"{VERSION}finalize$", ""),
        ("403", "POST", f"{VERSION}set-tag$", "training_key"),
        _slow("500", "POST", ALIAS, CHALLENGER),
        ("drop_after", "POST", ALIAS, CHALLENGER),
    ],
)
def test_a_registration_that_is_cut_off_is_completed(bench, kind, method, path, body):
    fault = bench.standin.faults.add(kind, method=method, path=path, body=body, times=None)
    error = bench.attempt("train")
    assert fault.hits > 0
    if error is None:
        assert (kind, path) == ("drop_after", ALIAS)
    else:
        assert bench.aliases() == {CHAMPION: 1}
    finish(bench, "train")


# Prediction append


@AT_SCORE
@pytest.mark.parametrize("kind", EACH_KIND)
def test_predictions_are_there_exactly_once(bench, monkeypatch, kind):
    whole = bench.after["score"][GOLD.name]
    with monkeypatch.context() as patch:
        faulty = failing_commits(f"Appending to {GOLD}", kind, bench.standin.token).install(patch)
        error = bench.attempt("score")
    assert faulty.hits == 1
    assert isinstance(error, TableError)
    there = bench.rows(GOLD)
    assert len(there) == (len(whole) if kind in UNHEARD else 0)
    assert set(there) <= set(whole)
    finish(bench, "score")


@AT_SCORE
@pytest.mark.slow
def test_nothing_is_predicted_when_the_model_cannot_be_read(bench, monkeypatch):
    for kind in KINDS:
        fault = bench.standin.faults.add(kind, method="GET", path=f"{VERSION}get$", times=None, seconds=LATER)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT) if kind == "latency" else "30")
        error = bench.attempt("score")
        assert fault.hits > 0, kind
        assert isinstance(error, RegistryError), kind
        bench.standin.faults.clear()
    assert bench.rows(GOLD) == []
    finish(bench, "score")


# In every run test_databricks_exactly_once dies at the same places in an append, and a stage in a promotion, above.
@AT_SCORE
@pytest.mark.slow
@pytest.mark.parametrize("place", ["begun, not appended", "appended, not committed", "committed, not recorded"])
def test_a_process_that_dies_in_an_append_of_predictions(bench, monkeypatch, place):
    with monkeypatch.context() as patch:
        leave_nothing_when_killed(patch)
        if place != "committed, not recorded":
            Commits(f"Appending to {GOLD}", None, after=place == "appended, not committed").install(patch)
        with pytest.raises(Killed):
            bench.run("score")
    whole = len(bench.after["score"][GOLD.name])
    assert len(bench.rows(GOLD)) == (0 if place == "begun, not appended" else whole)
    finish(bench, "score")


# The workspace itself


@pytest.mark.parametrize("silent", ["closed", "deaf"])
def test_a_host_that_does_not_answer_is_an_error_within_seconds(monkeypatch, silent):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if silent == "closed":
            server.close()
        monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("DATABRICKS_TOKEN", "dapi0123456789abcdef")
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{port} \(from DATABRICKS_HOST\)") as caught:
            open_workspace("databricks", env="dev")
    assert time.monotonic() - started < 8
    assert "dapi" not in str(caught.value)
