"""The pipelines that deploy, on GitHub and Azure DevOps: what is run in which order, and what comes before what."""

from __future__ import annotations

import json
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
    job = stage["jobs"][0]
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
    jobs = workflow["jobs"]
    assert workflow[True] == {"pull_request": None}
    deployed, ours = (
        "vars.DATABRICKS_DEPLOY == 'true'",
        "github.event.pull_request.head.repo.full_name == github.repository",
    )
    for name in ("plan", "changes"):
        assert jobs[name]["if"] == f"{deployed} && {ours}"
        assert jobs[name]["environment"] == "plan", "an identity of its own: a pull request's build runs its own code"
    assert jobs["plan"]["steps"][-1]["run"].strip() == "bash .ci/deploy plan staging"
    assert jobs["skipped"]["if"] == f"{deployed} || {ours}".replace("==", "!="), "one or the other, and it says why"


def test_on_github_what_runs_a_requests_code_cannot_write_its_comment() -> None:
    jobs = read(".github/workflows/plan.yml")["jobs"]
    assert jobs["comment"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert jobs["comment"]["needs"] == "changes"
    checkout, post = jobs["comment"]["steps"]
    assert checkout["with"]["ref"] == "${{ github.base_ref }}"
    assert "environment" not in jobs["comment"], "no identity"
    assert post["run"].strip().splitlines()[-1] == 'bash .ci/plan post "$RUNNER_TEMP/comment.md"'
    ran = [step.get("run", "").strip() for step in jobs["changes"]["steps"]]
    assert [line for text in ran for line in text.splitlines() if line.startswith("bash")] == [
        "bash .ci/plan install",
        'bash .ci/plan text staging "$RUNNER_TEMP/comment.md"',
    ]
    assert jobs["changes"]["steps"][0]["with"]["fetch-depth"] == 2, "the merge, and what it is merged into"


@pytest.mark.parametrize("text", ["# one\n\n```text\n  → two\n```\n", "EOF\ncomment<<x\n"])
def test_on_github_the_text_goes_from_one_job_to_the_other_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "comment.md").write_text(text, encoding="utf-8")
    jobs = read(".github/workflows/plan.yml")["jobs"]
    hand_on = next(step for step in jobs["changes"]["steps"] if step.get("id") == "text")
    environment = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "output")}
    subprocess.run(["bash", "-euc", hand_on["run"]], env=environment, check=True)
    first, *lines, end = (tmp_path / "output").read_text(encoding="utf-8").splitlines()
    assert first == f"comment<<{end}"
    assert lines == text.splitlines()


