"""Who asks, and where the workspace is: SCIM and discovery."""

from __future__ import annotations

from typing import Any

from tests.standin.wire import Request, Route

USER = "trainer@example.com"


class Identity:
    """One user, whoever asks."""

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("GET", "/.well-known/databricks-config", self._config),
            Route("GET", "/api/2.0/preview/scim/v2/Me", self._me),
        ]

    def _config(self, _: Request) -> dict[str, Any]:
        return {}

    def _me(self, _: Request) -> dict[str, Any]:
        return {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": "1000",
            "userName": USER,
            "displayName": "Trainer",
            "active": True,
            "emails": [{"type": "work", "value": USER, "primary": True}],
        }
