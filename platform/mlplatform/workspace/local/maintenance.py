"""Maintenance of the local workspace's tables, by delta-rs."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.protocols.maintenance import Damage, Inspection, Removal, TableFiles
from mlplatform.workspace.local import delta, home_files, mending
from mlplatform.workspace.local.data_files import FILE_BYTES, unfinished
from mlplatform.workspace.local.locks import file_lock
from mlplatform.workspace.local.table_files import files_of
from mlplatform.workspace.local.transaction_log import removed_within

if TYPE_CHECKING:
    from mlplatform.errors import DamagedTableError
    from mlplatform.naming import ObjectName
    from mlplatform.protocols.maintenance import Keeping
    from mlplatform.workspace.local.tables import LocalTables

LOG = logging.getLogger(__name__)
MARGIN_DAYS = 2
"""For how much longer than its files the log remembers what was removed."""


class LocalMaintenance:
    """Files of tables on disk; see `mlplatform.protocols.maintenance.Maintenance`."""

    by_runs = True

    def __init__(self, tables: LocalTables) -> None:
        """Look after these tables."""
        self._tables = tables

    def left_to(self, name: ObjectName | str) -> str:
        """Return nothing: nobody else looks after files here."""
        del name
        return ""

    def files(self, name: ObjectName | str, *, target_size: int | None = None) -> TableFiles:
        """Return what files a table has; small are those of less than half the target, two of which make one."""
        sizes = files_of(self._tables.open(name)).column("size_bytes")
        limit = (target_size or FILE_BYTES) // 2
        small = pc.sum(pc.less(sizes, pa.scalar(limit)).cast(pa.int64())).as_py() or 0
        return TableFiles(len(sizes), pc.sum(sizes).as_py() or 0, small)

    def compact(self, name: ObjectName | str, *, target_size: int | None = None) -> int:
        """Put small files together; return how many files were replaced.

        One process at a time: delta-rs lets two of them that read the same version both commit, and each row is there
        twice then. What else writes meanwhile is told apart, and wins.
        """
        self._tables.open(name)
        path = self._tables.path(name)
        with file_lock(self._tables.root / ".locks", f"compact {name}"):
            delta.keep_history(path, str(name), days=0)
            return delta.compact(path, str(name), target_size or FILE_BYTES)

    def keep(self, name: ObjectName | str, *, versions: Collection[int], days: int) -> None:
        """Do nothing: nobody else removes files here."""

    def clean(self, name: ObjectName | str, *, versions: Collection[int], days: int, dry_run: bool = False) -> Removal:
        """Remove files that no kept version needs."""
        newest = self._tables.open(name).version()
        folder = self._tables.path(name)
        kept = {version for version in versions if 0 <= version <= newest and delta.has_log(folder, version)}
        gone = sorted(version for version in versions if 0 <= version <= newest and version not in kept)
        if gone:
            LOG.warning("The log of version(s) %s of %s is gone: their files cannot be kept.", gone, name)
        if not dry_run:
            delta.keep_history(folder, str(name), days + MARGIN_DAYS)
        listed = delta.vacuum(folder, str(name), sorted(kept), days, dry_run=True)
        # A checkpoint may have forgotten when a file was removed, and its own age says nothing about that.
        removed = removed_within(folder, days)
        needed = {removed[unquote(file)] for file in listed if unquote(file) in removed}
        if needed:
            kept |= {version for version in needed if delta.has_log(folder, version)}
            listed = delta.vacuum(folder, str(name), sorted(kept), days, dry_run=True)
        # What was removed before stays on the list for as long as the log knows of it.
        sizes = list(_sizes(folder / file for file in listed))
        if sizes and not dry_run:
            delta.vacuum(folder, str(name), sorted(kept), days, dry_run=False)
        halves = unfinished(folder, days)
        sizes += _sizes(halves)
        if not dry_run:
            for file in halves:
                file.unlink(missing_ok=True)
        return Removal(len(sizes), sum(sizes))

    def folders(self, catalog: str, schema: str) -> list[str]:
        """Return the names of a schema's folders that hold a table, or what is left of one."""
        return self._tables.folders(catalog, schema)

    def inspect(self, name: ObjectName | str) -> Inspection:
        """Look into every file of a table."""
        return mending.inspect(self._tables.path(name))

    def mend(self, name: ObjectName | str, *, keep: Keeping, aside: str, dry_run: bool = False) -> tuple[str, ...]:
        """Bring a damaged table to a state that can be read; what is damaged goes to `<home>/aside`."""
        folder = self._tables.path(name)
        if not folder.is_dir():
            return ()
        target = self._home / "aside" / aside / folder.relative_to(self._tables.root)
        steps = mending.Mending(folder, target, keep).plan()
        for step in () if dry_run else steps:
            step.act()
        self._tables.forget(name)
        return tuple(step.text for step in steps)

    def inspect_files(self) -> tuple[Damage, ...]:
        """Read the record of functions, and each feature spec."""
        return tuple(home_files.inspect(self._home))

    def mend_files(self, *, aside: str, dry_run: bool = False) -> tuple[str, ...]:
        """Put a damaged record of functions aside: they are registered again by the next run."""
        return home_files.mend(self._home, self._home / "aside" / aside, dry_run=dry_run)

    @property
    def _home(self) -> Path:
        return self._tables.root.parent

    def explanation(self, error: BaseException) -> DamagedTableError | None:
        """Return the damage of a table that was read which an engine's error comes from."""
        return self._tables.behind(error)


def _sizes(files: Iterable[Path]) -> Iterable[int]:
    for file in files:
        if file.exists():
            yield file.stat().st_size
