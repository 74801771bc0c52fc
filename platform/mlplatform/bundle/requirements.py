"""What the jobs install: the whole of `uv.lock` that they need, exported, so that they run what was tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlplatform.bundle.project import toml
from mlplatform.errors import ConfigError

LOCK_FILE = "uv.lock"
# The extra of the real clients; with what the project itself depends on it is what every job installs.
EXTRA = "databricks"
NEEDED = ("mlflow", "scikit-learn", "databricks-feature-engineering")
# A runtime's own Spark, and the shell that it runs a task in: another version would not fit the rest of the runtime.
OF_THE_RUNTIME = ("pyspark", "databricks-connect", "ipython")
OF_THE_LOCAL_WORKSPACE = ("pysail", "deltalake", "duckdb")
_SEPARATORS = re.compile(r"[-_.]+")


def export(root: Path, packages: tuple[str, ...] = ()) -> str:
    """Return the requirements of a use case's jobs: one line per package, each with its exact version, no hashes.

    Args:
        root: The folder of the project, which holds `uv.lock`.
        packages: What the use case needs beside that; the project's extras that name them are taken.

    Raises:
        ConfigError: If there is no lock file, it cannot be read, or what it gives could not run on Databricks.
    """
    lock = _read(root / LOCK_FILE)
    project = _project(lock, root / LOCK_FILE)
    extras = _extras(project, packages, root / LOCK_FILE)
    text = _uv_export(root / LOCK_FILE, project["name"], lock.get("requires-python", ">=3.11"), extras)
    names = {_normal(re.split(r"[=<>!~ ;@\[]", line, maxsplit=1)[0]) for line in text.splitlines()}
    if missing := [name for name in NEEDED if name not in names]:
        raise ConfigError(
            f"{root / LOCK_FILE} gives the jobs no {' and no '.join(missing)}.",
            hint=f"Name it in pyproject.toml, under the extra {EXTRA}, then: uv lock",
        )
    if local := [name for name in OF_THE_LOCAL_WORKSPACE if name in names]:
        raise ConfigError(
            f"{root / LOCK_FILE} gives the jobs {' and '.join(local)}, which only the local workspace needs.",
            hint="Keep it in an extra that no job needs, then: uv lock",
        )
    return text


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist.", hint="Make it: uv lock. The jobs install what it says.")
    return toml(path)


def _project(lock: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the project itself: the package that the lock file takes from its own folder."""
    for package in lock.get("package", []):
        source = package.get("source", {})
        if "." in (source.get("editable"), source.get("virtual"), source.get("directory")):
            return dict(package)
    raise ConfigError(f"{path} holds no package of the project itself.", hint="Lock again: uv lock")


def _extras(project: dict[str, Any], packages: tuple[str, ...], path: Path) -> list[str]:
    extras = {
        name: {_normal(item["name"]) for item in items}
        for name, items in project.get("optional-dependencies", {}).items()
    }
    always = {_normal(item["name"]) for item in project.get("dependencies", [])} | extras.get(EXTRA, set())
    chosen = {EXTRA} & set(extras)
    for package in packages:
        name = _normal(package)
        if name in (*OF_THE_RUNTIME, *OF_THE_LOCAL_WORKSPACE):
            raise ConfigError(
                f"jobs.packages names {package}, which no job may install: the runtime brings its own Spark and shell, "
                "and the engines of the local workspace are not used there.",
                hint="Take it out of jobs.packages.",
            )
        if name in always:
            continue
        # The smallest, so that a job does not install the tools of development as well.
        naming = sorted(
            (extra for extra in extras if name in extras[extra]), key=lambda extra: (len(extras[extra]), extra)
        )
        if not naming:
            raise ConfigError(
                f"jobs.packages names {package}, but {path} holds no version of it for the project: neither its "
                "dependencies nor its extras name it.",
                hint="Name the package in pyproject.toml, in an extra of its own, then: uv lock",
            )
        chosen.add(naming[0])
    return sorted(chosen)


def _uv_export(lock: Path, project: str, requires_python: str, extras: list[str]) -> str:
    """Have uv export the lock file, which alone is asked: not pyproject.toml, not the network, no setting of uv."""
    names = "\n".join(f'"{name}" = []' for name in extras)
    pyproject = (
        f'[project]\nname = "{project}"\nversion = "0"\nrequires-python = "{requires_python}"\n\n'
        f"[project.optional-dependencies]\n{names}\n"
    )
    options = [f"--extra={name}" for name in extras] + [f"--prune={name}" for name in OF_THE_RUNTIME]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(pyproject, encoding="utf-8")
        shutil.copy(lock, Path(folder, LOCK_FILE))
        done = subprocess.run(
            [
                *(_uv(), "export", "--quiet", "--frozen", "--offline", "--no-config", "--python", sys.executable),
                *("--no-hashes", "--no-header", "--no-annotate", "--no-emit-project", "--no-default-groups", *options),
            ],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("UV_")},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ConfigError(f"uv cannot export {lock}: {done.stderr.strip()}", hint="Lock again: uv lock")
    return done.stdout


def _uv() -> str:
    """Return the uv of this environment, whose version the lock file holds, or else the one on the path."""
    beside = Path(sys.executable).parent / "uv"
    path = str(beside) if beside.is_file() else shutil.which("uv")
    if path is None:
        raise ConfigError(f"There is no uv, which reads {LOCK_FILE}.", hint="pip install uv")
    return path


def _normal(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()
