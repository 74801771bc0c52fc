"""What a workspace offers, wherever it runs. Stages and use cases know these protocols and no engine behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.naming import ObjectName
    from mlplatform.workspace.feature_protocols import FeatureClient
    from mlplatform.workspace.landing_protocols import AutoLoader
    from mlplatform.workspace.model_page import TableRead
    from mlplatform.workspace.operation_protocols import Access, Jobs, Monitors, Upload

Filter = tuple[str, str, Any]
"""One condition on a column, as in pyarrow's `filters`: (column, operator, value), joined by "and"."""


@dataclass(frozen=True)
class TableInfo:
    """What is known about a table.

    Attributes:
        name: Its three-level name.
        version: The newest Delta version.
        schema: Columns, types and nullability.
        primary_keys: Key columns in order, the timeseries column included; empty for a table without keys.
        timeseries_column: The column that says when a row was known, or None.
        description: The table's comment.
        tags: Free key-value tags.
        id: Delta's id of the table: another one when it is dropped and made again under its name.
        created_at: When the table with this id was made, by the clock of whoever made it; None where it is not known.
    """

    name: str
    version: int
    schema: pa.Schema
    primary_keys: tuple[str, ...] = ()
    timeseries_column: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    created_at: datetime | None = None

    @property
    def features(self) -> list[str]:
        """The columns that are no keys, in the table's order."""
        return [name for name in self.schema.names if name not in self.primary_keys]


@dataclass(frozen=True)
class WriteResult:
    """What a write did.

    Attributes:
        version: The table's Delta version after the write.
        rows: Rows written; of a merge, those inserted or changed. 0 when everything had been written before.
        skipped: True when the write's transactions had all been committed already, and nothing was done.
    """

    version: int
    rows: int
    skipped: bool = False


@dataclass(frozen=True)
class Transaction:
    """Makes an append happen exactly once: a table takes each (application id, version) only once, in rising order."""

    app_id: str
    version: int = 1


