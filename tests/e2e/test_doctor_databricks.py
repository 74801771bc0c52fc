"""`mlplatform doctor --workspace databricks` as a process, where no workspace answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-that-must-not-be-shown"


def test_a_host_that_does_not_answer_is_a_finding_within_seconds_and_shows_no_token(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATABRICKS_")}
    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "mlplatform.cli", "doctor", "--workspace", "databricks", "--json"],
        cwd=PROJECT,
        env=kept | {"DATABRICKS_HOST": "http://127.0.0.1:9", "DATABRICKS_TOKEN": TOKEN, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 1, run.stderr
    found = {item["what"]: item for item in json.loads(run.stdout)}
    assert not found["the workspace answers"]["well"]
    assert "http://127.0.0.1:9 (from DATABRICKS_HOST)" in found["the workspace answers"]["found"]
    assert found["databricks-sdk"]["well"]
    assert TOKEN not in run.stdout + run.stderr
    assert time.monotonic() - started < 60
