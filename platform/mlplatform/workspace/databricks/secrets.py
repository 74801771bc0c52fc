"""Secret scopes: through `dbutils` on Databricks' own compute, else through the API."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from mlplatform.errors import ConfigError
from mlplatform.workspace.databricks.connection import retrying

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

_RUNTIME = "DATABRICKS_RUNTIME_VERSION"
_ABSENT = ("does not exist", "not found")


class DatabricksSecrets:
    """Secret values from scopes; see `mlplatform.protocols.workspace.Secrets`."""

    def __init__(self, client: WorkspaceClient) -> None:
        """Take the SDK's client; nothing is asked yet."""
        self._client = client

    def get(self, scope: str, key: str) -> str:
        """Return the secret's value."""
        on_runtime = bool(os.environ.get(_RUNTIME))
        place = "dbutils.secrets" if on_runtime else f"the secrets API of {self._client.config.host}"
        try:
            value = _from_dbutils(scope, key) if on_runtime else self._from_api(scope, key)
        except Exception as error:  # noqa: BLE001  (dbutils raises what it likes)
            # Neither the error nor its text goes on: who knows what is in it.
            raise self._failed(scope, key, place, error) from None
        if not value:
            raise _not_set(scope, key, place)
        return value

    def _from_api(self, scope: str, key: str) -> str:
        encoded = retrying(lambda: self._client.secrets.get_secret(scope, key)).value or ""
        return base64.b64decode(encoded, validate=True).decode()

    @staticmethod
    def _failed(scope: str, key: str, place: str, error: Exception) -> ConfigError:
        from databricks.sdk.errors import NotFound, PermissionDenied

        if isinstance(error, NotFound) or any(word in str(error).lower() for word in _ABSENT):
            return _not_set(scope, key, place)
        hint = (
            f"It needs READ: databricks secrets put-acl {scope} PRINCIPAL READ"
            if isinstance(error, PermissionDenied)
            else "Nothing was assumed about it; run again when the workspace answers."
        )
        return ConfigError(f"Secret {scope}/{key} cannot be read from {place}: {type(error).__name__}.", hint=hint)


def _from_dbutils(scope: str, key: str) -> str:
    from databricks.sdk.runtime import dbutils

    return str(dbutils.secrets.get(scope=scope, key=key))


def _not_set(scope: str, key: str, place: str) -> ConfigError:
    return ConfigError(
        f"Secret {scope}/{key} is not set. Searched: scope {scope}, key {key}, in {place}.",
        hint=f"Set it by: databricks secrets put-secret {scope} {key}",
    )
