import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from databricks.sdk import errors

from mlplatform.errors import RegistryError, UnavailableError
from mlplatform.workspace.databricks import connection
from tests.standin.server import USER, StandIn

TOKEN = "dapi" + "0123456789abcdef" * 2  # put together: nothing that looks like a token stands in this repository


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_", "GOOGLE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # No command line tools that might be logged in.
    monkeypatch.setattr(connection.random, "uniform", lambda *_: 0)


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]  # Bound, but nobody listens.


def assert_shows_no_token(error: BaseException | None) -> None:
    while error is not None:
        assert TOKEN not in f"{error}{error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_host_that_refuses_is_an_error_in_seconds_that_names_host_and_setting(monkeypatch, closed_port):
    monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{closed_port} \(from DATABRICKS_HOST\)") as caught:
        connection.connect()
    assert time.monotonic() - started < 10
    assert_shows_no_token(caught.value)


def test_a_host_that_never_answers_is_an_error_in_seconds(monkeypatch):
    monkeypatch.setattr(connection, "PREFLIGHT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"does not answer: .*timed out"):
            connection.connect()
    assert time.monotonic() - started < 10


def test_the_profile_that_names_the_host_is_named(monkeypatch, tmp_path, closed_port):
    path = tmp_path / "cfg"
    path.write_text(f"[team]\nhost = http://127.0.0.1:{closed_port}\ntoken = {TOKEN}\n", encoding="utf-8")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(path))
    monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "team")
    with pytest.raises(UnavailableError, match=r"from profile team of .*cfg") as caught:
        connection.connect()
    assert_shows_no_token(caught.value)


def test_without_any_setting_the_error_lists_what_was_searched():
    with pytest.raises(UnavailableError, match="No workspace is configured") as caught:
        connection.connect()
    assert "DATABRICKS_HOST" in caught.value.hint
    assert ".databrickscfg" in caught.value.hint


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_not_accepted_is_never_shown(monkeypatch, status):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path.startswith("/.well-known")
            body = b"{}" if known else b'{"error_code": "X", "message": "no %s"}' % TOKEN.encode()
            self.send_response(200 if known else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    try:
        with pytest.raises(UnavailableError, match="does not accept the credentials") as caught:
            connection.connect()
    finally:
        server.shutdown()
        server.server_close()
    assert_shows_no_token(caught.value)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errors.PermissionDenied("User lacks SELECT"), "User lacks SELECT"),
        (errors.NotFound("no such model"), "may this identity see it"),
        (errors.TooManyRequests("slow down"), "overloaded"),
        (TimeoutError("Timed out after 0:00:30"), "may or may not have taken effect"),
        (ConnectionResetError("gone"), "may or may not have taken effect"),
        (errors.BadRequest(f"Authorization: Bearer {TOKEN}"), r"Authorization: \*\*\*"),
    ],
)
def test_errors_of_the_sdk_become_ours_without_credentials(error, says):
    with pytest.raises(RegistryError, match=says) as caught, connection.translated("Reading the model", RegistryError):
        raise error
    assert caught.value.message.startswith("Reading the model: ")
    assert_shows_no_token(caught.value)


def test_errors_of_ours_and_of_the_code_pass_as_they_are():
    with pytest.raises(RegistryError, match=r"^mine$"), connection.translated("Doing", UnavailableError):
        raise RegistryError("mine")
    with pytest.raises(KeyError), connection.translated("Doing", RegistryError):
        raise KeyError("a fault of the code")


def test_what_passes_is_tried_again_and_what_does_not_is_not():
    answers = [errors.InternalError("500"), errors.TooManyRequests("429"), ConnectionResetError("gone"), "done"]
    asked = []

    def call():
        asked.append(1)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert connection.retrying(call) == "done"
    assert len(asked) == 4
    answers[:] = [errors.NotFound("404"), "never"]
    with pytest.raises(errors.NotFound):
        connection.retrying(call)
    answers[:] = [errors.InternalError("500")] * 9
    with pytest.raises(errors.InternalError):
        connection.retrying(call)
    assert len(answers) == 9 - connection.ATTEMPTS


def test_a_workspace_that_answers_knows_who_asks_and_a_wrong_token_is_said_so(monkeypatch, tmp_path):
    with StandIn(tmp_path) as server:
        monkeypatch.setenv("DATABRICKS_HOST", server.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", server.token)
        client = connection.connect()
        assert connection.user_name(client) == USER
        server.assert_token_not_in(f"{client!r} {client.config!r}")
        monkeypatch.setenv("DATABRICKS_TOKEN", "wrong-but-secret")
        with pytest.raises(UnavailableError, match="does not accept the credentials") as caught:
            connection.connect()
    assert "wrong-but-secret" not in str(caught.value)
