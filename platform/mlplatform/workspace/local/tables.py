"""Delta tables on disk: `<root>/tables/<catalog>/<schema>/<table>`, keys, comments and tags in table properties."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from mlplatform.errors import DamagedTableError, TableError, did_you_mean
from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.table_checks import (
    check_columns,
    check_distinct,
    check_merge_keys,
    check_range,
    check_same_declaration,
    expression,
    keyed_schema,
    largest_value,
    new_columns,
    replaces,
    unfit_filters,
)
from mlplatform.protocols.tables import Filter, TableInfo, Transaction, Where, Widening, WriteResult, any_of
from mlplatform.protocols.widening import widening
from mlplatform.workspace.local import delta, duck, health, journal, latest_view
from mlplatform.workspace.local.frames import LocalFrames
from mlplatform.workspace.local.locks import file_lock
from mlplatform.workspace.local.mending import REPAIRED
from mlplatform.workspace.local.plain_path import plain_path
from mlplatform.workspace.local.rows import (
    ArrowSource,
    ParquetSource,
    RowSource,
    check_no_nulls,
    check_unique,
    check_within,
    fitted,
)
from mlplatform.workspace.local.table_files import is_small
from mlplatform.workspace.local.transaction_log import are_committed
from mlplatform.workspace.shared.frames import is_lazy, is_spark_frame, to_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.protocols.tables import FrameLike

# No catalog can be called so.
_DROPPED = ".dropped"
_DROPPING_SECONDS = 60 * 60
_KEPT_BYTES = 1_000_000
_KEYS = "primary_keys"
_TIMESERIES = "timeseries_column"
_TAGS = "tags"


class LocalTables:
    """Tables of the local workspace; see `mlplatform.protocols.tables.Tables`."""

    def __init__(
        self, root: Path, scratch: Path, spark: Callable[[], SparkSession], *, read_only: bool = False
    ) -> None:
        """Keep tables under a folder.

        Attributes:
            frames: Frames of these tables.

        Args:
            root: The folder.
            scratch: Where a merge spills what does not fit in memory.
            spark: Gives the Spark session when a DataFrame is asked for.
            read_only: Nothing under the folder is touched by opening it.
        """
        self._root = root
        self._scratch = scratch
        self._spark = spark
        self.frames = LocalFrames(self, scratch, spark)
        # Table folder -> its newest log entry, and the handle opened then. A step of a pipeline looks at each table a
        # dozen times, and opening one reads its log.
        self._opened: dict[Path, tuple[_LogEntry, DeltaTable]] = {}
        # A step asks for the decisions on record, say, half a dozen times.
        self._kept_rows: dict[tuple[Path, pa.Schema], tuple[DeltaTable, pa.Table]] = {}
        self._committed: dict[str, set[Transaction]] = {}
        self._health = health.Health()
        if not read_only:
            _sweep(root / _DROPPED)

    @property
    def scratch(self) -> Path:
        """The folder for what does not fit in memory; emptied when the workspace is closed."""
        return self._scratch

    @property
    def root(self) -> Path:
        """The folder of all tables."""
        return self._root

    def folders(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of a schema's folders that hold a table, or what is left of one, sorted."""
        folder = self._root / catalog / schema
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(path.name for path in found if _is_table(path) or _lost_its_log(path))

    def path(self, name: ObjectName | str) -> Path:
        """Return the folder of a table."""
        parsed = ObjectName.parse(name)
        return self._root / parsed.catalog / parsed.schema / parsed.name

    def _identity(self, name: ObjectName | str) -> str:
        # Not its name, nor its folder's number, which may be given again: a table that is created again has taken
        # nothing yet.
        return str(self.open(name).metadata().id)

    def open(self, name: ObjectName | str, *, version: int | None = None) -> DeltaTable:
        """Return the delta-rs handle of a table.

        Raises:
            TableError: If it does not exist; similar names are suggested.
        """
        if not self.exists(name):
            raise self._missing(name)
        try:
            table = self._newest(name)
        except DamagedTableError as error:
            # A version before the damage can be read as ever.
            if version is None or error.last_good is None or version > error.last_good:
                raise
            return delta.open_table(self.path(name), str(name), version=version)
        if version is not None and version != table.version():
            return delta.open_table(self.path(name), str(name), version=version)
        return table

    def _newest(self, name: ObjectName | str) -> DeltaTable:
        """Return the handle of the newest version of a table that exists."""
        path = self.path(name)
        newest = _newest_entry(path)
        if path not in self._opened or self._opened[path][0] != newest:
            table = delta.open_table(path, str(name))
            self._health.check(path, str(name), table)
            # A new handle each time: those handed out before stay at their version.
            self._opened[path] = (newest, table)
        return self._opened[path][1]

    def _keep(self, name: ObjectName | str) -> delta.Keep:
        """Return what takes the handle that a commit to a table was made by, as the newest one."""
        path = self.path(name)

        def keep(table: DeltaTable) -> None:
            # The commit stands, whatever was damaged or dropped meanwhile: who opens the table next is told.
            with suppress(DamagedTableError, FileNotFoundError):
                newest = _newest_entry(path)
                if newest[0] == f"{table.version():020}.json":  # others may have written meanwhile
                    self._health.check(path, str(name), table)
                    self._opened[path] = (newest, table)

        return keep

    def behind(self, error: BaseException) -> DamagedTableError | None:
        """Return the damage of a table that was opened which an error comes from; None: there is none."""
        opened = [
            (path, ".".join(path.relative_to(self._root).parts), table) for path, (_, table) in self._opened.items()
        ]
        return health.behind(error, opened)

    def forget(self, name: ObjectName | str) -> None:
        """Open a table anew, and look at all its files, when it is asked for next."""
        self._opened.pop(self.path(name), None)
        self._health.forget(self.path(name))

    def _missing(self, name: ObjectName | str) -> TableError:
        parsed = ObjectName.parse(name)
        if _lost_its_log(self.path(name)):
            return DamagedTableError.of(str(name), journal.LOG, "is gone, or holds no commit")
        names = self.list(parsed.catalog, parsed.schema)
        return TableError(
            f"Table {name} does not exist.",
            hint=f"{did_you_mean(parsed.name, names)} Run the stage that writes it." if names else "",
        )

    def exists(self, name: ObjectName | str) -> bool:
        """Tell whether the table exists.

        Raises:
            DamagedTableError: If it does, and its log is gone: who takes it for missing would begin anew.
        """
        path = self.path(name)
        if not _is_table(path):
            if _lost_its_log(path):
                raise self._missing(name)
            return False
        return True

    def list(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of the tables of a schema, sorted."""
        folder = self._root / catalog / schema
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if _is_table(path))

    def create(
        self,
        name: ObjectName | str,
        schema: pa.Schema,
        *,
        primary_keys: Sequence[str] = (),
        timeseries_column: str | None = None,
        description: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Create an empty table, or return the existing one if it was declared in the same way.

        Raises:
            TableError: If a key is no column, or a table of that name has another declaration.
        """
        keyed = keyed_schema(name, schema, primary_keys, timeseries_column)
        path = self.path(name)
        with file_lock(self._root / ".locks", f"create {name}"):
            if not self.exists(name):
                values = {**(properties or {}), _KEYS: json.dumps(list(primary_keys)), _TAGS: "{}"}
                if timeseries_column:
                    values[_TIMESERIES] = timeseries_column
                delta.create(path, keyed, description=description, properties=values)
                return self.describe(name)
        existing = self.describe(name)
        check_same_declaration(existing, keyed, primary_keys, timeseries_column)
        return existing

    def widen(
        self,
        name: ObjectName | str,
        schema: pa.Schema,
        *,
        primary_keys: Sequence[str] = (),
        timeseries_column: str | None = None,
    ) -> Widening:
        """Make a table as wide as a declaration; for wider types its rows are written anew, in one commit."""
        keyed = keyed_schema(name, schema, primary_keys, timeseries_column)

        def lacking(table: DeltaTable) -> Widening:
            return widening(self.info(name, table), keyed, primary_keys, timeseries_column)

        change = lacking(self.open(name))
        return delta.widen(self.path(name), str(name), lacking, self._scratch) if change else change

    def properties(self, catalog: str, schema: str, key: str) -> dict[str, str]:
        """Return a property of the platform's own of all tables of a schema."""
        names = self.list(catalog, schema)
        return {name: delta.properties(self._newest(f"{catalog}.{schema}.{name}")).get(key, "") for name in names}

    def set_property(self, name: ObjectName | str, key: str, value: str) -> None:
        """Set a property of the platform's own."""
        self.open(name)
        delta.set_properties(self.path(name), str(name), {key: value})

    def describe(self, name: ObjectName | str) -> TableInfo:
        """Return what is known about the table."""
        return self.info(name, self.open(name))

    @staticmethod
    def info(name: ObjectName | str, table: DeltaTable) -> TableInfo:
        """Return what is known about the opened version of a table."""
        values = delta.properties(table)
        return TableInfo(
            name=str(name),
            version=table.version(),
            schema=duck.arrow_schema(table),
            primary_keys=tuple(json.loads(values.get(_KEYS, "[]"))),
            timeseries_column=values.get(_TIMESERIES),
            description=table.metadata().description or "",
            tags=json.loads(values.get(_TAGS, "{}")),
            id=str(table.metadata().id),
            created_at=delta.created_at(table),
        )

    def version(self, name: ObjectName | str) -> int:
        """Return the newest Delta version."""
        return int(self.open(name).version())

    def replaced_since(self, name: ObjectName | str, version: int) -> bool:
        """Tell whether the table was restored, replaced or emptied as a whole after a version, or never reached it."""
        table = self.open(name)
        behind = table.version() - version
        if behind <= 0:
            return behind < 0
        return any(replaces(item["operation"]) or REPAIRED in item for item in table.history(behind))

    def read(self, name: ObjectName | str, *, version: int | None = None) -> DataFrame:
        """Return the table, pinned at a version, as a Spark DataFrame."""
        if latest_view.load(self.path(name)) is not None:
            return self.frames.to_spark(self.frames.read(name, version=version))
        # A lazy DataFrame on an unpinned table changes when the table does, so the newest version is pinned too.
        pinned = self.open(name, version=version).version()
        reader = self._spark().read.format("delta").option("versionAsOf", str(pinned))
        return reader.load(str(plain_path(self.path(name))))

    def to_arrow(
        self,
        name: ObjectName | str,
        *,
        at_most: int,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
    ) -> pa.Table:
        """Return the table (or view) as Arrow, with only the columns and rows asked for."""
        view = latest_view.load(self.path(name))
        table = self.open(name if view is None else view.of, version=version)
        schema = duck.arrow_schema(table)
        selection = list(columns) if columns is not None else schema.names
        check_columns(name, schema, [*selection, *(item[0] for item in filters)])
        if view is not None or not is_small(table):
            frame = self.frames.read(name, version=version, columns=selection, filters=filters)
            rows = self.frames.collect(frame, at_most=at_most, what=f"{name}, as asked for,")
            return rows.cast(pa.schema([schema.field(column) for column in selection]))
        needed = list(dict.fromkeys([*selection, *(item[0] for item in filters)]))
        condition = expression(filters) if filters else None
        try:
            rows = self._all_rows(self.path(name), table, pa.schema([schema.field(column) for column in needed]))
            rows = (rows.filter(condition) if condition is not None else rows).select(selection)
        except pa.ArrowException as error:
            if not filters:
                raise TableError(f"{name} cannot be read: {error}", hint="Are all of its files there?") from error
            raise unfit_filters(name, filters, error) from error
        return self.frames.bounded(rows, at_most=at_most, what=f"{name}, as asked for,")

    def _all_rows(self, path: Path, table: DeltaTable, schema: pa.Schema) -> pa.Table:
        """Return all rows of a small table; those of its newest version are read once, as long as they are few."""
        rows, opened = self._kept_rows.get((path, schema)), self._opened.get(path)
        # One whose files are gone is damaged, whatever is remembered of it: reading it says so.
        if (
            rows is not None
            and rows[0] is table
            and all(Path(duck.local_path(uri)).is_file() for uri in table.file_uris())
        ):
            return rows[1]
        read = _query(table, schema)
        if opened is not None and opened[1] is table and read.nbytes <= _KEPT_BYTES:
            self._kept_rows[path, schema] = table, read
        return read

    def largest(self, name: ObjectName | str, column: str, *, filters: Sequence[Filter] = ()) -> Any:
        """Return the largest value of a column among the rows asked for."""
        check_columns(name, duck.arrow_schema(self.open(name)), [column])
        frame = self.frames.read(name, columns=[column], filters=filters).select(nw.col(column).max())
        found = self.frames.collect(frame, at_most=1, what=f"the largest {column} of {name}")
        return largest_value(found, name, column)

    def create_latest_view(
        self,
        name: ObjectName | str,
        *,
        of: ObjectName | str,
        keys: Sequence[str],
        order_by: Sequence[str],
        where: Where | Sequence[Where] = (),
        description: str = "",
    ) -> None:
        """Keep a view of the newest row of each key; the same again changes nothing."""
        if self.exists(name):
            raise TableError(f"{name} is a table; it cannot be a view too.", hint="Choose another name.")
        conditions = [dict(condition) for condition in any_of(where)]
        view = latest_view.LatestView(str(of), list(keys), list(order_by), conditions, description)
        if latest_view.load(self.path(name)) != view:
            view.check(duck.arrow_schema(self.open(of)), str(name))
            latest_view.save(self.path(name), view)

    def append(
        self, name: ObjectName | str, frame: FrameLike, *, transactions: Sequence[Transaction] = ()
    ) -> WriteResult:
        """Append rows; with transactions, exactly once."""
        table = self.open(name)
        if transactions and all(are_committed(self.path(name), table, transactions)):
            return WriteResult(version=table.version(), rows=0, skipped=True)
        with self._rows(frame) as (source, folder):
            rows = fitted(source, duck.arrow_schema(table), str(name), folder, self._scratch)
            return delta.append(self.path(name), str(name), rows, transactions, keep=self._keep(name))

    def merge(self, name: ObjectName | str, frame: FrameLike) -> WriteResult:
        """Update the rows whose primary keys match, and insert the others."""
        info = self.describe(name)
        with self._rows(frame) as (source, folder):
            columns = source.schema.names
            check_merge_keys(info, columns)
            check_no_nulls(source, info.primary_keys, str(name), self._scratch)
            # In the table's order; columns that are new to it as they come.
            declared = [field for field in info.schema if field.name in columns]
            new = new_columns(info, source.schema)
            rows = fitted(source, pa.schema([*declared, *new]), str(name), folder, self._scratch)
            check_unique(rows, info.primary_keys, str(name), self._scratch)
            keys = info.primary_keys
            return delta.merge(self.path(name), str(name), rows, keys, self._scratch, keep=self._keep(name))

    def overwrite(
        self,
        name: ObjectName | str,
        frame: FrameLike,
        *,
        where: Mapping[str, Sequence[str]] | None = None,
        transactions: Sequence[Transaction] = (),
    ) -> WriteResult:
        """Replace all rows, or those of some values, in one commit."""
        info = self.describe(name)
        check_columns(name, info.schema, list(where or ()))
        with self._rows(frame) as (source, folder):
            rows = fitted(source, info.schema, str(name), folder, self._scratch)
            if info.primary_keys:
                check_unique(rows, info.primary_keys, str(name), self._scratch)
            return delta.overwrite(
                self.path(name),
                str(name),
                rows,
                self._scratch,
                where=where,
                transactions=transactions,
                keep=self._keep(name),
            )

    def replace_range(
        self, name: ObjectName | str, frame: FrameLike, *, column: str, start: datetime, end: datetime
    ) -> WriteResult:
        """Replace the rows whose `column` lies in [start, end] in one commit."""
        info = self.describe(name)
        check_range(info, column, start, end)
        span = (column, start, end)
        with self._rows(frame) as (source, folder):
            rows = fitted(source, info.schema, str(name), folder, self._scratch)
            check_within(rows, span, str(name), self._scratch)
            if info.primary_keys:
                check_unique(rows, info.primary_keys, str(name), self._scratch)
            return delta.replace_range(self.path(name), str(name), rows, span, self._scratch, keep=self._keep(name))

    @contextmanager
    def _rows(self, frame: FrameLike) -> Iterator[tuple[RowSource, Path]]:
        """Give rows as a write takes them, and a folder for what it makes of them.

        What an engine has yet to compute is computed into files first.
        """
        folder = self._scratch / f"write-{uuid.uuid4().hex}"
        try:
            if is_lazy(frame) or is_spark_frame(frame):
                with self.frames.staged_files(frame) as staged:
                    yield ParquetSource(staged), folder
            else:
                rows = to_arrow(frame)
                check_distinct(rows.column_names, "The frame")
                yield ArrowSource(rows), folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def committed(self, name: ObjectName | str, transactions: Sequence[Transaction]) -> tuple[bool, ...]:
        """Tell of each transaction whether the table has taken it."""
        taken = self._committed.setdefault(self._identity(name), set())
        unknown = [transaction for transaction in transactions if transaction not in taken]
        if unknown:
            # What a table has taken it has taken for good.
            found = are_committed(self.path(name), self.open(name), unknown)
            taken.update(transaction for transaction, done in zip(unknown, found, strict=True) if done)
        return tuple(transaction in taken for transaction in transactions)

    def drop(self, name: ObjectName | str) -> None:
        """Remove the table."""
        if not _is_table(self.path(name)) and not _lost_its_log(self.path(name)):
            raise self._missing(name)
        # At once: a table that is half removed would be an older one, or none that can be read.
        folder = self._root / _DROPPED / uuid.uuid4().hex
        folder.mkdir(parents=True)
        self.path(name).rename(folder / "table")
        self.forget(name)
        shutil.rmtree(folder, ignore_errors=True)

    def set_tag(self, name: ObjectName | str, key: str, value: str | None) -> None:
        """Set a tag; None removes it."""
        with file_lock(self._root / ".locks", f"tags {name}"):
            tags = dict(self.describe(name).tags)
            tags.pop(key, None)
            if value is not None:
                tags[key] = value
            delta.set_properties(self.path(name), str(name), {_TAGS: json.dumps(tags)})


def _is_table(path: Path) -> bool:
    """Tell whether a folder holds a table: a log with a commit in it, which a process killed while creating lacks."""
    try:
        return any(name.endswith((".json", ".parquet")) for name in os.listdir(path / "_delta_log"))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return False


def _lost_its_log(path: Path) -> bool:
    """Tell whether a table lay in a folder, of which the journal still knows and the log does not."""
    return bool(journal.Journal(path).of().commits)


def _sweep(dropped: Path) -> None:
    """Remove what is left of tables that a process was dropping when it was killed; another may be about to."""
    before = time.time() - _DROPPING_SECONDS
    for folder in dropped.iterdir() if dropped.is_dir() else ():
        with suppress(OSError):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


_LogEntry = tuple[str, int, int]


def _newest_entry(path: Path) -> _LogEntry:
    """Return the name, number and time of change of the newest file in a table's log: what any commit changes."""
    log = path / "_delta_log"
    newest = max((name for name in os.listdir(log) if name.endswith(".json")), default="")  # noqa: PTH208  (no Path each)
    state = (log / newest).stat()
    return newest, state.st_ino, state.st_mtime_ns


def _query(table: DeltaTable, schema: pa.Schema) -> pa.Table:
    columns = ", ".join(quote(name, "duckdb") for name in schema.names)  # DataFusion quotes as DuckDB does
    rows = QueryBuilder().register("t", table).execute(f"SELECT {columns} FROM t")  # noqa: S608  (quoted)
    return pa.RecordBatchReader.from_stream(rows).read_all().cast(schema)
