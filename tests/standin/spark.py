"""JVM Spark with Delta and the catalogs `dev`, `staging`, `prod`, and what it knows about its tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.parity import requirements_check
from tests.parity.spark_session import start_session
from tests.standin import jars

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

CATALOGS = ("dev", "staging", "prod")
_DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


def missing() -> str | None:
    """Say in one line what the Databricks workspace's tests lack and how to get it, or None."""
    wants = [text for text in (requirements_check.missing(), jars.missing()) if text]
    return "; ".join(wants) or None


def start_delta_session(scratch: Path) -> SparkSession:
    """Start JVM Spark on this machine with three-level names; one a process.

    The three catalogs share one set of schemas: `dev.a.b` and `prod.a.b` are the same table. Use one catalog a test, or
    schemas of different names.

    Args:
        scratch: A folder for tables and for whatever else Spark writes.
    """
    settings = {
        "spark.jars": ",".join(str(path) for path in jars.delta_jars()),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": _DELTA_CATALOG,
        # As few tasks a commit as can be: Delta's default is 50 for the log alone.
        "spark.databricks.delta.snapshotPartitions": "1",
        # As on Databricks: Spark 4 and serverless compute speak ANSI SQL.
        "spark.sql.ansi.enabled": "true",
    }
    settings |= {f"spark.sql.catalog.{catalog}": _DELTA_CATALOG for catalog in CATALOGS}
    spark = start_session(scratch, settings)
    manager = spark._jsparkSession.sessionState().catalogManager()
    # DeltaCatalog extends the session's catalog only. A catalog of another name works too once it delegates to the same
    # one, which Spark sets for the session's catalog and keeps in a private field.
    field_of = spark._jvm.java.lang.Class.forName(
        "org.apache.spark.sql.connector.catalog.DelegatingCatalogExtension"
    ).getDeclaredField("delegate")
    field_of.setAccessible(True)
    delegate = field_of.get(manager.catalog("spark_catalog"))
    for catalog in CATALOGS:
        manager.catalog(catalog).setDelegateCatalog(delegate)
    return spark


@dataclass(frozen=True)
class SparkColumn:
    """A column as Spark knows it."""

    name: str
    type_text: str
    type_json: str
    nullable: bool
    comment: str | None = None


@dataclass(frozen=True)
class SparkTable:
    """A table or view as Spark knows it."""

    table_type: str
    comment: str | None
    columns: list[SparkColumn] = field(default_factory=list)


class SparkTables:
    """What the stand-in's metastore asks about the tables of a Spark session."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def describe(self, full_name: str) -> SparkTable | None:
        """Return a table by its three-level name, or None if there is none."""
        quoted = ".".join(f"`{part}`" for part in full_name.split("."))
        if not self._spark.catalog.tableExists(quoted):
            return None
        rows = [(row["col_name"], row["data_type"]) for row in self._spark.sql(f"DESCRIBE EXTENDED {quoted}").collect()]
        # The columns come first, then a heading, then what is known about the table.
        known = dict(rows[[name for name, _ in rows].index("# Detailed Table Information") :])
        columns = [
            SparkColumn(
                name=column.name,
                type_text=column.dataType.simpleString(),
                type_json=column.json(),
                nullable=column.nullable,
                comment=column.metadata.get("comment"),
            )
            for column in self._spark.table(quoted).schema
        ]
        return SparkTable(
            table_type="VIEW" if known.get("Type") == "VIEW" else "MANAGED",
            comment=known.get("Comment") or None,
            columns=columns,
        )

    def list(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of the tables and views of a schema, sorted."""
        if not self._spark.catalog.databaseExists(f"`{catalog}`.`{schema}`"):
            return []
        return sorted(
            row["tableName"]
            for row in self._spark.sql(f"SHOW TABLES IN `{catalog}`.`{schema}`").collect()
            if not row["isTemporary"]
        )
