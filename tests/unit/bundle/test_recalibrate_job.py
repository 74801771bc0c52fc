"""The job that recalibrates: there where the retrain decision may ask for it, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from mlplatform.bundle.jobs import UseCaseJobs
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import ConfigError


def jobs(when: str, approval: str = "auto") -> UseCaseJobs:
    settings = UseCaseSettings.model_validate(
        {"owner": "x", "label": {"horizon": "1 day"}, "gate": {"floor": 0.5, "approval": approval},
         "recalibration": {"when": when}}
    )  # fmt: skip
    return UseCaseJobs("upsell", settings)


def parameters(job: dict[str, Any], task: int = 0) -> list[str]:
    found: list[str] = job["tasks"][task]["python_wheel_task"]["parameters"]
    return found


def test_by_hand_there_is_no_such_job() -> None:
    found = jobs("by_hand").all()
    assert "upsell_recalibrate" not in found
    assert not [it for it in parameters(found["upsell_monitor"], 1) if it.startswith("--recalibrate-job")]


def test_on_alarm_the_retrain_decision_starts_it() -> None:
    given = jobs("on_alarm")
    found = given.all()
    job = found["upsell_recalibrate"]
    assert [task["task_key"] for task in job["tasks"]] == ["recalibrate", "gate"]
    assert job["tasks"][1]["depends_on"] == [{"task_key": "recalibrate"}]
    assert parameters(job)[:2] == ["recalibrate", "upsell"]
    assert "--no-gate" in parameters(job)
    assert "--due" in parameters(job, 1)
    assert "--recalibrate-job=${resources.jobs.upsell_recalibrate.id}" in parameters(found["upsell_monitor"], 1)
    # Whoever may train and promote may do this.
    assert given.run_as()["upsell_recalibrate"] == given.run_as()["upsell_train"] == "promoter"


def test_where_a_person_approves_the_deployment_job_goes_on() -> None:
    given = jobs("on_alarm", "manual")
    (task,) = given.all()["upsell_recalibrate"]["tasks"]
    assert "--register-only" in task["python_wheel_task"]["parameters"]
    assert given.run_as()["upsell_recalibrate"] == "trainer"


def test_only_probabilities_are_recalibrated() -> None:
    with pytest.raises((ConfigError, ValueError), match=r"recalibration\.when is for classifications"):
        UseCaseSettings.model_validate(
            {"owner": "x", "task": "regression", "label": {"horizon": "1 day"}, "gate": {"floor": 5.0},
             "training": {"metric": "mae"}, "recalibration": {"when": "on_alarm"}}
        )  # fmt: skip
