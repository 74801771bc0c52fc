"""Feature tables opened for a lookup: handle, declaration and id of the one version that will be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from mlplatform.protocols.tables import TableInfo
    from mlplatform.workspace.local.tables import LocalTables


@dataclass(frozen=True)
class OpenTable:
    """A table at one version."""

    info: TableInfo
    handle: DeltaTable
    table_id: str

    @property
    def version(self) -> int:
        """The Delta version."""
        return self.info.version


def open_tables(
    tables: LocalTables, names: Iterable[str], *, versions: Mapping[str, int] | None = None
) -> dict[str, OpenTable]:
    """Open tables, each at its newest version or at a given one.

    Args:
        tables: The workspace's tables.
        names: Which.
        versions: Version by name.

    Raises:
        TableError: If one does not exist, or has no such version.
    """
    opened = {}
    for name in dict.fromkeys(names):
        handle = tables.open(name, version=(versions or {}).get(name))
        info = replace(tables.info(name, handle), name=name)
        opened[name] = OpenTable(info=info, handle=handle, table_id=str(handle.metadata().id))
    return opened
