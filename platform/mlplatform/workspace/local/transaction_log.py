"""Which transactions a Delta table has taken, found in its log at once: delta-rs goes through the log for each."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable
from pyarrow import parquet

from mlplatform.protocols.tables import Transaction

# So few are asked for one by one.
_FEW = 3
_DAY = 24 * 60 * 60


def are_committed(path: Path, table: DeltaTable, transactions: Sequence[Transaction]) -> list[bool]:
    """Tell of each transaction whether a table holds it (or a later version of its application).

    Args:
        path: The table's folder.
        table: The opened version.
        transactions: The transactions.
    """
    versions = _app_versions(path / "_delta_log", table.version()) if len(transactions) > _FEW else None
    if versions is None:
        return [_holds(table.transaction_version(item.app_id), item) for item in transactions]
    return [_holds(versions.get(item.app_id), item) for item in transactions]


def removed_within(path: Path, days: int) -> dict[str, int]:
    """Return what files commits of the last days removed: path, relative to the table's folder -> last version with it.

    Args:
        path: The table's folder.
        days: How far back.
    """
    removed: dict[str, int] = {}
    since = time.time() - days * _DAY
    for commit in sorted((path / "_delta_log").glob("*.json")):
        written = commit.stat().st_mtime
        if not commit.stem.isdigit() or written < since:
            continue
        for line in commit.read_text(encoding="utf-8").splitlines():
            item = json.loads(line).get("remove") if '"remove"' in line else None
            if item is not None and item.get("deletionTimestamp", written * 1000) >= since * 1000:
                removed[unquote(item["path"])] = int(commit.stem) - 1
    return removed


def _holds(committed: int | None, transaction: Transaction) -> bool:
    return committed is not None and committed >= transaction.version


def _app_versions(log: Path, version: int) -> dict[str, int] | None:
    """Return application id -> its newest version at a version of the table; None where only delta-rs can tell."""
    versions: dict[str, int] = {}
    first = 0
    try:
        last = log / "_last_checkpoint"
        if last.exists():
            checkpoint = json.loads(last.read_text(encoding="utf-8"))
            if checkpoint["version"] > version or checkpoint.get("parts"):
                return None
            taken = parquet.read_table(log / f"{checkpoint['version']:020}.checkpoint.parquet", columns=["txn"])
            transactions: list[Any] = taken.column("txn").drop_null().to_pylist()
            for item in transactions:
                versions[item["appId"]] = item["version"]
            first = checkpoint["version"] + 1
        for number in range(first, version + 1):
            with (log / f"{number:020}.json").open(encoding="utf-8") as commit:
                for line in commit:
                    # Most lines name files; reading them as JSON would cost more than all the rest.
                    item = json.loads(line).get("txn") if '"txn"' in line else None
                    if item is not None:
                        versions[item["appId"]] = item["version"]
    except (OSError, KeyError, ValueError):
        # Another kind of checkpoint, or a log that was tidied up by other tools.
        return None
    return versions
