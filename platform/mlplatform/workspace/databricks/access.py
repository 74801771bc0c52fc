"""Grants in Unity Catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlplatform.errors import AccessError
from mlplatform.naming import ObjectName
from mlplatform.workspace.databricks.registry_errors import redacted
from mlplatform.workspace.grants import grant_statement
from mlplatform.workspace.operation_protocols import SecurableKind

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.unity_sql import UnitySql


class DatabricksAccess:
    """Grants; see `mlplatform.workspace.operation_protocols.Access`."""

    def __init__(self, sql: UnitySql) -> None:
        """Take where statements go."""
        self._sql = sql

    def grant(self, privileges: Sequence[str], kind: SecurableKind, name: str | ObjectName, principal: str) -> None:
        """Grant privileges on an object to a principal; again changes nothing."""
        statement = grant_statement(privileges, kind, name, principal)
        try:
            self._sql.execute(statement)
        except Exception as error:
            raise AccessError(
                f"The workspace refused: {statement}: {redacted(str(error))}",
                hint=f"Granting on it needs ownership of the {kind}, or MANAGE; and the principal must exist.",
            ) from error
