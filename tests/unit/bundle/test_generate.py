"""The generator: golden files, drift, and what it refuses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mlplatform.bundle.generate import generate
from mlplatform.bundle.project import Project
from mlplatform.cli.main import cli
from mlplatform.errors import BundleError, ConfigError
from tests.unit.bundle.support import GOLDEN, PROJECT, USE_CASES

LOCK = "".join(
    f'[[package]]\nname = "{name}"\nversion = "{version}"\n\n'
    for name, version in (
        ("mlflow", "3.17.2"),
        ("scikit-learn", "1.9.1"),
        ("databricks-feature-engineering", "0.18.2"),
        ("lifetimes", "0.11.3"),
        ("forked", "1.0"),
        ("forked", "2.0"),
    )
)
TARGETS = {"dev": {"mode": "development"}, "prod": {"mode": "production"}}
SETTINGS: dict[str, Any] = {
    "owner": "upsell@example.com",
    "description": "Probability that an offer is taken: yes or no.",
    "label": {"horizon": "3 months"},
    "gate": {"floor": 0.6},
}
EVERYTHING: dict[str, Any] = {
    "gate": {"floor": 0.6, "approval": "manual"},
    "jobs": {
        "schedules": {"features": "0 0 3 * * ?", "score": "0 0 5 ? * MON-FRI", "main_pipeline": "0 0 1 L * ? 2027"},
        "timezone": "Europe/Berlin",
        "timeout_minutes": 90,
        "warn_after_minutes": 45,
        "retries": 2,
        "retry_after_minutes": 5,
        "notify": ["ml@example.com", "upsell@example.com"],
        "packages": ["Lifetimes"],
    },
}


def project(folder: Path, name: str = "upsell", settings: dict[str, Any] | None = None, lock: str = LOCK) -> Path:
    """Write a project of one use case."""
    home = folder / "use_cases" / name
    home.mkdir(parents=True)
    (home / "__init__.py").touch()
    (home / "config.yml").write_text(yaml.safe_dump(SETTINGS | (settings or {})))
    (folder / "databricks.yml").write_text(yaml.safe_dump({"bundle": {"name": "b"}, "targets": TARGETS}))
    if lock:
        (folder / "uv.lock").write_text(lock)
    return folder


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli, ["bundle", "generate", *map(str, arguments)])


@pytest.mark.parametrize(("name", "settings"), [("defaults", {}), ("everything", EVERYTHING)])
def test_the_file_is_the_golden_one(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    """Look at the difference; if it is meant, take what is made over into the golden file."""
    root = project(tmp_path, name, settings)
    made = generate(Project.read(root), name, root / "use_cases" / name)
    assert made.text == (GOLDEN / f"{name}.yml").read_text()


def test_the_files_of_this_project_are_as_made() -> None:
    done = run("--check", "--project", PROJECT)
    assert done.exit_code == 0, done.output
    assert f"{len(USE_CASES)} resources file(s)" in done.output


def test_writing_again_changes_nothing_and_check_agrees(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert "Wrote:" in run("--project", root).output
    assert "Unchanged:" in run("--project", root).output
    assert run("--check", "--project", root).exit_code == 0


@pytest.mark.parametrize("edited", ["by hand", "settings", "missing"])
def test_check_finds_drift_and_changes_nothing(tmp_path: Path, edited: str) -> None:
    root = project(tmp_path)
    run("--project", root)
    file = root / "resources" / "upsell.yml"
    if edited == "by hand":
        file.write_text(file.read_text().replace("max_retries: 1", "max_retries: 5", 1))
    elif edited == "settings":
        config = root / "use_cases" / "upsell" / "config.yml"
        config.write_text(config.read_text() + "jobs: {retries: 3}\n")
    else:
        file.unlink()
    before = file.read_text() if file.exists() else None
    done = run("--check", "--project", root)
    assert isinstance(done.exception, BundleError)
    assert done.exception.exit_code == 1
    assert re.search(r"^[-+] +max_retries: ", done.output, re.MULTILINE)
    assert (file.read_text() if file.exists() else None) == before


def test_the_file_of_a_use_case_that_is_no_more_is_drift_and_goes(tmp_path: Path) -> None:
    root = project(tmp_path)
    run("--project", root)
    (root / "resources" / "shared.yml").write_text("resources: {}\n")
    shutil.move(root / "use_cases" / "upsell", root / "use_cases" / "renamed")
    assert isinstance(run("--check", "--project", root).exception, BundleError)
    assert "Removed:" in run("--project", root).output
    assert sorted(path.name for path in (root / "resources").iterdir()) == ["renamed.yml", "shared.yml"]


def test_generate_says_when_a_job_would_not_find_the_use_case(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert "entry-points" in run("--project", root).output
    (root / "pyproject.toml").write_text(
        '[project]\nname = "b"\n[project.entry-points."mlplatform.use_cases"]\nupsell = "use_cases.upsell:Upsell"\n'
    )
    assert "entry-points" not in run("--project", root).output


@pytest.mark.parametrize(
    "section", [{"jobs": {"retries": 4}}, {"gate": {"approval": "manual"}}], ids=["jobs", "gate.approval"]
)
def test_what_makes_the_jobs_may_not_differ_by_environment(tmp_path: Path, section: dict[str, Any]) -> None:
    root = project(tmp_path, settings={"environments": {"prod": section}})
    with pytest.raises(ConfigError, match="differs between dev and prod"):
        generate(Project.read(root), "upsell", root / "use_cases" / "upsell")


def test_other_settings_may_differ_by_environment(tmp_path: Path) -> None:
    root = project(tmp_path, settings={"environments": {"prod": {"gate": {"floor": 0.7}}}})
    assert generate(Project.read(root), "upsell", root / "use_cases" / "upsell").text


@pytest.mark.parametrize(
    ("lock", "packages", "said"),
    [("", [], "does not exist"), (LOCK, ["unknown"], "no versions"), (LOCK, ["forked"], "2 versions")],
)
def test_versions_come_from_the_lock_file_or_not_at_all(
    tmp_path: Path, lock: str, packages: list[str], said: str
) -> None:
    root = project(tmp_path, settings={"jobs": {"packages": packages}}, lock=lock)
    with pytest.raises(ConfigError, match=said):
        generate(Project.read(root), "upsell", root / "use_cases" / "upsell")


@pytest.mark.parametrize(("text", "said"), [(None, "does not exist"), ("a: [", "not valid YAML"), ("bundle: {}", "no")])
def test_a_project_without_targets_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "databricks.yml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        Project.read(tmp_path)


def test_an_unknown_use_case_is_wrong_use_and_the_nearest_is_named(tmp_path: Path) -> None:
    done = run("upsel", "--project", project(tmp_path))
    assert done.exception.exit_code == 2
    assert "upsell" in done.exception.hint
