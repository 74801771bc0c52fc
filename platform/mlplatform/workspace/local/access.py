"""Grants on the local workspace: there is no access control, so what is asked is only checked."""

from __future__ import annotations

from collections.abc import Sequence

from mlplatform.naming import ObjectName
from mlplatform.protocols.operations import SecurableKind
from mlplatform.workspace.shared.grants import check_principal, grant_statement

NOT_HERE = "not available here"


class LocalAccess:
    """Checks grants and grants nothing; see `mlplatform.protocols.operations.Access`."""

    def grant(self, privileges: Sequence[str], kind: SecurableKind, name: str | ObjectName, principal: str) -> None:
        """Check privileges, name and principal, as Databricks would."""
        grant_statement(privileges, kind, name, principal)

    def own_model(self, model: ObjectName | str, owner: str) -> str:
        """Check the names: models have no owners here."""
        check_principal(owner)
        ObjectName.parse(model)
        return NOT_HERE

    def probe_alias_right(self, model: ObjectName | str, principal: str) -> str:
        """Say that everybody who may write the folder may move aliases."""
        ObjectName.parse(model)
        del principal
        return f"{NOT_HERE}: whoever may write the workspace's folder may"
