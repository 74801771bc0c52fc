"""Unity Catalog's own API: catalogs, schemas, tables, functions, volumes, tags and permissions."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from tests.standin.metastore import Column, Function, Metastore, TableInfo
from tests.standin.type_names import service_type, type_json
from tests.standin.wire import ApiError, Request, Route, missing

_API = "/api/2.1/unity-catalog"
_CREATED_AT = 1_700_000_000_000


class UnityCatalog:
    """Answers from the metastore."""

    def __init__(self, metastore: Metastore) -> None:
        """Take what is known."""
        self._known = metastore

    def routes(self) -> list[Route]:
        """Return what it answers."""
        routes = [
            Route("GET", f"{_API}/catalogs", self._list_catalogs),
            Route("POST", f"{_API}/catalogs", self._create_catalog),
            Route("GET", f"{_API}/catalogs/{{name}}", self._get_catalog),
            Route("GET", f"{_API}/schemas", self._list_schemas),
            Route("POST", f"{_API}/schemas", self._create_schema),
            Route("GET", f"{_API}/schemas/{{name}}", self._get_schema),
            Route("GET", f"{_API}/tables", self._list_tables),
            Route("GET", f"{_API}/tables/{{name}}", self._get_table),
            Route("GET", f"{_API}/tables/{{name}}/exists", self._table_exists),
            Route("GET", f"{_API}/volumes", self._list_volumes),
            Route("POST", f"{_API}/volumes", self._create_volume),
            Route("GET", f"{_API}/volumes/{{name}}", self._get_volume),
        ]
        # Some clients still call the older version of these.
        for api in (_API, "/api/2.0/unity-catalog"):
            routes += [
                Route("GET", f"{api}/functions", self._list_functions),
                Route("GET", f"{api}/functions/{{name}}", self._get_function),
                Route("DELETE", f"{api}/functions/{{name}}", self._delete_function),
            ]
        return routes

    def _list_catalogs(self, _: Request) -> dict[str, Any]:
        return {"catalogs": [{"name": name, "full_name": name} for name in sorted(self._known.catalogs)]}

    def _create_catalog(self, request: Request) -> dict[str, Any]:
        name = request.argument("name")
        if name in self._known.catalogs:
            raise ApiError(409, "CATALOG_ALREADY_EXISTS", f"Catalog '{name}' already exists")
        self._known.catalogs.add(name)
        return {"name": name, "full_name": name}

    def _get_catalog(self, _: Request, name: str) -> dict[str, Any]:
        if name not in self._known.catalogs:
            raise missing(f"Catalog '{name}'")
        return {"name": name, "full_name": name}

    def _list_schemas(self, request: Request) -> dict[str, Any]:
        catalog = request.argument("catalog_name")
        self._get_catalog(request, catalog)
        return {"schemas": [_schema_answer(f"{catalog}.{name}") for name in self._known.schemas(catalog)]}

    def _create_schema(self, request: Request) -> dict[str, Any]:
        catalog, schema = request.argument("catalog_name"), request.argument("name")
        self._get_catalog(request, catalog)
        if schema in self._known.schemas(catalog):
            raise ApiError(409, "SCHEMA_ALREADY_EXISTS", f"Schema '{catalog}.{schema}' already exists")
        self._known.own_schemas.add(f"{catalog}.{schema}")
        return _schema_answer(f"{catalog}.{schema}")

    def _get_schema(self, _: Request, name: str) -> dict[str, Any]:
        catalog, _dot, schema = name.partition(".")
        if schema not in self._known.schemas(catalog):
            raise missing(f"Schema '{name}'")
        return _schema_answer(name)

    def _list_tables(self, request: Request) -> dict[str, Any]:
        catalog, schema = request.argument("catalog_name"), request.argument("schema_name")
        names = [f"{catalog}.{schema}.{name}" for name in self._known.provider.list(catalog, schema)]
        found = [(name, self._known.table(name)) for name in names]
        return {"tables": [self.table_answer(name, info) for name, info in found if info is not None]}

    def _get_table(self, _: Request, name: str) -> dict[str, Any]:
        info = self._known.table(name)
        if info is None:
            raise missing(f"Table '{name}'")
        return self.table_answer(name, info)

    def _table_exists(self, _: Request, name: str) -> dict[str, Any]:
        return {"table_exists": self._known.table(name) is not None}

    def table_answer(self, full_name: str, info: TableInfo) -> dict[str, Any]:
        """Return the description of a table that was just looked at."""
        catalog, schema, name = full_name.split(".")
        view = info.table_type == "VIEW"
        answer: dict[str, Any] = {
            "full_name": full_name,
            "catalog_name": catalog,
            "schema_name": schema,
            "name": name,
            "securable_type": "TABLE",
            "securable_kind": "TABLE_VIEW" if view else "TABLE_DELTA",
            "table_type": info.table_type,
            "table_id": self._known.table_id(full_name),
            "created_at": _CREATED_AT,
            "columns": [_column_answer(column, position) for position, column in enumerate(info.columns)],
        }
        if not view:
            answer["data_source_format"] = "DELTA"
        if info.properties:
            answer["properties"] = dict(info.properties)
        if info.comment:
            answer["comment"] = info.comment
        if key := self._known.key_of(full_name):
            constraint: dict[str, Any] = {"name": key.name, "child_columns": list(key.columns)}
            if key.timeseries:
                constraint["timeseries_columns"] = [key.timeseries]
            answer["table_constraints"] = [{"primary_key_constraint": constraint}]
        return answer

    def _list_volumes(self, request: Request) -> dict[str, Any]:
        start = f"{request.argument('catalog_name')}.{request.argument('schema_name')}."
        return {"volumes": [_volume_answer(name) for name in sorted(self._known.volumes) if name.startswith(start)]}

    def _create_volume(self, request: Request) -> dict[str, Any]:
        name = ".".join(request.argument(part) for part in ("catalog_name", "schema_name", "name"))
        if name in self._known.volumes:
            raise ApiError(409, "ALREADY_EXISTS", f"Volume '{name}' already exists")
        self._known.volumes.add(name)
        return _volume_answer(name)

    def _get_volume(self, _: Request, name: str) -> dict[str, Any]:
        if name not in self._known.volumes:
            raise missing(f"Volume '{name}'")
        return _volume_answer(name)

    def _list_functions(self, request: Request) -> dict[str, Any]:
        start = f"{request.argument('catalog_name')}.{request.argument('schema_name')}."
        functions = [f for name, f in self._known.functions.items() if name.startswith(start)]
        return {"functions": [_function_answer(function) for function in functions]}

    def _function(self, name: str) -> Function:
        if name.lower() not in self._known.functions:
            raise missing(f"Routine or Model '{name}'")
        return self._known.functions[name.lower()]

    def _get_function(self, _: Request, name: str) -> dict[str, Any]:
        answer, needs = _function_answer(self._function(name)), self._known.requirements.get(name.lower())
        # As JSON in JSON: what a feature spec's functions need.
        return answer | ({"properties": json.dumps({"environment.dependencies": json.dumps(needs)})} if needs else {})

    def _delete_function(self, _: Request, name: str) -> dict[str, Any]:
        del self._known.functions[self._function(name).name]
        return {}


def _schema_answer(full_name: str) -> dict[str, Any]:
    catalog, _, name = full_name.partition(".")
    return {
        "full_name": full_name,
        "catalog_name": catalog,
        "name": name,
        "schema_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"schema {full_name}")),
    }


def _volume_answer(full_name: str) -> dict[str, Any]:
    catalog, schema, name = full_name.split(".")
    return {
        "full_name": full_name,
        "catalog_name": catalog,
        "schema_name": schema,
        "name": name,
        "volume_type": "MANAGED",
        "volume_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"volume {full_name}")),
    }


def _column_answer(column: Column, position: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "name": column.name,
        "type_text": column.type_text,
        "type_name": _catalog_type(column.type_text),
        "type_json": type_json(column.type_text),
        "position": position,
        "nullable": column.nullable,
    }
    return answer | ({"comment": column.comment} if column.comment else {})


def _function_answer(function: Function) -> dict[str, Any]:
    catalog, schema, name = function.name.split(".")
    parameters = [
        {"name": parameter, "type_text": kind, "type_name": _catalog_type(kind), "position": position}
        for position, (parameter, kind) in enumerate(function.parameters)
    ]
    return {
        "full_name": function.name,
        "catalog_name": catalog,
        "schema_name": schema,
        "name": name,
        "securable_kind": "FUNCTION_STANDARD",
        "external_language": "Python",
        "routine_body": "EXTERNAL",
        "routine_definition": function.source,
        "data_type": _catalog_type(function.returns),
        "full_data_type": function.returns,
        "comment": function.comment,
        "input_params": {"parameters": parameters},
    }


def _catalog_type(name: str) -> str:
    """Return the catalog's name of a type: those of the feature service, but INT."""
    return re.sub("^INTEGER$", "INT", service_type(name))
