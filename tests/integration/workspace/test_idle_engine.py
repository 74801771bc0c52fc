"""An engine that is not asked for a while goes on: a training may take longer than its own patience."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
