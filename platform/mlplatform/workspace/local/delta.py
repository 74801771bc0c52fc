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
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from mlplatform.errors import TableError, UnavailableError
from mlplatform.naming import quote
from mlplatform.protocols.table_checks import check_type
from mlplatform.protocols.tables import Transaction, Widening, WriteResult
from mlplatform.workspace.local import duck, widening
from mlplatform.workspace.local.data_files import FILE_BYTES, HOOKS, MEMORY_LIMIT, WRITER, replace, write
from mlplatform.workspace.local.merge import TableChange, layout, plan_merge, plan_replacement, refuse_incomplete
from mlplatform.workspace.local.rows import ArrowSource, Counted, RowSource, as_rows
from mlplatform.workspace.local.transaction_log import are_committed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ATTEMPTS = 20
_PROPERTY = "mlplatform."


def open_table(path: Path, name: str, *, version: int | None = None) -> DeltaTable:
    """Open a table at a version (default: the newest).

    Raises:
        TableError: If there is no such table, or no such version of it.
    """
    try:
        table = DeltaTable(str(path))
        if version is not None and version != table.version():
            if not 0 <= version < table.version():
                raise TableError(
                    f"{name} has no version {version}; the newest is {table.version()}.",
                    hint="Was the table dropped and created again after the version was recorded?",
                )
            table.load_as_version(version)
            _check_kept(table, name)
    except TableNotFoundError:
        raise TableError(f"Table {name} does not exist.", hint="Run the stage that writes it.") from None
    return table


def create(path: Path, schema: pa.Schema, *, description: str, properties: Mapping[str, str]) -> None:
    """Create an empty table with properties of our own.

    Raises:
        TableError: If a column has a type that Delta does not know.
    """
    for field in schema:
        check_type(field.name, field.type)
    path.mkdir(parents=True, exist_ok=True)
    DeltaTable.create(
        str(path),
        schema,
        mode="error",
        description=description or None,
        configuration={f"{_PROPERTY}{key}": value for key, value in properties.items()},
        raise_if_key_not_exists=False,
    )


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
            {f"{_PROPERTY}{key}": value for key, value in values.items()}, raise_if_not_exists=False
        )
        return 0

    _retrying(path, name, commit)


def read_list(table: DeltaTable, key: str) -> tuple[str, ...]:
    """Return one of our properties that holds a JSON list."""
    return tuple(json.loads(properties(table).get(key, "[]")))


def append(path: Path, name: str, rows: RowSource | pa.Table, transactions: Sequence[Transaction] = ()) -> WriteResult:
    """Append rows; with transactions, exactly once.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows, already in the table's schema; they are streamed.
        transactions: What this append counts as. All of them are committed together with the rows.

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
        return _write(table, as_rows(rows).reader(), "append", transactions)

    return _retrying(path, name, commit)


def overwrite(path: Path, name: str, rows: RowSource | pa.Table, scratch: Path) -> WriteResult:
    """Replace all rows in one commit; those of a table with keys are laid out in their order.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows, in the table's schema; they are streamed.
        scratch: A folder for what does not fit in memory.
    """

    def commit(table: DeltaTable) -> int:
        order, source = _layout(table), as_rows(rows)
        if not order or (isinstance(source, ArrowSource) and source.table.num_rows <= duck.BATCH_ROWS):
            return _write(table, source.reader(), "overwrite")
        with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
            source.scan(connection, "source")
            columns = ", ".join(quote(column, "duckdb") for column in order)
            ordered = connection.sql(f"SELECT * FROM source ORDER BY {columns}")
            return _write(table, duck.stream(ordered, duck.arrow_schema(table)), "overwrite")

    return _retrying(path, name, commit)


def merge(path: Path, name: str, rows: RowSource | pa.Table, keys: Sequence[str], scratch: Path) -> WriteResult:
    """Update the rows whose keys match and insert the others, in one commit; only files that hold them are rewritten.

    Columns that `rows` lacks keep their values on update and are null on insert; new columns are added first, by a
    commit of their own.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows; their columns that the table has are in its types, and keys are neither null nor repeated.
        keys: The key columns.
        scratch: A folder for what does not fit in memory.

    Raises:
        TableError: If new rows lack a column that may not be null.
        UnavailableError: If other writers kept winning.
    """
    source = as_rows(rows)
    for field in source.schema:
        check_type(field.name, field.type)

    def commit(table: DeltaTable) -> int:
        existing = duck.arrow_schema(table).names
        new = [field.with_nullable(True) for field in source.schema if field.name not in existing]
        if new:
            with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
                refuse_incomplete(connection, table, source, keys)
            table.alter.add_columns(Schema.from_arrow(pa.schema(new)).fields, post_commithook_properties=HOOKS)
        with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
            change = plan_merge(connection, table, path, source, _layout(table) or list(keys))
            return _apply(connection, table, path, change, scratch)

    return _retrying(path, name, commit)


def replace_range(
    path: Path, name: str, rows: RowSource | pa.Table, span: tuple[str, datetime, datetime], scratch: Path
) -> WriteResult:
    """Replace the rows whose column lies in a range, both ends included, in one commit.

    Args:
        path: The table's folder.
        name: The table's name, for messages.
        rows: The rows, in the table's schema, all within the range.
        span: Column, start and end.
        scratch: A folder for what does not fit in memory.
    """

    def commit(table: DeltaTable) -> int:
        with duck.connect(scratch, memory_limit=MEMORY_LIMIT) as connection:
            order = _layout(table) or [span[0]]
            change = plan_replacement(connection, table, path, as_rows(rows), span, order)
            return _apply(connection, table, path, change, scratch)

    return _retrying(path, name, commit)


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
            return 0

        _retrying(path, name, commit)
    return change


def compact(path: Path, name: str, size: int) -> int:
    """Put files together that are smaller than a size, in one commit that changes no row.

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


def _check_kept(table: DeltaTable, name: str) -> None:
    if not all(Path(duck.local_path(uri)).exists() for uri in table.file_uris()):
        raise TableError(
            f"The files of version {table.version()} of {name} are gone: maintenance removed them.",
            hint="The setting maintenance.keep_days says how long versions are kept; those that a model in use was "
            "trained on are kept longer.",
        )


def _layout(table: DeltaTable) -> list[str]:
    return layout(read_list(table, "primary_keys"), properties(table).get("timeseries_column"))


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


def _retrying(path: Path, name: str, commit: Callable[[DeltaTable], int]) -> WriteResult:
    for attempt in range(ATTEMPTS):
        table = open_table(path, name)
        try:
            rows = commit(table)
        except CommitFailedError as error:
            last = error
            # Spread the losers out, so that they do not all meet again.
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311
            continue
        if rows < 0:
            return WriteResult(version=table.version(), rows=0, skipped=True)
        return WriteResult(version=table.version(), rows=rows)
    raise UnavailableError(
        f"Writing to {name} failed {ATTEMPTS} times because others wrote to it meanwhile: {last}",
        hint="Run again; nothing of this write was kept.",
    )
