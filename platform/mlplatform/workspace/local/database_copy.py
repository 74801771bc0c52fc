"""A copy of MLflow's database, for who only reads: MLflow writes where it connects, if only to see what is there.

The copy is asked in the database's place; it can be told where files lie now (`moved`), and be thrown away.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

_PATIENCE_SECONDS = 20.0
_JOURNAL = "-journal"


def make(database: Path, copy: Path) -> None:
    """Copy a database as it is between two writes of others; nothing is written beside it.

    Args:
        database: The database; without one there is no copy.
        copy: The file to make.
    """
    if not database.is_file():
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not _copied(database, copy):
        # A writer was killed: what it left beside the database takes its last write back, here in the copy.
        for ending in (_JOURNAL, ""):
            left = database.with_name(database.name + ending)
            if left.is_file():
                shutil.copyfile(left, copy.with_name(copy.name + ending))


def _copied(database: Path, copy: Path) -> bool:
    address = f"{database.as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error:
        # A file that is no database is copied as well: MLflow says so.
        copy.unlink(missing_ok=True)
        return False
    return True
