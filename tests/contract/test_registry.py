"""The registry: aliases are what the registered model says, and what cannot be read is never "no champion"."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlplatform.errors import MissingVersionError, RegistryError, UsageError
from mlplatform.naming import CHALLENGER, CHAMPION, PREVIOUS_CHAMPION, ObjectName
from mlplatform.protocols.registry import ModelSignature, ModelVersion, Registry, TrainingRun

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

MODEL = "dev.registry.model"
ABSENT = "dev.registry.absent"


def train(registry: Any, model: str) -> str:
    """Log and register a model as a training does, and return its run."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    registry.activate()
    with mlflow.start_run(experiment_id=registry.experiment("/dev/registry")) as run:
        mlflow.sklearn.log_model(
            LinearRegression().fit([[0.0], [1.0]], [1.0, 2.0]),
            name="model",
            registered_model_name=model,
            signature=mlflow.models.infer_signature(np.array([[0.5]]), np.array([1.5])),
            pip_requirements=["scikit-learn"],
            serialization_format="skops",
        )
    return str(run.info.run_id)


@pytest.fixture(scope="module")
def runs(ws: Workspace) -> list[str]:
    """The runs of the model's three versions."""
    ws.registry.ensure_model(MODEL, description="Who pays late")
    return [train(ws.registry, MODEL) for _ in range(3)]


@pytest.fixture
def registry(ws: Workspace, runs: list[str]) -> Any:
    for alias in ws.registry.aliases(MODEL):
        ws.registry.delete_alias(MODEL, alias)
    return ws.registry


def test_it_keeps_the_protocol(ws):
    assert isinstance(ws.registry, Registry)


def test_a_model_that_does_not_exist_has_no_aliases_and_no_versions(ws):
    assert ws.registry.aliases(ABSENT) == {}
    assert ws.registry.versions(ABSENT) == []
    ws.registry.delete_alias(ABSENT, CHAMPION)


def test_a_model_is_made_once_and_has_nothing(ws):
    for text in ("Who pays late", "Another"):
        ws.registry.ensure_model("dev.registry.made", description=text)
    ws.registry.require_model("dev.registry.made")
    assert (ws.registry.aliases("dev.registry.made"), ws.registry.versions("dev.registry.made")) == ({}, [])


def test_an_alias_is_set_moved_read_back_and_taken_away(registry):
    assert registry.aliases(MODEL) == {}
    registry.set_alias(MODEL, CHALLENGER, 2)
    registry.set_alias(ObjectName.parse(MODEL), CHAMPION, 1)
    assert registry.aliases(MODEL) == {CHALLENGER: 2, CHAMPION: 1}
    registry.set_alias(MODEL, CHAMPION, 2)
    registry.set_alias(MODEL, CHAMPION, 2)
    for _ in range(2):
        registry.delete_alias(MODEL, CHALLENGER)
    registry.delete_alias(MODEL, PREVIOUS_CHAMPION)
    assert registry.aliases(ObjectName.parse(MODEL)) == {CHAMPION: 2}


def test_versions_come_oldest_first_with_their_runs_and_tags(registry, runs):
    registry.set_tags(MODEL, 2, {"owner": "me", "number": 3})
    registry.set_tags(MODEL, 2, {"owner": "you"})
    versions = registry.versions(MODEL)
    assert [(version.version, version.run_id, version.name) for version in versions] == [
        (number, run, MODEL) for number, run in enumerate(runs, start=1)
    ]
    assert {key: versions[1].tags[key] for key in ("owner", "number")} == {"owner": "you", "number": "3"}
    assert "owner" not in versions[0].tags
    assert registry.get(MODEL, 2) == versions[1]
    assert isinstance(versions[1], ModelVersion)
    assert versions[1].uri == f"models:/{MODEL}/2"
    times = [version.created_at for version in versions]
    assert times == sorted(times)
    assert abs((datetime.now(UTC) - times[0]).total_seconds()) < 3600


