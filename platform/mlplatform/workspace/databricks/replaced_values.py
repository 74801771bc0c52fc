"""Rows that take the place of those of some values: which these are, in Spark's SQL, and what is checked before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlplatform.naming import ObjectName, quote
from mlplatform.protocols.table_checks import raise_for_held, raise_for_unmeant
from mlplatform.workspace.databricks.literals import literal
from mlplatform.workspace.databricks.spark_errors import translated_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.workspace.databricks.unity import Unity


def values_condition(where: Mapping[str, Sequence[str]]) -> str:
    """Return the condition that rows of some values meet.

    Examples:
        >>> values_condition({"file": ["a.csv", "b.csv"], "reason": ["late"]})
        "`file` IN ('a.csv', 'b.csv') AND `reason` IN ('late')"
    """
    return " AND ".join(
        f"{quote(column)} IN ({', '.join(map(literal, values))})" if values else "false"
        for column, values in where.items()
    )


def check_replacement(
    unity: Unity, name: ObjectName, rows: DataFrame, where: Mapping[str, Sequence[str]], keys: Sequence[str]
) -> int:
    """Return how many rows there are; refuse those that are not meant, or that have the keys of rows that stay.

    Args:
        unity: The connection.
        name: The table.
        rows: The rows, conformed.
        where: Text column -> values of the rows that are replaced.
        keys: The table's key columns.

    Raises:
        TableError: With the number of rows.
    """
    from pyspark.sql import functions as F  # noqa: N812

    stays = f"NOT coalesce({values_condition(where)}, false)"
    with translated_spark(f"Reading the rows for {name}"):
        counted = rows.agg(F.count("*").alias("total"), F.count_if(F.expr(stays)).alias("unmeant")).collect()[0]
        raise_for_unmeant(name, int(counted["unmeant"]), where)
        if keys:
            held = unity.spark.table(name.sql).where(stays).select(*(quote(key) for key in keys))
            raise_for_held(name, rows.join(held, on=list(keys), how="left_semi").count())
    return int(counted["total"])
