"""Engines last as long as the workspace: idleness ends none, and a write leaves none behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import run_tiny
from tests.support.tiny_use_case import write_tiny_use_case

# In a process of its own: a session that has ended would stay the active one of this process.
_IDLE = """
import sys, time
from pathlib import Path
from mlplatform.workspace.local.session import SailServer, connect

server = SailServer(Path(sys.argv[1]) / "sail.log", Path(sys.argv[1]))
try:
    spark = connect(server.url, server)
    assert spark.range(3).count() == 3
    time.sleep(4)
    assert spark.range(3).count() == 3
finally:
    server.stop()
"""


def test_a_session_outlives_the_engines_own_timeout(tmp_path: Path) -> None:
    impatient = {**os.environ, "SAIL_SPARK__SESSION_TIMEOUT_SECS": "1"}
    command = [sys.executable, "-c", _IDLE, str(tmp_path)]
    done = subprocess.run(command, env=impatient, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_later_step_starts_no_engine(ws: LocalWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each write would be kept, with some megabytes each: hundreds of steps would fill the memory."""
    tiny, started, connect = write_tiny_use_case(tmp_path), [], duckdb.connect
    ws.catalog = "engines"
    run_tiny(ws, tiny.folder, "2020-08-01")

    def counted(*arguments: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        started.append(arguments)
        return connect(*arguments, **options)

    monkeypatch.setattr(duckdb, "connect", counted)
    summary = run_tiny(ws, tiny.folder, "2020-09-01")
    assert {run.stage for run in summary.stages} >= {"ingest", "refine", "features", "score", "monitor"}
    assert started == []
