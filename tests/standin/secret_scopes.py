"""The secrets API: scopes and their secrets, whose values go out in base64."""

from __future__ import annotations

import base64
from typing import Any

from tests.standin.wire import ApiError, Request, Route, missing

_API = "/api/2.0/secrets"


class SecretScopes:
    """Scopes by name; put secrets there with `put`."""

    def __init__(self) -> None:
        """Start without scopes."""
        self._scopes: dict[str, dict[str, bytes]] = {}

    def put(self, scope: str, key: str, value: str | bytes) -> None:
        """Put a secret, and make the scope if need be."""
        self._scopes.setdefault(scope, {})[key] = value.encode() if isinstance(value, str) else value

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("GET", f"{_API}/get", self._get),
            Route("GET", f"{_API}/list", self._list),
            Route("GET", f"{_API}/scopes/list", self._list_scopes),
            Route("POST", f"{_API}/scopes/create", self._create_scope),
            Route("POST", f"{_API}/put", self._put),
            Route("POST", f"{_API}/delete", self._delete),
        ]

    def _scope(self, name: str) -> dict[str, bytes]:
        if name not in self._scopes:
            raise missing(f"Scope {name}")
        return self._scopes[name]

    def _get(self, request: Request) -> dict[str, Any]:
        scope, key = request.argument("scope"), request.argument("key")
        values = self._scope(scope)
        if key not in values:
            raise missing(f"Secret {key} in scope {scope}")
        return {"key": key, "value": base64.b64encode(values[key]).decode()}

    def _list(self, request: Request) -> dict[str, Any]:
        return {"secrets": [{"key": key} for key in sorted(self._scope(request.argument("scope")))]}

    def _list_scopes(self, _: Request) -> dict[str, Any]:
        return {"scopes": [{"name": name, "backend_type": "DATABRICKS"} for name in sorted(self._scopes)]}

    def _create_scope(self, request: Request) -> dict[str, Any]:
        name = request.argument("scope")
        if name in self._scopes:
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Scope {name} already exists!")
        self._scopes[name] = {}
        return {}

    def _put(self, request: Request) -> dict[str, Any]:
        values, body = self._scope(request.argument("scope")), request.body
        text = body["string_value"].encode() if "string_value" in body else base64.b64decode(body["bytes_value"])
        values[request.argument("key")] = text
        return {}

    def _delete(self, request: Request) -> dict[str, Any]:
        scope, key = request.argument("scope"), request.argument("key")
        if self._scope(scope).pop(key, None) is None:
            raise missing(f"Secret {key} in scope {scope}")
        return {}
