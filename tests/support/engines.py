"""One engine for many workspaces of a test run: its start and its first query take longer than most tests need it for.

It is a real server, and each workspace has a session of its own there, as two users of one Spark have. Processes that
tests start, and tests of the engine itself, have their own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mlplatform.workspace.local import session

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# Sail keeps some megabytes of what each session did: after so many workspaces another one is started.
_MOST = 60


class SharedEngine:
    """What a workspace takes for its own server."""

    def __init__(self, server: session.SailServer) -> None:
        """Stand for a server that others use, too."""
        self._shared = server

    def __getattr__(self, name: str) -> Any:
        """Be what the server is."""
        return getattr(self._shared, name)

    def stop(self) -> None:
        """Leave it to the others."""


class Engines:
    """Hands out the engine of this process."""

    def __init__(self, folder: Path) -> None:
        """Keep what it writes in a folder."""
        self.start, self._folder = session.SailServer, folder
        self._servers: list[session.SailServer] = []
        self._given, self._process = 0, os.getpid()

    def __call__(self, log_file: Path, scratch: Path) -> session.SailServer | SharedEngine:
        """Return the engine; it is started where there is none, or the last one has died."""
        if os.getpid() != self._process:
            return self.start(log_file, scratch)  # of a process that was forked: it may be killed, and what it has
        if not self._servers or not self._servers[-1].running or self._given >= _MOST:
            self._servers.append(self.start(self._folder / "sail.log", self._folder))
            self._given = 0
        self._given += 1
        return SharedEngine(self._servers[-1])

    def stop(self) -> None:
        """Stop all."""
        for server in self._servers:
            server.stop()


def share(patch: pytest.MonkeyPatch, folder: Path) -> Engines:
    """Have the local workspaces of this process share an engine; to be stopped at the end.

    Args:
        patch: What is undone with it.
        folder: For what the engine writes.
    """
    engines = Engines(folder)
    patch.setattr(session, "SailServer", engines)
    return engines
