"""Sail, the JVM-free Spark Connect server, as a child process in a session of its own.

In process, Ctrl-C would shut its workers down and leave the client waiting for ever (seen with Sail 0.7.2).
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import MissingDependencyError, PlatformError, UnavailableError
from mlplatform.workspace.local import sail_child
from mlplatform.workspace.local.plain_path import plain_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOG = logging.getLogger(__name__)
START_SECONDS = 60.0
_ENDING_SECONDS = 0.5
# Sail hangs where it is given decades.
_YEAR_SECONDS = 365 * 24 * 60 * 60


class SailServer:
    """A running Sail server.

    Attributes:
        url: Its Spark Connect address, `sc://127.0.0.1:<port>`.
    """

    def __init__(self, log_file: Path, scratch: Path) -> None:
        """Start the server and wait until it listens.

        Args:
            log_file: Where its messages go.
            scratch: A folder for its temporary files.

        Raises:
            UnavailableError: If it does not come up.
        """
        self._log_file = log_file
        environment = dict(os.environ)
        environment["SAIL_EXECUTION__CHECKPOINT__PATH"] = str(plain_path(scratch / "checkpoints"))
        # After five minutes without a query Sail would end its session, and a training may take longer than that.
        environment["SAIL_SPARK__SESSION_TIMEOUT_SECS"] = str(_YEAR_SECONDS)
        environment.setdefault("RUST_LOG", "warn")
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", sail_child.__file__, json.dumps([path for path in sys.path if path])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        try:
            self.url = f"sc://127.0.0.1:{self._read_port()}"
        except BaseException:
            # Ctrl-C while it starts: nobody holds this object yet, so nobody else can end the process.
            self.stop()
            raise

    def _read_port(self) -> int:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        line = self._process.stdout.readline().strip() if ready else b""
        if line.isdigit():
            return int(line)
        raise UnavailableError(
            f"The local Spark engine (Sail) did not start; its messages are in {self._log_file}.",
            hint="Run 'mlplatform doctor'; a missing package is mended by installing the extra 'local'.",
        )

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the server process is alive."""
        return self._process.poll() is None

    def check_alive(self) -> None:
        """Check that it still runs; one that was just killed is given the moment that it takes to end.

        Raises:
            UnavailableError: If it has ended.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=_ENDING_SECONDS)
            how = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
            raise UnavailableError(
                f"The local Spark engine (Sail) died while it computed: {how}. Its messages are in {self._log_file}.",
                hint="Run again: what was finished is kept. Where memory ran out, the system ends the largest process.",
            )

    def stop(self) -> None:
        """End the server and whatever it started."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            LOG.debug("Sail did not end by itself; ending its process group.")
        finally:  # also when Ctrl-C does not want to wait
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)
            if self._process.stdout:
                self._process.stdout.close()


def _give_up_when_dead(session: SparkSession, server: SailServer) -> None:
    """Let calls to a server that has died fail at once, in our words: pyspark would try again for ten minutes."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    class WhileAlive(DefaultPolicy):
        """Tries again where pyspark would, as long as there is somebody to answer."""

        def can_retry(self, e: BaseException) -> bool:
            is_lost = super().can_retry(e)
            if is_lost:
                server.check_alive()
            return is_lost

    session.client.set_retry_policies([WhileAlive()])


def disconnect(session: SparkSession, *, answering: bool) -> None:
    """Close a session.

    Args:
        session: What `connect` returned.
        answering: False when its server is dead: then the channel is closed without a farewell, for which pyspark would
            wait for minutes, at the latest when the process ends.
    """
    try:
        if answering:
            session.stop()
        else:
            # The channel first: else close() waits ten seconds for calls that nobody will answer.
            session.client._channel.close()  # noqa: SLF001
            session.client.close()
    except Exception as error:  # noqa: BLE001  (whatever it is, the server's process is ended next)
        LOG.debug("Closing the Spark session: %s", error)


def abandon(url: str) -> None:
    """Close what an interrupted `connect` left behind.

    Nobody holds it, and when the process ends pyspark would say farewell to a server that is dead by then, for minutes.

    Args:
        url: Of the server, which has no other session.
    """
    if "pyspark.sql.connect.client" not in sys.modules:
        return
    from pyspark.sql.connect.client import SparkConnectClient

    for item in gc.get_objects():
        # Any part of it may be missing: it was interrupted while it was made.
        builder = getattr(item, "_builder", None) if isinstance(item, SparkConnectClient) else None
        if builder is not None and url == f"sc://{builder.endpoint}" and not item.is_closed:
            try:
                item._channel.close()  # noqa: SLF001
                item.close()
            except Exception as error:  # noqa: BLE001  (whatever it is, the server's process is ended next)
                LOG.debug("Closing a Spark client: %s", error)


def connect(url: str, server: SailServer | None = None) -> SparkSession:
    """Open a Spark Connect session with the settings that keep both homes alike.

    Args:
        url: A `sc://` address.
        server: The server there, if it is our own: nobody waits for it once it has died.

    Raises:
        MissingDependencyError: If pyspark is not installed.
        UnavailableError: If nothing answers there.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MissingDependencyError(
            f"pyspark is not installed ({error}).", hint="pip install 'mlplatform[local]'"
        ) from error
    last: Exception | None = None
    for attempt in range(5):
        try:
            session = SparkSession.builder.remote(url).create()  # asks nothing yet
            if server is not None:
                _give_up_when_dead(session, server)
            session.conf.set("spark.sql.session.timeZone", "UTC")
        except PlatformError:
            raise
        except Exception as error:  # noqa: BLE001  (grpc and pyspark raise unrelated classes while a server comes up)
            last = error
            time.sleep(0.2 * (attempt + 1))
        else:
            return session
    raise UnavailableError(f"No Spark answers at {url}: {last}", hint="Check the setting MLPLATFORM_SPARK.")
