"""The pipelines that deploy, on GitHub and Azure DevOps: what is run in which order, and what comes before what."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
USE_CASES = ("churn", "credit_risk", "delivery_delay")
DEPLOYING = {"staging": "bash .ci/deploy integration staging", "prod": "bash .ci/deploy setup prod"}


def read(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def azure() -> dict[str, dict[str, Any]]:
    return {stage["stage"]: stage for stage in read("azure-pipelines.yml")["stages"]}


def azure_steps(stage: dict[str, Any]) -> list[dict[str, Any]]:
    (job,) = stage["jobs"]
    return job["steps"] if "steps" in job else job["strategy"]["runOnce"]["deploy"]["steps"]


@pytest.fixture
def deploy(tmp_path: Path) -> Any:
    """Run the script with a command `databricks` that writes down how it is called, and fails where it is told to."""
    command = tmp_path / "databricks"
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase "$*" in *"$FAILS"*) exit 1 ;; esac\n')
    command.chmod(0o755)

    def run(*arguments: str, fails: str = "nothing", **settings: str) -> tuple[int, list[str], str]:
        (tmp_path / "calls").write_text("")
        environment = {key: value for key, value in os.environ.items() if key != "STAGING_AS_OF"}
        environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAILS": fails} | settings
        done = subprocess.run(
            ["bash", str(ROOT / ".ci" / "deploy"), *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, (tmp_path / "calls").read_text().splitlines(), done.stderr

    return run


def test_prod_is_set_up_and_nothing_is_run_there(deploy: Any) -> None:
    code, calls, _ = deploy("setup", "prod")
    assert code == 0
    assert calls == [
        "bundle validate --strict -t prod",
        "bundle deploy -t prod",
        *(f"bundle run -t prod {name}_setup" for name in USE_CASES),
    ]


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({}, "bundle run -t staging main_pipeline"),
        ({"STAGING_AS_OF": ""}, "bundle run -t staging main_pipeline"),
        ({"STAGING_AS_OF": "2006-01-01"}, "bundle run -t staging main_pipeline --params as_of=2006-01-01"),
    ],
)
def test_staging_runs_every_use_case(deploy: Any, settings: dict[str, str], last: str) -> None:
    code, calls, _ = deploy("integration", "staging", **settings)
    assert code == 0
    assert calls == ["bundle validate --strict -t staging", "bundle deploy -t staging", last]
    assert "main_pipeline" in read("resources/main_pipeline.yml")["resources"]["jobs"]


def test_a_plan_changes_nothing(deploy: Any) -> None:
    code, calls, _ = deploy("plan", "staging")
    assert code == 0
    assert calls == ["bundle validate --strict -t staging", "bundle plan -t staging"]


@pytest.mark.parametrize("what", ["plan", "setup", "integration"])
def test_what_is_not_valid_goes_no_further(deploy: Any, what: str) -> None:
    code, calls, _ = deploy(what, "staging", fails="validate")
    assert code != 0
    assert len(calls) == 1
    code, calls, _ = deploy("integration", "staging", fails="main_pipeline")
    assert code != 0, "a use case that fails in staging does not get to prod"


@pytest.mark.parametrize("arguments", [(), ("setup",), ("destroy", "prod")])
def test_wrong_use_calls_nothing_and_says_what_there_is(deploy: Any, arguments: tuple[str, ...]) -> None:
    code, calls, said = deploy(*arguments)
    assert (code, calls) == (2, [])
    assert "integration TARGET" in said


@pytest.mark.parametrize(("tag", "code"), [("v0.1.0", 0), ("v0.1.1", 1), ("0.1.0", 1)])
def test_a_release_is_the_version_and_lies_on_main(tmp_path: Path, tag: str, code: int) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(tmp_path)]
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "release").write_text((ROOT / ".ci" / "release").read_text())
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "0.1.0"\n')
    for arguments in (
        ["init", "-q"],
        ["add", "."],
        ["commit", "-qm", "one"],
        ["update-ref", "refs/remotes/origin/main", "HEAD"],
    ):
        subprocess.run([*git, *arguments], check=True)
    script = ["bash", str(tmp_path / ".ci" / "release"), tag]
    assert subprocess.run(script, check=False, capture_output=True).returncode == code
    subprocess.run([*git, "commit", "-qm", "not merged", "--allow-empty"], check=True)
    off_main = subprocess.run(script, check=False, capture_output=True, text=True)
    assert off_main.returncode == 1
    assert "is not on main" in off_main.stderr


def test_on_github_nothing_reaches_prod_that_did_not_run_in_staging() -> None:
    workflow = read(".github/workflows/cd.yml")
    jobs = workflow["jobs"]
    # YAML 1.1 reads the key "on" as true.
    assert workflow[True] == {"push": {"branches": ["main"], "tags": ["v*"]}}
    assert jobs[jobs["staging"]["needs"]]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["prod"]["needs"] == "staging"
    assert "refs/tags/v" in jobs["prod"]["if"]
    for name, command in DEPLOYING.items():
        job = jobs[name]
        assert "vars.DATABRICKS_DEPLOY == 'true'" in job["if"]
        assert job["environment"] == name
        assert job["concurrency"] == {"group": f"deploy-{name}", "cancel-in-progress": False}
        assert job["env"]["DATABRICKS_AUTH_TYPE"].endswith("|| 'github-oidc' }}")
        assert job["steps"][-1]["run"].strip() == command
    release = next(step for step in jobs["staging"]["steps"] if ".ci/release" in step.get("run", ""))
    assert release["if"] == "startsWith(github.ref, 'refs/tags/v')"


def test_on_github_a_pull_request_is_planned_where_something_is_deployed_and_not_for_forks() -> None:
    workflow = read(".github/workflows/plan.yml")
    (job,) = workflow["jobs"].values()
    assert workflow[True] == {"pull_request": None}
    assert "vars.DATABRICKS_DEPLOY == 'true'" in job["if"]
    assert "head.repo.full_name == github.repository" in job["if"]
    assert job["environment"] == "plan", "an identity of its own: a pull request's build runs its own code"
    assert job["steps"][-1]["run"].strip() == "bash .ci/deploy plan staging"


def test_on_azure_the_same_is_run_in_the_same_order() -> None:
    stages = azure()
    assert list(stages) == ["check", "nightly", "plan", "staging", "prod"]
    assert stages["staging"]["dependsOn"] == "check"
    assert stages["prod"]["dependsOn"] == "staging"
    for name, command in {"plan": "bash .ci/deploy plan staging", **DEPLOYING}.items():
        last = azure_steps(stages[name])[-1]
        assert last["task"] == "AzureCLI@2"
        assert last["inputs"]["azureSubscription"] == f"mlplatform-{name}"
        assert last["inputs"]["inlineScript"].strip().splitlines()[-1].strip() == command
        assert last["env"]["DATABRICKS_AUTH_TYPE"] == "azure-cli"
        assert "eq(variables.deploys, true)" in stages[name]["condition"]
    assert "eq(variables.pull_request, true)" in stages["plan"]["condition"]
    assert "IsFork" in stages["plan"]["condition"]
    assert "eq(variables.pull_request, false)" in stages["staging"]["condition"]
    assert "eq(variables.nightly, false)" in stages["staging"]["condition"]
    assert "eq(variables.release, true)" in stages["prod"]["condition"]
    assert all("succeeded()" in stages[name]["condition"] for name in DEPLOYING), "a condition replaces the default one"


def test_on_azure_what_every_change_must_pass_is_what_github_runs() -> None:
    github = "\n".join(
        step.get("run", "") for job in read(".github/workflows/ci.yml")["jobs"].values() for step in job["steps"]
    )
    ran = {
        step["script"]
        for job in azure()["check"]["jobs"]
        for step in job["steps"]
        if "script" in step and not step["script"].startswith("JAVA_HOME")
    }
    assert {"make setup", "make lint", "make test"} <= ran
    assert all(line in github for line in ran)


def test_on_azure_no_credential_and_no_moving_version() -> None:
    text = (ROOT / "azure-pipelines.yml").read_text(encoding="utf-8")
    assert not re.search(r"secret|password|token|latest", text, re.IGNORECASE)
    assert text.count("checkout: self") == text.count("persistCredentials: false") == 8
    commit = re.search(r"databricks/setup-cli@([0-9a-f]{40})", (ROOT / ".github/workflows/cd.yml").read_text())
    assert commit
    assert f"/setup-cli/{commit[1]}/install.sh" in text, "the CLI of the workflows"


def test_the_value_of_a_variable_that_nobody_set_on_azure_is_no_time() -> None:
    script = azure_steps(azure()["staging"])[-1]["inputs"]["inlineScript"].splitlines()[:-1]
    for given, expected in (("$(STAGING_AS_OF)", ""), ("2006-01-01", "2006-01-01")):
        done = subprocess.run(
            ["bash", "-euc", "\n".join([*script, 'echo "${STAGING_AS_OF:-}"'])],
            env={"PATH": os.environ["PATH"], "STAGING_AS_OF": given},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