def test_what_does_not_exist_is_an_error_that_names_it(registry):
    for act in (
        lambda: registry.get(MODEL, 99),
        lambda: registry.set_alias(MODEL, CHAMPION, 99),
        lambda: registry.set_tags(MODEL, 99, {"a": "b"}),
        lambda: registry.copy_version(ModelVersion(MODEL, 99, "", {}, datetime.now(UTC)), MODEL),
    ):
        with pytest.raises(RegistryError, match=rf"{MODEL}.*99|99.*{MODEL}"):
            act()
    for act in (
        lambda: registry.get(ABSENT, 1),
        lambda: registry.set_alias(ABSENT, CHAMPION, 1),
        lambda: registry.set_deployment_job(ABSENT, "12"),
        lambda: registry.copy_version(registry.get(MODEL, 1), ABSENT),
    ):
        with pytest.raises(RegistryError, match=ABSENT):
            act()
    assert (registry.aliases(MODEL), registry.aliases(ABSENT), registry.versions(ABSENT)) == ({}, {}, [])


def test_a_version_that_does_not_exist_is_told_from_a_registry_that_does_not_answer(registry, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR

    for model, version in ((MODEL, 99), (ABSENT, 1)):
        with pytest.raises(MissingVersionError, match="no such version") as missing:
            registry.get(model, version)
        assert "again when" not in missing.value.hint

    def fail(*_: Any, **__: Any) -> None:
        raise MlflowException("down", error_code=INTERNAL_ERROR)

    monkeypatch.setattr(registry._connect(), "get_model_version", fail)
    with pytest.raises(RegistryError, match="down") as raised:
        registry.get(MODEL, 1)
    assert not isinstance(raised.value, MissingVersionError)
    assert "again when the registry answers" in raised.value.hint


@pytest.mark.parametrize("name", ["model", "a.b", "dev.a.b; DROP", "../dev.a.b"])
def test_a_name_that_leads_elsewhere_is_refused(registry, name):
    for act in (
        registry.aliases,
        registry.versions,
        registry.ensure_model,
        registry.require_model,
        lambda name: registry.set_alias(name, CHAMPION, 1),
        lambda name: registry.delete_alias(name, CHAMPION),
        lambda name: registry.get(name, 1),
        lambda name: registry.set_tags(name, 1, {"a": "b"}),
        lambda name: registry.copy_version(registry.get(MODEL, 1), name),
        lambda name: registry.set_deployment_job(name, "1"),
    ):
        with pytest.raises(UsageError):
            act(name)


def test_a_deployment_job_is_linked_replaced_and_unlinked(registry):
    for job in ("12", "13", "13", None, None):
        registry.set_deployment_job(MODEL, job)
    assert registry.aliases(MODEL) == {}


def test_a_version_is_copied_with_its_tags_and_files_into_a_model_that_exists(registry, tmp_path: Path):
    import mlflow

    registry.set_tags(MODEL, 1, {"training_key": "k"})
    registry.ensure_model("dev.registry.target")
    copied = registry.copy_version(registry.get(MODEL, 1), "dev.registry.target")
    assert (copied.name, copied.version) == ("dev.registry.target", 1)
    assert copied.tags["training_key"] == "k"
    assert registry.versions("dev.registry.target") == [copied]
    registry.activate()
    model = mlflow.sklearn.load_model(copied.uri, dst_path=str(tmp_path))
    assert model.predict([[2.0]]) == pytest.approx([3.0])


def test_files_are_kept_with_the_run_and_replaced(registry, runs):
    import mlflow

    version = registry.get(MODEL, 1)
    for text in ("no", "yes"):
        registry.log_files(version, "gate/one", {"why.html": f"<p>{text} ü</p>", "facts.json": "{}"})
    registry.activate()
    found = Path(mlflow.artifacts.download_artifacts(f"runs:/{runs[0]}/gate/one"))
    assert {file.name: file.read_text(encoding="utf-8") for file in found.iterdir()} == {
        "why.html": "<p>yes ü</p>",
        "facts.json": "{}",
    }


def test_a_training_is_recorded_with_its_trials_and_read_back(registry):
    with registry.training_run("/dev/recorded", "one", {"training_key": "k"}) as run:
        assert isinstance(run, TrainingRun)
        run.log_params({"depth": 3})
        run.log_metrics({"auc": 0.75, "undefined": float("nan")})
        run.log_json("profile.json", {"rows": 3})
        run.log_trial(0, {"depth": 2}, {"validation_auc": 0.5})
        run.log_failed_trial(1, {"depth": 9}, {"failure": "too deep"})
    version = ModelVersion(MODEL, 1, run.run_id, {}, datetime.now(UTC))
    record = registry.run(version)
    assert (dict(record.metrics), record.tags["training_key"]) == ({"auc": 0.75}, "k")
    assert registry.load_json(version, "profile.json") == {"rows": 3}
    runs = {
        item.info.run_name: item for item in registry._connect().search_runs([registry.experiment("/dev/recorded")])
    }
    assert {name: item.info.status for name, item in runs.items()} == {
        "one": "FINISHED",
        "trial 0": "FINISHED",
        "trial 1": "FAILED",
    }
    assert (runs["trial 0"].data.params, runs["trial 0"].data.metrics) == ({"depth": "2"}, {"validation_auc": 0.5})
    assert {runs[f"trial {number}"].data.tags["training_key"] for number in (0, 1)} == {"k"}
    assert runs["trial 1"].data.tags["failure"] == "too deep"
    assert runs["trial 1"].data.tags["mlflow.parentRunId"] == run.run_id


def test_a_training_that_fails_leaves_a_failed_run_and_raises_what_it_raised(registry):
    with pytest.raises(ValueError, match="of our own"), registry.training_run("/dev/failing", "one", {}):
        raise ValueError("of our own")
    (run,) = registry._connect().search_runs([registry.experiment("/dev/failing")])
    assert run.info.status == "FAILED"


def test_what_mlflow_refuses_of_a_training_is_an_error_of_ours(registry):
    with (
        pytest.raises(RegistryError, match="record the training") as caught,
        registry.training_run("/dev/refused", "one", {}) as run,
    ):
        run.log_params({"no such name!?": 1})
    assert "trained again" in caught.value.hint


def test_a_versions_files_and_signature_are_read_without_loading_it(registry, tmp_path: Path):
    folder = registry.download(registry.get(MODEL, 1), tmp_path)
    assert (folder / "MLmodel").is_file()
    part = registry.download(registry.get(MODEL, 1), tmp_path / "part", "MLmodel")
    assert part.read_text(encoding="utf-8") == (folder / "MLmodel").read_text(encoding="utf-8")
    assert registry.signature(registry.get(MODEL, 1)) == ModelSignature({"": "float64"}, {}, ("float64",))


def test_what_cannot_be_fetched_is_an_error_that_names_it(registry, tmp_path: Path):
    gone = ModelVersion(MODEL, 99, "0" * 32, {}, datetime.now(UTC))
    for act in (
        lambda: registry.download(gone, tmp_path),
        lambda: registry.signature(gone),
        lambda: registry.load_json(gone, "profile.json"),
        lambda: registry.run(gone),
    ):
        with pytest.raises(RegistryError, match=f"99 of {MODEL}|{MODEL}/99"):
            act()


def test_an_experiment_is_made_once(ws):
    one, two = ws.registry.experiment("/dev/a"), ws.registry.experiment("/dev/b")
    assert one == ws.registry.experiment("/dev/a") != two


def test_more_versions_than_ten_are_counted_not_spelled(registry):
    source = registry.get(MODEL, 1)
    registry.ensure_model("dev.registry.many")
    for _ in range(11):
        registry.copy_version(source, "dev.registry.many")
    assert [version.version for version in registry.versions("dev.registry.many")] == list(range(1, 12))


def test_what_cannot_be_read_is_never_no_champion(registry, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED

    registry.set_alias(MODEL, CHAMPION, 1)
    client = registry._connect()
    for error in (
        MlflowException("down", error_code=INTERNAL_ERROR),
        MlflowException("not yours", error_code=PERMISSION_DENIED),
        ConnectionError("reset"),
        TimeoutError("late"),
    ):

        def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr(client, "get_registered_model", fail)
        with pytest.raises(RegistryError, match=MODEL):
            registry.aliases(MODEL)
        with pytest.raises(RegistryError, match=MODEL):
            registry.set_alias(MODEL, CHAMPION, 2)


def test_an_alias_that_reads_back_otherwise_is_an_error(registry, monkeypatch):
    monkeypatch.setattr(registry._connect(), "set_registered_model_alias", lambda *_: None)
    with pytest.raises(RegistryError, match=f"Alias {CHAMPION} of {MODEL} was set to version 2, but reads None"):
        registry.set_alias(MODEL, CHAMPION, 2)
