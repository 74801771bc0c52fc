"""MLflow tracking: MLflow's own server code, over a SQLite database and a folder of the stand-in."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.standin.wire import Answer, Request, Route

if TYPE_CHECKING:
    from flask import Flask

_API = "/api/2.0/mlflow"
# MLflow's server keeps its store in a global: one stand-in at a time may have its own there.
_ONE_AT_A_TIME = threading.Lock()


class Tracking:
    """Experiments, runs and logged models; made when first asked, since MLflow takes seconds to make a database."""

    def __init__(self, scratch: Path) -> None:
        """Take a folder for the database and the artifacts."""
        self._scratch = scratch
        self._app: Flask | None = None
        self._store: Any = None

    def routes(self) -> list[Route]:
        """Return what it answers: all that MLflow's own server knows of tracking."""
        pattern = f"{_API}/{{rest:path}}"
        return [Route(method, pattern, self._answer) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")]

    def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            self._store.engine.dispose()

    def _answer(self, request: Request, rest: str) -> Answer | None:
        from mlflow.server import handlers

        del rest
        if self._app is None:
            self._app, self._store = _make_app(), self._make_store()
        with _ONE_AT_A_TIME:
            before = handlers._tracking_store
            handlers._tracking_store = self._store
            try:
                response = self._app.test_client().open(
                    request.target,
                    method=request.method,
                    data=request.content or None,
                    content_type="application/json",
                )
            finally:
                handlers._tracking_store = before
        if response.status_code == 404 and response.mimetype != "application/json":
            return None
        return Answer(response.get_json(), response.status_code)

    def _make_store(self) -> Any:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        self._scratch.mkdir(parents=True, exist_ok=True)
        artifacts = self._scratch / "artifacts"
        return SqlAlchemyStore(f"sqlite:///{self._scratch / 'tracking.db'}", artifacts.as_uri())


def _make_app() -> Flask:
    from flask import Flask
    from mlflow.server import handlers

    app = Flask("stand-in tracking")
    for path, view, methods in handlers.get_endpoints():
        if path.startswith(f"{_API}/"):
            app.add_url_rule(path, f"{methods} {path}", view, methods=methods)
    return app
