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
from mlplatform.errors import ConfigError, DeploymentError
from tests.unit.bundle.support import GOLDEN, PROJECT, USE_CASES

SETTINGS_OF_THE_LOCK = """\
version = 1
requires-python = ">=3.11"
resolution-markers = ["python_full_version >= '3.12'", "python_full_version < '3.12'"]

[[package]]
name = "b"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "scikit-learn" },
    { name = "forked", version = "1.0", source = { registry = "https://i" }, marker = "python_full_version < '3.12'" },
    { name = "forked", version = "2.0", source = { registry = "https://i" }, marker = "python_full_version >= '3.12'" },
]

[package.optional-dependencies]
databricks = [{ name = "databricks-feature-engineering" }, { name = "ipython" }, { name = "mlflow" }]
dev = [{ name = "lifetimes" }, { name = "pytest" }]
local = [{ name = "duckdb" }, { name = "pyspark" }]
samples = [{ name = "lifetimes" }]
spark = [{ name = "on-spark" }]

"""
PACKAGES = {
    "databricks-feature-engineering": ("0.18.2", []),
    "dill": ("0.4.1", []),
    "duckdb": ("2.0.0", []),
    "ipython": ("9.18.1", ["traitlets"]),
    "lifetimes": ("0.11.3", ["dill"]),
    "mlflow": ("3.17.2", []),
    "on-spark": ("1.0", ["pyspark"]),
    "pyspark": ("4.2.0", []),
    "pytest": ("9.0", []),
    "scikit-learn": ("1.9.1", []),
    "traitlets": ("5.16.1", []),
}


def locked(name: str, version: str, dependencies: list[str]) -> str:
    needs = ", ".join(f'{{ name = "{item}" }}' for item in dependencies)
    return (
        f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "https://i" }}\n'
        f"dependencies = [{needs}]\n\n"
    )


