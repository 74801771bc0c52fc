"""Commits to Delta tables through Spark: appends, overwrites and merges, tried again when others commit meanwhile."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from mlplatform.errors import UnavailableError
from mlplatform.naming import ObjectName, quote
from mlplatform.workspace.databricks.spark_errors import is_conflict, translated_spark
from mlplatform.workspace.databricks.spark_frames import spark_name
from mlplatform.workspace.databricks.table_metadata import NAME_MAPPING, needs_mapping, newest_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

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
    once = {"txnAppId": token, "txnVersion": "1"} if token else {}

    def write() -> None:
        writer = rows.write.format("delta").mode("append").option("userMetadata", mark)
        writer.options(**once).saveAsTable(name.sql)

    retrying_conflicts(f"Appending to {name}", write)


def commits_of(ws: DatabricksWorkspace, name: ObjectName, marks: Sequence[str]) -> list[Commit]:
    """Return the commits with these marks, newest first; the newest part of the history is looked at first."""
    from pyspark.sql import functions as F  # noqa: N812

    for limit in (f" LIMIT {_RECENT}", ""):
        with translated_spark(f"Reading the history of {name}"):
            history = ws.spark.sql(f"DESCRIBE HISTORY {name.sql}{limit}").where(F.col("userMetadata").isin(list(marks)))
            found = history.select("version", "userMetadata", "operationMetrics").collect()
        if found:
            return [
                Commit(int(row[0]), str(row[1]), int((row[2] or {}).get("numOutputRows", 0)))
                for row in sorted(found, reverse=True, key=lambda row: int(row[0]))
            ]
    return []


def commit_of(ws: DatabricksWorkspace, name: ObjectName, mark: str) -> Commit:
    """Return the commit that was just made with a mark; there is none where no rows changed."""
    found = commits_of(ws, name, [mark])
    return found[0] if found else Commit(newest_version(ws, name), mark, 0)


def overwrite_where(ws: DatabricksWorkspace, name: ObjectName, rows: DataFrame, condition: str) -> Commit:
    """Replace the rows that meet a condition, in one commit; the table's keys, comments and tags stay.

    Raises:
        TableError: If the table refuses the rows.
        UnavailableError: If other writers kept winning.
    """
    mark = uuid.uuid4().hex

    def write() -> None:
        # Also to replace all: without `replaceWhere` it would be another table, without clustering.
        writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", condition)
        writer.option("userMetadata", mark).saveAsTable(name.sql)

    retrying_conflicts(f"Writing to {name}", write)
    return commit_of(ws, name, mark)


def merge_rows(
    ws: DatabricksWorkspace, name: ObjectName, rows: DataFrame, schema: pa.Schema, keys: Sequence[str]
) -> int:
    """Update the rows whose keys match where a value differs, insert the others; return how many were written.

    Args:
        ws: The workspace.
        name: The table; it has all columns of the rows.
        rows: The rows, cast; keys are not null and unique.
        schema: Their columns.
        keys: The key columns.

    Raises:
        TableError: If the table refuses the rows.
        UnavailableError: If other writers kept winning.
    """
    view = f"mlplatform_merge_{uuid.uuid4().hex}"
    on = " AND ".join(f"t.{quote(key)} = s.{quote(key)}" for key in keys)
    values = [field for field in schema if field.name not in keys]
    # Maps cannot be compared: they count as changed.
    differs = " OR ".join(
        "true" if "map<" in spark_name(field.type) else f"NOT (t.{quote(field.name)} <=> s.{quote(field.name)})"
        for field in values
    )
    update = ", ".join(f"{quote(field.name)} = s.{quote(field.name)}" for field in values)
    matched = f"WHEN MATCHED AND ({differs}) THEN UPDATE SET {update} " if values else ""
    columns = ", ".join(quote(column) for column in schema.names)
    inserted = ", ".join(f"s.{quote(column)}" for column in schema.names)
    statement = (
        f"MERGE INTO {name.sql} t USING {view} s ON {on} {matched}"
        f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({inserted})"
    )
    rows.createOrReplaceTempView(view)
    try:
        result = retrying_conflicts(f"Merging into {name}", lambda: ws.spark.sql(statement).collect())
    finally:
        ws.spark.catalog.dropTempView(view)
    return int(result[0]["num_affected_rows"])


def add_columns(ws: DatabricksWorkspace, name: ObjectName, fields: Sequence[pa.Field]) -> None:
    """Add columns, which may be null."""
    if needs_mapping(fields):
        retrying_conflicts(
            f"Adding columns to {name}",
            lambda: ws.spark.sql(f"ALTER TABLE {name.sql} SET TBLPROPERTIES ({NAME_MAPPING})"),
        )
    if fields:
        columns = ", ".join(f"{quote(field.name)} {spark_name(field.type)}" for field in fields)
        retrying_conflicts(
            f"Adding columns to {name}", lambda: ws.spark.sql(f"ALTER TABLE {name.sql} ADD COLUMNS ({columns})")
        )


def time_literal(moment: datetime) -> str:
    """Return a moment as a literal of Spark's SQL, in UTC whatever the session's zone is."""
    return f"TIMESTAMP '{moment.astimezone(UTC).isoformat(sep=' ', timespec='microseconds')}'"


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
        time.sleep(min(10.0, 0.1 * 2**attempt) * random.uniform(0.3, 1))  # noqa: S311
    raise UnavailableError(
        f"{doing} failed {ATTEMPTS} times because others wrote to it meanwhile.",
        hint="Run again; nothing of this write was kept.",
    ) from last
