"""Grants on the local workspace: there is no access control, so what is asked is only checked."""

from __future__ import annotations

from collections.abc import Sequence

from mlplatform.naming import ObjectName
from mlplatform.workspace.grants import grant_statement
from mlplatform.workspace.operation_protocols import SecurableKind


class LocalAccess:
    """Checks grants and grants nothing; see `mlplatform.workspace.operation_protocols.Access`."""

    def grant(self, privileges: Sequence[str], kind: SecurableKind, name: str | ObjectName, principal: str) -> None:
        """Check privileges, name and principal, as Databricks would."""
        grant_statement(privileges, kind, name, principal)
