"""The feature store service, as far as the feature engineering client asks it about tables of Unity Catalog."""

from __future__ import annotations

from typing import Any

from tests.standin.identity import USER
from tests.standin.metastore import Metastore
from tests.standin.type_names import is_nested, service_type, type_json
from tests.standin.wire import ApiError, Request, Route, invalid, missing

_API = "/api/2.0/feature-store"


class FeatureStore:
    """Answers from the metastore; it keeps nothing of its own."""

    def __init__(self, metastore: Metastore) -> None:
        """Take the tables."""
        self._known = metastore

    def routes(self) -> list[Route]:
        """Return what it answers."""
        tables = f"{_API}/feature-tables"
        return [
            Route("GET", f"{_API}/features/get", self._features),
            Route("POST", f"{tables}/get-online-stores", self._online_stores),
            Route("POST", f"{tables}/create", self._create_table),
            Route("POST", f"{tables}/add-data-sources", self._nothing),
            Route("POST", f"{tables}/add-producer", self._nothing),
            Route("DELETE", f"{tables}/delete", self._nothing),
            Route("POST", f"{_API}/features/create", self._nothing),
            Route("POST", f"{_API}/features/add-consumer", self._nothing),
            Route("POST", f"{_API}/log-client-event", self._nothing),
            Route("POST", f"{_API}/feature-spec/generate-yaml", self._generate),
            Route("POST", f"{_API}/feature-spec/create", self._create_spec),
            Route("DELETE", f"{_API}/feature-spec/{{name}}", self._delete_spec),
        ]

    def features(self, table: str) -> list[dict[str, Any]] | None:
        """Return every column of a table, in alphabetical order, as the service's documentation says; None if none."""
        info = self._known.table(table)
        if info is None:
            return None
        columns = sorted(info.columns, key=lambda column: column.name)
        return [_feature(table, column.name, column.type_text) for column in columns]

    def _features(self, request: Request) -> dict[str, Any]:
        name = request.argument("feature_table")
        features = self.features(name)
        if features is None:
            raise missing(f"Feature table '{name}'")
        return {"features": features}

    def _online_stores(self, request: Request) -> dict[str, Any]:
        tables = request.body.get("feature_tables", [])
        return {"feature_table_online_stores": [{"feature_table": table} for table in tables]}

    def _create_table(self, request: Request) -> dict[str, Any]:
        name = request.argument("name")
        if self._known.table(name) is None:
            raise missing(f"Table '{name}'")
        kept = {key: request.body[key] for key in ("name", "primary_keys", "timestamp_keys") if key in request.body}
        return {"feature_table": {**kept, "id": self._known.table_id(name)}}

    def _generate(self, request: Request) -> dict[str, Any]:
        # Not at the top: it needs the client's package, which need not be installed where the rest is used.
        from tests.standin.spec_service import generate_yaml

        try:
            return {"feature_spec_yaml": generate_yaml(request.body, self._known, self.features)}
        except ValueError as error:
            raise invalid(str(error)) from error

    def _create_spec(self, request: Request) -> dict[str, Any]:
        from tests.standin.spec_service import generate_yaml, needed_columns

        name = request.argument("name")
        if name.lower() in self._known.functions:
            raise ApiError(409, "RESOURCE_ALREADY_EXISTS", f"Function '{name}' already exists.")
        asked = {**request.body, "input_columns": needed_columns(request.body)}
        try:
            text = generate_yaml(asked, self._known, self.features)
        except ValueError as error:
            raise invalid(str(error)) from error
        needs = request.body.get("extra_pip_requirements", {}).get("requirements", [])
        self._known.add_function(name, [], "string", text)
        self._known.requirements[name.lower()] = list(needs)
        return {"feature_spec_info": {"name": name, "creator": USER, "creation_timestamp": 0}}

    def _delete_spec(self, _: Request, name: str) -> dict[str, Any]:
        if self._known.functions.pop(name.lower(), None) is None:
            raise missing(f"Function '{name}'")
        self._known.requirements.pop(name.lower(), None)
        return {}

    def _nothing(self, _: Request) -> dict[str, Any]:
        return {}


def _feature(table: str, name: str, type_text: str) -> dict[str, Any]:
    answer = {"table": table, "id": f"{table}.{name}", "name": name, "data_type": service_type(type_text)}
    if is_nested(answer["data_type"]):
        answer["data_type_details"] = type_json(type_text)
    return answer
