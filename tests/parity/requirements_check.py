"""What the parity tests need beside the package, and how to get it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

_JAVA = 17
_PACKAGE = "databricks-feature-engineering"


def missing() -> str | None:
    """Say in one line what is missing and how to get it, or None."""
    wants = [text for text in (_missing_package(), _missing_spark(), _missing_java()) if text]
    return f"parity tests need {'; '.join(wants)}" if wants else None


def _missing_package() -> str | None:
    if _has_module("databricks.feature_engineering") and _has_module("IPython"):
        return None
    return f"{_PACKAGE} (uv sync --extra databricks --extra local --extra dev)"


def _missing_spark() -> str | None:
    found = importlib.util.find_spec("pyspark")
    if found is not None and found.origin is not None and (Path(found.origin).parent / "jars").is_dir():
        return None
    return "pyspark with its jars, not pyspark-client (uv sync --extra local)"


def _missing_java() -> str | None:
    how = f"apt-get install openjdk-{_JAVA}-jre-headless, or brew install openjdk@{_JAVA}"
    advice = f"Java {_JAVA} or newer on the PATH ({how})"
    java = shutil.which("java")
    if java is None:
        return f"{advice}: none found"
    # `java -version` prints to stderr: openjdk version "17.0.15" 2025-04-15
    run = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60)
    version = re.search(r'version "(\d+)', run.stderr + run.stdout)
    if version is None:
        return f"{advice}: {java} does not tell its version"
    return None if int(version[1]) >= _JAVA else f"{advice}: {java} is Java {version[1]}"


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
