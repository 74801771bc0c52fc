"""What no schema checks: that the bundle's parts fit each other, the command line, and the use cases."""

from __future__ import annotations

import itertools
import re
import tomllib
from typing import Any

import click
import pytest
from databricks.bundles.experiments import MlflowExperiment
from databricks.bundles.jobs import Job
from databricks.bundles.registered_models import RegisteredModel
from databricks.bundles.schemas import Schema
from databricks.bundles.volumes import Volume

from mlplatform.cli.main import cli
from mlplatform.config.cron import check
from mlplatform.naming import Namespace
from tests.unit.bundle.support import (
    GOLDEN,
    PROJECT,
    TARGETS,
    USE_CASES,
    bundle,
    golden,
    included,
    jobs,
    main_file,
    merged,
    resources,
    strings,
    tasks,
)

KINDS = {
    "jobs": Job,
    "schemas": Schema,
    "volumes": Volume,
    "registered_models": RegisteredModel,
    "experiments": MlflowExperiment,
}
JOBS = ("setup", "features", "train", "score", "monitor", "maintenance", "main_pipeline")
# Of a use case whose settings have a retraining recalibrate.
RECALIBRATED = {"credit_risk"}
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
JOB_REFERENCES = {"job.start_time.iso_date"}


def everything(target: str) -> dict[str, Any]:
    return merged(resources(target), resources(target, golden()))


@pytest.mark.parametrize("target", TARGETS)
def test_every_resource_parses_strictly(target: str) -> None:
    found = everything(target)
    assert set(found) == set(KINDS)
    for kind, items in found.items():
        for item in items.values():
            KINDS[kind].from_dict(item)  # raises for what it does not know


def test_the_parser_is_strict() -> None:
    job = jobs()["credit_risk_train"]
    with pytest.raises(ValueError, match="nonsense"):
        Job.from_dict(job | {"nonsense": 1})


@pytest.mark.parametrize("use_case", USE_CASES)
def test_every_use_case_has_its_jobs_and_objects(use_case: str) -> None:
    found = resources("prod")
    mine = {key for key in found["jobs"] if key.startswith(f"{use_case}_")}
    names = JOBS + (("recalibrate",) if use_case in RECALIBRATED else ())
    assert mine == {f"{use_case}_{name}" for name in names}, "approval is auto: no deployment job"
    assert all(found["jobs"][key]["name"] == key for key in mine)
    assert found["schemas"][f"{use_case}_schema"]["name"] == use_case
    assert found["registered_models"][f"{use_case}_model"]["name"] == "model"
    assert found["experiments"][f"{use_case}_experiment"]["name"].endswith(f"-{use_case}")
    assert found["volumes"][f"{use_case}_landing"]["name"] == "landing"


def test_every_use_case_of_the_wheel_is_in_the_bundle() -> None:
    assert set(PYPROJECT["project"]["entry-points"]["mlplatform.use_cases"]) == set(USE_CASES)
    assert set(included()) == {f"{name}.yml" for name in (*USE_CASES, "shared", "main_pipeline")}


def test_the_names_are_those_of_the_platform() -> None:
    """As the command line computes them from --env and --prefix."""
    found, namespace = resources("prod"), Namespace("prod", "credit_risk")
    assert found["schemas"]["credit_risk_schema"]["name"] == namespace.model.schema
    assert found["registered_models"]["credit_risk_model"]["name"] == namespace.model.name
    assert found["schemas"]["ops"]["name"] == namespace.ops("stage_runs").schema
    assert found["volumes"]["ops_files"]["name"] == "files"
    prefix = main_file()["targets"]["dev"]["variables"]["prefix"]
    assert prefix == "dev_${workspace.current_user.short_name}_", "what the development mode puts before them"


def test_tasks_are_named_as_the_stages_and_run_in_order() -> None:
    order = {
        key: [task["task_key"] for task in job["tasks"]] for key, job in jobs().items() if key.startswith("credit")
    }
    assert order == {
        "credit_risk_setup": ["setup"],
        "credit_risk_features": ["ingest", "refine", "features"],
        "credit_risk_train": ["train", "gate"],
        "credit_risk_score": ["score"],
        "credit_risk_monitor": ["monitor", "retrain"],
        "credit_risk_maintenance": ["maintenance"],
        "credit_risk_main_pipeline": ["setup", "features", "train", "score", "monitor"],
        "credit_risk_recalibrate": ["recalibrate", "gate"],
    }
    for key, job, _ in tasks():
        if key == "main_pipeline":
            continue
        for before, task in itertools.pairwise(job["tasks"]):
            assert task["depends_on"] == [{"task_key": before["task_key"]}]


