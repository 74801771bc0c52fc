"""Grants in Unity Catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlplatform.errors import DeploymentError, PlatformError
from mlplatform.naming import ObjectName
from mlplatform.protocols.operations import SecurableKind
from mlplatform.workspace.databricks.connection import retrying, translated
from mlplatform.workspace.databricks.principals import Principals
from mlplatform.workspace.databricks.registry_errors import redacted
from mlplatform.workspace.shared.grants import check_principal, grant_statement

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.registry import DatabricksRegistry
    from mlplatform.workspace.databricks.unity import Unity

SET, ALREADY = "set", "is already"
# Moved to the newest version and taken away again: no alias that anybody acts on is touched.
PROBE_ALIAS = "setup_probe"


class DatabricksAccess:
    """Grants; see `mlplatform.protocols.operations.Access`."""

    def __init__(self, unity: Unity, registry: DatabricksRegistry) -> None:
        """Take the connection, and the registry whose aliases are tried; nothing is asked yet."""
        self._unity = unity
        self._registry = registry

    def grant(self, privileges: Sequence[str], kind: SecurableKind, name: str | ObjectName, principal: str) -> None:
        """Grant privileges on an object to a principal; a second call changes nothing."""
        statement = grant_statement(privileges, kind, name, principal)
        try:
            self._unity.sql.execute(statement)
        except Exception as error:
            raise DeploymentError(
                f"The workspace refused: {statement}: {redacted(str(error))}",
                hint=f"Granting on it needs ownership of the {kind}, or MANAGE; and the principal must exist.",
            ) from error

    def own_model(self, model: ObjectName | str, owner: str) -> str:
        """Make a principal the owner of a registered model, and read it back; a second call changes nothing."""
        name, client = str(ObjectName.parse(model)), self._unity.client
        if self._owner(name) == check_principal(owner):
            return ALREADY
        with translated(f"Making {owner} the owner of the model {name}", DeploymentError):
            retrying(lambda: client.registered_models.update(name, owner=owner))
        current = self._owner(name)
        if current != owner:
            raise DeploymentError(
                f"{owner} was made the owner of the model {name}, but it reads {current!r}.",
                hint="Somebody else changed it at the same time, or the workspace ignores it: run setup again, or set "
                "the owner on the model's page.",
            )
        return SET

    def probe_alias_right(self, model: ObjectName | str, principal: str) -> str:
        """Find out whether a principal may move aliases: by moving one, if it is us; else by who owns the model."""
        name, me = str(ObjectName.parse(model)), self._unity.user
        if principal in ("", me):
            tried = self._try_alias(name)
            if tried:
                return tried
        principal = principal or me
        owner = self._owner(name)
        ownership = f"{name} is owned by {owner}"
        if principal == owner:
            return ownership
        # Only the owner sets an alias: REST reference, "Set a registered model alias", and "Upgrade ML workflows to
        # target models in Unity Catalog" (machine-learning/manage-model-lifecycle/upgrade-workflows).
        try:
            member = Principals(self._unity.client).is_member(principal, owner)
        except PlatformError as error:
            return f"{ownership}; whether {principal} belongs to it could not be read ({error.message})"
        if not member:
            raise DeploymentError(
                f"{principal} may not move aliases of the model {name}: its owner is {owner}, and {principal} is no "
                "member of a group of that name.",
                hint=f"Make {principal} a member of the owning group, or name a group that it belongs to with "
                "--model-owner.",
            )
        return f"{ownership}, of which {principal} is a member"

    def _try_alias(self, name: str) -> str:
        """Set an alias of our own and take it away; empty: there is no version that it could point at."""
        registry = self._registry
        versions = registry.versions(name)
        if not versions:
            return ""
        number = versions[-1].version
        try:
            registry.set_alias(name, PROBE_ALIAS, number)
            registry.delete_alias(name, PROBE_ALIAS)
        except PlatformError as error:
            raise DeploymentError(
                f"The alias {PROBE_ALIAS} of the model {name} could not be set and taken away again: {error.message}",
                hint=error.hint,
            ) from error
        return f"the alias {PROBE_ALIAS} was set to version {number} and taken away again"

    def _owner(self, name: str) -> str:
        with translated(f"Reading the owner of the model {name}", DeploymentError):
            return retrying(lambda: self._unity.client.registered_models.get(name)).owner or ""
