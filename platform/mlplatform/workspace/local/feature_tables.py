"""Feature tables opened for a lookup: handle and declaration of the one version that will be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from mlplatform.protocols.tables import TableInfo
    from mlplatform.workspace.local.tables import LocalTables


@dataclass(frozen=True)
class OpenDeltaTable:
    """A feature table at one version."""

    info: TableInfo
    handle: DeltaTable

    @property
    def table_id(self) -> str:
        """Delta's id: another one when the table is dropped and made again."""
        return self.info.id


def open_tables(
    tables: LocalTables, names: Iterable[str], *, versions: Mapping[str, int] | None = None
) -> dict[str, OpenDeltaTable]:
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
        opened[name] = OpenDeltaTable(replace(tables.info(name, handle), name=name), handle)
    return opened