def test_one_job_runs_the_main_pipelines_of_all_use_cases_side_by_side() -> None:
    job = resources("dev")["jobs"]["main_pipeline"]
    assert [(task["task_key"], task["run_job_task"]["job_id"]) for task in job["tasks"]] == [
        (name, f"${{resources.jobs.{name}_main_pipeline.id}}") for name in USE_CASES
    ]
    assert not any("depends_on" in task for task in job["tasks"])
    assert [item["name"] for item in job["parameters"]] == ["env", "as_of"]
    longest = max(resources("dev")["jobs"][f"{name}_main_pipeline"]["timeout_seconds"] for name in USE_CASES)
    assert job["timeout_seconds"] >= longest


def test_with_manual_approval_training_stops_and_the_deployment_job_goes_on() -> None:
    found = jobs()
    (train,) = found["everything_train"]["tasks"]
    assert "--register-only" in train["python_wheel_task"]["parameters"]
    deployment = found["everything_deployment"]
    assert [task["task_key"] for task in deployment["tasks"]] == ["Evaluation", "Approval_Check", "Deployment"]
    assert [item["name"] for item in deployment["parameters"]] == ["model_name", "model_version"]
    assert {task["max_retries"] for task in deployment["tasks"]} == {0}
    (setup,) = found["everything_setup"]["tasks"]
    linked = "--deployment-job=${resources.jobs.everything_deployment.id}"
    assert linked in setup["python_wheel_task"]["parameters"]


def test_jobs_are_called_with_parameters_that_they_have() -> None:
    for _, _, task in tasks():
        if "run_job_task" in task:
            called = re.fullmatch(r"\$\{resources\.jobs\.(\w+)\.id\}", task["run_job_task"]["job_id"])
            assert called
            has = {item["name"] for item in jobs()[called[1]]["parameters"]}
            assert set(task["run_job_task"]["job_parameters"]) == has


def wheel_tasks() -> list[Any]:
    return [
        pytest.param(task["python_wheel_task"], id=f"{key}-{task['task_key']}")
        for key, _, task in tasks()
        if "python_wheel_task" in task
    ]


@pytest.mark.parametrize("task", wheel_tasks())
def test_the_command_line_understands_every_task(task: dict[str, Any]) -> None:
    assert task["package_name"] == PYPROJECT["project"]["name"]
    assert task["entry_point"] == "mlplatform-job", "a task of a job may not exit, even with 0"
    assert task["entry_point"] in PYPROJECT["project"]["scripts"]
    values = {"as_of": "2026-01-01", "model_version": "3", "env": "prod", "model_name": "prod.everything.model"}
    arguments = [
        re.sub(r"\{\{job\.parameters\.(\w+)\}\}", lambda found: values[found[1]], text) for text in task["parameters"]
    ]
    command: click.Command = cli
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        assert name in command.commands, name
        command = command.commands[name]
    given = command.make_context(name, arguments).params  # raises for what it does not know
    assert given["workspace"] == "databricks"
    assert given["prefix"] == "${var.prefix}"
    assert given["catalog"] == "${var.catalog}"
    assert given["experiment"].startswith("${resources.experiments.")
    if "use_case" in given:
        assert given["use_case"] in (*USE_CASES, *(path.stem for path in GOLDEN.glob("*.yml")))


def test_references_at_run_time_lead_somewhere() -> None:
    for key, job, _ in tasks():
        known = {f"job.parameters.{item['name']}" for item in job["parameters"]} | JOB_REFERENCES
        assert {text for item in strings(job) for text in re.findall(r"\{\{(.*?)\}\}", item)} <= known, key


