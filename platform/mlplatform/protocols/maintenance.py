"""Maintenance of Delta tables: putting small files together, removing old ones, finding and mending damaged ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mlplatform.errors import PlatformError
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


@dataclass(frozen=True)
class Damage:
    """A file of a table that is damaged or gone.

    Attributes:
        file: The file, relative to the table's folder.
        what: What is wrong with it, as in "is gone".
        current: Whether the newest version cannot be read, or not be trusted, for it; else only older ones.
    """

    file: str
    what: str
    current: bool = True

    def __str__(self) -> str:
        """Return it as the beginning of a sentence."""
        return f"{self.file} {self.what}"


@dataclass(frozen=True)
class Inspection:
    """What looking into every file of a table showed.

    Attributes:
        files: Data files of the newest version.
        damages: What is damaged.
        last_good: The newest version whose files are all whole; None: there is none.
        orphans: Data files that no version names, relative to the table's folder.
        unmarked: Data files without a checksum: they can be read, and a value that changed would not show.
        left_to: Who looks after files here, where nobody looked; empty: somebody did.
    """

    files: int = 0
    damages: tuple[Damage, ...] = ()
    last_good: int | None = None
    orphans: tuple[str, ...] = ()
    unmarked: int = 0
    left_to: str = ""


Keeping = Literal["rows", "history", "nothing"]
"""What mending keeps of a table: as many rows as are whole, for nothing makes them again; its versions, for its rows
are computed again, and models name versions; or nothing, for all of it is made again."""


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

    def folders(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of what is kept as tables in a schema, sorted: also of what cannot be read as one."""
        ...

    def inspect(self, name: ObjectName | str) -> Inspection:
        """Look into every file of a table, its log among them; changes nothing.

        Args:
            name: The table; it need not be one that can be read.
        """
        ...

    def mend(self, name: ObjectName | str, *, keep: Keeping, aside: str, dry_run: bool = False) -> tuple[str, ...]:
        """Bring a damaged table to a state that can be read; what is damaged is put aside, and nothing removed.

        An entry of the log that has a copy is put back, and nothing is lost. Else the table goes back to its last good
        version, or is rid of the damaged files; `replaced_since` tells so from then on.

        Args:
            name: The table.
            keep: What is kept of it.
            aside: Name of the folder that takes what is damaged.
            dry_run: Only say what would be done.

        Returns:
            What was done, a sentence each; none where nothing was to be.
        """
        ...

    def inspect_files(self) -> tuple[Damage, ...]:
        """Return what is damaged of what the workspace keeps beside tables: functions and feature specs."""
        ...

    def mend_files(self, *, aside: str, dry_run: bool = False) -> tuple[str, ...]:
        """Put aside what is damaged beside tables and is made again by itself; return what was done."""
        ...

    def explanation(self, error: BaseException) -> PlatformError | None:
        """Return the damage that an error of an engine comes from; None: it comes from something else.

        Args:
            error: As it was raised.
        """
        ...


@contextmanager
def explained(ws: HasMaintenance) -> Iterator[None]:
    """Let an engine's error be raised as the damage that it comes from.

    Args:
        ws: The workspace in which something is done.

    Raises:
        PlatformError: With the table, the file and the way out.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # an engine's panic is no Exception
        explanation = ws.maintenance.explanation(error)
        if explanation is None or explanation is error:
            raise
        raise explanation from error


class HasMaintenance(Protocol):
    """A workspace, as far as explaining errors needs it."""

    @property
    def maintenance(self) -> Maintenance:
        """What it can do for tables' files."""
        ...
