"""The data quality API: monitors of tables, one a table."""

from __future__ import annotations

from typing import Any

from tests.standin.metastore import Metastore
from tests.standin.wire import ApiError, Request, Route, missing

_API = "/api/data-quality/v1/monitors"


class DataQuality:
    """Monitors.

    Attributes:
        monitors: By kind and id of their object.
    """

    def __init__(self, metastore: Metastore) -> None:
        """Take the tables."""
        self._metastore = metastore
        self.monitors: dict[tuple[str, str], dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return what it answers."""
        return [
            Route("POST", _API, self._create),
            Route("GET", f"{_API}/{{kind}}/{{object_id}}", self._get),
            Route("PATCH", f"{_API}/{{kind}}/{{object_id}}", self._update),
            Route("DELETE", f"{_API}/{{kind}}/{{object_id}}", self._delete),
            Route("POST", f"{_API}/{{kind}}/{{object_id}}/refreshes", self._refresh),
        ]

    def _create(self, request: Request) -> dict[str, Any]:
        key = (request.argument("object_type"), request.argument("object_id"))
        self._check_object(*key)
        if key in self.monitors:
            raise ApiError(409, "ALREADY_EXISTS", f"A monitor of {key[0]} {key[1]} already exists.")
        monitor = dict(request.body)
        config = dict(monitor.get("data_profiling_config", {}))
        config["status"] = "DATA_PROFILING_STATUS_PENDING"
        self.monitors[key] = monitor | {"data_profiling_config": config}
        answer = dict(self.monitors[key])
        # It is made in the background: the next look finds it active.
        self.monitors[key] = answer | {"data_profiling_config": config | {"status": "DATA_PROFILING_STATUS_ACTIVE"}}
        return answer

    def _get(self, _: Request, kind: str, object_id: str) -> dict[str, Any]:
        if (kind, object_id) not in self.monitors:
            raise missing(f"A monitor of {kind} {object_id}")
        return self.monitors[kind, object_id]

    def _update(self, request: Request, kind: str, object_id: str) -> dict[str, Any]:
        self.monitors[kind, object_id] = {**self._get(request, kind, object_id), **request.body}
        return self.monitors[kind, object_id]

    def _delete(self, request: Request, kind: str, object_id: str) -> dict[str, Any]:
        self._get(request, kind, object_id)
        del self.monitors[kind, object_id]
        return {}

    def _refresh(self, request: Request, kind: str, object_id: str) -> dict[str, Any]:
        self._get(request, kind, object_id)
        return {"object_type": kind, "object_id": object_id, "refresh_id": 1, "state": "MONITOR_REFRESH_STATE_PENDING"}

    def _check_object(self, kind: str, object_id: str) -> None:
        if kind == "table" and not self._metastore.has_table_id(object_id):
            raise missing(f"Table with id {object_id}")
