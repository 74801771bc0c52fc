"""The repository's own files: workflows, templates, owners, labels; what one names, the other has."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
TOKEN = re.compile(
    r"\b(dapi[0-9a-f]{32}|dose[0-9a-f]{32}|gh[pousr]_\w{36}|github_pat_\w{22,}|AKIA[0-9A-Z]{16})\b|eyJ[\w-]{10,}\."
)
# A workload identity for the deployment, a pull request's comment, and labels; nothing else is written.
MAY_WRITE = {"cd.yml": {"id-token"}, "plan.yml": {"id-token", "pull-requests"}, "labels.yml": {"issues"}}

by_name = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path: Path) -> dict[str, Any]:
    found = read(path)["jobs"]
    assert found
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in jobs(path).values():
        yield from job.get("steps", [])


def labels() -> list[dict[str, str]]:
    return read(GITHUB / "labels.yml")


def test_there_is_a_workflow_for_each_duty():
    assert [path.name for path in WORKFLOWS] == ["cd.yml", "ci.yml", "labels.yml", "nightly.yml", "plan.yml"]


@by_name
def test_a_workflow_may_read_and_no_more_than_it_must_write(path: Path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    written = {
        name
        for job in workflow["jobs"].values()
        for name, right in job.get("permissions", {}).items()
        if right != "read"
    }
    assert written == MAY_WRITE.get(path.name, set())


@by_name
def test_no_workflow_gives_the_code_of_a_fork_an_identity(path: Path):
    assert not {"pull_request_target", "workflow_run"} & set(read(path)[True])


@by_name
def test_a_job_that_has_an_identity_writes_nothing_else(path: Path):
    # Whoever may ask for the identity runs code that nobody has looked at yet.
    for name, job in jobs(path).items():
        rights = job.get("permissions", {})
        if rights.get("id-token") == "write":
            assert [right for right, level in rights.items() if level != "read"] == ["id-token"], name


@by_name
def test_actions_are_pinned_by_commit_and_say_their_version(path: Path):
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\s*(- )?uses:", line)]
    for line in lines:
        action = line.split("uses:")[1].split("#")[0].strip()
        if action.startswith("./"):
            assert (ROOT / action).is_file()
            continue
        assert PINNED.fullmatch(action), f"{action} is not pinned by a commit"
        assert re.search(r"# v\d+\.\d+\.\d+$", line), f"{action} does not say its version"


def test_an_action_has_one_pin():
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for step in steps(path):
            if "uses" in step:
                name, _, commit = step["uses"].partition("@")
                pins.setdefault(name, set()).add(commit)
    assert pins
    assert {name: commits for name, commits in pins.items() if len(commits) > 1} == {}


@by_name
def test_every_job_ends_and_checks_out_without_leaving_a_credential(path: Path):
    for name, job in jobs(path).items():
        if "uses" not in job:
            assert 0 < job["timeout-minutes"] <= (300 if path.name == "nightly.yml" else 120), name
            assert job["runs-on"] != "ubuntu-latest", "the image moves under us"
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@by_name
def test_nothing_of_others_becomes_part_of_a_script(path: Path):
    # What stands between ${{ }} is pasted into the script before it runs: a branch's name may be a command.
    for step in steps(path):
        assert "${{" not in step.get("run", ""), step


@by_name
def test_secrets_reach_one_steps_environment_and_no_output(path: Path):
    text = path.read_text(encoding="utf-8")
    given = [
        value
        for step in steps(path)
        for value in step.get("env", {}).values()
        if isinstance(value, str) and "secrets." in value
    ]
    assert text.count("secrets.") == len(given)
    for step in steps(path):
        assert not re.search(r"echo .*(SECRET|TOKEN)|set -x|printenv", step.get("run", ""))


def test_no_file_of_the_repository_holds_a_token():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: which files belong to the repository cannot be asked")
    texts = (
        ROOT / name
        for name in listed.stdout.split("\0")
        if Path(name).suffix in {".yml", ".yaml", ".py", ".md", ".toml", ""}
    )
    found = [
        path for path in texts if path.is_file() and TOKEN.search(path.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert found == []


@by_name
def test_make_targets_and_scripts_of_workflows_exist(path: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for step in steps(path):
        script = step.get("run", "")
        assert set(re.findall(r"^\s*make ([a-z-]+)", script, re.MULTILINE)) <= targets
        for name in re.findall(r"^\s*bash (\S+)", script, re.MULTILINE):
            assert (ROOT / name).is_file(), name


def test_ci_runs_what_every_change_must_pass():
    ran = "\n".join(step.get("run", "") for step in steps(GITHUB / "workflows" / "ci.yml"))
    for command in (
        "make lint",
        "make docs",
        "make test",
        "bash .ci/run",
        "bundle generate --check",
        "uv build --wheel",
    ):
        assert command in ran
    pythons = {
        str(version)
        for job in jobs(GITHUB / "workflows" / "ci.yml").values()
        for version in [
            *job.get("strategy", {}).get("matrix", {}).get("python", []),
            *(step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")),
        ]
    }
    assert {"3.11", "3.12", "3.13"} <= pythons


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_whole(path: Path):
    form = read(path)
    assert {"name", "description", "labels", "body"} <= set(form)
    asked = [item for item in form["body"] if item["type"] != "markdown"]
    assert {item["type"] for item in asked} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(item["attributes"].get("label") for item in asked)
    names = [item["id"] for item in asked]
    assert len(set(names)) == len(names)
    assert any(item.get("validations", {}).get("required") for item in asked)


def test_there_is_a_form_for_each_kind_and_no_blank_issue():
    assert [path.stem for path in FORMS] == ["bug", "story", "task"]
    assert read(GITHUB / "ISSUE_TEMPLATE" / "config.yml")["blank_issues_enabled"] is False


def test_labels_are_valid_and_the_ones_that_are_used_are_there():
    found = labels()
    names = [label["name"] for label in found]
    assert len({name.lower() for name in names}) == len(names)
    for label in found:
        assert re.fullmatch(r"[0-9a-f]{6}", label["color"]), "quoted: YAML reads 5319e7 as a number"
        assert 0 < len(label["description"]) <= 100
    updates = read(GITHUB / "dependabot.yml")["updates"]
    used = {name for holder in (*map(read, FORMS), *updates) for name in holder["labels"]}
    assert used <= set(names)


def test_dependabot_watches_packages_and_actions():
    updates = read(GITHUB / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"uv", "github-actions"}
    assert (ROOT / "uv.lock").is_file()


def test_owners_own_what_there_is():
    lines = (GITHUB / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert rules[0][0] == "*", "everything has an owner"
    for pattern, *owners in rules:
        assert owners
        assert all(re.fullmatch(r"@[\w-]+/[\w-]+", owner) for owner in owners)
        if pattern != "*":
            there = ROOT / pattern.strip("/")
            assert there.is_dir() if pattern.endswith("/") else there.is_file(), pattern
    owned = {pattern for pattern, *_ in rules}
    cases = {path.parent.name for path in (ROOT / "use_cases").glob("*/config.yml")}
    assert {f"/use_cases/{name}/" for name in cases} <= owned


DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_files_and_commands_that_documents_name_exist(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert link.startswith("https://") or ((ROOT / name).parent / link).exists(), link
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets


def test_a_version_has_its_section_its_lock_and_the_workspace_that_later_ones_are_tested_on():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", sections[1]), "the newest release"
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    assert [package["version"] for package in packages if package["name"] == "mlplatform"] == [version]
    assert (ROOT / "tests" / "released" / "workspaces" / f"{version}.tar.xz").is_file()


def test_the_settings_example_names_settings_that_are_read_and_no_values():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "platform").rglob("*.py"))
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        if setting := re.fullmatch(r"#? ?([A-Z_]+)=(.*)", line):
            name, value = setting.groups()
            assert value == "", f"{name} has a value"
            if not name.startswith(("DATABRICKS_", "MLPLATFORM_SECRET_")):
                assert f'"{name}"' in code, f"nothing reads {name}"
