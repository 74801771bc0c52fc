"""The Parquet files of a Delta table: which may hold what, new ones, and commits that put some in others' places.

delta-rs writes and commits. Its own merge is not used: its files carry a string type that Sail 0.7.2 cannot read.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, PostCommitHookProperties, WriterProperties, write_deltalake
from deltalake.transaction import AddAction, RemoveAction

from mlplatform.naming import quote
from mlplatform.workspace.local import duck
from mlplatform.workspace.local.table_files import files_of

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable

FILE_BYTES = 32 * 1024**2
"""What a file grows to. A merge rewrites whole files: the smaller they are, the less a small change costs."""
WRITER = WriterProperties(max_row_group_size=duck.BATCH_ROWS, compression="SNAPPY")
# Old log files stay: a version recorded with a run must stay readable.
HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
MEMORY_LIMIT = "2GB"
"""Of the DuckDB that computes a change; what does not fit spills to the scratch folder."""
FILE, ROW = "__file", "__row"
"""Columns that say which file a row lies in, and where in it."""
_FEW = 100_000
# What begins so no version has, and delta-rs leaves alone.
_UNFINISHED = "_"
_EXACT = (pa.types.is_integer, pa.types.is_date, pa.types.is_boolean)


@dataclass(frozen=True)
class DataFile:
    """A file of a table's opened version.

    Attributes:
        path: As the log has it, relative to the table's folder.
        place: Where it lies.
        size: Bytes.
        rows: RowSource, or None where the log does not say.
    """

    path: str
    place: str
    size: int
    rows: int | None


class Files:
    """The files of a table's opened version, with what the log says of them; asked by SQL.

    Attributes:
        view: The name of the DuckDB table that lists them: `path`, `size_bytes`, `min.<column>`, `max.<column>`, ...
    """

    view = "files__"

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: DeltaTable, folder: Path) -> None:
        """List the files.

        Args:
            connection: Where they can be asked about.
            table: The delta-rs handle, at the version wanted.
            folder: The table's.
        """
        self._connection, self._folder = connection, folder
        actions = files_of(table, flatten=True)
        self._known = set(actions.column_names)
        self._schema = duck.arrow_schema(table)
        connection.register(self.view, actions)

    def all(self, order: Sequence[str] = ()) -> list[DataFile]:
        """Return all files, those with the smallest values of a column first."""
        return self._where("true", order)

    def within(self, column: str, start: Any, end: Any, order: Sequence[str] = ()) -> list[DataFile]:
        """Return the files that may hold a value of a column in a range, both ends included."""
        condition = self._overlap(column, "$start", "$end")
        params = {"start": start, "end": end} if "$" in condition else None
        return self._where(condition, order, params)

    def with_keys(self, source: str, keys: Sequence[str], order: Sequence[str] = ()) -> list[DataFile]:
        """Return the files that may hold a key of a view's rows."""
        sql = [quote(key, "duckdb") for key in keys]
        bounds = ", ".join(f"min({key}), max({key})" for key in sql)
        self._connection.execute("DROP TABLE IF EXISTS bounds__")
        aliases = ", ".join(f"low{n}, high{n}" for n in range(len(keys)))
        self._connection.execute(
            f"CREATE TEMP TABLE bounds__ AS SELECT * FROM (SELECT count(*), {bounds} FROM {source}) b(total, {aliases})"
        )
        pairs = [(f"(SELECT low{n} FROM bounds__)", f"(SELECT high{n} FROM bounds__)") for n in range(len(keys))]
        box = " AND ".join(self._overlap(key, *pair) for key, pair in zip(keys, pairs, strict=True))
        if self._connection.sql("SELECT total FROM bounds__").fetchall()[0][0] > _FEW:
            return self._where(box, order)
        each = " AND ".join(self._overlap(key, f"s.{name}", f"s.{name}") for key, name in zip(keys, sql, strict=True))
        return self._where(f"{box} AND EXISTS (SELECT 1 FROM {source} s WHERE {each})", order)

    def _overlap(self, column: str, low: str, high: str) -> str:
        """Return the condition that a file's values of a column may lie between two; true where the log cannot say."""
        kind = self._schema.field(column).type
        if f"min.{column}" not in self._known or f"max.{column}" not in self._known:
            return "true"
        least, most = quote(f"min.{column}", "duckdb"), quote(f"max.{column}", "duckdb")
        if pa.types.is_timestamp(kind):
            # The log has milliseconds, cut off.
            above, below = f"{least} <= {high}", f"{most} + INTERVAL 1 MILLISECOND >= {low}"
        elif pa.types.is_string(kind):
            # The log may have the beginning of a long text only.
            above, below = f"{least} <= {high}", f"{most} >= left({low}, length({most}))"
        elif any(test(kind) for test in _EXACT):
            above, below = f"{least} <= {high}", f"{most} >= {low}"
        else:
            return "true"
        return f"coalesce({above}, true) AND coalesce({below}, true)"

    def _where(self, condition: str, order: Sequence[str], params: Any = None) -> list[DataFile]:
        columns = [quote(f"min.{name}", "duckdb") for name in order if f"min.{name}" in self._known]
        rows = "num_records" if "num_records" in self._known else "NULL"
        found = self._connection.sql(
            f"SELECT path, size_bytes, {rows} FROM {self.view} WHERE {condition} "
            f"ORDER BY {', '.join([*columns, 'path'])}",
            params=params,
        ).fetchall()
        return [DataFile(path, str(self._folder / unquote(path)), size, rows) for path, size, rows in found]


