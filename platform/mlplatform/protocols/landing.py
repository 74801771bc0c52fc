"""What a workspace may offer for landing files, beside reading them where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mlplatform.naming import ObjectName

# Columns of a landed table beside the file's own.
LANDED_FILE = "_landed_path"
LANDED_ORDER = "_landed_order"
LANDED_RESCUED = "_rescued_data"
LANDED_CORRUPT = "_corrupt_record"


@runtime_checkable
class AutoLoader(Protocol):
    """Finds new files without listing the folder, and lands each once in a table, as text."""

    def land(
        self,
        folder: Path,
        files: str,
        *,
        columns: Sequence[str],
        into: ObjectName,
        newlines_in_values: bool,
        delimiter: str,
        encoding: str,
    ) -> None:
        """Bring all new files into a table, which is created if it does not exist.

        Args:
            folder: The landing folder.
            files: Glob below it.
            columns: The declared columns of the CSV files; their rows get, beside, `_landed_path`, `_landed_order`
                (rising within a file), `_rescued_data` and, in malformed rows, `_corrupt_record`.
            into: The table.
            newlines_in_values: Whether a value in quotes may go over several lines; else each line is read by itself.
            delimiter: What separates values.
            encoding: Of the files, by its name in Java.

        Raises:
            TableError: If that fails; what has landed stays, and the next call goes on after it.
        """
        ...

    def forget(self, table: ObjectName, files: Sequence[str]) -> None:
        """Remove the rows of files, by `_landed_path`, from a landed table: they have been moved on."""
        ...
