"""`mlplatform ui` as a process: MLflow's pages answer, and nothing is left when it is stopped."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import children, wait_until_gone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.homes import Homes


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(port: int, seconds: float = 90.0) -> list[str]:
    """Return the names of the registered models, once the server answers."""
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/search"
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answered:
                return [model["name"] for model in json.load(answered).get("registered_models", [])]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


@pytest.mark.slow
def test_the_pages_show_the_models_and_end_with_their_children(homes: Homes, tmp_path: Path):
    port = a_free_port()
    command = [sys.executable, "-m", "mlplatform.cli", "ui", "--port", str(port), "--home", str(homes.second)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert answer(port) == ["dev.tiny.model"]
        started = children(process.pid)
        assert started
        again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
        assert again.returncode == 2
        assert f"--port {port + 1}" in again.stderr
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert f"http://127.0.0.1:{port}" in told
    wait_until_gone(started)
