"""Unity Catalog's API for what any object may have: tags and permissions."""

from __future__ import annotations

from typing import Any

from tests.standin.metastore import Metastore
from tests.standin.wire import ApiError, Request, Route, missing

_TAGS = "/api/2.1/unity-catalog/entity-tag-assignments"
_OBJECT_TAGS = f"{_TAGS}/{{kind}}/{{name}}/tags"
# REST reference, "Grants": what may stand in the path.
_SECURABLE = frozenset(
    ("CATALOG", "CLEAN_ROOM", "CONNECTION", "CREDENTIAL", "EXTERNAL_LOCATION", "EXTERNAL_METADATA", "FUNCTION",
     "METASTORE", "PIPELINE", "PROVIDER", "RECIPIENT", "SCHEMA", "SHARE", "STORAGE_CREDENTIAL", "TABLE", "VOLUME")
)  # fmt: skip
_PERMISSIONS = "/api/2.1/unity-catalog/permissions/{kind}/{name}"


class Securables:
    """Answers from the metastore."""

    def __init__(self, metastore: Metastore) -> None:
        """Take what is known."""
        self._known = metastore

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("POST", _TAGS, self._create_tag),
            Route("GET", _OBJECT_TAGS, self._list_tags),
            Route("GET", f"{_OBJECT_TAGS}/{{key}}", self._get_tag),
            Route("PATCH", f"{_OBJECT_TAGS}/{{key}}", self._update_tag),
            Route("DELETE", f"{_OBJECT_TAGS}/{{key}}", self._delete_tag),
            Route("GET", "/api/2.0/unity-catalog/securable-tags/TABLE/{name}", self._table_tags),
            Route("GET", _PERMISSIONS, self._get_permissions),
            Route("PATCH", _PERMISSIONS, self._update_permissions),
        ]

    def _create_tag(self, request: Request) -> dict[str, Any]:
        kind, name, key = (request.argument(part) for part in ("entity_type", "entity_name", "tag_key"))
        self._check_object(kind, name)
        if key in self._known.tags(kind, name):
            raise ApiError(409, "ALREADY_EXISTS", f"Tag '{key}' is already assigned to {name}")
        return self._put_tag(kind, name, key, request.body.get("tag_value", ""))

    def _put_tag(self, kind: str, name: str, key: str, value: str) -> dict[str, Any]:
        self._known.set_tag(kind, name, key, value)
        return _tag_answer(kind, name, key, value)

    def _list_tags(self, _: Request, kind: str, name: str) -> dict[str, Any]:
        self._check_object(kind, name)
        tags = self._known.tags(kind, name)
        return {"tag_assignments": [_tag_answer(kind, name, key, value) for key, value in tags.items()]}

    def _get_tag(self, _: Request, kind: str, name: str, key: str) -> dict[str, Any]:
        tags = self._known.tags(kind, name)
        if key not in tags:
            raise missing(f"Tag '{key}' of {name}")
        return _tag_answer(kind, name, key, tags[key])

    def _update_tag(self, request: Request, kind: str, name: str, key: str) -> dict[str, Any]:
        self._get_tag(request, kind, name, key)
        return self._put_tag(kind, name, key, request.body.get("tag_value", ""))

    def _delete_tag(self, request: Request, kind: str, name: str, key: str) -> dict[str, Any]:
        self._get_tag(request, kind, name, key)
        self._known.unset_tag(kind, name, key)
        return {}

    def _table_tags(self, _: Request, name: str) -> dict[str, Any]:
        self._check_object("tables", name)
        tags = self._known.tags("tables", name)
        pairs = [{"key": key, "value": value} for key, value in tags.items()]
        return {"tag_assignments": [{"tag_key_value_pairs": pairs}]} if pairs else {}

    def _get_permissions(self, _: Request, kind: str, name: str) -> dict[str, Any]:
        _check_kind(kind)
        granted = self._known.grants.get((kind.lower(), name), {})
        return {
            "privilege_assignments": [
                {"principal": principal, "privileges": sorted(privileges)}
                for principal, privileges in granted.items()
                if privileges
            ]
        }

    def _update_permissions(self, request: Request, kind: str, name: str) -> dict[str, Any]:
        _check_kind(kind)
        for change in request.body.get("changes", []):
            self._known.grant(kind, name, change["principal"], change.get("add", []))
            self._known.revoke(kind, name, change["principal"], change.get("remove", []))
        return self._get_permissions(request, kind, name)

    def _check_object(self, kind: str, name: str) -> None:
        table = {"tables": name, "columns": name.rpartition(".")[0]}.get(kind)
        if table is not None and self._known.table(table) is None:
            raise missing(f"Table '{table}'")


def _check_kind(kind: str) -> None:
    # A registered model is a function here as in SQL: the privileges of "model" are those of nothing that there is.
    if kind.upper() not in _SECURABLE:
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"SECURABLE_TYPE {kind} is not supported.")


def _tag_answer(kind: str, name: str, key: str, value: str) -> dict[str, Any]:
    return {"entity_type": kind, "entity_name": name, "tag_key": key, "tag_value": value}
