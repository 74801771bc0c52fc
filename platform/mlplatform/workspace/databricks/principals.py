"""Users, groups and service principals of the workspace, and who belongs to which group."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from mlplatform.errors import DeploymentError
from mlplatform.workspace.databricks.connection import retrying, translated

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

USER, GROUP, SERVICE_PRINCIPAL = "user", "group", "service principal"


class Principals:
    """Looks principals up by the names that grants take."""

    def __init__(self, client: WorkspaceClient) -> None:
        """Take the client; nothing is asked yet."""
        self._client = client

    def kind(self, name: str) -> str | None:
        """Return what a name is the name of: `user`, `group` or `service principal`; None: the workspace has none.

        Args:
            name: A group's name, a user's, or a service principal's application id.

        Raises:
            DeploymentError: If the workspace cannot be asked.
        """
        return next(iter(self._found(name)), None)

    def service_principal(self, display_name: str) -> str | None:
        """Return the application id of the service principal that is displayed so; None: there is none.

        Raises:
            DeploymentError: If the workspace cannot be asked.
        """
        condition = f"displayName eq {json.dumps(display_name)}"
        with translated(f"Looking for the service principal {display_name}", DeploymentError):
            principals = retrying(partial(_listed, self._client.service_principals_v2, condition))
        return str(principals[0].application_id) if principals else None

    def is_member(self, name: str, group: str) -> bool:
        """Tell whether a principal belongs to a group, if only through groups in it.

        Raises:
            DeploymentError: If the workspace cannot be asked.
        """
        ids = {item.id for item in self._found(name).values()}
        visited: set[str] = set()
        waiting = [item.id for kind, item in self._found(group).items() if kind == GROUP]
        while waiting:
            place = waiting.pop()
            if place in visited:
                continue
            visited.add(place)
            with translated(f"Reading the members of the group {group}", DeploymentError):
                members = retrying(partial(self._client.groups_v2.get, place)).members or []
            if ids & {member.value for member in members}:
                return True
            # Members that are groups have a reference "Groups/<id>"; others lead nowhere.
            waiting += [str(member.value) for member in members if "Groups/" in (member.ref or "")]
        return False

    def _found(self, name: str) -> dict[str, Any]:
        """Return whatever has the name, by kind."""
        quoted = json.dumps(name)  # as SCIM's filters write texts
        queries: tuple[tuple[str, Any, str], ...] = (
            (GROUP, self._client.groups_v2, f"displayName eq {quoted}"),
            (SERVICE_PRINCIPAL, self._client.service_principals_v2, f"applicationId eq {quoted}"),
            (USER, self._client.users_v2, f"userName eq {quoted}"),
        )
        principals: dict[str, Any] = {}
        for kind, api, condition in queries:
            with translated(f"Looking for {name} among the {kind}s", DeploymentError):
                items = retrying(partial(_listed, api, condition))
            if items:
                principals[kind] = items[0]
        return principals


def _listed(api: Any, condition: str) -> list[Any]:
    return list(api.list(filter=condition))
