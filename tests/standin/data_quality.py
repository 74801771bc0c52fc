"""The data quality API: monitors of tables, one a table."""

from __future__ import annotations

from typing import Any

from tests.standin.metastore import Metastore
from tests.standin.wire import ApiError, Request, Route, invalid, missing

_API = "/api/data-quality/v1/monitors"


class DataQuality:
    """Monitors.

    Attributes:
        monitors: By kind and id of their object.
        refreshes: What was refreshed, in order, as kind and id.
        off: Whether an administrator switched data profiling off.
    """

    def __init__(self, metastore: Metastore) -> None:
        """Take the tables."""
        self._metastore = metastore
        self.monitors: dict[tuple[str, str], dict[str, Any]] = {}
        self.refreshes: list[tuple[str, str]] = []
        self.off = False

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
        self._check_config(request.body.get("data_profiling_config", {}))
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
        """Change what the mask names, and nothing else; what it names and the body leaves out is taken away."""
        stands = self._get(request, kind, object_id)
        config, given = dict(stands["data_profiling_config"]), request.body.get("data_profiling_config", {})
        self._check_config(given)
        for field in request.argument("update_mask").split(","):
            whole, found, part = field.partition(".")
            if whole != "data_profiling_config" or not found or "." in part:
                raise invalid(f"Unsupported field in update_mask: {field}")
            config.pop(part, None)
            config |= {part: given[part]} if part in given else {}
        self.monitors[kind, object_id] = stands | {"data_profiling_config": config}
        return self.monitors[kind, object_id]

    def _delete(self, request: Request, kind: str, object_id: str) -> dict[str, Any]:
        self._get(request, kind, object_id)
        del self.monitors[kind, object_id]
        return {}

    def _refresh(self, request: Request, kind: str, object_id: str) -> dict[str, Any]:
        self._get(request, kind, object_id)
        self.refreshes.append((kind, object_id))
        return {"object_type": kind, "object_id": object_id, "refresh_id": 1, "state": "MONITOR_REFRESH_STATE_PENDING"}

    def _check_config(self, config: dict[str, Any]) -> None:
        if self.off:
            raise ApiError(400, "FEATURE_DISABLED", "Data profiling is not enabled for this workspace.")
        baseline = config.get("baseline_table_name")
        if baseline is not None and self._metastore.table(baseline) is None:
            raise missing(f"Table '{baseline}'")
        schedule = config.get("schedule")
        if schedule is not None and not (schedule.get("quartz_cron_expression") and schedule.get("timezone_id")):
            raise invalid("A schedule needs quartz_cron_expression and timezone_id.")

    def _check_object(self, kind: str, object_id: str) -> None:
        if kind == "table" and not self._metastore.has_table_id(object_id):
            raise missing(f"Table with id {object_id}")
