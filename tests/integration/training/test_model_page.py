"""What MLflow tells of a trained version, read back with MLflow's own client: its tables, and metrics on the model."""

from __future__ import annotations

import math

import mlflow
import pytest
from mlflow.entities import LoggedModel, Run

from mlplatform.features.artifacts import DIGEST_TAG
from mlplatform.protocols.registry import ModelVersion, TableRead
from mlplatform.task import TASKS
from tests.support.tiny_gate import MODEL, NAMESPACE, put

SPINE, LABELS = str(NAMESPACE.gold("spine")), str(NAMESPACE.gold("labels"))


def page(ws, version: ModelVersion) -> tuple[Run, LoggedModel]:
    client = mlflow.MlflowClient(ws.registry.uri, ws.registry.uri)
    run = client.get_run(version.run_id)
    (output,) = run.outputs.model_outputs
    return run, client.get_logged_model(output.model_id)


def read(run: Run) -> dict[str, tuple[str, int | None]]:
    found = {}
    for item in run.inputs.dataset_inputs:
        tags = {tag.key: tag.value for tag in item.tags}
        assert tags["mlflow.data.context"] == "training"
        source = mlflow.data.get_source(item)
        assert source.delta_table_name == item.dataset.name
        found[item.dataset.name] = (tags["role"], source.delta_table_version)
    return found


def test_the_page_tells_what_was_read_and_how_good_it_is(gate_at, wide):
    ws = gate_at("challenged")
    champion, challenger = ws.registry.get(MODEL, 1), ws.registry.get(MODEL, 2)
    run, _ = page(ws, challenger)
    features = {table.name: ("features", table.version) for table in ws.fe.lineage(challenger.uri).tables}
    assert features
    versions = {SPINE: ws.tables.version(SPINE), LABELS: ws.tables.version(LABELS)}
    assert read(run) == {SPINE: ("spine", versions[SPINE]), LABELS: ("labels", versions[LABELS])} | features

    def measured(version: ModelVersion, prefix: str) -> dict[str, float]:
        _, model = page(ws, version)
        return {item.key.removeprefix(prefix): item.value for item in model.metrics if item.key.startswith(prefix)}

    holdout = measured(challenger, "holdout_")
    assert set(TASKS["classification"].metrics) <= set(holdout)
    assert all(math.isclose(run.data.metrics[f"holdout_{name}"], value) for name, value in holdout.items())
    # The champion has been to the gate, the challenger has not.
    assert set(TASKS["classification"].metrics) <= set(measured(champion, "gate_"))
    assert measured(challenger, "gate_") == {}
    result = put(ws, wide).details
    at_gate = measured(challenger, "gate_check_")
    assert at_gate == {it["name"]: pytest.approx(it["value"]) for it in result["checks"] if it["value"] is not None}
    # Neither has learned from the challenger's holdout, and there are no newer labels: the gate looked at that.
    assert measured(challenger, "gate_")["roc_auc"] == pytest.approx(holdout["roc_auc"])


def test_a_dry_run_leaves_the_page_alone(gate_at, wide):
    ws = gate_at("challenged")
    _, before = page(ws, ws.registry.get(MODEL, 2))
    put(ws, wide, dry_run=True)
    _, after = page(ws, ws.registry.get(MODEL, 2))
    assert {item.key for item in after.metrics} == {item.key for item in before.metrics}


def test_logged_again_is_logged_once_and_the_first_version_of_a_table_is_told(gate_at):
    ws = gate_at("trained")
    version = ws.registry.get(MODEL, 1)
    before, model = page(ws, version)
    for _ in range(2):
        ws.registry.log_tables(version.run_id, [TableRead("dev.tiny.first", 0, "features")])
        ws.registry.log_metrics(version, {"odd name%": 1.0, "nothing": math.nan}, version.created_at)
    run, again = page(ws, version)
    assert read(run) == read(before) | {"dev.tiny.first": ("features", 0)}
    new = {item.key: item.value for item in again.metrics}.items() - {
        item.key: item.value for item in model.metrics
    }.items()
    assert dict(new) == {"odd name_": 1.0}


def test_an_interrupted_training_is_completed_with_its_metrics(gate_at, wide):
    from mlplatform.training.version_tags import KEY_TAG
    from tests.support.tiny_gate import FIRST
    from tests.support.tiny_runs import run_tiny

    ws = gate_at("trained")
    client = mlflow.MlflowClient(ws.registry.uri, ws.registry.uri)
    for tag in (KEY_TAG, DIGEST_TAG):
        client.delete_model_version_tag(str(MODEL), "1", tag)
    logged = []
    ws.registry.log_metrics = lambda version, metrics, at: logged.append((version.version, set(metrics)))
    run_tiny(ws, wide.folder, FIRST, ["train"])
    ((number, names),) = logged
    assert number == 1
    assert "holdout_roc_auc" in names
