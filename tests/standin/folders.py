"""The workspace API, as far as folders go."""

from __future__ import annotations

from typing import Any

from tests.standin.wire import Request, Route


class Folders:
    """Folders of the workspace.

    Attributes:
        made: Their paths.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.made: set[str] = set()

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [Route("POST", "/api/2.0/workspace/mkdirs", self._make)]

    def _make(self, request: Request) -> dict[str, Any]:
        self.made.add(request.argument("path"))
        return {}
