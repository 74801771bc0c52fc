"""Commits to Delta tables through Spark: appends and overwrites, tried again when others commit meanwhile."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mlplatform.errors import UnavailableError
from mlplatform.naming import ObjectName
from mlplatform.workspace.databricks.literals import literal
from mlplatform.workspace.databricks.spark_errors import is_conflict, translated_spark
from mlplatform.workspace.databricks.table_metadata import OWN, newest_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.workspace.databricks.unity import Unity

T = TypeVar("T")

ATTEMPTS = 8
_RECENT = 100


@dataclass(frozen=True)
class Commit:
    """A commit in a table's history: its version, its mark (Delta's `userMetadata`), and the rows that it wrote."""

    version: int
    mark: str
    rows: int


def append_rows(name: ObjectName, rows: DataFrame, *, mark: str, token: str = "") -> None:
    """Append rows.

    Args:
        name: The table.
        rows: The rows, in the table's schema.
        mark: What the commit is marked with.
        token: Delta's application id of this append; a second append with the same is skipped by Delta.

    Raises:
        TableError: If the table refuses the rows.
        UnavailableError: If other writers kept winning.
    """

    def write() -> None:
        writer = rows.write.format("delta").mode("append").option("userMetadata", mark)
        writer.options(**_once(token)).saveAsTable(name.sql)

    retrying_conflicts(f"Appending to {name}", write)


def commits_of(unity: Unity, name: ObjectName, marks: Sequence[str]) -> list[Commit]:
    """Return the commits with these marks, newest first; the newest part of the history is looked at first."""
    from pyspark.sql import functions as F  # noqa: N812

    for limit in (f" LIMIT {_RECENT}", ""):
        with translated_spark(f"Reading the history of {name}"):
            history = unity.spark.sql(f"DESCRIBE HISTORY {name.sql}{limit}").where(
                F.col("userMetadata").isin(list(marks))
            )
            commits = history.select("version", "userMetadata", "operationMetrics").collect()
        if commits:
            return [
                Commit(int(row[0]), str(row[1]), int((row[2] or {}).get("numOutputRows", 0)))
                for row in sorted(commits, reverse=True, key=lambda row: int(row[0]))
            ]
    return []


def commit_of(unity: Unity, name: ObjectName, mark: str) -> Commit:
    """Return the commit that was just made with a mark; there is none where no rows changed."""
    commits = commits_of(unity, name, [mark])
    return commits[0] if commits else Commit(newest_version(unity, name), mark, 0)


def overwrite_where(unity: Unity, name: ObjectName, rows: DataFrame, condition: str) -> Commit:
    """Replace the rows that meet a condition, in one commit; the table's keys, comments and tags stay.

    Raises:
        TableError: If the table refuses the rows.
        UnavailableError: If other writers kept winning.
    """
    mark = uuid.uuid4().hex
    replace_rows(name, rows, condition, mark=mark)
    return commit_of(unity, name, mark)


def replace_rows(name: ObjectName, rows: DataFrame, condition: str, *, mark: str, token: str = "") -> None:
    """Replace the rows that meet a condition.

    Args:
        name: The table.
        rows: The rows, in the table's schema; they meet the condition.
        condition: In Spark's SQL.
        mark: What the commit is marked with.
        token: Delta's application id of this write; a second write with the same is skipped by Delta.

    Raises:
        TableError: If the table refuses the rows.
        UnavailableError: If other writers kept winning.
    """

    def write() -> None:
        # Also to replace all: without `replaceWhere` it would be another table, without clustering.
        writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", condition)
        writer.option("userMetadata", mark).options(**_once(token)).saveAsTable(name.sql)

    retrying_conflicts(f"Writing to {name}", write)


def _once(token: str) -> dict[str, str]:
    return {"txnAppId": token, "txnVersion": "1"} if token else {}


def set_property(unity: Unity, name: ObjectName, key: str, value: str) -> None:
    """Set a property of the platform's own."""
    clause = f"SET TBLPROPERTIES ({literal(f'{OWN}{key}')} = {literal(value)})"
    retrying_conflicts(
        f"Setting the property {key} of {name}", lambda: unity.spark.sql(f"ALTER TABLE {name.sql} {clause}")
    )


def retrying_conflicts(doing: str, commit: Callable[[], T]) -> T:
    """Return what a commit returns, trying again when another writer's came first.

    Raises:
        TableError: If it fails for another reason.
        UnavailableError: If other writers kept winning.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with translated_spark(doing):
            try:
                return commit()
            except Exception as error:
                if not is_conflict(error):
                    raise
                last = error
        # Spread the losers out, so that they do not all meet again.
        time.sleep(min(10.0, 0.1 * 2**attempt) * random.uniform(0.3, 1))  # noqa: S311  (no secret)
    raise UnavailableError(
        f"{doing} failed {ATTEMPTS} times because others wrote to it meanwhile.",
        hint="Run again; nothing of this write was kept.",
    ) from last