def read_parquet(files: Sequence[Path | str], *, located: bool = False) -> str:
    """Return the SQL that reads files; `located`: with the columns `FILE` and `ROW`."""
    extra = [f"filename = '{FILE}'", "file_row_number = true"] if located else []
    sql = duck.read_parquet(files, *extra)
    return f"(SELECT * RENAME (file_row_number AS {ROW}) FROM {sql})" if located else sql


def groups(files: Iterable[DataFile], size: int = FILE_BYTES) -> list[list[DataFile]]:
    """Put neighbours together that make one file of a size at most; one that is larger stays alone."""
    grouped: list[list[DataFile]] = []
    total = 0
    for file in files:
        if not grouped or total + file.size > size:
            grouped.append([])
            total = 0
        grouped[-1].append(file)
        total += file.size
    return grouped


def write(folder: Path, rows: pa.RecordBatchReader, scratch: Path) -> list[AddAction]:
    """Write rows as new files of a table, which no version has yet; return what a commit says of them.

    They are written as a table of their own, so that their statistics are delta-rs', and moved. What is not committed
    afterwards is swept by maintenance: who could know here that a commit that failed has not happened?

    Args:
        folder: The table's.
        rows: The rows, in the table's schema.
        scratch: A folder on the same file system, for the table of their own.
    """
    apart = scratch / f"delta-{uuid.uuid4().hex}"
    try:
        # Twice the size: a file that is rewritten stays one file, be it a little larger than before.
        write_deltalake(str(apart), rows, mode="error", target_file_size=2 * FILE_BYTES, writer_properties=WRITER)
        log = (apart / "_delta_log" / f"{0:020}.json").read_text(encoding="utf-8").splitlines()
        additions = [action["add"] for action in map(json.loads, log) if "add" in action]
        # Under another name until it is whole: the scratch folder may lie on another disk.
        for item in additions:
            part = folder / f"{_UNFINISHED}{item['path']}"
            shutil.move(apart / item["path"], part)
            part.rename(folder / item["path"])
    finally:
        shutil.rmtree(apart, ignore_errors=True)
    return [
        AddAction(
            path=item["path"],
            size=item["size"],
            partition_values={},
            modification_time=item["modificationTime"],
            data_change=True,
            stats=item["stats"],
        )
        for item in additions
    ]


def unfinished(folder: Path, days: int) -> list[Path]:
    """Return the files of a table's folder that were being moved there some days ago, by a process that was killed."""
    before = time.time() - days * 24 * 60 * 60
    found = (file for file in folder.glob(f"{_UNFINISHED}part-*.parquet") if file.stat().st_mtime < before)
    return sorted(found)


def replace(
    table: DeltaTable,
    old: Sequence[DataFile],
    new: Sequence[AddAction],
    properties: CommitProperties,
) -> None:
    """Put new files in the place of old ones, in one commit; those who read an older version find the old ones still.

    Raises:
        CommitFailedError: If another writer committed since the table was opened.
    """
    now = int(time.time() * 1000)
    removals = [
        RemoveAction(path=file.path, data_change=True, deletion_timestamp=now, size=file.size, partition_values={})
        for file in old
    ]
    table.create_write_transaction(
        [*new, *removals],
        mode="append",
        schema=table.schema(),
        commit_properties=properties,
        post_commithook_properties=HOOKS,
    )
    # Unlike a write, this leaves the handle behind. No retries: the commit is the next one, or none.
    table.load_as_version(table.version() + 1)
