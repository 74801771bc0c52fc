"""One change of a table of the platform's own that is more than a new column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlplatform.naming import ObjectName
from mlplatform.protocols.workspace import Workspace


@dataclass(frozen=True)
class Migration:
    """What brings a table to the next version of its schema.

    Attributes:
        number: Its place among all migrations; never given again.
        table: The table's name in the schema `ops`.
        what: What it does, in words: shown while it runs.
        apply: Changes the table. A run that is killed after it, and before the table is marked, applies it once more:
            it must do no harm to a table that it has changed.
    """

    number: int
    table: str
    what: str
    apply: Callable[[Workspace, ObjectName], None]


def newest_of(migrations: Sequence[Migration], table: str) -> int:
    """Return the number of a table's newest migration; 0 without one."""
    return max((item.number for item in migrations if item.table == table), default=0)


def waiting(migrations: Sequence[Migration], table: str, number: int) -> list[Migration]:
    """Return the migrations that a table has not gone through, in order.

    Args:
        migrations: All of them.
        table: The table's name in the schema `ops`.
        number: That of the last one that it has gone through.
    """
    return sorted(
        (item for item in migrations if item.table == table and item.number > number), key=lambda item: item.number
    )
