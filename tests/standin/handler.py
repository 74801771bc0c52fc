"""HTTP itself: from the socket to the stand-in, and back."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.standin.wire import Answer, Request

if TYPE_CHECKING:
    from tests.standin.server import StandIn

_WORKSPACE_ID = "1"


def handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    """Return the handler of a stand-in's calls."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Small answers in one segment each, at once: otherwise Nagle and delayed ACK cost 40 ms a call.
        disable_nagle_algorithm = True
        wbufsize = -1

        def _serve(self) -> None:
            request = replace(
                _request(self.command, self.path, self._content(), self.headers.get("Content-Type") or ""),
                lineage=self.headers.get("X-Databricks-Lineage-Identifier") or "",
            )
            try:
                answer = standin.answer(request, self.headers.get("Authorization"))
            except Exception:  # noqa: BLE001 - a mistake in the stand-in: the client is told which
                answer = Answer({"error_code": "STAND_IN_BROKEN", "message": traceback.format_exc()}, 501)
                standin.unexpected.append(f"{self.command} {self.path}: {traceback.format_exc()}")
            if answer is None:
                self.close_connection = True
                return
            self._send(answer)

        def _content(self) -> bytes:
            if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send(self, answer: Answer) -> None:
            raw = isinstance(answer.body, bytes)
            payload = answer.body if isinstance(answer.body, bytes) else _json(answer.body)
            headers = {
                "Content-Type": "application/octet-stream" if raw else "application/json",
                "Content-Length": str(len(payload)),
                "x-databricks-org-id": _WORKSPACE_ID,
                **answer.headers,
            }
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(payload)

        do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            """Say nothing: a test's output is for its result."""

    return Handler


def _request(method: str, target: str, content: bytes, content_type: str) -> Request:
    url = urlsplit(target)
    return Request(
        method=method,
        path=unquote(url.path),
        query=dict(parse_qsl(url.query, keep_blank_values=True)),
        body=_body(content, content_type),
        content=content,
        target=target,
    )


def _body(content: bytes, content_type: str) -> dict[str, Any]:
    if not content or "json" not in content_type:
        return {}
    value = json.loads(content)
    return value if isinstance(value, dict) else {}


def _json(body: object) -> bytes:
    return b"" if body is None else json.dumps(body).encode()
