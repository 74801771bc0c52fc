"""The real client in a process of its own.

It needs the environment, MLflow's URIs and the one Spark session of its process for itself: a session of Spark Connect,
which our side may have, cannot live beside a classic one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType
    from typing import Self

    from tests.parity.models import OtherModel
    from tests.parity.outcome import Outcome
    from tests.support.cases import Case

_START_SECONDS = 300
_ANSWER_SECONDS = 300


class Judge:
    """Asks the real client, as a context manager. One question at a time."""

    def __init__(self, scratch: Path) -> None:
        """Take a folder for the judge's files and its log."""
        self._log = scratch / "judge.log"
        # Spawned, never forked: the parent may hold engines whose threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, scratch, self._log), name="parity judge", daemon=True
        )
        self._theirs = theirs
        self.questions = 0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        """Start the process, and wait until the client is there."""
        self._process.start()
        self._theirs.close()
        self._receive(_START_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the process end: it stops Spark when nobody is left to ask."""
        self._pipe.close()
        self._process.join(timeout=30)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def ask(self, case: Case, other: OtherModel | None = None) -> Callable[[], Outcome]:
        """Put a question, and go on working while it is answered.

        Args:
            case: The question.
            other: A model to log instead of the case's own.

        Returns:
            A function that waits for the answer. Call it before the next question.
        """
        self._pipe.send((case, other))
        return lambda: self._receive(_ANSWER_SECONDS)

    def answer(self, case: Case, other: OtherModel | None = None) -> Outcome:
        """Put a question and wait for the answer; the arguments are those of `ask`."""
        return self.ask(case, other)()

    def _receive(self, seconds: float) -> Any:
        try:
            if not self._pipe.poll(seconds):
                raise RuntimeError(self._report(f"gave no answer within {seconds:.0f} s"))
            kind, value, took = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(self._report("ended")) from error
        if kind == "crash":
            raise RuntimeError(self._report(f"failed:\n{value}"))
        if kind == "outcome":
            self.questions += 1
            self.seconds += took
        return value

    def _report(self, what: str) -> str:
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-4000:] if self._log.exists() else ""
        return f"The judge's process {what}\nThe end of its log:\n{tail}"


def _serve(pipe: Connection, scratch: Path, log: Path) -> None:
    """Answer until the other side closes the pipe."""
    _write_to(log)
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.chdir(scratch)
    try:
        from tests.parity.real_client import RealClient

        with RealClient(scratch) as client:
            pipe.send(("ready", None, 0.0))
            while True:
                case, other = pipe.recv()
                started = time.perf_counter()
                outcome = client.run(case, other)
                took = time.perf_counter() - started
                if client.unexpected_calls:
                    pipe.send(("crash", f"The stand-in has no answer to {client.unexpected_calls}.", took))
                    return
                pipe.send(("outcome", outcome, took))
    except EOFError:
        return
    except Exception:  # noqa: BLE001 - it is told to the other side, whatever it is
        pipe.send(("crash", traceback.format_exc(), 0.0))


def _write_to(log: Path) -> None:
    """Send everything this process, its JVM and its workers print to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)
