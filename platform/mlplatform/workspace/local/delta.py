"""Every write to a Delta table of the local workspace, and the exactly-once protocol.

delta-rs accepts an application version that it has already committed, and doubles the rows. So the protocol is ours:
open the table, compare what it has taken, write through that same handle; when another writer committed meanwhile,
the commit fails, the table is opened again, and we look again.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake import Transaction as DeltaTransaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from mlplatform.errors import TableError, UnavailableError
from mlplatform.naming import quote
from mlplatform.protocols.table_checks import check_distinct, check_type
from mlplatform.protocols.tables import Transaction, Widening, WriteResult
from mlplatform.workspace.local import duck, health, journal, widening
from mlplatform.workspace.local.data_files import FILE_BYTES, HOOKS, MEMORY_LIMIT, WRITER, replace, write
from mlplatform.workspace.local.merge import TableChange, layout, plan_merge, plan_replacement, refuse_incomplete
from mlplatform.workspace.local.replaced_values import plan_values
from mlplatform.workspace.local.rows import ArrowSource, Counted, ParquetSource, RowSource, as_rows
from mlplatform.workspace.local.transaction_log import are_committed
from mlplatform.workspace.shared.frames import check_fit, conform
from mlplatform.workspace.shared.retention import at_least, interval

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ATTEMPTS = 20
Keep = Callable[[DeltaTable], None]
"""Takes the handle that a commit was made by, which is at the version after it: opening another reads the log."""
_PROPERTY = "mlplatform."
_KEYS = "primary_keys"
# A version that a run recorded stays readable: nobody removes old log files, and a checkpoint remembers which files
# were removed, and when, for longer than maintenance keeps them (`keep_history` where that is set to be longer).
_REMOVALS, _CLEAN_UP = "delta.deletedFileRetentionDuration", "delta.enableExpiredLogCleanup"
# As Spark does it: to open a table, each entry since the last checkpoint is read, a third of a millisecond each. A step
# opens tables seventy times, and delta-rs alone would write one in a hundred commits.
_CHECKPOINTS = "delta.checkpointInterval"
_KEPT = {_CLEAN_UP: "false", _REMOVALS: interval(92), _CHECKPOINTS: "10"}


def open_table(path: Path, name: str, *, version: int | None = None) -> DeltaTable:
    """Open a table at a version (default: the newest).

    Raises:
        TableError: If there is no such table, or no such version of it.
    """
    try:
        table = DeltaTable(str(path))
    except TableNotFoundError:
        raise TableError(f"Table {name} does not exist.", hint="Run the stage that writes it.") from None
    except DeltaError as error:
        raise health.unreadable(path, name, error) from error
    if version is not None and version != table.version():
        if not 0 <= version < table.version():
            raise TableError(
                f"{name} has no version {version}; the newest is {table.version()}.",
                hint="Was the table dropped and created again after the version was recorded?",
            )
        try:
            table.load_as_version(version)
        except DeltaError as error:
            raise TableError(
                f"The log of version {version} of {name} is gone: {error}",
                hint="The version cannot be read any more. Did another program clean the table's log up?",
            ) from error
        _check_kept(table, name)
    return table


def has_log(path: Path, version: int) -> bool:
    """Tell whether the log still says which files a version had."""
    try:
        DeltaTable(str(path), version=version)
    except DeltaError:
        return False
    return True


def create(path: Path, schema: pa.Schema, *, description: str, properties: Mapping[str, str]) -> None:
    """Create an empty table with properties of our own.

    Raises:
        TableError: If a column has a type that Delta does not know.
    """
    for field in schema:
        check_type(field.name, field.type)
    path.mkdir(parents=True, exist_ok=True)
    table = DeltaTable.create(
        str(path),
        schema,
        mode="error",
        description=description or None,
        configuration={**_KEPT, **{f"{_PROPERTY}{key}": value for key, value in properties.items()}},
        raise_if_key_not_exists=False,
    )
    journal.note(path, table, 0)


def created_at(table: DeltaTable) -> datetime | None:
    """Return when a table was created; None where its metadata does not say."""
    created = table.metadata().created_time
    return None if created is None else datetime.fromtimestamp(created / 1000, UTC)


def properties(table: DeltaTable) -> dict[str, str]:
    """Return our own properties of a table."""
    configuration = table.metadata().configuration
    return {key[len(_PROPERTY) :]: value for key, value in configuration.items() if key.startswith(_PROPERTY)}


def set_properties(path: Path, name: str, values: Mapping[str, str]) -> None:
    """Set properties of our own on a table."""

    def commit(table: DeltaTable) -> int:
        table.alter.set_table_properties(
            {f"{_PROPERTY}{key}": value for key, value in values.items()},
            raise_if_not_exists=False,
            post_commithook_properties=HOOKS,
        )
        return 0

    _retrying(path, name, commit)


def read_list(table: DeltaTable, key: str) -> tuple[str, ...]:
    """Return one of our properties that holds a JSON list."""
    return tuple(json.loads(properties(table).get(key, "[]")))


def append(
    path: Path,
    name: str,
    rows: RowSource | pa.Table,
    transactions: Sequence[Transaction] = (),
    *,
    keep: Keep | None = None,
) -> WriteResult:
    """Append rows; with transactions, exactly once.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows, already in the table's schema; they are streamed.
        transactions: What this append counts as. All of them are committed together with the rows.
        keep: Takes the handle.

    Raises:
        TableError: If some of the transactions are committed and others are not.
        UnavailableError: If other writers kept winning.
    """

    def commit(table: DeltaTable) -> int:
        states = are_committed(path, table, transactions)
        if transactions and all(states):
            return -1
        if any(states):
            raise TableError(
                f"Part of this append to {name} has been committed by another run, part has not.",
                hint="Run again: what is committed is left out then.",
            )
        return _write(table, _as_now(rows, table, name).reader(), "append", transactions)

    return _retrying(path, name, commit, keep)


def overwrite(
    path: Path,
    name: str,
    rows: RowSource | pa.Table,
    scratch: Path,
    *,
    where: Mapping[str, Sequence[str]] | None = None,
    transactions: Sequence[Transaction] = (),
    keep: Keep | None = None,
) -> WriteResult:
    """Replace all rows, or those of some values, in one commit; those of a table with keys are laid out in their order.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows, in the table's schema; they are streamed.
        scratch: A folder for what does not fit in memory.
        where: Text column -> values of the rows that are replaced; None: all are.
        transactions: What the commit counts as, besides.
        keep: Takes the handle.

    Raises:
        TableError: If rows are not of those to be replaced, or have the keys of rows that stay.
        UnavailableError: If other writers kept winning.
    """

    def commit(table: DeltaTable) -> int:
        order, source = _layout(table), _as_now(rows, table, name)
        states = are_committed(path, table, transactions)
        new = [item for item, is_committed in zip(transactions, states, strict=True) if not is_committed]
        if where is not None:
            with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
                # What stays is read from the version that the commit follows: nothing can come in between.
                number, query = plan_values(connection, table, source, where, order, name)
                _write(table, duck.stream(connection.sql(query), duck.arrow_schema(table)), "overwrite", new)
            return number
        if not order or (isinstance(source, ArrowSource) and source.table.num_rows <= duck.BATCH_ROWS):
            return _write(table, source.reader(), "overwrite", new)
        with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
            source.scan(connection, "source")
            columns = ", ".join(quote(column, "duckdb") for column in order)
            ordered = connection.sql(f"SELECT * FROM source ORDER BY {columns}")
            return _write(table, duck.stream(ordered, duck.arrow_schema(table)), "overwrite", new)

    return _retrying(path, name, commit, keep)


def merge(
    path: Path,
    name: str,
    rows: RowSource | pa.Table,
    keys: Sequence[str],
    scratch: Path,
    *,
    keep: Keep | None = None,
) -> WriteResult:
    """Update the rows whose keys match and insert the others, in one commit; only files that hold them are rewritten.

    Columns that `rows` lacks keep their values on update and are null on insert; new columns are added first, by a
    commit of their own.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows; their columns that the table has are in its types, and keys are neither null nor repeated.
        keys: The key columns.
        scratch: A folder for what does not fit in memory.
        keep: Takes the handle.

    Raises:
        TableError: If new rows lack a column that may not be null.
        UnavailableError: If other writers kept winning.
    """
    source = as_rows(rows)
    for field in source.schema:
        check_type(field.name, field.type)

    def commit(table: DeltaTable) -> int:
        existing = duck.arrow_schema(table)
        new = [field.with_nullable(True) for field in source.schema if field.name not in existing.names]
        check_distinct([*existing.names, *(field.name for field in new)], name)
        _check_kinds(source.schema, existing, name)
        if new:
            with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
                refuse_incomplete(connection, table, source, keys)
            table.alter.add_columns(Schema.from_arrow(pa.schema(new)).fields, post_commithook_properties=HOOKS)
        with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
            change = plan_merge(connection, table, path, source, _layout(table) or list(keys))
            return _apply(connection, table, path, change, scratch)

    return _retrying(path, name, commit, keep)


def replace_range(
    path: Path,
    name: str,
    rows: RowSource | pa.Table,
    span: tuple[str, datetime, datetime],
    scratch: Path,
    *,
    keep: Keep | None = None,
) -> WriteResult:
    """Replace the rows whose column lies in a range, both ends included, in one commit.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows, in the table's schema, all within the range.
        span: Column, start and end.
        scratch: A folder for what does not fit in memory.
        keep: Takes the handle.
    """

    def commit(table: DeltaTable) -> int:
        with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
            order = _layout(table) or [span[0]]
            change = plan_replacement(connection, table, path, _as_now(rows, table, name), span, order)
            return _apply(connection, table, path, change, scratch)

    return _retrying(path, name, commit, keep)


def widen(path: Path, name: str, lacking: Callable[[DeltaTable], Widening], scratch: Path) -> Widening:
    """Make a table wider.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        lacking: Gives what a version of the table lacks.
        scratch: A folder for what does not fit in memory.

    Raises:
        TableError: If it cannot be.
        UnavailableError: If other writers kept winning.
    """
    change = lacking(open_table(path, name))
    if change:

        def commit(table: DeltaTable) -> int:
            # Asked again: another writer may have come first.
            left = lacking(table)
            if left:
                widening.apply(table, left, _layout(table), scratch)
            if left.keys:
                # Last: it is what tells that all else was done.
                values = {f"{_PROPERTY}{_KEYS}": json.dumps(list(left.keys))}
                table.alter.set_table_properties(values, raise_if_not_exists=False, post_commithook_properties=HOOKS)
            return 0

        _retrying(path, name, commit)
    return change


def compact(path: Path, name: str, size: int) -> int:
    """Put files together that are smaller than a size, in one commit that changes no row.

    The caller sees to it that nobody else does so meanwhile: delta-rs commits both, and doubles the rows.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        size: Bytes that a file is to grow to.

    Returns:
        How many files were replaced.

    Raises:
        UnavailableError: If other writers kept winning.
    """
    replaced = 0

    def commit(table: DeltaTable) -> int:
        nonlocal replaced
        # One bin at a time: memory stays near the size of a file.
        metrics = table.optimize.compact(
            target_size=size,
            max_concurrent_tasks=1,
            writer_properties=WRITER,
            commit_properties=CommitProperties(max_commit_retries=0),
            post_commithook_properties=HOOKS,
        )
        replaced = int(metrics["numFilesRemoved"])
        return 0

    _retrying(path, name, commit)
    return replaced


def keep_history(path: Path, name: str, days: int) -> None:
    """Have a table keep its log, and remember for some days at least which files were removed.

    Tables are created so; those that were made by earlier versions of this library are changed, once. Without it,
    compaction would let delta-rs remove the log of versions older than 30 days, whatever hooks it is given; and what a
    checkpoint has forgotten, `vacuum` judges by the file's own age, which may be much larger.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        days: How many.

    Raises:
        UnavailableError: If other writers kept winning.
    """

    def lacking(table: DeltaTable) -> dict[str, str]:
        current = table.metadata().configuration
        wanted = {key: value for key, value in _KEPT.items() if key not in current}
        if not at_least(wanted.get(_REMOVALS) or current[_REMOVALS], days):
            wanted[_REMOVALS] = interval(days)
        if current.get(_CLEAN_UP) != _KEPT[_CLEAN_UP]:
            wanted[_CLEAN_UP] = _KEPT[_CLEAN_UP]
        return wanted

    def commit(table: DeltaTable) -> int:
        if left := lacking(table):
            table.alter.set_table_properties(left, post_commithook_properties=HOOKS)
        return 0

    if lacking(open_table(path, name)):
        _retrying(path, name, commit)


def vacuum(path: Path, name: str, versions: Sequence[int], days: int, *, dry_run: bool) -> list[str]:
    """Remove files that left the table longer ago than some days, or never were in it, and that no version to keep has.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        versions: The versions to keep.
        days: How long files stay.
        dry_run: Only return the files.

    Returns:
        The files, relative to the folder; also those that were removed before.
    """
    removed: list[str] = []

    def commit(table: DeltaTable) -> int:
        nonlocal removed
        removed = table.vacuum(
            retention_hours=days * 24,
            dry_run=dry_run,
            enforce_retention_duration=False,
            full=True,
            keep_versions=list(versions) or None,
            post_commithook_properties=HOOKS,
        )
        return 0

    _retrying(path, name, commit)
    return removed


def _as_now(rows: RowSource | pa.Table, table: DeltaTable, name: str) -> RowSource:
    """Return rows with all columns that a table has: another writer may have added some since they were made to fit.

    Raises:
        TableError: If they do not fit any more.
    """
    source, schema = as_rows(rows), duck.arrow_schema(table)
    if source.schema.names == schema.names and source.schema.types == schema.types:
        return source
    check_fit(source.schema.names, schema, name)
    if isinstance(source, ArrowSource):
        return ArrowSource(conform(source.table, schema, name))
    return ParquetSource(source.files, schema) if isinstance(source, ParquetSource) else source


def _check_kinds(columns: pa.Schema, schema: pa.Schema, name: str) -> None:
    for field in columns:
        if field.name in schema.names and not field.type.equals(schema.field(field.name).type):
            raise TableError(
                f"Column {field.name} of {name} is {schema.field(field.name).type}; that of the rows is {field.type}: "
                "another writer has added or changed it meanwhile.",
                hint="Nothing was written; run again.",
            )


def _check_kept(table: DeltaTable, name: str) -> None:
    if not all(Path(duck.local_path(uri)).exists() for uri in table.file_uris()):
        raise TableError(
            f"The files of version {table.version()} of {name} are gone: maintenance removed them.",
            hint="The setting maintenance.keep_days says how long versions are kept; those that a model in use was "
            "trained on are kept longer.",
        )


def _layout(table: DeltaTable) -> list[str]:
    return layout(read_list(table, _KEYS), properties(table).get("timeseries_column"))


def _write(
    table: DeltaTable,
    rows: pa.RecordBatchReader,
    mode: Literal["append", "overwrite"],
    transactions: Sequence[Transaction] = (),
) -> int:
    counted = Counted(rows)
    write_deltalake(
        table,
        counted.reader,
        mode=mode,
        target_file_size=FILE_BYTES,
        writer_properties=WRITER,
        commit_properties=_commit(transactions),
        post_commithook_properties=HOOKS,
    )
    return counted.rows


def _apply(connection: DuckDBPyConnection, table: DeltaTable, path: Path, change: TableChange, scratch: Path) -> int:
    readers = change.readers(connection, duck.arrow_schema(table))
    if change.whole:
        _write(table, next(readers), "overwrite")
    elif change.removed:
        additions = [action for reader in readers for action in write(path, reader, scratch)]
        replace(table, change.removed, additions, _commit(()))
    elif change.added:
        _write(table, next(readers), "append")
    return change.written


def _commit(transactions: Sequence[Transaction]) -> CommitProperties:
    # No retries inside delta-rs: a retry there would not look at the transaction versions again.
    return CommitProperties(
        max_commit_retries=0,
        app_transactions=[DeltaTransaction(item.app_id, item.version) for item in transactions] or None,
    )


def _retrying(path: Path, name: str, commit: Callable[[DeltaTable], int], keep: Keep | None = None) -> WriteResult:
    for attempt in range(ATTEMPTS):
        table = open_table(path, name)
        before = table.version()
        try:
            rows = commit(table)
        except CommitFailedError as error:
            last = error
            # Spread the losers out, so that they do not all meet again.
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311  (no secret)
            continue
        if rows < 0:
            return WriteResult(version=table.version(), rows=0, skipped=True)
        journal.note(path, table, before + 1)
        if keep is not None:
            keep(table)
        return WriteResult(version=table.version(), rows=rows)
    raise UnavailableError(
        f"Writing to {name} failed {ATTEMPTS} times because others wrote to it meanwhile: {last}",
        hint="Run again; nothing of this write was kept.",
    )