LOCK = (
    SETTINGS_OF_THE_LOCK
    + locked("forked", "1.0", [])
    + locked("forked", "2.0", [])
    + "".join(locked(name, *rest) for name, rest in PACKAGES.items())
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
        "performance_target": "STANDARD",
        "budget_policy_id": "3d5f1c2a-0000-4000-8000-0123456789ab",
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
    made, _ = generate(Project.read(root), name, root / "use_cases" / name)
    assert made.text == (GOLDEN / f"{name}.yml").read_text()


def test_the_files_of_this_project_are_as_made() -> None:
    done = run("--check", "--project", PROJECT)
    assert done.exit_code == 0, done.output
    assert f"{2 * len(USE_CASES) + 1} file(s)" in done.output, "resources and requirements of each, and main_pipeline"


def test_writing_again_changes_nothing_and_check_agrees(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert "Wrote:" in run("--project", root).output
    assert "Unchanged:" in run("--project", root).output
    assert run("--check", "--project", root).exit_code == 0


@pytest.mark.parametrize("edited", ["lock", "requirements"])
def test_check_finds_requirements_that_are_stale(tmp_path: Path, edited: str) -> None:
    root = project(tmp_path)
    run("--project", root)
    lock, exported = root / "uv.lock", root / "resources" / "requirements" / "upsell.txt"
    if edited == "lock":
        lock.write_text(lock.read_text().replace('"1.9.1"', '"1.9.2"'))
    else:
        exported.write_text(exported.read_text().replace("==1.9.1", ">=1.9"))
    done = run("--check", "--project", root)
    assert isinstance(done.exception, DeploymentError)
    assert "+scikit-learn==1.9." in done.output
    assert "resources/requirements/upsell.txt (generated)" in done.output
    assert "Wrote:" in run("--project", root).output
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
    assert isinstance(done.exception, DeploymentError)
    assert done.exception.exit_code == 1
    assert re.search(r"^[-+] +max_retries: ", done.output, re.MULTILINE)
    assert (file.read_text() if file.exists() else None) == before


def test_the_file_of_a_use_case_that_is_no_more_is_drift_and_goes(tmp_path: Path) -> None:
    root = project(tmp_path)
    run("--project", root)
    (root / "resources" / "shared.yml").write_text("resources: {}\n")
    shutil.move(root / "use_cases" / "upsell", root / "use_cases" / "renamed")
    assert isinstance(run("--check", "--project", root).exception, DeploymentError)
    assert "Removed:" in run("--project", root).output
    assert sorted(path.relative_to(root / "resources").as_posix() for path in (root / "resources").rglob("*.*")) == [
        "main_pipeline.yml", "renamed.yml", "requirements/renamed.txt", "shared.yml",
    ]  # fmt: skip
    assert "renamed_main_pipeline" in (root / "resources" / "main_pipeline.yml").read_text()
    shutil.rmtree(root / "use_cases" / "renamed")
    assert "Removed:" in run("--project", root).output
    assert [path.name for path in (root / "resources").rglob("*.*")] == ["shared.yml"]


def test_a_new_use_case_makes_the_job_over_all_stale(tmp_path: Path) -> None:
    root = project(tmp_path)
    run("--project", root)
    shutil.copytree(root / "use_cases" / "upsell", root / "use_cases" / "churn")
    done = run("upsell", "--check", "--project", root)
    assert isinstance(done.exception, DeploymentError)
    assert "${resources.jobs.churn_main_pipeline.id}" in done.output


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


def test_a_use_case_is_not_deployed_into_another_catalog_than_its_settings_say(tmp_path: Path) -> None:
    root = project(tmp_path, settings={"environments": {"prod": {"catalog": "ml_prod"}}})
    folder = root / "use_cases" / "upsell"
    bundle = yaml.safe_load((root / "databricks.yml").read_text())
    for catalog, refused in (("prod", True), ("ml_prod", False)):
        bundle["targets"]["prod"]["variables"] = {"catalog": catalog}
        (root / "databricks.yml").write_text(yaml.safe_dump(bundle))
        if refused:
            with pytest.raises(ConfigError, match=r"ml_prod in prod.*is prod"):
                generate(Project.read(root), "upsell", folder)
        else:
            assert generate(Project.read(root), "upsell", folder)


def test_other_settings_may_differ_by_environment(tmp_path: Path) -> None:
    root = project(tmp_path, settings={"environments": {"prod": {"gate": {"floor": 0.7}}}})
    assert all(file.text for file in generate(Project.read(root), "upsell", root / "use_cases" / "upsell"))


def exported(root: Path) -> list[str]:
    _, made = generate(Project.read(root), "upsell", root / "use_cases" / "upsell")
    return [line for line in made.text.splitlines() if not line.startswith("#")]


BASE = [
    "databricks-feature-engineering==0.18.2",
    "forked==1.0 ; python_full_version < '3.12'",
    "forked==2.0 ; python_full_version >= '3.12'",
    "mlflow==3.17.2",
    "scikit-learn==1.9.1",
]


def test_jobs_install_all_that_is_locked_for_them_and_nothing_of_the_runtime(tmp_path: Path) -> None:
    assert exported(project(tmp_path)) == BASE


@pytest.mark.parametrize(
    ("package", "added"),
    [
        ("Lifetimes", ["dill==0.4.1", "lifetimes==0.11.3"]),
        ("on_spark", ["on-spark==1.0"]),
        ("scikit.learn", []),
    ],
)
def test_a_package_that_a_use_case_names_comes_with_what_it_needs(
    tmp_path: Path, package: str, added: list[str]
) -> None:
    root = project(tmp_path, settings={"jobs": {"packages": [package]}})
    assert exported(root) == sorted([*BASE, *added])


@pytest.mark.parametrize(
    ("lock", "packages", "said"),
    [
        ("", [], "does not exist"),
        ("version = [", [], "not valid TOML"),
        ("version = 1\n", [], "no package of the project itself"),
        (LOCK, ["unknown"], "no version"),
        (LOCK, ["traitlets"], "no version"),
        (LOCK, ["duckdb"], "no job may install"),
        (LOCK, ["PySpark"], "no job may install"),
        (LOCK.replace('{ name = "mlflow" }', '{ name = "dill" }'), [], "no mlflow"),
        (
            LOCK.replace("dependencies = [\n", 'dependencies = [\n    { name = "duckdb" },\n'),
            [],
            "gives the jobs duckdb",
        ),
        (LOCK.replace('{ name = "mlflow" }', '{ name = "gone" }'), [], "cannot export"),
    ],
)
def test_versions_come_from_the_lock_file_or_not_at_all(
    tmp_path: Path, lock: str, packages: list[str], said: str
) -> None:
    root = project(tmp_path, settings={"jobs": {"packages": packages}}, lock=lock)
    with pytest.raises(ConfigError, match=said) as caught:
        exported(root)
    assert caught.value.hint


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
