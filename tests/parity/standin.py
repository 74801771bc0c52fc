"""A loopback HTTP server that answers the REST calls which the real client makes.

It holds no behaviour of its own: tables and functions come from the case at hand, the feature spec from the client
library's own builder. A call that it does not know is answered with 404 and remembered in `unexpected`.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.parity.spec_service import generate_yaml

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tests.parity.catalog import Catalog

_SERVICE = "/api/2.0/feature-store"
_CATALOG = "/api/2.1/unity-catalog"


class StandIn:
    """The server, as a context manager. Set `catalog` before each case."""

    def __init__(self) -> None:
        """Bind to a free port of the loopback interface."""
        self.catalog: Catalog | None = None
        self.unexpected: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="databricks stand-in", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, target: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one call.

        Args:
            method: GET or POST.
            target: The path with its query.
            body: The JSON sent along; empty for GET.

        Returns:
            The HTTP status and the JSON to send.
        """
        url = urlsplit(target)
        path, catalog = unquote(url.path), self.catalog
        if path == "/.well-known/databricks-config":
            return 200, {}
        if catalog is not None:
            if (method, path) == ("GET", f"{_SERVICE}/features/get"):
                features = catalog.features(parse_qs(url.query)["feature_table"][0])
                return _found({"features": features} if features is not None else None)
            if (method, path) == ("POST", f"{_SERVICE}/feature-tables/get-online-stores"):
                tables = body.get("feature_tables", [])
                return 200, {"feature_table_online_stores": [{"feature_table": table} for table in tables]}
            if (method, path) == ("POST", f"{_SERVICE}/feature-spec/generate-yaml"):
                return _generated(body, catalog)
            if method == "GET" and path.startswith(f"{_CATALOG}/tables/"):
                return _found(catalog.table(path.rpartition("/")[2]))
            if method == "GET" and path.startswith(f"{_CATALOG}/functions/"):
                return _found(catalog.function(path.rpartition("/")[2]))
        self.unexpected.append(f"{method} {target}")
        return _error(404, "ENDPOINT_NOT_FOUND", f"The stand-in does not know {method} {path}.")


def _generated(body: dict[str, Any], catalog: Catalog) -> tuple[int, dict[str, Any]]:
    try:
        return 200, {"feature_spec_yaml": generate_yaml(body, catalog)}
    except ValueError as error:
        return _error(400, "INVALID_PARAMETER_VALUE", str(error))


def _found(answer: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
    return (200, answer) if answer is not None else _error(404, "RESOURCE_DOES_NOT_EXIST", "It does not exist.")


def _error(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error_code": code, "message": message}


def _handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Small answers in one segment each, at once: otherwise Nagle and delayed ACK cost 40 ms a call.
        disable_nagle_algorithm = True
        wbufsize = -1

        def _serve(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = standin.answer(self.command, self.path, json.loads(text) if text else {})
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 - the names are the base class's

        def log_message(self, *_: object) -> None:
            """Say nothing: a test's output is for its result."""

    return Handler
