"""The writes of a command in a local home, and a process that dies before one of them.

Before each file that is opened for writing, renamed or removed, each table that is created, each commit to a table, and
each commit of MLflow's database. What is on disk after a write is what is there before the next one.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MOVES = ("os.rename", "os.remove")
# Of one process each: the next one begins its own.
_NOT_COUNTED = re.compile(r"(?:tmp|logs)(?:/|$)|(?:.*/)?\.locks(?:/|$)")
_OF_A_RUN = re.compile(r"(?<=\.uploading\.)\w+|[0-9a-f]{8}[0-9a-f-]*|\d+")
_STATEMENT = re.compile(r"(?i)\s*(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE)\s+\"?(\w+)")
_UNFINISHED = re.compile(r".*\.part|_part-.*\.parquet|.*-journal")


def is_unfinished(name: str) -> bool:
    """Tell whether a file's name is one that a file has until it is whole."""
    return _UNFINISHED.fullmatch(name) is not None


def without_ids(text: str) -> str:
    """Return a path or address without what differs from run to run: numbers, and ids."""
    return _OF_A_RUN.sub("*", text)


def die_before_the_next(home: Path, visited: Path) -> None:
    """Let this process die before its first write at a place that is not on the list, and add the place to it.

    Args:
        home: The home in which it writes.
        visited: The list, a place a line.
    """
    places = _Places(home, visited)
    _watch_stages(places)
    _watch_tables(places)
    _watch_database(places)
    _watch_files(places)


class _Places:
    def __init__(self, home: Path, visited: Path) -> None:
        self.home = home
        self.stage = "around the stages"
        self._file = visited
        self._visited = set(visited.read_text(encoding="utf-8").splitlines())

    def reached(self, what: str) -> None:
        """Die, unless another process died here."""
        place = f"{self.stage}: {what}"
        if place in self._visited:
            return
        self._visited.add(place)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{place}\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

    def named(self, path: str) -> str:
        """Return a path in the home without what differs from run to run."""
        return without_ids(os.path.relpath(path, self.home))


def _watch_stages(places: _Places) -> None:
    from mlplatform.ops.run_record import Recorder

    whole = Recorder.run

    @functools.wraps(whole)
    def within(self: Any, stage: Any) -> Any:
        before, places.stage = places.stage, stage.name
        try:
            return whole(self, stage)
        finally:
            places.stage = before

    Recorder.run = within  # type: ignore[method-assign]


def _watch_tables(places: _Places) -> None:
    from deltalake import DeltaTable
    from deltalake.table import TableAlterer, TableOptimizer

    from mlplatform.workspace.local import data_files, delta, widening

    def name_of(target: Any) -> str:
        table = getattr(target, "table", target)
        address = str(getattr(table, "table_uri", table)).removeprefix("file://")
        return places.named(address)

    def watched(whole: Callable[..., Any], doing: str) -> Callable[..., Any]:
        @functools.wraps(whole)
        def then(target: Any, *arguments: Any, **named: Any) -> Any:
            name = name_of(target)
            # A table of its own in the scratch folder is no write yet.
            if not _NOT_COUNTED.match(name):
                places.reached(f"{doing} {name}")
            return whole(target, *arguments, **named)

        return then

    for module in (data_files, delta, widening):
        module.write_deltalake = watched(module.write_deltalake, "writing to")  # type: ignore[attr-defined]
    DeltaTable.create = staticmethod(watched(DeltaTable.create, "creating"))  # type: ignore[method-assign]
    changes = [
        (DeltaTable, "create_write_transaction", "committing to"),
        (TableOptimizer, "compact", "compacting"),
        (TableAlterer, "add_columns", "adding columns to"),
        (TableAlterer, "set_table_properties", "setting properties of"),
        (TableAlterer, "drop_column_not_null", "relaxing"),
    ]
    for cls, method, doing in changes:
        setattr(cls, method, watched(getattr(cls, method), doing))


def _watch_database(places: _Places) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    key = "tables that were written to"

    def executing(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        del cursor, rest
        match = _STATEMENT.match(statement)
        if match:
            connection.info.setdefault(key, set()).add(match[1])

    def committing(connection: Any) -> None:
        tables = connection.info.pop(key, None)
        if tables:
            places.reached(f"commit of mlflow.db: {', '.join(sorted(tables))}")

    def taken_back(connection: Any) -> None:
        connection.info.pop(key, None)

    event.listen(Engine, "before_cursor_execute", executing)
    event.listen(Engine, "commit", committing)
    event.listen(Engine, "rollback", taken_back)


def _watch_files(places: _Places) -> None:
    home = f"{places.home}{os.sep}"

    def audit(happening: str, arguments: tuple[Any, ...]) -> None:
        if happening == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & _WRITING):
                return
        elif happening in _MOVES:
            path = arguments[0]
        else:
            return
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if text.startswith(home):
            name = places.named(text)
            if not _NOT_COUNTED.match(name):
                places.reached(f"{happening} {name}")

    sys.addaudithook(audit)