@runtime_checkable
class Tables(Protocol):
    """Delta tables by three-level name. Frames may be a Spark DataFrame, a `pyarrow.Table` or a pandas frame."""

    def exists(self, name: ObjectName | str) -> bool:
        """Tell whether the table exists."""
        ...

    def list(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of the tables of a schema, sorted; empty when the schema does not exist."""
        ...

    def create(
        self,
        name: ObjectName | str,
        schema: pa.Schema,
        *,
        primary_keys: Sequence[str] = (),
        timeseries_column: str | None = None,
        description: str = "",
    ) -> TableInfo:
        """Create an empty table; the same declaration again returns the table that is there.

        Raises:
            TableError: If a table of that name exists with another declaration.
        """
        ...

    def describe(self, name: ObjectName | str) -> TableInfo:
        """Return what is known about the table.

        Raises:
            TableError: If it does not exist; near names are given.
        """
        ...

    def version(self, name: ObjectName | str) -> int:
        """Return the newest Delta version."""
        ...

    def replaced_since(self, name: ObjectName | str, version: int) -> bool:
        """Tell whether a table holds other rows than it held at a version and what was written to it after.

        So it is when it was restored, cloned over, replaced or emptied as a whole since, or when that version is not
        reached: an older copy lies in its place.

        Args:
            name: The table.
            version: A Delta version of it, as a run recorded it.
        """
        ...

    def read(self, name: ObjectName | str, *, version: int | None = None) -> DataFrame:
        """Return the table at a version (default: pinned at the newest one now) as a Spark DataFrame."""
        ...

    def to_arrow(
        self,
        name: ObjectName | str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
    ) -> pa.Table:
        """Return the table at a version as Arrow, with only the columns and rows asked for."""
        ...

    def largest(self, name: ObjectName | str, column: str, *, filters: Sequence[Filter] = ()) -> Any:
        """Return the largest value of a column among the rows asked for; None without any.

        Raises:
            TableError: If the table or the column does not exist.
        """
        ...

    def create_latest_view(
        self,
        name: ObjectName | str,
        *,
        of: ObjectName | str,
        keys: Sequence[str],
        order_by: Sequence[str],
        where: Mapping[str, str] | None = None,
        description: str = "",
    ) -> None:
        """Create (or replace) a view that shows the newest row of each key of a table; always up to date.

        On Databricks a SQL view. On the local workspace its definition, which `to_arrow` and `read` compute whenever
        they are asked; it is no table: `exists` and `list` do not know it, and nothing is ever written to it.

        Args:
            name: The view's name.
            of: The table.
            keys: Columns whose values are shown once.
            order_by: Columns that say which row is the newest; the largest values win, the first column first.
            where: Column -> text that it must equal.
            description: The view's comment.

        Raises:
            TableError: If the table lacks a column, or a table has the view's name.
        """
        ...

    def append(self, name: ObjectName | str, frame: Any, *, transactions: Sequence[Transaction] = ()) -> WriteResult:
        """Append rows, cast to the table's declared schema; with transactions, exactly once.

        Raises:
            TableError: If the frame lacks columns, has unknown ones, or holds nulls where none may be.
            WriteConflictError: If other writers kept winning.
        """
        ...

    def merge(self, name: ObjectName | str, frame: Any) -> WriteResult:
        """Update the rows whose primary keys match, and insert the others.

        Raises:
            TableError: As `append`; also for null or duplicate keys in the frame, and tables without keys.
            WriteConflictError: If other writers kept winning.
        """
        ...

    def overwrite(self, name: ObjectName | str, frame: Any) -> WriteResult:
        """Replace all rows in one commit."""
        ...

    def replace_range(
        self, name: ObjectName | str, frame: Any, *, column: str, start: datetime, end: datetime
    ) -> WriteResult:
        """Replace the rows whose `column` lies in [start, end], both included, in one commit.

        Raises:
            TableError: As `append`; also for rows of the frame outside the range, null or duplicate keys, a range that
                ends before it starts, and a column that is no timestamp, or no key of a table with keys.
            WriteConflictError: If other writers kept winning.
        """
        ...

    def committed(self, name: ObjectName | str, transactions: Sequence[Transaction]) -> tuple[bool, ...]:
        """Tell of each transaction whether the table has taken it."""
        ...

    def drop(self, name: ObjectName | str) -> None:
        """Remove the table and what is known about it."""
        ...

    def set_tag(self, name: ObjectName | str, key: str, value: str | None) -> None:
        """Set a tag; None removes it."""
        ...


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: int
    run_id: str
    tags: Mapping[str, str]
    created_at: datetime

    @property
    def uri(self) -> str:
        """Where MLflow finds it."""
        return f"models:/{self.name}/{self.version}"


@runtime_checkable
class Registry(Protocol):
    """Registered models: versions, tags and aliases."""

    def activate(self) -> None:
        """Point MLflow's tracking and registry at this workspace (for code that calls mlflow itself)."""
        ...

    def experiment(self, name: str) -> str:
        """Return the id of the MLflow experiment of this name; it is made if it does not exist."""
        ...

    def aliases(self, model: ObjectName | str) -> dict[str, int]:
        """Return alias -> version, read from the registered model itself; empty when the model does not exist.

        Raises:
            RegistryError: If the registry cannot be read; never taken for "no alias".
        """
        ...

    def get(self, model: ObjectName | str, version: int) -> ModelVersion:
        """Return one version with its tags.

        Raises:
            MissingVersionError: If the registry answers that there is no such version, or no such model.
            RegistryError: If the registry cannot be read.
        """
        ...

    def versions(self, model: ObjectName | str) -> list[ModelVersion]:
        """Return all versions, oldest first; empty when the model does not exist."""
        ...

    def set_alias(self, model: ObjectName | str, alias: str, version: int) -> None:
        """Move an alias to a version, and read it back."""
        ...

    def delete_alias(self, model: ObjectName | str, alias: str) -> None:
        """Take an alias away; no error if it is not there."""
        ...

    def set_tags(self, model: ObjectName | str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        ...

    def ensure_model(self, model: ObjectName | str, *, description: str = "") -> None:
        """Create the registered model if it does not exist; training never does on its own.

        Raises:
            RegistryError: If it cannot be read or created.
        """
        ...

    def require_model(self, model: ObjectName | str) -> None:
        """See to it that there is a model to train versions of: local made on the spot, on Databricks by `setup`.

        Raises:
            RegistryError: If there is none, with the command that creates it; or if it cannot be read.
        """
        ...

    def feature_model_refusal(self) -> str:
        """Return why models that the real feature client packaged are not registered from here; empty: they are.

        Where they are not, `fe.log_model` packages and registers models without the client. Found out in seconds, once,
        by trying it with files that hold no model; nothing is created.

        Raises:
            RegistryError: If the registry does not answer.
        """
        ...

    def copy_version(self, version: ModelVersion, model: ObjectName | str) -> ModelVersion:
        """Register a version's files and tags as a new version of another registered model, which exists.

        Raises:
            RegistryError: If it cannot be read or copied.
        """
        ...

    def set_deployment_job(self, model: ObjectName | str, job_id: str | None) -> None:
        """Link the job that evaluates, approves and promotes new versions; None unlinks. Local: kept as a tag.

        Raises:
            RegistryError: If the model does not exist, or the registry refuses.
        """
        ...

    def log_files(self, version: ModelVersion, folder: str, files: Mapping[str, str]) -> None:
        """Keep text files with the run that made a version; the same names again replace them.

        Args:
            version: The version.
            folder: Folder among the run's artifacts, as in `gate/<decision id>`.
            files: File name -> content.

        Raises:
            RegistryError: If they cannot be stored.
        """
        ...

    def log_tables(self, run_id: str, tables: Sequence[TableRead]) -> None:
        """Log the tables that a run read as its inputs: before it registers a model, so that lineage follows.

        Raises:
            RegistryError: If they cannot be logged.
        """
        ...

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float], at: datetime) -> None:
        """Log metrics on the logged model behind a version, and on its run; the same again changes nothing.

        Args:
            version: The version.
            metrics: Name -> value; what is not finite is left out.
            at: When they were measured, in data time.

        Raises:
            RegistryError: If they cannot be logged.
        """
        ...


