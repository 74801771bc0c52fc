"""The stand-in: an HTTP server on the loopback interface which answers as a Databricks workspace would.

Each API is a module of its own. A call that none of them knows is answered with 404 and remembered in `unexpected`.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from tests.standin.calls import Call, Calls, without_secrets
from tests.standin.data_quality import DataQuality
from tests.standin.faults import Fault, Faults
from tests.standin.feature_store import FeatureStore
from tests.standin.files import Files
from tests.standin.folders import Folders
from tests.standin.handler import handler
from tests.standin.identity import USER, Identity
from tests.standin.jobs import Jobs
from tests.standin.metastore import Metastore, TableProvider
from tests.standin.models import Models
from tests.standin.secret_scopes import SecretScopes
from tests.standin.securables import Securables
from tests.standin.tracking import Tracking
from tests.standin.unity_catalog import UnityCatalog
from tests.standin.wire import Answer, ApiError, Request, dispatch

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["USER", "StandIn"]


class StandIn:
    """The server, as a context manager.

    Attributes:
        token: The only token that it takes; made up.
        calls: What it was asked, in order.
        unexpected: What it had no answer to, as `METHOD path?query`.
        faults: What it does wrong.
        metastore: Tables, keys, tags, functions, grants.
        identity: Users, groups and service principals.
        models, tracking, files, secrets, jobs, data_quality: The other APIs, with what they hold.
    """

    def __init__(self, scratch: Path | None = None, tables: TableProvider | None = None) -> None:
        """Bind to a free port of the loopback interface.

        Args:
            scratch: A folder for files, artifacts and MLflow's database; without one a temporary folder.
            tables: Where the tables are; default: there are none.
        """
        self._temporary = scratch is None
        self.scratch = Path(tempfile.mkdtemp(prefix="standin-")) if scratch is None else scratch
        self.token = f"standin-{secrets.token_hex(16)}"
        self.calls = Calls()
        self.unexpected: list[str] = []
        self.faults = Faults()
        self.metastore = Metastore() if tables is None else Metastore(tables)
        self.files = Files(self.scratch / "files")
        self.models = Models(self.files)
        self.tracking = Tracking(self.scratch)
        self.folders = Folders()
        self.secrets = SecretScopes()
        self.jobs = Jobs(lambda: self.url)
        self.data_quality = DataQuality(self.metastore)
        self.identity = Identity()
        self.models.owns = self.identity.is_or_belongs_to
        apis = (
            self.identity,
            self.models,
            self.files,
            self.secrets,
            self.jobs,
            self.data_quality,
            UnityCatalog(self.metastore),
            Securables(self.metastore),
            self.folders,
            FeatureStore(self.metastore),
            self.tracking,
        )
        self._routes = [route for api in apis for route in api.routes()]
        # One call at a time: what the APIs hold needs no locks of its own.
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
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
        self.tracking.close()
        if self._temporary:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def answer(self, request: Request, authorization: str | None) -> Answer | None:
        """Answer one call, and record it.

        Args:
            request: The call.
            authorization: Its header `Authorization`.

        Returns:
            The answer, or None to drop the connection.
        """
        fault = self.faults.hitting(request)
        if fault is not None and fault.kind == "latency":
            time.sleep(fault.seconds)
        early = fault is not None and (fault.kind == "drop_before" or fault.answer is not None)
        answer = fault.answer if early and fault is not None else self._look_up(request, authorization)
        if fault is not None and fault.kind == "drop_after":
            answer = None
        self._record(request, answer, fault, authorized=authorization is not None, took_effect=not early)
        return answer

    def assert_token_not_in(self, text: str) -> None:
        """Fail if the token stands in a text.

        Raises:
            AssertionError: If it does; the message does not repeat it.
        """
        if self.token in text:
            place = text.index(self.token)
            before = text[max(0, place - 60) : place]
            msg = f"The token stands in the text, after {before!r}."
            raise AssertionError(msg)

    def _look_up(self, request: Request, authorization: str | None) -> Answer:
        if authorization != f"Bearer {self.token}" and not request.path.startswith("/.well-known/"):
            return ApiError(401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type.").answer
        with self._lock:
            answer = dispatch(self._routes, request)
        if answer is None:
            self.unexpected.append(f"{request.method} {request.target}")
            return ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.path}'").answer
        return answer

    def _record(
        self, request: Request, answer: Answer | None, fault: Fault | None, *, authorized: bool, took_effect: bool
    ) -> None:
        self.calls.add(
            Call(
                method=request.method,
                path=request.path,
                query=request.query,
                body=without_secrets(request.body),
                size=len(request.content),
                authorized=authorized,
                status=None if answer is None else answer.status,
                fault=None if fault is None else fault.kind,
                took_effect=took_effect,
            )
        )
