"""The local workspace: everything under one folder, private to the user, surviving restarts."""

from __future__ import annotations

import getpass
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.errors import MissingDependencyError
from mlplatform.protocols.operations import Upload
from mlplatform.workspace.local import database_copy, home
from mlplatform.workspace.local.access import LocalAccess
from mlplatform.workspace.local.functions import LocalFunctions
from mlplatform.workspace.local.jobs import LocalJobs
from mlplatform.workspace.local.locks import file_lock
from mlplatform.workspace.local.monitors import LocalMonitors
from mlplatform.workspace.local.registry import LocalRegistry
from mlplatform.workspace.local.secrets import LocalSecrets
from mlplatform.workspace.local.whole_file import is_running
from mlplatform.workspace.shared.workspace import SharedWorkspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlplatform.workspace.local.feature_client import LocalFeatureClient
    from mlplatform.workspace.local.frames import LocalFrames
    from mlplatform.workspace.local.maintenance import LocalMaintenance
    from mlplatform.workspace.local.session import SailServer
    from mlplatform.workspace.local.tables import LocalTables

LOG = logging.getLogger(__name__)
SPARK_SETTING = "MLPLATFORM_SPARK"


class LocalWorkspace(SharedWorkspace):
    """A workspace on this machine; see `mlplatform.protocols.workspace.Workspace`.

    Parts are created when first used, so that a command that only reads tables starts no engine.
    """

    home = "local"

    def __init__(
        self,
        root: Path,
        env: str,
        prefix: str = "",
        spark: SparkSession | None = None,
        *,
        catalog: str | None = None,
        read_only: bool = False,
    ) -> None:
        """Use `LocalWorkspace.open` instead: it makes the folder first."""
        super().__init__(env, catalog, prefix)
        self.root = root
        self.read_only = read_only
        self._given = spark
        self._apart: Path | None = None
        # A process may have several workspaces open in one folder: one that is closed leaves the others theirs.
        self._scratch = uuid.uuid4().hex[:12]
        self._server: SailServer | None = None
        self._session: SparkSession | None = None

    @classmethod
    def open(
        cls,
        *,
        env: str = "dev",
        catalog: str | None = None,
        root: str | Path | None = None,
        prefix: str = "",
        spark: SparkSession | None = None,
        read_only: bool = False,
    ) -> LocalWorkspace:
        """Open the workspace in a folder, which is created (mode 0700) if it does not exist.

        Args:
            env: The environment.
            catalog: First level of every name; default: by the first use case that is opened.
            root: The folder; default: the setting `MLPLATFORM_HOME`, else `.mlplatform`.
            prefix: Put before the names of schemas and models.
            spark: A session to work with, never stopped; default: one of its own.
            read_only: Nothing is written in the folder, which may be on a disk that cannot be written to, or not
                exist: temporary files, and the engine's messages, go where the system keeps temporary files.

        Raises:
            ConfigError: If the folder's path holds characters that the engines cannot read, a file is in its place, or
                it may not be read or written to.
        """
        # OpenMP threads that spin while they wait take the cores from Sail and DuckDB, and from each other: a fit of
        # half a second took half a minute. Read when scikit-learn is first imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        folder = home.workspace_root(root)
        home.check_path(folder)
        if read_only:
            home.check_readable(folder)
        else:
            home.make(folder)
            _sweep(folder / "tmp")
        return cls(folder, env, prefix, spark, catalog=catalog, read_only=read_only)

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.root)

    @property
    def auto_loader(self) -> None:
        """None: files are read where they lie."""
        return None

    @cached_property
    def tables(self) -> LocalTables:
        """Delta tables on disk."""
        try:
            from mlplatform.workspace.local.tables import LocalTables
        except ImportError as error:
            raise MissingDependencyError(
                f"A package of the local workspace is not installed ({error}).", hint="pip install 'mlplatform[local]'"
            ) from error
        return LocalTables(self.root / "tables", self.scratch, lambda: self.spark, read_only=self.read_only)

    @property
    def frames(self) -> LocalFrames:
        """DuckDB over the tables' files."""
        return self.tables.frames

    @cached_property
    def maintenance(self) -> LocalMaintenance:
        """Compaction and retention, by delta-rs."""
        from mlplatform.workspace.local.maintenance import LocalMaintenance

        return LocalMaintenance(self.tables)

    @cached_property
    def registry(self) -> LocalRegistry:
        """MLflow on SQLite."""
        root = self.root / "mlflow"
        if not self.read_only:
            return LocalRegistry(root)
        database_copy.make(root / "mlflow.db", self.scratch / "mlflow" / "mlflow.db")
        return LocalRegistry(self.scratch / "mlflow", files=root / "artifacts")

    @cached_property
    def functions(self) -> LocalFunctions:
        """Registered Python functions."""
        return LocalFunctions(self.root / "functions.json", read_only=self.read_only)

    @cached_property
    def secrets(self) -> LocalSecrets:
        """Environment variables and `.env`."""
        return LocalSecrets(Path.cwd() / ".env")

    @cached_property
    def jobs(self) -> LocalJobs:
        """Functions of this process, run once per token."""
        return LocalJobs(self.root)

    @cached_property
    def monitors(self) -> LocalMonitors:
        """No data profiling here: the platform's own metrics tables are all there is."""
        return LocalMonitors()

    @cached_property
    def access(self) -> LocalAccess:
        """No access control here: grants are checked only."""
        return LocalAccess()

    @cached_property
    def fe(self) -> LocalFeatureClient:
        """The embedded feature client."""
        from mlplatform.workspace.local.feature_client import LocalFeatureClient

        return LocalFeatureClient(
            tables=self.tables,
            registry=self.registry,
            functions=self.functions,
            specs=self.root / "feature_specs",
            scratch=lambda: self.scratch,
            spark=lambda: self.spark,
            prefix=self.prefix,
        )

    @property
    def spark(self) -> SparkSession:
        """The session given; else Sail in a child process, or what the setting `MLPLATFORM_SPARK` names (`sc://...`)."""
        if self._given is not None:
            return self._given
        if self._server is not None and not self._server.running:
            LOG.warning("The local Spark engine died; it is started again. Its messages: %s", self._logs)
            self._stop_engine()
        if self._session is None:
            from mlplatform.workspace.local.session import SailServer, connect

            url = os.environ.get(SPARK_SETTING)
            if not url:
                self._server = SailServer(self._logs / "sail.log", self.scratch)
                url = self._server.url
            self._session = connect(url, self._server)
        return self._session

    @property
    def scratch(self) -> Path:
        """A folder of this workspace in this process for temporary files; removed on close."""
        folder = self._temporary
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def _temporary(self) -> Path:
        if not self.read_only:
            return self.root / "tmp" / str(os.getpid()) / self._scratch
        if self._apart is None:
            self._apart = Path(tempfile.mkdtemp(prefix="mlplatform-")).resolve()
        return self._apart

    @property
    def _logs(self) -> Path:
        return (self.scratch if self.read_only else self.root) / "logs"

    @property
    def user(self) -> str:
        """The operating system's user."""
        try:
            return getpass.getuser()
        except (OSError, KeyError):
            return "unknown"  # a container may run as a number that has no name

    def joblib_backend(self) -> None:
        """Return None: there is no cluster."""

    def landing(self, use_case: str) -> None:
        """Return None: files land in the use case's own folder."""
        del use_case

    def upload(self, folder: Path, files: Sequence[Path], landing: Path, *, overwrite: bool = False) -> Upload:
        """Copy nothing: files land in the use case's own folder, and are read where they lie."""
        del folder, overwrite
        return Upload(landing.as_posix(), uploaded=0, skipped=len(files), size=0)

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Let one process at a time do what `name` says."""
        # Who only reads waits for nobody, and keeps nobody waiting.
        return file_lock((self.scratch if self.read_only else self.root) / ".locks", name)

    def turn(self, name: str) -> AbstractContextManager[None]:
        """Let one process at a time be at a long work."""
        return self.lock(name)

    def files(self, name: str) -> Path:
        """Return a folder for files that are no tables."""
        folder = self.root / name
        if not self.read_only:
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def renew_engine(self) -> None:
        """Stop Sail; the next who needs it starts it. It keeps some megabytes of each step (seen with Sail 0.7.2)."""
        self._stop_engine()

    def close(self) -> None:
        """Stop the engine, and remove this workspace's temporary files."""
        try:
            if "tables" in self.__dict__:
                self.tables.frames.close()
            self._stop_engine()
        finally:  # also when Ctrl-C comes again
            if not self.read_only:
                shutil.rmtree(self._temporary, ignore_errors=True)
                with suppress(OSError):
                    self._temporary.parent.rmdir()  # unless another workspace has something there
            elif self._apart is not None:
                apart, self._apart = self._apart, None
                shutil.rmtree(apart, ignore_errors=True)

    def _stop_engine(self) -> None:
        try:
            if self._session is not None:
                from mlplatform.workspace.local.session import disconnect

                disconnect(self._session, answering=self._server is None or self._server.running)
            elif self._server is not None:
                from mlplatform.workspace.local.session import abandon

                abandon(self._server.url)
        except BaseException:
            # Ctrl-C while the session says farewell: left open, it would say it to a dead server when the process ends.
            if self._session is not None:
                from mlplatform.workspace.local.session import disconnect

                disconnect(self._session, answering=False)
            raise
        finally:
            server, self._session, self._server = self._server, None, None
            if server is not None:
                server.stop()


def _sweep(scratch: Path) -> None:
    """Remove the temporary files of processes that were killed before they could."""
    for folder in scratch.iterdir() if scratch.is_dir() else ():
        if not folder.name.isdigit():
            continue
        # Where somebody else's process has the number now, the folder is swept when it ends.
        if not is_running(int(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)
