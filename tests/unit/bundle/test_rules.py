"""The rules of the Databricks CLI hold in every target, and each rule sees what breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.bundle import rules
from tests.unit.bundle.support import PROJECT, TARGETS, Bundle, bundle, golden, matched, tracked

Break = Callable[[dict[str, dict[str, Any]]], Any]


@pytest.mark.parametrize("target", TARGETS)
def test_the_bundle_breaks_no_rule(target: str) -> None:
    assert rules.broken(bundle(target)) == []


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_generator_makes_of_all_settings_breaks_no_rule(target: str) -> None:
    """The golden files have what no use case here uses; what their jobs install stands in no repository."""
    made = bundle(target)
    mine = [f"resources/requirements/{name.removesuffix('.yml')}.txt" for name in golden()]
    assert rules.broken(Bundle(made.files | golden(), target, (*made.tracked, *mine))) == []


MAIN, ONE, SHARED = "databricks.yml", "credit_risk.yml", "shared.yml"


def _model_named_as_the_schema(files: dict[str, Any]) -> None:
    models = files[ONE]["resources"]["registered_models"]
    models["credit_risk_schema"] = models.pop("credit_risk_model")


def _of_target(files: dict[str, Any], target: str, kind: str) -> dict[str, Any]:
    return files[SHARED]["targets"][target]["resources"].setdefault(kind, {})


def _task(files: dict[str, Any], job: str = "credit_risk_train", number: int = 0) -> dict[str, Any]:
    return files[ONE]["resources"]["jobs"][job]["tasks"][number]


BREAKS: list[tuple[str, str, str, Break]] = [
    # rule, target, what is said, how it is broken
    ("keys_are_unique", "dev", "credit_risk_schema", _model_named_as_the_schema),
    ("keys_are_unique", "prod", "ops", lambda files: _of_target(files, "prod", "volumes").update(ops={"name": "x"})),
    ("keys_are_unique", "dev", "ops_files", lambda files: files[MAIN].update(scripts={"ops_files": {"content": "ls"}})),
    (
        "keys_are_unique",
        "dev",
        "credit_risk_train",
        lambda files: files[SHARED]["resources"].update(jobs={"credit_risk_train": {"description": "more of it"}}),
    ),
    ("nothing_is_null", "dev", "jobs.empty", lambda files: files[ONE]["resources"]["jobs"].update(empty=None)),
    ("nothing_is_null", "staging", "alerts", lambda files: files[SHARED]["resources"].update(alerts=None)),
    (
        "what_is_required_is_there",
        "dev",
        "schemas.ops: name",
        lambda files: files[SHARED]["resources"]["schemas"]["ops"].pop("name"),
    ),
    (
        "what_is_required_is_there",
        "prod",
        "principal",
        lambda files: _of_target(files, "prod", "schemas")["ops"]["grants"].append(
            {"principal": "", "privileges": ["SELECT"]}
        ),
    ),
    (
        "what_is_required_is_there",
        "dev",
        "default",
        lambda files: files[ONE]["resources"]["jobs"]["credit_risk_train"]["parameters"][0].pop("default"),
    ),
    ("sync_patterns_match_files", "dev", "dist/**", lambda files: files[MAIN]["sync"]["exclude"].append("dist/**")),
    ("sync_patterns_match_files", "prod", "gone.py", lambda files: files[MAIN]["sync"].update(include=["gone.py"])),
    (
        "files_that_are_named_are_synced",
        "dev",
        "requirements/credit_risk.txt",
        lambda files: files[MAIN]["sync"]["exclude"].append("resources/requirements/*.txt"),
    ),
    (
        "files_that_are_named_are_synced",
        "dev",
        "resources/gone.txt",
        lambda files: files[ONE]["resources"]["jobs"]["credit_risk_train"]["environments"][0]["spec"][
            "dependencies"
        ].append("-r ./gone.txt"),
    ),
    *(
        (
            "not_everybody_may_write_what_runs",
            "prod",
            path,
            lambda files, path=path: files[MAIN]["targets"]["prod"]["workspace"].update(root_path=path),
        )
        for path in ("/Workspace/Shared/.bundle/x", "/Shared/x", "/Workspace/Users/../Shared/x", "/Workspace/Shared")
    ),
    (
        "not_everybody_may_write_what_runs",
        "staging",
        "artifact_path",
        lambda files: files[MAIN]["targets"]["staging"]["workspace"].update(artifact_path="/Workspace/Shared/wheels"),
    ),
    (
        "not_everybody_may_write_what_runs",
        "prod",
        "root_path",
        lambda files: files[MAIN]["targets"]["prod"]["workspace"].pop("root_path"),
    ),
    (
        "not_everybody_may_write_what_runs",
        "prod",
        "for all users",
        lambda files: files[MAIN]["targets"]["prod"]["permissions"].append(
            {"level": "CAN_VIEW", "group_name": "users"}
        ),
    ),
    (
        "not_everybody_may_write_what_runs",
        "prod",
        "experiments",
        lambda files: files[MAIN]["targets"]["prod"]["variables"].update(experiments="/Shared/ml"),
    ),
    (
        "permissions_name_each_once",
        "prod",
        "credit_risk_experiment",
        lambda files: files[MAIN]["targets"]["prod"]["permissions"].append(
            {"level": "CAN_VIEW", "service_principal_name": "${var.trainer}"}
        ),
    ),
    (
        "permissions_name_each_once",
        "prod",
        "CAN_EDIT",
        lambda files: files[MAIN]["targets"]["prod"]["permissions"].append({"level": "CAN_EDIT", "group_name": "g"}),
    ),
    (
        "the_deployer_is_named",
        "staging",
        "CAN_MANAGE",
        lambda files: files[MAIN]["targets"]["staging"]["permissions"].pop(0),
    ),
    (
        "references_resolve",
        "dev",
        "resources.schemas.gone.name",
        lambda files: files[ONE]["resources"]["volumes"]["credit_risk_landing"].update(
            schema_name="${resources.schemas.gone.name}"
        ),
    ),
    (
        "references_resolve",
        "dev",
        "resources.jobs.credit_risk_train.di",
        lambda files: _task(files).update(description="${resources.jobs.credit_risk_train.di}"),
    ),
    ("references_resolve", "dev", "var.trainr", lambda files: _task(files).update(description="${var.trainr}")),
    (
        "references_resolve",
        "prod",
        "has no value",
        lambda files: files[MAIN]["targets"]["prod"]["variables"].pop("catalog"),
    ),
    ("references_resolve", "dev", "bundle.nmae", lambda files: _task(files).update(description="${bundle.nmae}")),
    ("references_resolve", "dev", "bundle.name", lambda files: files[MAIN]["bundle"].update(name="${var.env}")),
    (
        "variables_are_declared",
        "dev",
        "gone",
        lambda files: files[MAIN]["targets"]["dev"]["variables"].update(gone="1"),
    ),
    (
        "variables_are_declared",
        "dev",
        "credit_risk_notify",
        lambda files: files[ONE]["targets"]["dev"]["variables"].update(credit_risk_notify=""),
    ),
    ("tasks_have_compute", "dev", "train has no environment", lambda files: _task(files).pop("environment_key")),
    ("tasks_have_compute", "dev", "no environment gpu", lambda files: _task(files).update(environment_key="gpu")),
    ("tasks_have_compute", "dev", "no type", lambda files: _task(files).pop("python_wheel_task")),
    (
        "tasks_depend_on_tasks_of_their_job",
        "dev",
        "gone",
        lambda files: _task(files, number=1).update(depends_on=[{"task_key": "gone"}]),
    ),
    ("tasks_depend_on_tasks_of_their_job", "dev", "twice", lambda files: _task(files).update(task_key="gate")),
    (
        "jobs_that_are_run_exist_and_take_the_parameters",
        "dev",
        "credit_risk_gone",
        lambda files: _task(files, "credit_risk_main_pipeline")["run_job_task"].update(
            job_id="${resources.jobs.credit_risk_gone.id}"
        ),
    ),
    (
        "jobs_that_are_run_exist_and_take_the_parameters",
        "dev",
        "as_of",
        lambda files: _task(files, "credit_risk_main_pipeline")["run_job_task"]["job_parameters"].update(as_of="x"),
    ),
    (
        "development_is_one_persons",
        "dev",
        "trigger_pause_status",
        lambda files: files[MAIN]["targets"]["dev"]["presets"].update(trigger_pause_status="UNPAUSED"),
    ),
    (
        "development_is_one_persons",
        "dev",
        "root_path",
        lambda files: files[MAIN]["targets"]["dev"].update(workspace={"root_path": "/Workspace/Users/all"}),
    ),
    ("development_is_one_persons", "prod", "mode", lambda files: files[MAIN]["targets"]["prod"].update(mode="staging")),
    (
        "nothing_is_sent_once_and_planned_for_ever",
        "prod",
        "credit_risk_model",
        lambda files: files[ONE]["targets"]["prod"]["resources"]["registered_models"]["credit_risk_model"].update(
            owner="${var.model_owners}"
        ),
    ),
]


@pytest.mark.parametrize(
    ("name", "target", "said", "break_it"), BREAKS, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(BREAKS)]
)
def test_a_rule_sees_what_breaks_it(name: str, target: str, said: str, break_it: Break) -> None:
    copied = bundle(target)
    copied = Bundle(copy.deepcopy(copied.files), target, copied.tracked)
    break_it(copied.files)
    found = [text for text in rules.broken(copied) if text.startswith(f"{name}: ")]
    assert any(said in text for text in found), rules.broken(copied)


def test_every_rule_is_broken_once() -> None:
    assert {name for name, *_ in BREAKS} == {check.__name__ for check in rules.RULES}


def test_patterns_are_read_as_git_reads_them() -> None:
    paths = ("tests/unit/a.py", "use_cases/x/tests/a.py", "use_cases/x/data/a.csv", "platform/a.py", "docs.md")
    assert matched("**/tests/**", paths) == paths[:2]
    assert matched("tests/**", paths) == paths[:1]
    assert matched("use_cases/*/data/**", paths) == paths[2:3]
    assert matched("docs/**", paths) == ()


@pytest.mark.parametrize("target", TARGETS)
def test_data_and_tests_stay_out_of_the_workspace(target: str) -> None:
    made = bundle(target)
    excluded = {path for pattern in made.merged["sync"]["exclude"] for path in matched(pattern, made.tracked)}
    files = set(tracked())
    kept_out = {path for path in files if path.startswith(("tests/", "docs/")) or "/data/" in path or "/tests/" in path}
    assert len(kept_out) > 100
    assert kept_out <= excluded
    needed = {path for path in files if path.startswith(("resources/", "platform/"))} | {"uv.lock", "pyproject.toml"}
    assert not excluded & (
        needed | {path for path in files if path.startswith("use_cases/") and path.endswith("/config.yml")}
    )
    assert (PROJECT / "resources" / "requirements").is_dir()
