"""Reads the bundle as the Databricks CLI does: the files included, and what a target lays over them."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).parent / "golden"
USE_CASES = ("churn", "credit_risk", "delivery_delay")
TARGETS = ("dev", "staging", "prod")


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)


def main_file() -> dict[str, Any]:
    return read(PROJECT / "databricks.yml")


def included() -> dict[str, dict[str, Any]]:
    """Return the files that `include` names."""
    patterns = main_file()["include"]
    return {path.name: read(path) for pattern in patterns for path in sorted(PROJECT.glob(pattern))}


def golden() -> dict[str, dict[str, Any]]:
    return {path.name: read(path) for path in sorted(GOLDEN.glob("*.yml"))}


@dataclass
class Bundle:
    """A bundle as one target sees it.

    Attributes:
        files: Its files by name, `databricks.yml` first.
        target: The target.
        tracked: The files of the repository.
    """

    files: dict[str, dict[str, Any]]
    target: str
    tracked: Sequence[str]

    @property
    def main(self) -> dict[str, Any]:
        return self.files["databricks.yml"]

    @property
    def target_part(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for content in self.files.values():
            made = merged(made, (content.get("targets") or {}).get(self.target) or {})
        return made

    @property
    def merged(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for content in self.files.values():
            made = merged(made, {name: part for name, part in content.items() if name != "targets"})
        return merged(made, {name: part for name, part in self.target_part.items() if name != "variables"})

    @property
    def mode(self) -> str | None:
        return self.target_part.get("mode")

    @property
    def resources(self) -> dict[str, dict[str, dict[str, Any]]]:
        return self.merged["resources"]

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        return self.merged["variables"]

    @property
    def target_variables(self) -> dict[str, Any]:
        return self.target_part.get("variables") or {}

    def has_value(self, name: str) -> bool:
        return name in self.target_variables or "default" in self.variables[name]

    def value(self, name: str) -> Any:
        return self.target_variables.get(name, self.variables.get(name, {}).get("default", ""))

    def each(self, only: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for kind, items in self.resources.items():
            for key, item in (items or {}).items():
                if item is not None and only in (None, kind):
                    yield kind, key, item


def bundle(target: str) -> Bundle:
    return Bundle({"databricks.yml": main_file()} | included(), target, tracked())


@functools.cache
def tracked() -> tuple[str, ...]:
    """Return the files of the repository; of an unpacked archive, those that .gitignore does not name."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=False, text=True)
    if listed.returncode == 0:
        return tuple(name for name in listed.stdout.split("\0") if name)
    files = [path.relative_to(PROJECT).as_posix() for path in PROJECT.rglob("*") if path.is_file()]
    ignored = set(_matched((PROJECT / ".gitignore").read_text(), files))
    return tuple(sorted(set(files) - ignored))


@functools.cache
def matched(pattern: str, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that a pattern of `sync` matches: its grammar is .gitignore's, so git is the judge."""
    return _matched(pattern.removeprefix("!"), paths)


def _matched(patterns: str, paths: Sequence[str]) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        Path(folder, ".git", "info", "exclude").write_text(patterns + "\n")
        done = subprocess.run(
            ["git", "check-ignore", "--no-index", "--stdin", "-z"],
            cwd=folder,
            input="\0".join(paths),
            capture_output=True,
            check=False,
            text=True,
        )
    assert done.returncode in (0, 1), done.stderr
    return tuple(name for name in done.stdout.split("\0") if name)


def resources(target: str, files: dict[str, dict[str, Any]] | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Return kind -> key -> resource as a target deploys it."""
    made: dict[str, Any] = {}
    for file in (included() if files is None else files).values():
        made = merged(made, file["resources"])
        made = merged(made, file.get("targets", {}).get(target, {}).get("resources", {}))
    return made


def merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: merged(base.get(key), over.get(key)) for key in base | over}
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *over]
    return base if over is None else over


def jobs(target: str = "prod") -> dict[str, dict[str, Any]]:
    """Return the project's jobs, and those of the golden files, which have what the use cases here do not use."""
    return resources(target)["jobs"] | resources(target, golden())["jobs"]


def tasks(target: str = "prod") -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield job key, job and task of every task."""
    for key, job in jobs(target).items():
        for task in job["tasks"]:
            yield key, job, task


def strings(value: Any) -> Iterator[str]:
    """Yield every text in it."""
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value
