"""MLflow's database: made whole under another name, and told apart from one that is empty, half made or damaged.

MLflow makes its tables in some seventy steps, in the file itself. A process that dies meanwhile, or a full disk, would
leave a file that MLflow can neither read nor finish. So the file gets its name when it is whole, and a file that older
versions of the platform left half made is begun anew where nothing is in it. An empty file beside the files of models
is no new registry: it was one.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from mlplatform.errors import LostRegistryError, RegistryError

LOG = logging.getLogger(__name__)
Step = Callable[[Path], None]
"""Does something to the database of this path, with MLflow."""

_PART = ".part"
# What is written by whoever uses a registry, in every version of MLflow.
_CONTENT = ("runs", "registered_models", "model_versions", "logged_models", "trace_info")
# SQLite would take what is left of one file's journal for the journal of the next file of its name.
_BESIDE = ("-journal", "-wal", "-shm")
# The format's versions for writing and reading: 2 is one with a log beside the file.
_ROLLBACK = b"\x01\x01"
WAY_OUT = (
    "Restore {database} from a backup. Where there is none: mlplatform begin-anew USE_CASE --reason WHY; it keeps what "
    "is left aside, and says on record that models begin anew."
)


@dataclass(frozen=True)
class _Look:
    """What a database holds.

    Attributes:
        tables: The names of its tables.
        mark: By which MLflow it was found whole, see `_mark`; 0: by none.
        revision: MLflow's name of the last step of making it that was done; empty: none was.
        used: Whether a run or a model is in it.
    """

    tables: frozenset[str]
    mark: int
    revision: str
    used: bool


def prepare(database: Path, artifacts: Path, *, make: Step, upgrade: Step) -> None:
    """See to it that a whole database lies there: make one, begin a half-made one anew, or bring one up to date.

    The caller holds a lock: one process at a time prepares it.

    Args:
        database: The file.
        artifacts: The folder that holds the files of runs and models: not empty once there was a registry.
        make: Makes MLflow's tables in a file that does not exist.
        upgrade: Brings MLflow's tables in a file up to date.

    Raises:
        LostRegistryError: If there was a registry, and the file is gone, empty or damaged.
        RegistryError: If it cannot be read now, or not be brought up to date.
    """
    for part in database.parent.glob(f"{database.name}.*{_PART}*"):
        part.unlink(missing_ok=True)  # of a process that died; the lock says that none is at it now
    was_used = artifacts.is_dir() and any(not path.name.startswith(".") for path in artifacts.iterdir())
    found = _look(database) if database.exists() else None
    if was_used and (found is None or not found.used):
        what = "is gone" if found is None else ("holds no run and no model" if found.tables else "is empty")
        raise LostRegistryError(
            f"The registry's database {database} {what}, while its models' files still exist.",
            hint=WAY_OUT.format(database=database),
        )
    if found is not None and found.mark == _mark():
        return
    if found is None or not found.tables:
        _replace(database, lambda part: _make(part, make))
    elif found.revision == _newest_revision():
        with suppress(sqlite3.OperationalError):  # then it is looked into again the next time
            _set_mark(database)
    elif not found.used:
        LOG.info("%s was left half made, and holds nothing: it is begun anew.", database)
        _replace(database, lambda part: _make(part, make))
    else:
        _bring_up_to_date(database, found, upgrade)


State = tuple[int, int, int, int, bytes]
"""Which file a database is, and how often it was changed."""


def state(database: Path) -> State | None:
    """Return what differs as soon as anybody has changed the database; None where that cannot be told now.

    SQLite counts in bytes 24 to 27 of the file which transactions changed it (https://www.sqlite.org/fileformat.html,
    "File change counter"), except where they are kept in a log beside it. While one is written, or lies there half
    written by a process that died, its journal exists.

    Args:
        database: The file.
    """
    try:
        with database.open("rb") as file:
            header, found = file.read(28), os.fstat(file.fileno())
    except OSError:
        return None
    if header[18:20] != _ROLLBACK or any(database.with_name(database.name + end).exists() for end in _BESIDE):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, header[24:28]


def set_aside(database: Path, artifacts: Path) -> Path:
    """Move what is left of a registry into a folder beside it, and return the folder; again goes on."""
    numbers = (number for number in range(1, 10_000) if not (database.parent / f"set_aside_{number}").exists())
    folder = database.parent / f"set_aside_{next(numbers)}"
    folder.mkdir(parents=True)
    # The database first: models' files without one are still found to be of a registry that is lost.
    for path in (database, *(database.with_name(database.name + end) for end in _BESIDE), artifacts):
        if path.exists():
            path.rename(folder / path.name)
    return folder


def _look(database: Path) -> _Look:
    if database.stat().st_size == 0:
        return _Look(frozenset(), 0, "", used=False)
    try:
        # Not read-only: what a process left that died in a transaction is taken back first.
        with closing(sqlite3.connect(database)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = frozenset(row[0] for row in names)
            used = any(
                connection.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone()  # noqa: S608  (names of ours)
                for table in _CONTENT
                if table in tables
            )
            revision = ""
            if "alembic_version" in tables:
                (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
            (mark,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:  # locked, no space, no right: none of them says what is in it
        raise RegistryError(
            f"The registry's database {database} cannot be read: {error}",
            hint="Does another program hold it, or is the disk full? Nothing was assumed about it; run again then.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise LostRegistryError(
            f"The registry's database {database} is damaged: {error}", hint=WAY_OUT.format(database=database)
        ) from error
    return _Look(tables, int(mark), str(revision), used)


def _make(part: Path, make: Step) -> None:
    """Make the tables in a file of another name yet, and copy them: MLflow keeps its file open as long as it runs."""
    open_part = part.with_name(f"{part.name}_open")
    try:
        make(open_part)
        _copy(open_part, part)
        _set_mark(part)
    finally:
        for end in ("", *_BESIDE):
            open_part.with_name(open_part.name + end).unlink(missing_ok=True)


def _bring_up_to_date(database: Path, found: _Look, upgrade: Step) -> None:
    """Upgrade a copy, which takes the database's place when it is whole; the one before is kept beside it."""
    kept = database.with_name(f"{database.name}.{found.revision or 'before'}")

    def upgraded(part: Path) -> None:
        _copy(database, part)
        try:
            upgrade(part)
        except Exception as error:
            raise RegistryError(
                f"The registry's database {database} was made by another version of MLflow (revision "
                f"{found.revision or 'unknown'}), and could not be brought up to date: {error}",
                hint="It is left as it was. Install the version of MLflow that wrote it, or restore a backup of it.",
            ) from error
        _set_mark(part)

    # Whoever else has it open waits with what it writes, and does not write into what is replaced.
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        if not kept.exists():
            _replace(kept, lambda part: _copy(database, part))
        _replace(database, upgraded)
    LOG.info("%s was brought up to date for the installed MLflow; as it was: %s", database, kept)


def _replace(database: Path, write: Step) -> None:
    """Write a file under another name, and give it the database's name when it is whole and on the disk."""
    part = database.with_name(f"{database.name}.{uuid.uuid4().hex[:12]}{_PART}")
    try:
        write(part)
        _sync(part)
        for end in _BESIDE:
            database.with_name(database.name + end).unlink(missing_ok=True)
        part.replace(database)
        _sync(database.parent)
    finally:
        part.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as whole, closing(sqlite3.connect(target)) as copy:
        whole.backup(copy)


def _set_mark(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {_mark()}")


def _mark() -> int:
    """Return by what a database says that it is whole for the installed MLflow: that is looked into once."""
    import mlflow

    return (zlib.crc32(mlflow.__version__.encode()) & 0x7FFFFFFF) or 1


def _newest_revision() -> str:
    import mlflow
    from alembic.script import ScriptDirectory

    steps = Path(mlflow.__file__).parent / "store" / "db_migrations"
    return str(ScriptDirectory(str(steps)).get_current_head())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