class PlanBench:
    """The script `.ci/plan` in a folder of its own, with commands that write down how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in USE_CASES:
            (folder / "use_cases" / name).mkdir(parents=True)
            (folder / "use_cases" / name / "config.yml").touch()
        (folder / ".ci").mkdir()
        (folder / ".ci" / "plan").write_text((ROOT / ".ci" / "plan").read_text(encoding="utf-8"), encoding="utf-8")
        (folder / "bin").mkdir()

    def command(self, name: str, script: str) -> None:
        """Put a command on the path."""
        file = self.folder / "bin" / name
        file.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.folder}/calls\n{script}\n', encoding="utf-8")
        file.chmod(0o755)

    def run(self, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "BUILD_"))}
        return subprocess.run(
            ["bash", ".ci/plan", *map(str, arguments)],
            env=kept | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"} | settings,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> PlanBench:
    return PlanBench(tmp_path)


def test_a_comment_holds_the_plan_of_each_use_case_and_breaking_fails_nothing(bench: PlanBench, tmp_path: Path) -> None:
    bench.command("mlplatform", 'printf "### %s: planned\\n" "$2" >> "${@: -1}"; [ "$2" != churn ] || exit 4')
    done = bench.run("text", "staging", tmp_path / "comment.md", COMMIT="abc123")
    assert done.returncode == 0, done.stderr
    options = f"--workspace databricks --env staging --markdown {tmp_path}/comment.md"
    assert bench.calls == [f"mlplatform plan {name} {options}" for name in USE_CASES]
    text = (tmp_path / "comment.md").read_text(encoding="utf-8")
    assert text.startswith("<!-- mlplatform-plan -->\n## What this pull request would do")
    assert "commit abc123" in text
    assert [line for line in text.splitlines() if line.startswith("### ")] == [f"### {it}: planned" for it in USE_CASES]


@pytest.mark.parametrize("code", [1, 2, 130])
def test_a_use_case_that_cannot_be_planned_fails_the_check_and_the_others_are_planned(
    bench: PlanBench, tmp_path: Path, code: int
) -> None:
    bench.command("mlplatform", f'[ "$2" != churn ] || exit {code}; printf "### %s: planned\\n" "$2" >> "${{@: -1}}"')
    done = bench.run("text", "staging", tmp_path / "comment.md", COMMIT="abc123")
    assert done.returncode == 1
    text = (tmp_path / "comment.md").read_text(encoding="utf-8")
    assert "### churn: not planned" in text
    assert f"exit code {code}" in text
    assert text.count(": planned") == len(USE_CASES) - 1


GITHUB = {"GITHUB_ACTIONS": "true", "GH_REPO": "us/ours", "PULL_REQUEST": "7"}


@pytest.mark.parametrize(
    ("there", "posted"),
    [
        ("", "--method POST repos/us/ours/issues/7/comments"),
        ("31", "--method PATCH repos/us/ours/issues/comments/31"),
        ("31\n44", "--method PATCH repos/us/ours/issues/comments/31"),
    ],
)
def test_on_github_there_is_one_comment(bench: PlanBench, tmp_path: Path, there: str, posted: str) -> None:
    bench.command("gh", f'case "$*" in *--paginate*) printf "{there}" ;; esac')
    (tmp_path / "comment.md").write_text("text", encoding="utf-8")
    done = bench.run("post", tmp_path / "comment.md", **GITHUB)
    assert done.returncode == 0, done.stderr
    asked, wrote = bench.calls
    assert asked.startswith("gh api --paginate repos/us/ours/issues/7/comments --jq")
    assert wrote == f"gh api --silent {posted} --field body=@{tmp_path}/comment.md"


def test_a_comment_that_cannot_be_looked_for_is_not_posted_twice(bench: PlanBench, tmp_path: Path) -> None:
    bench.command("gh", "exit 1")
    (tmp_path / "comment.md").write_text("text", encoding="utf-8")
    assert bench.run("post", tmp_path / "comment.md", **GITHUB).returncode != 0
    assert len(bench.calls) == 1


AZURE = {
    "BUILD_REPOSITORY_PROVIDER": "TfsGit",
    "BUILD_REPOSITORY_ID": "r",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/us/",
    "SYSTEM_TEAMPROJECTID": "p",
    "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
}


@pytest.mark.parametrize("there", ["", "None", "12"])
def test_on_azure_there_is_one_comment(bench: PlanBench, tmp_path: Path, there: str) -> None:
    bench.command("az", f'case "$*" in *"--method get"*) echo "{there}" ;; esac')
    (tmp_path / "comment.md").write_text('a "plan"\n→ two', encoding="utf-8")
    done = bench.run("post", tmp_path / "comment.md", **AZURE)
    assert done.returncode == 0, done.stderr
    threads = "https://dev.azure.com/us/p/_apis/git/repositories/r/pullRequests/7/threads"
    asked, wrote = bench.calls
    assert f"--method get --url {threads}?api-version=7.1" in asked
    body = json.loads((tmp_path / "comment.md.json").read_text(encoding="utf-8"))
    if there == "12":
        assert f"--method patch --url {threads}/12/comments/1?api-version=7.1" in wrote
        assert body == {"content": 'a "plan"\n→ two'}
    else:
        assert f"--method post --url {threads}?api-version=7.1" in wrote
        assert body["comments"][0]["content"] == 'a "plan"\n→ two'


def test_elsewhere_nothing_is_posted_and_it_says_so(bench: PlanBench, tmp_path: Path) -> None:
    (tmp_path / "comment.md").write_text("text", encoding="utf-8")
    done = bench.run("post", tmp_path / "comment.md", BUILD_REPOSITORY_PROVIDER="GitHub")
    assert done.returncode == 0
    assert "not posted" in done.stderr


@pytest.mark.parametrize(
    ("file", "touched"), [("use_cases/churn/model.py", "true"), ("platform/a.py", "true"), ("docs/plan.md", "false")]
)
def test_what_touches_no_use_case_and_not_the_platform_is_not_planned(
    bench: PlanBench, tmp_path: Path, file: str, touched: str
) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(tmp_path)]
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["commit", "-qm", "one"],
        ["checkout", "-qb", "request"],
    ):
        subprocess.run([*git, *arguments], check=True)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("changed\n", encoding="utf-8")
    for arguments in (
        ["add", file],
        ["commit", "-qm", "two"],
        ["checkout", "-q", "main"],
        ["merge", "-q", "--no-ff", "request"],
    ):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    done = bench.run("touched")
    assert (done.returncode, done.stdout.strip()) == (0, touched), done.stderr


def test_where_the_history_does_not_say_what_is_touched_it_is_an_error(bench: PlanBench) -> None:
    done = bench.run("touched")
    assert done.returncode != 0
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [(), ("text",), ("text", "staging"), ("apply",)])
def test_wrong_use_of_the_plan_says_what_there_is(bench: PlanBench, arguments: tuple[str, ...]) -> None:
    done = bench.run(*arguments)
    assert (done.returncode, bench.calls) == (2, [])
    assert "text ENVIRONMENT FILE" in done.stderr


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


def test_on_azure_a_pull_request_is_planned_and_the_comment_is_written_whatever_came_of_it(
    bench: PlanBench, tmp_path: Path
) -> None:
    _, job = azure()["plan"]["jobs"]
    checkout, *_, last = job["steps"]
    assert checkout["fetchDepth"] == 2
    assert last["inputs"]["azureSubscription"] == "mlplatform-plan"
    script = last["inputs"]["inlineScript"]
    (tmp_path / ".ci" / "plan").write_text(
        'echo "$*" >> calls; case "$1" in touched) echo true ;; text) exit 1 ;; esac'
    )
    environment = {"PATH": os.environ["PATH"], "AGENT_TEMPDIRECTORY": "/t", "SYSTEM_PULLREQUEST_SOURCECOMMITID": "abc"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True)
    assert done.returncode == 1, "a use case could not be planned"
    assert bench.calls == ["touched", "install", "text staging /t/plan.md", "post /t/plan.md"]


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
    assert {"make setup", "make lint", "make docs", "make test"} <= ran
    assert all(line in github for line in ran)


def test_on_azure_no_credential_and_no_moving_version() -> None:
    text = (ROOT / "azure-pipelines.yml").read_text(encoding="utf-8")
    assert not re.search(r"secret|password|token|latest", text, re.IGNORECASE)
    assert text.count("checkout: self") == text.count("persistCredentials: false") == 11
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
