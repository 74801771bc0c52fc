"""MLflow's own server on the registry of a local workspace: for this machine only, and gone when its caller is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess  # nosec B404
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from mlplatform.errors import StageError, UsageError

HOST = "127.0.0.1"
_STARTING_SECONDS, _STOPPING_SECONDS, _LOOK_SECONDS = 90.0, 10.0, 0.2
_LONGEST = 2000
# Otherwise it sends usage to its makers, and starts ten processes for jobs that nothing here asks of it.
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def serving(uri: str, artifacts: Path, *, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve MLflow's pages, and end the server with all that it started.

    Args:
        uri: Of the registry's database.
        artifacts: Where files of runs and models are.
        port: Where it listens.

    Yields:
        The server's process, which answers.

    Raises:
        UsageError: If the port is in use.
        StageError: If the server ends, or does not answer in time.
    """
    if not _is_free(port):
        raise UsageError(f"Port {port} of this machine is in use.", hint=f"Give another one: --port {port + 1}")
    arguments = ["server", "--backend-store-uri", uri, "--host", HOST, "--port", str(port), "--workers", "1"]
    arguments += ["--default-artifact-root", artifacts.as_uri(), "--no-serve-artifacts"]
    with TemporaryFile() as told:
        # A group of its own: Ctrl-C comes to us, and we end the server and its workers.
        process = subprocess.Popen(  # nosec B603
            [sys.executable, "-m", "mlflow", *arguments],
            env={**os.environ, **_QUIET},
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, port, told)
            yield process
        finally:
            _stop(process)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _wait(process: subprocess.Popen[bytes], port: int, told: IO[bytes]) -> None:
    until = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            told.seek(0)
            text = told.read().decode(errors="replace").strip()[-_LONGEST:]
            raise StageError(
                f"MLflow's server ended with exit code {process.returncode}: {text}",
                hint="mlplatform doctor looks at the workspace.",
            )
        with suppress(OSError), socket.create_connection((HOST, port), timeout=_LOOK_SECONDS):
            return
        time.sleep(_LOOK_SECONDS)
    raise StageError(f"MLflow's server did not answer within {_STARTING_SECONDS:.0f} s.", hint="Try again.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        # Its workers may outlive it: the group is asked, not the process.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOPPING_SECONDS)
