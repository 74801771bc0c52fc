"""Merging rows into a Delta table through Spark: by its keys."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.naming import ObjectName, quote
from mlplatform.workspace.databricks import delta
from mlplatform.workspace.databricks.spark_frames import spark_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.workspace.databricks.unity import Unity


def merge_rows(unity: Unity, name: ObjectName, rows: DataFrame, schema: pa.Schema, keys: Sequence[str]) -> int:
    """Update the rows whose keys match where a value differs, insert the others; return how many were written.

    Args:
        unity: The connection.
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
        result = delta.retrying_conflicts(f"Merging into {name}", lambda: unity.spark.sql(statement).collect())
    finally:
        unity.spark.catalog.dropTempView(view)
    return int(result[0]["num_affected_rows"])
