"""Reads the bundle as the Databricks CLI does: the files included, and what a target lays over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).parent / "golden"
USE_CASES = ("churn", "credit_risk", "delivery_delay")
TARGETS = ("dev", "staging", "prod")


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def main_file() -> dict[str, Any]:
    return read(PROJECT / "databricks.yml")


def included() -> dict[str, dict[str, Any]]:
    """Return the files that `include` names."""
    patterns = main_file()["include"]
    return {path.name: read(path) for pattern in patterns for path in sorted(PROJECT.glob(pattern))}


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
    golden = {path.name: read(path) for path in GOLDEN.glob("*.yml")}
    return resources(target)["jobs"] | resources(target, golden)["jobs"]


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
