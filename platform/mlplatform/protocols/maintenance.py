"""Maintenance of Delta tables: putting small files together, and removing files that no kept version needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName


@dataclass(frozen=True)
class TableFiles:
    """The data files of a table's newest version.

    Attributes:
        files: How many.
        size: Their bytes.
        small: Files that might be put together; an estimate where the home does not list files.
    """

    files: int
    size: int
    small: int


@dataclass(frozen=True)
class Removal:
    """Files that no kept version needs.

    Attributes:
        files: How many; None where the home does not say.
        size: Their bytes; None where the home does not say.
    """

    files: int | None
    size: int | None


@runtime_checkable
class Maintenance(Protocol):
    """What a workspace can do for its tables' files. Rows, declarations and transactions are never touched.

    Attributes:
        by_runs: Whether a run of a pipeline puts its tables' small files together itself.
    """

    by_runs: bool

    def left_to(self, name: ObjectName | str) -> str:
        """Return who looks after a table's files by itself, so that nothing is left to do; empty: nobody."""
        ...

    def files(self, name: ObjectName | str, *, target_size: int | None = None) -> TableFiles:
        """Return what files a table has.

        Args:
            name: The table.
            target_size: Bytes that a file is to grow to, where the home lets itself be told; None: the home's own.
        """
        ...

    def compact(self, name: ObjectName | str, *, target_size: int | None = None) -> int:
        """Put small files together, in one commit that changes no row; return how many files were replaced.

        Args:
            name: The table.
            target_size: Bytes that a file is to grow to, where the home lets itself be told; None: the home's own.

        Raises:
            UnavailableError: If other writers kept winning.
        """
        ...

    def keep(self, name: ObjectName | str, *, versions: Collection[int], days: int) -> None:
        """Tell a table how long its old versions are kept, where others than this library remove files, too.

        Args:
            name: The table.
            versions: Versions that are kept however old they are.
            days: How long a version can be read after it was the newest.
        """
        ...

    def clean(self, name: ObjectName | str, *, versions: Collection[int], days: int, dry_run: bool = False) -> Removal:
        """Remove files that no kept version needs: of older versions, and those that no version ever had.

        Args:
            name: The table.
            versions: Versions that are kept however old they are.
            days: How long a version can be read after it was the newest.
            dry_run: Only say which; nothing is removed.
        """
        ...
