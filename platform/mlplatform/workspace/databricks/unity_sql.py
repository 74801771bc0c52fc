"""The seam for what only Databricks' own Spark knows: statements of Unity Catalog, and Auto Loader.

Everything that open-source Spark cannot parse or read passes here and nowhere else, so that tests on open-source Spark
can take its place, and the docs can list what was never tried on a live workspace. Each statement names the page of
Databricks' documentation that has its syntax where it is made; the tests restate those pages in a list of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class UnitySql(Protocol):
    """What the parts of the Databricks workspace ask for."""

    def execute(self, statement: str) -> None:
        """Run one statement that gives no rows: keys, tags, grants, functions in Python."""
        ...

    def read_stream(self, path: str, options: Mapping[str, str], schema: str) -> DataFrame:
        """Return Auto Loader's stream of a folder.

        Args:
            path: The folder, in a volume.
            options: Auto Loader's and the format's, as in `cloudFiles.format`.
            schema: Columns and types, as in DDL.
        """
        ...


class DatabricksSql:
    """The real thing: hands statements to the workspace's Spark session."""

    def __init__(self, spark: Callable[[], SparkSession]) -> None:
        """Take what gives the session; it is asked for when the first statement runs."""
        self._spark = spark

    def execute(self, statement: str) -> None:
        """Run one statement."""
        self._spark().sql(statement)

    def read_stream(self, path: str, options: Mapping[str, str], schema: str) -> DataFrame:
        """Return Auto Loader's stream of a folder."""
        return self._spark().readStream.format("cloudFiles").options(**options).schema(schema).load(path)