@pytest.mark.parametrize("target", TARGETS)
def test_catalog_and_environment_are_called_alike_where_nobody_says_otherwise(target: str) -> None:
    main = main_file()
    given = main["targets"][target]["variables"]
    assert given["env"] == given["catalog"] == target
    texts = list(strings(resources(target)))
    assert all("${var.env}" not in item for item in texts if item != "${var.env}"), "only the parameter env"
    for kind in ("schemas", "volumes", "registered_models"):
        assert {item["catalog_name"] for item in resources(target)[kind].values()} == {"${var.catalog}"}


def test_what_is_billed_and_told_is_the_bundles_or_the_use_cases_own() -> None:
    found = resources("prod")["jobs"]
    for key, job in found.items():
        if "environments" in job:
            assert (job["performance_target"], job["budget_policy_id"]) == (
                "${var.performance_target}",
                "${var.budget_policy_id}",
            ), key
        else:
            assert not {"performance_target", "budget_policy_id"} & set(job), "it only starts others"
    own = jobs()["everything_train"]
    assert own["performance_target"] == "STANDARD"
    assert own["budget_policy_id"] == "3d5f1c2a-0000-4000-8000-0123456789ab"
    variables = main_file()["variables"]
    assert variables["performance_target"]["default"] == "PERFORMANCE_OPTIMIZED", "what Databricks does unasked"
    assert variables["budget_policy_id"]["default"] == ""


@pytest.mark.parametrize("target", TARGETS)
def test_nobody_is_told_in_dev_and_elsewhere_whom_the_settings_name(target: str) -> None:
    made = bundle(target)
    for use_case in USE_CASES:
        told = made.value(f"{use_case}_notify")
        assert told == ([] if target == "dev" else made.variables[f"{use_case}_notify"]["default"])
        job = made.resources["jobs"][f"{use_case}_train"]
        assert job["email_notifications"]["on_failure"] == f"${{var.{use_case}_notify}}"
    assert made.variables["credit_risk_notify"]["default"] == ["credit-risk@example.com"]


def test_the_package_index_is_a_variable_and_stands_before_what_is_installed() -> None:
    for _, job, _ in tasks():
        for environment in job.get("environments", []):
            index, requirements, wheel = environment["spec"]["dependencies"]
            assert index == "--index-url ${var.package_index}"
            assert requirements.startswith("-r requirements/")
            assert wheel == "../dist/*.whl"
    assert main_file()["variables"]["package_index"]["default"] == "https://pypi.org/simple"
    assert main_file()["variables"]["environment_version"]["default"] == "5"


def test_targets_are_what_they_are_called() -> None:
    targets = main_file()["targets"]
    assert {name: item["mode"] for name, item in targets.items()} == {
        "dev": "development", "staging": "production", "prod": "production",
    }  # fmt: skip
    assert targets["dev"]["presets"]["artifacts_dynamic_version"] is True
    for name in ("staging", "prod"):
        assert targets[name]["run_as"] == {"service_principal_name": "${var.deployer}"}
        root = targets[name]["workspace"]["root_path"]
        assert root == "/Workspace/Users/${var.deployer}/.bundle/${bundle.name}/${bundle.target}"
        assert targets[name]["variables"]["experiments"] == "/Users/${var.deployer}"
        assert targets[name]["permissions"] == [
            {"level": "CAN_MANAGE", "service_principal_name": "${var.deployer}"},
            {"level": "CAN_VIEW", "group_name": "${var.readers}"},
        ], "the others' tasks read the wheel; nobody else reads anything"
    assert targets["staging"]["presets"]["trigger_pause_status"] == "PAUSED"


def test_no_schedule_runs_in_dev_by_itself() -> None:
    for job in jobs("dev").values():
        assert "pause_status" not in job.get("schedule", {}), "set, it would win over the target's mode"


def test_schedules_are_valid() -> None:
    crons = [job["schedule"]["quartz_cron_expression"] for job in jobs().values() if "schedule" in job]
    assert len(crons) >= 3 * len(USE_CASES)
    for expression in crons:
        assert check(expression) == expression


def test_texts_are_texts() -> None:
    for _, job, task in tasks():
        for environment in job.get("environments", []):
            spec = environment["spec"]
            assert isinstance(spec["environment_version"], str)
            assert all(isinstance(item, str) for item in spec["dependencies"])
        assert all(isinstance(item["default"], str) for item in job["parameters"])
        assert all(isinstance(value, str) for value in job.get("tags", {}).values())
        assert all(isinstance(item, str) for item in task.get("python_wheel_task", {}).get("parameters", []))
        assert all(isinstance(item, str) for item in task.get("run_job_task", {}).get("job_parameters", {}).values())


