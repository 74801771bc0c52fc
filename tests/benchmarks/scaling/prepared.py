"""The use case `orders` with its data, where a measured process finds them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.scaling import data
from tests.benchmarks.scaling.child import USE_CASE
from tests.benchmarks.scaling.measured import ROOT, path_of

MOST_TRAINED = 20_000
SETTINGS: dict[str, Any] = {
    "owner": "benchmark@example.com",
    "description": "Probability that an order is returned within 14 days.",
    "task": "classification",
    "label": {"horizon": "14 days"},
    "training": {"metric": "roc_auc", "min_rows": 500, "max_rows": MOST_TRAINED, "search": {"max_evals": 1}},
    "gate": {"floor": 0.52, "min_rows": 200, "min_positives": 30},
    "monitoring": {
        "min_rows": 100, "performance_floor": None, "performance_window": "12 months", "retrain_every": "20 years",
        "retrain_on": [], "max_model_age": None,
    },
}  # fmt: skip


def prepare(plan: data.Plan, place: Path, **settings: Any) -> Path:
    """Write the data and the use case, unless the same data are there; what an earlier run left is removed.

    Args:
        plan: What data there is.
        place: The folder for all of it.
        **settings: Sections of settings beside `SETTINGS`.

    Returns:
        The folder where the files landed.
    """
    landing, folder = place / "landing", place / "use_cases" / USE_CASE
    data.write(plan, landing)
    for left in (place / "home", place / "use_cases"):
        shutil.rmtree(left, ignore_errors=True)
    ours = Path(__file__).with_name(USE_CASE)
    shutil.copytree(ours, folder, ignore=shutil.ignore_patterns("__pycache__"))
    written = {**SETTINGS, **settings, "landing": str(landing.resolve())}
    if "max_rows" in _known_settings().get("gate", ()):
        written["gate"] = {**SETTINGS["gate"], "max_rows": MOST_TRAINED}
    (folder / "config.yml").write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    return landing


def job(arguments: argparse.Namespace, place: Path, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the measured process is to do."""
    root, use_cases = place / "home", place / "use_cases"
    return {"home": arguments.home, "root": str(root), "use_cases": str(use_cases), "steps": list(steps)}


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _known_settings() -> dict[str, set[str]]:
    """Return the sections of settings and their keys, as the platform at hand knows them: an older one has fewer."""
    command = [sys.executable, "-m", "mlplatform.cli", "config", "schema"]
    schema = subprocess.run(command, capture_output=True, check=True, env=os.environ | path_of(ROOT))
    described = json.loads(schema.stdout)
    known: dict[str, set[str]] = {}
    for name, section in described["properties"].items():
        reference = str(section.get("$ref", "")).rpartition("/")[2]
        known[name] = set(described.get("$defs", {}).get(reference, {}).get("properties", {}))
    return known
