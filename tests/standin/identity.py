"""Who asks, who else there is, and where the workspace is: SCIM and discovery."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.standin.wire import Request, Route, invalid, missing

USER = "trainer@example.com"
_SCIM = "/api/2.0/preview/scim/v2"
_FILTER = re.compile(r'(\w+) eq ("(?:[^"\\]|\\.)*")')
# SCIM's resources: the attribute by which grants call them.
_NAMES = {"Users": "userName", "Groups": "displayName", "ServicePrincipals": "applicationId"}


@dataclass
class Principal:
    """A user, group or service principal; a group's members by id."""

    kind: str
    id: str
    name: str
    display: str = ""
    members: list[str] = field(default_factory=list)


class Identity:
    """One user, whoever asks; others to be found.

    Attributes:
        principals: By id.
    """

    def __init__(self) -> None:
        """Know the user who asks."""
        self.principals: dict[str, Principal] = {"1000": Principal("Users", "1000", USER, "Trainer")}

    def add(self, kind: str, name: str, *members: Principal, display: str = "") -> Principal:
        """Make a principal of a kind: `Users`, `Groups` or `ServicePrincipals`."""
        made = Principal(kind, str(1000 + len(self.principals)), name, display or name, [item.id for item in members])
        self.principals[made.id] = made
        return made

    @property
    def me(self) -> Principal:
        """Who asks."""
        return self.principals["1000"]

    def is_or_belongs_to(self, name: str) -> bool:
        """Say whether who asks has the name, or is in a group of the name or a group in it."""
        groups = [item for item in self.principals.values() if item.kind == "Groups" and item.name == name]
        return name == USER or any(self._belongs(group) for group in groups)

    def _belongs(self, group: Principal) -> bool:
        members = [self.principals[item] for item in group.members]
        return self.me in members or any(self._belongs(item) for item in members if item.kind == "Groups")

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("GET", "/.well-known/databricks-config", self._config),
            Route("GET", f"{_SCIM}/Me", self._me),
            Route("GET", f"{_SCIM}/{{kind}}", self._list),
            Route("GET", f"{_SCIM}/{{kind}}/{{number}}", self._get),
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

    def _list(self, request: Request, kind: str) -> dict[str, Any] | None:
        if kind not in _NAMES:
            return None
        found = [item for item in self.principals.values() if item.kind == kind]
        if condition := request.query.get("filter"):
            match = _FILTER.fullmatch(condition)
            if match is None or match[1] not in (_NAMES[kind], "displayName"):
                raise invalid(f"Given filter operator is not supported: {condition}")
            wanted = json.loads(match[2])
            found = [item for item in found if wanted == (item.name if match[1] == _NAMES[kind] else item.display)]
        start = int(request.query.get("startIndex", "1")) - 1
        page = [self._answer(item) for item in found[start:]]
        return {"totalResults": len(found), "startIndex": start + 1, "itemsPerPage": len(page), "Resources": page}

    def _get(self, _: Request, kind: str, number: str) -> dict[str, Any]:
        found = self.principals.get(number)
        if found is None or found.kind != kind:
            raise missing(f"{kind} {number}")
        return self._answer(found)

    def _answer(self, item: Principal) -> dict[str, Any]:
        answer: dict[str, Any] = {"id": item.id, "displayName": item.display, _NAMES[item.kind]: item.name}
        if item.members:
            members = [self.principals[number] for number in item.members]
            answer["members"] = [
                {"value": member.id, "display": member.name, "$ref": f"{member.kind}/{member.id}"} for member in members
            ]
        return answer
