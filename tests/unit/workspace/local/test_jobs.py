"""Jobs and profiling of the local workspace: once a token, on record, and honest about what is not there."""

from __future__ import annotations

import dataclasses

import pytest

from mlplatform.errors import DeploymentError, StageError, UsageError
from mlplatform.protocols.operations import Access, InferenceProfile, JobRun, Jobs, Monitors
from mlplatform.workspace.local.jobs import LocalJobs
from mlplatform.workspace.local.workspace import LocalWorkspace


@pytest.fixture
def given():
    return []


@pytest.fixture
def jobs(tmp_path, given):
    found = LocalJobs(tmp_path)
    found.register("train", lambda parameters: given.append(dict(parameters)))
    return found


def test_a_job_runs_once_a_token_also_after_a_restart(jobs, tmp_path, given):
    first = jobs.run_now("train", parameters={"as_of": "2020-01-01"}, token="tiny 1")
    assert (first.state, first.job, first.message) == ("succeeded", "train", "")
    assert jobs.run_now("train", parameters={"as_of": "2020-01-01"}, token="tiny 1") == first
    assert LocalJobs(tmp_path).run_now("train", parameters={}, token="tiny 1") == first
    assert given == [{"as_of": "2020-01-01"}]
    assert jobs.run_now("train", parameters={}, token="tiny 2").run_id != first.run_id
    assert len(given) == 2
    assert LocalJobs(tmp_path).wait(first, timeout_seconds=0) == first


def test_a_job_that_fails_is_a_failed_run_with_its_reason(jobs):
    def fail(_):
        raise StageError("No labels.", hint="Wait.")

    jobs.register("bad", fail)
    run = jobs.run_now("bad", parameters={}, token="t")
    assert (run.state, run.message) == ("failed", "No labels.")
    jobs.register("bad", lambda _: None)
    assert jobs.run_now("bad", parameters={}, token="t") == run
    assert jobs.run_now("bad", parameters={}, token="u").state == "succeeded"


def test_a_run_that_was_killed_is_started_again(jobs, given):
    def die(_):
        raise KeyboardInterrupt

    jobs.register("train", die)
    with pytest.raises(KeyboardInterrupt):
        jobs.run_now("train", parameters={}, token="t")
    jobs.register("train", given.append)
    assert jobs.run_now("train", parameters={"a": "b"}, token="t").state == "succeeded"
    assert given == [{"a": "b"}]


def test_unknown_jobs_and_runs_are_named(jobs):
    with pytest.raises(DeploymentError, match="Did you mean train"):
        jobs.run_now("trian", parameters={}, token="t")
    with pytest.raises(DeploymentError, match="not on record"):
        jobs.wait(JobRun("absent", "train", "running"), timeout_seconds=0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_damaged_record_is_no_empty_one(jobs, tmp_path, given, content):
    (tmp_path / "jobs.json").write_bytes(content)
    with pytest.raises(DeploymentError, match="does not hold"):
        jobs.run_now("train", parameters={}, token="t")
    assert given == []


def test_the_workspace_has_jobs_grants_and_no_profiling(tmp_path):
    with LocalWorkspace.open(root=tmp_path) as ws:
        assert isinstance(ws.jobs, Jobs)
        assert isinstance(ws.monitors, Monitors)
        assert isinstance(ws.access, Access)
        profile = InferenceProfile("prediction", "scored_for", "model_version", "classification")
        assert ws.monitors.ensure("dev.tiny.gold_predictions", profile) == "not available here"
        with pytest.raises(UsageError):
            ws.monitors.ensure("gold_predictions", dataclasses.replace(profile, label="late"))
