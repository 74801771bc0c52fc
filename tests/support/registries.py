"""A registry's database that MLflow made once, for all workspaces of a test run.

MLflow makes its tables in some seventy steps, which take seconds each time and always come to the same. Tests that
kill its making do so in processes of their own, which do without this.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from mlplatform.workspace.local import registry

if TYPE_CHECKING:
    import pytest


def make_once(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have local workspaces of this process copy a database that the first of them makes.

    Args:
        patch: What is undone with it.
        folder: Where the database is kept.
    """
    make, kept = registry._make, folder / "mlflow.db"

    def copy(database: Path) -> None:
        if not kept.exists():
            try:
                make(kept)
            except BaseException:
                kept.unlink(missing_ok=True)  # what is half made is nobody's copy
                raise
        with closing(sqlite3.connect(kept)) as whole, closing(sqlite3.connect(database)) as target:
            whole.backup(target)

    patch.setattr(registry, "_make", copy)