@runtime_checkable
class Functions(Protocol):
    """Python functions registered by three-level name, usable as feature functions."""

    def register(
        self,
        name: ObjectName | str,
        fn: Callable[..., Any],
        *,
        parameters: Sequence[tuple[str, str]],
        returns: str,
    ) -> None:
        """Register a function of scalars, with Spark type names; again under the same name replaces it."""
        ...

    def get(self, name: ObjectName | str) -> FunctionInfo:
        """Return a registered function.

        Raises:
            FunctionError: If there is none of that name; near names are given.
        """
        ...


@dataclass(frozen=True)
class FunctionInfo:
    """A registered function: its lower-cased name, parameters (name, Spark type), return type, and the callable."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str
    fn: Callable[..., Any]


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
    def spark(self) -> SparkSession:
        """The Spark session; started when first asked for."""
        ...

    @property
    def tables(self) -> Tables:
        """Delta tables."""
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

    def landing(self, use_case: str) -> Path | None:
        """Return the folder where a use case's files land when its setting is relative; None: its own folder."""
        ...

    def upload(self, folder: Path, files: Sequence[Path], landing: Path, *, overwrite: bool = False) -> Upload:
        """Copy files to where they land; where that is a use case's own folder, nothing is copied.

        Args:
            folder: A folder of this machine.
            files: Files in it; each lands at the same place below `landing`.
            landing: The folder where they land.
            overwrite: Send also what is there with the same size.

        Raises:
            IngestError: If the landing folder is not there, or a file cannot be sent; files before it are.
            AccessError: If the workspace does not allow it.
        """
        ...

    @property
    def user(self) -> str:
        """Who works here, for the records."""
        ...

    def lock(self, name: str) -> Any:
        """Return a context manager that lets one process at a time do what `name` says, and waits for its turn."""
        ...

    def files(self, name: str) -> Path:
        """Return a folder of this workspace for files that are no tables (reports, plots)."""
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
