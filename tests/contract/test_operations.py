"""What operating needs: jobs, data profiling, grants, landing folders, files, locks, and who works here."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform.errors import ConfigError, DeploymentError, UsageError
from mlplatform.protocols.operations import Access, InferenceProfile, Jobs, Monitors, Upload
from mlplatform.protocols.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

PROFILE = InferenceProfile("prediction", "scored_for", "model_version", "classification")

AddJob = Callable[..., Callable[[], int]]


def test_it_keeps_the_protocols(ws, home):
    assert isinstance(ws, Workspace)
    assert (ws.home, ws.env, ws.catalog, ws.prefix) == (home, "dev", "dev", "")
    assert isinstance(ws.jobs, Jobs)
    assert isinstance(ws.monitors, Monitors)
    assert isinstance(ws.access, Access)
    assert ws.user


# Jobs


@pytest.fixture
def add_job(ws: Any, home: str, request: pytest.FixtureRequest) -> AddJob:
    """Make a job that succeeds or fails; gives how often it has run."""
    if home == "local":

        def add(name: str, *, fails: bool = False) -> Callable[[], int]:
            calls: list[Any] = []

            def run(parameters: Any) -> None:
                calls.append(parameters)
                if fails:
                    raise ValueError("it broke")

            ws.jobs.register(name, run)
            return lambda: len(calls)

        return add
    jobs = request.getfixturevalue("databricks_home").standin.jobs

    def add_remote(name: str, *, fails: bool = False) -> Callable[[], int]:
        before = len(jobs.runs)
        jobs.add(
            name,
            parameters={"as_of": ""},
            states=("FAILED" if fails else "SUCCESS",),
            message="it broke" if fails else "",
        )
        return lambda: len(jobs.runs) - before

    return add_remote


def test_a_job_runs_once_a_token(ws, add_job):
    count = add_job("train_once")
    first = ws.jobs.run_now("train_once", parameters={"as_of": "2024-01-01"}, token="t1")
    again = ws.jobs.run_now("train_once", parameters={"as_of": "2024-01-01"}, token="t1")
    other = ws.jobs.run_now("train_once", parameters={}, token="t" * 200)
    assert first.run_id == again.run_id != other.run_id
    assert (count(), first.job) == (2, "train_once")
    assert ws.jobs.run_now("train_once", parameters={}, token="t" * 201).run_id != other.run_id


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_waiting_tells_how_it_ended(ws, add_job, fails):
    add_job(f"ends_{fails}", fails=fails)
    run = ws.jobs.run_now(f"ends_{fails}", parameters={}, token=f"ends {fails}")
    ended = ws.jobs.wait(run, timeout_seconds=30)
    assert (ended.run_id, ended.job, ended.state) == (run.run_id, run.job, "failed" if fails else "succeeded")
    assert ("it broke" in ended.message) == fails
    assert ws.jobs.wait(ended, timeout_seconds=0).state == ended.state


def test_a_job_that_is_not_there_is_an_error_with_near_names(ws, add_job):
    add_job("credit_risk_train")
    with pytest.raises(DeploymentError, match="credit_risk_trian") as refused:
        ws.jobs.run_now("credit_risk_trian", parameters={}, token="near")
    assert "Did you mean credit_risk_train" in refused.value.hint
    with pytest.raises(DeploymentError, match="424242"):
        ws.jobs.wait(
            dataclasses.replace(ws.jobs.run_now("credit_risk_train", parameters={}, token="far"), run_id="424242"),
            timeout_seconds=0,
        )


# Data profiling and grants


def test_profiling_again_changes_nothing(ws, fresh):
    name = fresh("predictions")
    assert ws.monitors.ensure(name, PROFILE) in ("no table yet", "not available here")
    assert ws.monitors.refresh(name) in ("no table yet", "not available here")
    ws.tables.create(
        name,
        pa.schema(
            [
                ("prediction", pa.float64()),
                ("scored_for", pa.timestamp("us", "UTC")),
                ("model_version", pa.int64()),
            ]
        ),
    )
    first = ws.monitors.ensure(name, PROFILE)
    assert first in ("created", "not available here")
    assert ws.monitors.ensure(name, PROFILE) in ("exists", "not available here")
    assert ws.monitors.refresh(name) in ("started", "not available here")
    assert (first == "created") == ws.monitors.offered
    with pytest.raises(UsageError):
        ws.monitors.ensure("predictions", PROFILE)


@pytest.mark.parametrize(
    ("privileges", "kind", "name", "principal", "error", "says"),
    [
        (["SELEKT"], "table", "dev.a.b", "us", DeploymentError, "SELEKT"),
        (["CREATE MODEL VERSION"], "table", "dev.a.b", "us", DeploymentError, "no privilege"),
        ([], "table", "dev.a.b", "us", DeploymentError, "No privilege"),
        (["SELECT"], "cluster", "dev.a.b", "us", DeploymentError, "kind 'cluster'"),
        (["SELECT"], "table", "dev.a.b", "", DeploymentError, "no principal"),
        (["SELECT"], "table", "dev.a", "us", UsageError, "3 level"),
        (["SELECT"], "table", "dev.a.b` TO `x", "us", UsageError, "not a valid"),
    ],
)
def test_what_cannot_be_granted_is_refused(ws, privileges, kind, name, principal, error, says):
    with pytest.raises(error, match=says):
        ws.access.grant(privileges, kind, name, principal)


def test_a_grant_may_be_given_again(ws):
    for _ in range(2):
        ws.access.grant(["EXECUTE", "CREATE MODEL VERSION"], "model", "dev.contract.model", "o'trainers `x")
        ws.access.grant(["USE SCHEMA", "SELECT"], "schema", "dev.contract", "scorers")


def test_a_model_gets_its_owner_who_may_then_move_its_aliases(ws, fresh):
    model = fresh("model")
    ws.registry.ensure_model(model)
    assert ws.access.probe_alias_right(model, "")
    assert ws.access.own_model(model, ws.user) in ("is already", "not available here")
    assert ws.access.own_model(model, "o'owners `x") in ("set", "not available here")
    assert ws.access.own_model(model, "o'owners `x") in ("is already", "not available here")
    assert ws.access.probe_alias_right(model, "o'owners `x")
    assert ws.registry.aliases(model) == {}
    with pytest.raises(DeploymentError, match="no principal"):
        ws.access.own_model(model, "")


# The catalog


def test_the_catalog_stays_what_the_first_use_case_says(ws):
    """Its names were made with it; the workspace of these tests is in dev."""
    for _ in range(2):
        ws.settle_catalog("tiny", None)
    assert ws.catalog == "dev"
    with pytest.raises(ConfigError, match="other"):
        ws.settle_catalog("other", "elsewhere")


# Files


def test_files_of_a_name_are_there_again(ws):
    (ws.files("reports") / "one.html").write_text("kept", encoding="utf-8")
    assert (ws.files("reports") / "one.html").read_text(encoding="utf-8") == "kept"
    assert list(ws.files("plots").iterdir()) == []


def test_landed_files_are_there_once(ws, home, tmp_path: Path):
    """Locally they are read where they lie; on Databricks they are sent to a volume."""
    (tmp_path / "2024").mkdir()
    files = [tmp_path / "2024" / "a.csv", tmp_path / "b.csv"]
    for file in files:
        file.write_text(f"{file.name}\n", encoding="utf-8")
    landing = ws.landing("churn") or tmp_path

    def content(file: Path) -> str:
        if home == "local":
            return file.read_text(encoding="utf-8")
        return str(ws.client.files.download(file.as_posix()).contents.read().decode())

    first, again = (ws.upload(tmp_path, files, landing) for _ in range(2))
    assert isinstance(first, Upload)
    assert first.uploaded + first.skipped == again.skipped == 2
    landed = [landing / file.relative_to(tmp_path) for file in files]
    assert [content(file) for file in landed] == ["a.csv\n", "b.csv\n"]


# Locks


def test_one_at_a_time_is_inside_and_an_error_gives_it_back(ws, monkeypatch):
    import contextlib

    with contextlib.suppress(ImportError):
        monkeypatch.setattr("mlplatform.workspace.databricks.locks.POLL_SECONDS", 0.05)
    inside: list[str] = []

    def work(name: str) -> None:
        with ws.lock("promote it's model"):
            inside.append(f"{name} in")
            time.sleep(0.3)
            inside.append(f"{name} out")

    with pytest.raises(KeyError), ws.lock("promote it's model"):
        raise KeyError
    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert inside in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
    with ws.lock("one"), ws.lock("another"):
        pass
