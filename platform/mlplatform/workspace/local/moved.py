"""A workspace whose folder was moved or copied: MLflow's records name where its files lie now.

MLflow keeps the full address of each run's and model's files. Left as they are, they would lead a moved workspace to a
folder that is gone, and a copied one into the files of the first.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

LOG = logging.getLogger(__name__)
# Where MLflow keeps addresses of files. A version of MLflow that knows no such column has nothing to follow there.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow(database: Path, artifacts: Path) -> None:
    """Let MLflow's records name the folder in which the files of runs and models lie now.

    Each experiment of the workspace was given this folder when it was made: one that names another folder of the same
    two last names was made where the workspace lay before. Addresses elsewhere are left alone.

    Args:
        database: MLflow's database; nothing is done where there is none yet.
        artifacts: The folder that holds the files of runs and models.
    """
    if not database.is_file():
        return
    now, ending = artifacts.as_uri(), f"/{artifacts.parent.name}/{artifacts.name}"
    # The inner one commits, or takes all back; the outer one closes.
    with closing(sqlite3.connect(database)) as connection, connection:
        known = [(table, column) for table, column in _ADDRESSES if column in _columns(connection, table)]
        if ("experiments", "artifact_location") not in known:
            return  # MLflow has not made its tables yet
        named = [row[0] for row in connection.execute("SELECT DISTINCT artifact_location FROM experiments")]
        for before in named:
            if before and before != now and before.startswith("file://") and before.endswith(ending):
                LOG.info("The workspace lay elsewhere: addresses below %s become those below %s.", before, now)
                for table, column in known:
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = :now || substr("{column}", length(:before) + 1) '
                        f'WHERE substr("{column}", 1, length(:before)) = :before',
                        {"now": now, "before": before},
                    )


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in connection.execute(f'PRAGMA table_info("{table}")')}
