"""Maintenance of the local workspace's tables, by delta-rs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.protocols.maintenance import Removal, TableFiles
from mlplatform.workspace.local import delta
from mlplatform.workspace.local.data_files import FILE_BYTES

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName
    from mlplatform.workspace.local.tables import LocalTables


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
        sizes = pa.table(self._tables.open(name).get_add_actions()).column("size_bytes")
        limit = (target_size or FILE_BYTES) // 2
        small = pc.sum(pc.less(sizes, pa.scalar(limit)).cast(pa.int64())).as_py() or 0
        return TableFiles(len(sizes), pc.sum(sizes).as_py() or 0, small)

    def compact(self, name: ObjectName | str, *, target_size: int | None = None) -> int:
        """Put small files together; return how many files were replaced."""
        self._tables.open(name)
        return delta.compact(self._tables.path(name), str(name), target_size or FILE_BYTES)

    def keep(self, name: ObjectName | str, *, versions: Collection[int], days: int) -> None:
        """Do nothing: nobody else removes files here."""

    def clean(self, name: ObjectName | str, *, versions: Collection[int], days: int, dry_run: bool = False) -> Removal:
        """Remove files that no kept version needs."""
        self._tables.open(name)
        folder = self._tables.path(name)
        kept = [version for version in versions if 0 <= version <= self._tables.version(name)]
        # What was removed before stays on the list for as long as the log knows of it.
        listed = [folder / file for file in delta.vacuum(folder, str(name), kept, days, dry_run=True)]
        sizes = list(_sizes(listed))
        if sizes and not dry_run:
            delta.vacuum(folder, str(name), kept, days, dry_run=False)
        return Removal(len(sizes), sum(sizes))


def _sizes(files: Iterable[Path]) -> Iterable[int]:
    for file in files:
        if file.exists():
            yield file.stat().st_size
