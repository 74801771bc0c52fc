"""What a workspace offers, wherever it runs. Stages and use cases know these protocols and no engine behind them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from mlplatform.protocols.feature_client import FeatureClient
from mlplatform.protocols.frames import Frames
from mlplatform.protocols.functions import Functions
from mlplatform.protocols.landing import AutoLoader
from mlplatform.protocols.maintenance import Maintenance
from mlplatform.protocols.operations import Access, Jobs, Monitors, Upload
from mlplatform.protocols.registry import Registry
from mlplatform.protocols.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@runtime_checkable
class Secrets(Protocol):
    """Secret values by scope and key; never logged, never part of a record."""

    def get(self, scope: str, key: str) -> str:
        """Return the secret's value.

        Raises:
            ConfigError: If it is set nowhere; the places searched are named, in order.
        """
        ...


@runtime_checkable
class Workspace(Protocol):
    """Where the platform runs: a laptop's folder or a Databricks workspace. Always passed in, never global.

    Attributes:
        home: `local` or `databricks`.
        env: The environment.
        catalog: First level of every name: what the workspace was told, else by the first use case that is opened in
            it, else the environment's name.
        prefix: Put before the names of schemas and models, as a bundle's development mode does; mostly empty.
    """

    home: str
    env: str
    catalog: str
    prefix: str

    def settle_catalog(self, use_case: str, catalog: str | None) -> None:
        """Take the catalog that a use case's settings name (None: none), unless the workspace was told one.

        Raises:
            ConfigError: If another use case that was opened is in another catalog.
        """
        ...

    @property
    def where(self) -> str:
        """Where it is, for messages: a folder, or which kind of workspace."""
        ...

    @property
    def spark(self) -> SparkSession:
        """The Spark session; started when first asked for."""
        ...

    @property
    def tables(self) -> Tables:
        """Delta tables."""
        ...

    @property
    def frames(self) -> Frames:
        """Frames: lazy relations of tables' rows."""
        ...

    @property
    def maintenance(self) -> Maintenance:
        """Compaction and retention of Delta tables."""
        ...

    @property
    def fe(self) -> FeatureClient:
        """The feature engineering client."""
        ...

    @property
    def registry(self) -> Registry:
        """Registered models."""
        ...

    @property
    def functions(self) -> Functions:
        """Registered Python functions."""
        ...

    @property
    def secrets(self) -> Secrets:
        """Secret values."""
        ...

    @property
    def jobs(self) -> Jobs:
        """Jobs that can be started."""
        ...

    @property
    def monitors(self) -> Monitors:
        """Data profiling on tables."""
        ...

    @property
    def access(self) -> Access:
        """Grants."""
        ...

    @property
    def auto_loader(self) -> AutoLoader | None:
        """Auto Loader, where there is one."""
        ...

    def joblib_backend(self) -> str | None:
        """Return the name of the joblib backend by which work is spread over a cluster; None: there is none."""
        ...

    def landing(self, use_case: str) -> Path | None:
        """Return the folder where a use case's files land when its setting is relative; None: its own folder."""
        ...

    def upload(self, folder: Path, files: Sequence[Path], landing: Path, *, overwrite: bool = False) -> Upload:
        """Copy files to where they land; where that is a use case's own folder, nothing is copied.

        Args:
            folder: A folder of this machine.
            files: Files in it; each lands at the same place below `landing`.
            landing: The folder where they land.
            overwrite: Also send files that exist with the same size.

        Raises:
            StageError: If the landing folder does not exist, or a file cannot be sent; files before it are.
            DeploymentError: If the workspace does not allow it.
        """
        ...

    @property
    def user(self) -> str:
        """Who works here, for the records."""
        ...

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that lets one process at a time do what `name` says, and waits for its turn."""
        ...

    def turn(self, name: str) -> AbstractContextManager[None]:
        """Return a context manager that lets one run at a time be at a long work, where nothing outside sees to that.

        On Databricks it is the job that runs once at a time: there it waits for nobody.
        """
        ...

    def files(self, name: str) -> Path:
        """Return a folder of this workspace for files that are no tables (reports, plots)."""
        ...

    def renew_engine(self) -> None:
        """Begin with a new engine where the workspace has one of its own; frames made before go with the old one.

        For processes that run for hundreds of steps: an engine keeps a little of each.
        """
        ...

    def close(self) -> None:
        """Stop what was started: the engine and its children."""
        ...

    def __enter__(self) -> Self:
        """Use as a context manager; closes at the end."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...
