"""Whether a table on disk is whole: looked at when it is opened, and when an engine fails at reading.

What is looked at when a table is opened costs little: the entries of its log since the last checkpoint, that its files
exist with their sizes, and, of a table that is not large, their checksums; each file once in a process. For the
checksums of larger tables there is `mlplatform doctor --data`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlplatform.errors import DamagedTableError, TableError, UnavailableError
from mlplatform.protocols.maintenance import Damage
from mlplatform.workspace.local import log_state
from mlplatform.workspace.local.journal import LOG, Journal, Written
from mlplatform.workspace.local.log_state import LogState
from mlplatform.workspace.local.table_files import files_of

if TYPE_CHECKING:
    from deltalake import DeltaTable

CHECKED_BYTES = 32 * 1024**2
"""Of a table of so many bytes the checksums are looked at when it is opened: less than it takes to start an engine."""
_ENGINES = ("duckdb", "_duckdb", "deltalake", "_internal", "pyarrow", "pyspark", "grpc", "pyo3_runtime")


class Health:
    """What was looked at of the tables that a process opened."""

    def __init__(self) -> None:
        """Begin with nothing looked at."""
        self._journals: dict[Path, Journal] = {}
        # Table folder -> Delta's id, the newest entry of the log, and the data files that were found whole.
        self._seen: dict[Path, tuple[str, int, set[str]]] = {}

    def check(self, folder: Path, name: str, table: DeltaTable) -> None:
        """Look at a table that was just opened, as far as it was not looked at before.

        Args:
            folder: The table's.
            name: Its three-level name.
            table: The newest version.

        Raises:
            DamagedTableError: If something is damaged or gone.
        """
        identity, version = str(table.metadata().id), table.version()
        journal = self._journals.setdefault(folder, Journal(folder))
        written = journal.of(identity)
        seen_id, seen, whole = self._seen.get(folder, ("", -1, set()))
        if seen_id != identity or seen > version:
            seen, whole = -1, set()
        damage = _of_log(folder, written, seen, version) or _of_files(folder, written, table, whole)
        if damage is not None:
            raise damaged(folder, name, damage, written)
        self._seen[folder] = identity, version, whole

    def forget(self, folder: Path) -> None:
        """Look at a table anew when it is opened next."""
        self._seen.pop(folder, None)


def damaged(folder: Path, name: str, damage: Damage, written: Written) -> DamagedTableError:
    """Return the error about a damage, with the last good version of the table."""
    good = last_good(folder, log_state.read(folder, written), written)
    return DamagedTableError.of(name, damage.file, damage.what, last_good=good)


def unreadable(folder: Path, name: str, error: Exception) -> TableError:
    """Return the error about a log that cannot be opened.

    Args:
        folder: The table's.
        name: Its three-level name.
        error: What the engine said.
    """
    written = Journal(folder).of()
    state = log_state.read(folder, written)
    for damage in state.damages:
        if damage.current:
            return DamagedTableError.of(name, damage.file, damage.what, last_good=last_good(folder, state, written))
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    good = last_good(folder, state, written)
    return DamagedTableError.of(name, LOG, f"cannot be read ({said})", last_good=good)


def last_good(folder: Path, state: LogState, written: Written) -> int | None:
    """Return the newest version that the log leads to and whose files are all whole; None: there is none."""
    if state.reached is None:
        return None
    files, found = dict(state.active), dict[str, bool]()

    def good(path: str, size: int) -> bool:
        if path not in found:
            found[path] = not log_state.is_whole(folder / path, size, written.files.get(path))
        return found[path]

    for version in range(state.reached, state.base - 1, -1):
        if all(good(path, size) for path, size in files.items()):
            return version
        if version > state.base:
            entry = state.entries[version]
            for path in entry.added:
                files.pop(path, None)
            files.update(dict.fromkeys(entry.removed, -1))
    return None


def behind(error: BaseException, opened: Iterable[tuple[Path, str, DeltaTable]]) -> DamagedTableError | None:
    """Return the damage that an error comes from; None: no engine failed, or all that it read is whole.

    Args:
        error: As it was raised.
        opened: Folder, name and handle of the tables that this process opened.
    """
    if isinstance(error, DamagedTableError) or not _is_of_an_engine(error):
        return None
    for folder, name, table in opened:
        written = Journal(folder).of(str(table.metadata().id))
        state = log_state.read(folder, written)
        damages = [damage for damage in state.damages if damage.current]
        active = state.active or _active(table)
        damages += of_files(folder, active, written) or _named(error, active)
        if damages:
            return DamagedTableError.of(
                name, damages[0].file, damages[0].what, last_good=last_good(folder, state, written)
            )
    return None


def of_files(folder: Path, active: dict[str, int], written: Written) -> list[Damage]:
    """Return which data files are damaged; each is read to its end."""
    found = ((path, log_state.is_whole(folder / path, size, written.files.get(path))) for path, size in active.items())
    return [Damage(path, what) for path, what in found if what]


def _named(error: BaseException, active: Iterable[str]) -> list[Damage]:
    """Return which data files an error names: an engine could not read what another one can."""
    said, link = "", error.__cause__ or error.__context__
    while link is not None:
        said, link = said + str(link), link.__cause__ or link.__context__
    said += str(error)
    return [Damage(path, "cannot be read by the engine") for path in active if Path(path).name in said]


def _is_of_an_engine(error: BaseException | None) -> bool:
    """Tell whether an engine or the file system failed, be it behind an error of ours."""
    while error is not None:
        module = type(error).__module__.partition(".")[0]
        if module in _ENGINES or isinstance(error, OSError | UnavailableError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _of_log(folder: Path, written: Written, seen: int, version: int) -> Damage | None:
    log = folder / LOG
    for number in sorted(number for number in written.commits if number > version):
        if not (log / f"{number:020}.json").exists():  # others commit meanwhile
            return Damage(f"{LOG}/{number:020}.json", "is gone")
    if seen < 0:
        # What a checkpoint stands for is history: it is looked at by the doctor.
        marks = [name.name.partition(".")[0] for name in log.glob("*.checkpoint*.parquet")]
        seen = max((int(mark) for mark in marks if mark.isdigit()), default=-1)
    for number in range(seen + 1, version + 1):
        file = log / f"{number:020}.json"
        _, what = log_state.entry_of(file, written.commits.get(number))
        if what:
            return Damage(f"{LOG}/{file.name}", what)
    return None


def _of_files(folder: Path, written: Written, table: DeltaTable, whole: set[str]) -> Damage | None:
    active = _active(table)
    whole.intersection_update(active)
    new = [path for path in active if path not in whole]
    if not new:
        return None
    small = sum(active.values()) <= CHECKED_BYTES
    for path in new:
        mark = written.files.get(path)
        what = log_state.is_whole(folder / path, active[path], mark, read=small and mark is not None)
        if what:
            return Damage(path, what)
    whole.update(new)
    return None


def _active(table: DeltaTable) -> dict[str, int]:
    files = files_of(table)
    rows: list[dict[str, Any]] = files.select(["path", "size_bytes"]).to_pylist()
    return {unquote(row["path"]): row["size_bytes"] for row in rows}
