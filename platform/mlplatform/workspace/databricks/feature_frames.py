"""Frames of the Databricks feature client: Spark DataFrames with their columns in normal types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.naming import quote
from mlplatform.protocols.table_checks import raise_for_nulls, repeated_keys
from mlplatform.types import normal_table, spark_type
from mlplatform.workspace.shared.feature_frames import ArrowRows, Rows, frame_in, frame_schema
from mlplatform.workspace.shared.frames import is_lazy, is_spark_frame

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_ROWS = "__rows"


@dataclass(frozen=True)
class SparkFrame:
    """A Spark DataFrame, its schema in normal types, and the rows themselves where they came as Arrow or pandas."""

    df: DataFrame
    schema: pa.Schema
    arrow: pa.Table | None = None

    @classmethod
    def of(cls, spark: SparkSession, frame: Any, *, what: str) -> SparkFrame:
        """Take a frame of `ws.frames`, or a Spark, Arrow or pandas frame.

        Args:
            spark: The session.
            frame: The frame.
            what: What it is, for messages.

        Raises:
            FeatureStoreError: If it is not a frame, repeats a column's name, or has a type that features cannot have.
        """
        if is_lazy(frame):
            frame = frame.to_native()
        if is_spark_frame(frame):
            return cls(frame, frame_schema(frame, of=what))
        table = frame_in(frame, of=what)
        return cls(spark.createDataFrame(table), table.schema, table)

    def count(self, conditions: Mapping[str, Column]) -> tuple[int, dict[str, int]]:
        """Return the number of rows, and of those that meet each condition, in one pass."""
        from pyspark.sql import functions as F  # noqa: N812  (its usual name)

        names = list(conditions)
        row = self.df.select(F.count(F.lit(1)), *(F.count_if(conditions[name]) for name in names)).first()
        assert row is not None
        return int(row[0]), {name: int(row[place]) for place, name in enumerate(names, 1)}

    def nulls(self, names: Sequence[str]) -> tuple[int, dict[str, int]]:
        """Return the number of rows, and of the nulls in each column."""
        if self.arrow is not None:
            return self.arrow.num_rows, {name: self.arrow.column(name).null_count for name in names}
        return self.count({name: column(name).isNull() for name in names})


@dataclass(frozen=True)
class SparkRows:
    """Rows for a feature table that stay in Spark."""

    frame: DataFrame
    schema: pa.Schema

    def any(self) -> bool:
        """Tell whether there is a row at all."""
        return not self.frame.isEmpty()

    def check_keys(self, keys: Sequence[str], table: str) -> None:
        """Refuse null and repeated keys.

        Raises:
            TableError: With the columns concerned and the number of rows.
        """
        from pyspark.sql import functions as F  # noqa: N812  (its usual name)

        _, nulls = SparkFrame(self.frame, self.schema).nulls(keys)
        raise_for_nulls(nulls, table)
        counted = self.frame.groupBy(*map(column, keys)).agg(F.count(F.lit(1)).alias(_ROWS))
        repeated = counted.where(F.col(_ROWS) > 1)
        totals = repeated.agg(F.count(F.lit(1)), F.sum(F.col(_ROWS) - 1)).first()
        assert totals is not None
        if totals[0]:
            example = repeated.first()
            assert example is not None
            raise repeated_keys(table, totals[0], totals[1], {key: example[key] for key in keys})


def rows_in(frame: Any, *, of: str) -> Rows:
    """Return rows for a feature table: a Spark DataFrame stays in Spark, and so does what a frame holds.

    Raises:
        FeatureStoreError: As `SparkFrame.of`.
    """
    if is_lazy(frame):
        frame = frame.to_native()
    if is_spark_frame(frame):
        return SparkRows(frame, frame_schema(frame, of=of))
    return ArrowRows(frame_in(frame, of=of))


def column(name: str) -> Column:
    """Return a column by its bare name, dots and all."""
    from pyspark.sql import functions as F  # noqa: N812  (its usual name)

    return F.col(quote(name))


def select(df: DataFrame, schema: pa.Schema, sources: Mapping[str, str] | None = None) -> DataFrame:
    """Return the columns of a schema in its order and types.

    The real client hands a DATE that it looked up by back as a timestamp; here it becomes a date again.

    Args:
        df: The DataFrame.
        schema: The columns to return.
        sources: Where a column goes by another name in the DataFrame.
    """
    types = dict(df.dtypes)
    columns = []
    for field in schema:
        source = (sources or {}).get(field.name, field.name)
        kind = spark_type(field.type)
        typed = column(source) if types.get(source) == kind else column(source).cast(kind)
        columns.append(typed.alias(field.name))
    return df.select(*columns)


def to_arrow(df: DataFrame, schema: pa.Schema) -> pa.Table:
    """Return a DataFrame's rows as Arrow, in exactly these types."""
    table = normal_table(df.toArrow(), of="the result")
    return pa.Table.from_arrays(
        [table.column(name).cast(schema.field(name).type) for name in schema.names], schema=schema
    )
