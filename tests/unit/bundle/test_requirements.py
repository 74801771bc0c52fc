"""What the jobs install is what the lock file holds for them, whole, and a resolver finds nothing wrong with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlplatform.bundle import requirements
from mlplatform.errors import ConfigError
from tests.unit.bundle.support import PROJECT, USE_CASES, resources

EXTRAS = {name: {"databricks"} | ({"samples"} if name == "churn" else set()) for name in USE_CASES}
# The runtime's own Spark and shell, and the local workspace's engines.
NEVER = {"pyspark", "databricks-connect", "ipython", "pysail", "deltalake", "duckdb"}
ENVIRONMENTS = [
    {
        "python_version": version,
        "python_full_version": f"{version}.3",
        "sys_platform": platform,
        "platform_system": {"linux": "Linux", "win32": "Windows"}[platform],
        "os_name": {"linux": "posix", "win32": "nt"}[platform],
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "platform_machine": "x86_64",
        "extra": "",
    }
    for version in ("3.11", "3.12", "3.13")
    for platform in ("linux", "win32")
]


def exported(use_case: str) -> list[Requirement]:
    lines = (PROJECT / "resources" / "requirements" / f"{use_case}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def installed(use_case: str, environment: dict[str, str]) -> dict[str, str]:
    """Return what pip would take of the file in an environment: name -> version."""
    found: dict[str, str] = {}
    for item in exported(use_case):
        (specifier,) = item.specifier
        assert specifier.operator == "==", f"{item} is not exact"
        assert "*" not in specifier.version
        if item.marker is None or item.marker.evaluate(environment):
            assert canonicalize_name(item.name) not in found, f"{item.name} twice"
            found[canonicalize_name(item.name)] = specifier.version
    return found


def closure(extras: set[str], environment: dict[str, str]) -> dict[str, str]:
    """Walk the lock file ourselves, from the project over the extras, along the edges that hold in an environment."""
    packages = tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(package["name"], []).append(package)
    (root,) = by_name["mlplatform"]
    waiting = [(edge, frozenset(edge.get("extra", []))) for edge in root["dependencies"]]
    for extra in sorted(extras):
        waiting += [(edge, frozenset(edge.get("extra", []))) for edge in root["optional-dependencies"][extra]]
    found: dict[str, str] = {}
    seen = set()
    while waiting:
        edge, wanted = waiting.pop()
        if edge["name"] in NEVER or ("marker" in edge and not Marker(edge["marker"]).evaluate(environment)):
            continue
        (package,) = [item for item in by_name[edge["name"]] if item["version"] == edge.get("version", item["version"])]
        found[package["name"]] = package["version"]
        if (package["name"], wanted) in seen:
            continue
        seen.add((package["name"], wanted))
        waiting += [(item, frozenset(item.get("extra", []))) for item in package.get("dependencies", [])]
        for extra in wanted:
            items = package.get("optional-dependencies", {}).get(extra, [])
            waiting += [(item, frozenset(item.get("extra", []))) for item in items]
    return found


@pytest.mark.parametrize(
    "environment", ENVIRONMENTS, ids=lambda item: f"{item['python_version']}-{item['sys_platform']}"
)
@pytest.mark.parametrize("use_case", USE_CASES)
def test_what_is_exported_is_the_closure_of_the_lock_file(use_case: str, environment: dict[str, str]) -> None:
    expected = closure(EXTRAS[use_case], environment)
    assert len(expected) > 80
    assert installed(use_case, environment) == expected


@pytest.mark.parametrize("use_case", USE_CASES)
def test_no_engine_and_nothing_of_the_runtime_is_installed(use_case: str) -> None:
    names = {canonicalize_name(item.name) for item in exported(use_case)}
    assert not names & NEVER
    assert {"mlflow", "mlflow-skinny", "scikit-learn", "databricks-feature-engineering", "databricks-sdk"} <= names
    assert ("lifetimes" in names) == (use_case == "churn")
    assert not names & {"pytest", "ruff", "mypy", "uv"}, "tools of development"


def test_lines_are_such_as_pip_reads_without_hashes_and_without_an_index() -> None:
    for use_case in USE_CASES:
        text = (PROJECT / "resources" / "requirements" / f"{use_case}.txt").read_text()
        assert "--hash" not in text
        assert "index" not in text.lower(), "that is a variable of the bundle"
        assert not re.search(r"^-e|^\.|file:|/", text.split("\n", 2)[2], re.MULTILINE)


@pytest.mark.parametrize("use_case", USE_CASES)
def test_every_job_of_a_use_case_installs_its_file(use_case: str) -> None:
    for key, job in resources("prod")["jobs"].items():
        if job.get("tags", {}).get("use_case") == use_case and "environments" in job:
            (environment,) = job["environments"]
            assert f"-r requirements/{use_case}.txt" in environment["spec"]["dependencies"], key
            assert {task["environment_key"] for task in job["tasks"]} == {environment["environment_key"]}


def test_settings_of_uv_do_not_change_what_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    before = requirements.export(PROJECT)
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2020-01-01T00:00:00Z")
    monkeypatch.setenv("UV_PROJECT", "/nowhere")
    monkeypatch.setenv("UV_NO_EMIT_PACKAGE", "mlflow")
    assert requirements.export(PROJECT) == before


def test_without_uv_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no uv") as caught:
        requirements.export(PROJECT)
    assert caught.value.hint == "pip install uv"


@pytest.mark.slow
@pytest.mark.parametrize("use_case", USE_CASES)
def test_a_resolver_takes_the_file_and_the_project_together_for_the_runtimes_python(
    use_case: str, tmp_path: Path
) -> None:
    """As in a job: the file, and what the wheel asks for. It needs the package index."""
    environment = {key: value for key, value in os.environ.items() if key != "UV_PROJECT_ENVIRONMENT"}
    wanted = tmp_path / "pyproject.toml"
    wanted.write_text((PROJECT / "pyproject.toml").read_text())
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_34", "--only-binary", ":all:"),
            *(wanted, PROJECT / "resources" / "requirements" / f"{use_case}.txt"),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resolved = {
        canonicalize_name(item.name): str(item.specifier) for item in map(Requirement, done.stdout.split("\n")[:-1])
    }
    expected = {name: f"=={version}" for name, version in installed(use_case, ENVIRONMENTS[2]).items()}
    assert resolved == expected, "nothing is added, nothing is moved"