def test_jobs_are_watched() -> None:
    for key, job in jobs().items():
        assert job["max_concurrent_runs"] == 1
        assert job["queue"] == {"enabled": True}
        if key == "main_pipeline":
            continue  # the jobs that it starts are
        (rule,) = job["health"]["rules"]
        assert rule["value"] < job["timeout_seconds"]
        assert job["email_notifications"]["on_failure"], key


def granted(found: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (f"{kind}.{key}", grant["principal"], privilege)
        for kind in ("schemas", "volumes", "registered_models")
        for key, item in found[kind].items()
        for grant in item.get("grants", [])
        for privilege in grant["privileges"]
    }


@pytest.mark.parametrize("target", ["staging", "prod"])
def test_grants_are_the_least_that_each_needs(target: str) -> None:
    roles = [f"${{var.{role}}}" for role in ("trainer", "promoter", "scorer")]
    expected = set()
    for role in roles:
        expected |= {("schemas.ops", role, privilege) for privilege in ("USE_SCHEMA", "SELECT")}
        expected |= {("volumes.ops_files", role, privilege) for privilege in ("READ_VOLUME", "WRITE_VOLUME")}
        for use_case in USE_CASES:
            expected |= {
                (f"schemas.{use_case}_schema", role, privilege) for privilege in ("USE_SCHEMA", "SELECT", "EXECUTE")
            }
    expected |= {(f"volumes.{use_case}_landing", roles[0], "READ_VOLUME") for use_case in USE_CASES}
    assert granted(resources(target)) == expected
    for use_case in USE_CASES:
        (setup,) = resources(target)["jobs"][f"{use_case}_setup"]["tasks"]
        assert "--model-owner=${var.model_owners}" in setup["python_wheel_task"]["parameters"]
    assert "model_owners" not in main_file()["targets"][target]["variables"]
    assert main_file()["targets"]["dev"]["variables"]["model_owners"] == ""


def test_in_dev_nobody_is_granted_anything_and_all_may_be_destroyed() -> None:
    found = resources("dev")
    assert not granted(found)
    assert "prevent_destroy" not in str(found)
    assert "run_as" not in str(found)


@pytest.mark.parametrize("target", ["staging", "prod"])
def test_what_holds_data_is_not_destroyed(target: str) -> None:
    found = resources(target)
    for kind in ("schemas", "volumes", "registered_models", "experiments"):
        for key, item in found[kind].items():
            assert item["lifecycle"] == {"prevent_destroy": True}, (kind, key)


def test_whoever_moves_aliases_is_no_trainer_and_no_scorer() -> None:
    def run_as(key: str) -> str:
        return jobs()[key].get("run_as", {}).get("service_principal_name", "the target's")

    assert run_as("credit_risk_train") == "${var.promoter}", "it ends with the gate"
    assert run_as("everything_train") == "${var.trainer}"
    assert run_as("everything_deployment") == "${var.promoter}"
    assert run_as("credit_risk_score") == "${var.scorer}"
    assert run_as("credit_risk_monitor") == "${var.trainer}"
    assert run_as("credit_risk_setup") == "the target's"
    monitors = {key: job for key, job in jobs().items() if key.endswith("_monitor")}
    started = {
        option.removesuffix(".id}").rpartition(".")[2]
        for job in monitors.values()
        for task in job["tasks"]
        for option in task["python_wheel_task"]["parameters"]
        if option.startswith(("--start-job=", "--recalibrate-job="))
    }
    assert {"credit_risk_train", "credit_risk_recalibrate"} < started
    for key in started:
        allowed = jobs()[key]["permissions"]
        assert allowed == [{"level": "CAN_MANAGE_RUN", "service_principal_name": "${var.trainer}"}], f"starts {key}"


def test_no_secret_and_no_host_stands_in_the_bundle() -> None:
    files = [PROJECT / "databricks.yml", *PROJECT.glob("resources/*.yml")]
    for file in files:
        text = file.read_text().replace('"https://pypi.org/simple"', "")
        assert not re.search(r"dapi[0-9a-f]{8}|token|password|https?://", text, re.IGNORECASE), file
