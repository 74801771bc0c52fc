"""A webhook's endpoint on this machine, which answers as it is told: well, with an error, late, or not at all."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LATE, RESET = "late", "reset"


@dataclass
class Hook:
    """The endpoint.

    Attributes:
        url: Where it listens.
        answers: What the next requests get: a status, `LATE` or `RESET`; afterwards 200.
        got: The bodies of all requests, also of those that were answered badly.
    """

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)

    def texts(self) -> list[str]:
        """Return the title of each request."""
        return [body["text"] for body in self.got]


@contextmanager
def listening(late_seconds: float = 1.0) -> Iterator[Hook]:
    """Serve a hook until the end of the block."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.got.append(body)
            answer = hook.answers.pop(0) if hook.answers else 200
            if answer == RESET:
                # No answer and no farewell: the client sees a connection reset.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            if answer == LATE:
                time.sleep(late_seconds)
                answer = 200
            try:
                self.send_response(int(answer))
                if 300 <= int(answer) < 400:
                    self.send_header("Location", hook.url + "elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                return  # the client did not wait

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                return  # reset on purpose

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    hook.url = f"http://127.0.0.1:{server.server_port}/secret-path/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
