"""JVM Spark with Delta and the catalogs `dev`, `staging`, `prod`, and what it knows about its tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.parity import requirements_check
from tests.parity.spark_session import start_session
from tests.standin import jars
from tests.standin.metastore import Column, TableInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

CATALOGS = ("dev", "staging", "prod")
_DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


def missing() -> str | None:
    """Say in one line what the Databricks workspace's tests lack and how to get it, or None."""
    wants = [text for text in (requirements_check.missing(), jars.missing()) if text]
    return "; ".join(wants) or None


def start_delta_session(scratch: Path, more: Mapping[str, str] | None = None) -> SparkSession:
    """Start JVM Spark on this machine with three-level names; one a process.

    The three catalogs share one set of schemas: `dev.a.b` and `prod.a.b` are the same table. Use one catalog a test, or
    schemas of different names.

    Args:
        scratch: A folder for tables and for whatever else Spark writes.
        more: Settings over those that suit many tiny queries.
    """
    settings = {
        "spark.jars": ",".join(str(path) for path in jars.delta_jars()),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": _DELTA_CATALOG,
        # As few tasks a commit as can be: Delta's default is 50 for the log alone.
        "spark.databricks.delta.snapshotPartitions": "1",
        # It keeps much of what it planned for a thousand tests: with 1 GB it did little but look for room in the end.
        "spark.driver.memory": "4g",
        # It lives long: code that is compiled well pays, in the processor time of appends and merges after some fifty.
        # Without Hadoop's native library each file that is made is a `chmod` of its own: with VFORK, of one process.
        "spark.driver.extraJavaOptions": (
            "-Duser.timezone=UTC -XX:+UseSerialGC -Djdk.lang.Process.launchMechanism=VFORK"
        ),
        # Its commits are safe among the threads of one process, which is all that there is; the default's are among
        # processes, and start a `readlink` for each.
        "spark.delta.logStore.file.impl": "io.delta.storage.LocalLogStore",
        # As on Databricks: Spark 4 and serverless compute speak ANSI SQL.
        "spark.sql.ansi.enabled": "true",
    }
    # A write that fails is what some tests are about: the error comes back, pages of Java on stderr need not.
    settings["spark.log.level"] = "OFF"
    settings |= {f"spark.sql.catalog.{catalog}": _DELTA_CATALOG for catalog in CATALOGS}
    settings |= more or {}
    spark = start_session(scratch, settings)
    _share_catalogs(spark)
    _share_catalogs_in_streams()
    return spark


def _share_catalogs(spark: SparkSession) -> None:
    """Let the catalogs of a session be those of the session's own catalog, under other names.

    DeltaCatalog extends the session's catalog only. One of another name works too once it delegates to the same, which
    Spark sets for the session's catalog and keeps in a private field.
    """
    manager = spark._jsparkSession.sessionState().catalogManager()
    field_of = spark._jvm.java.lang.Class.forName(
        "org.apache.spark.sql.connector.catalog.DelegatingCatalogExtension"
    ).getDeclaredField("delegate")
    field_of.setAccessible(True)
    delegate = field_of.get(manager.catalog("spark_catalog"))
    for catalog in CATALOGS:
        manager.catalog(catalog).setDelegateCatalog(delegate)


def _share_catalogs_in_streams() -> None:
    """Do the same in the session that Spark makes for each stream, before a batch of it is handed over."""
    from pyspark.sql.utils import ForeachBatchFunction

    start = ForeachBatchFunction.__init__

    def sharing(self: ForeachBatchFunction, session: SparkSession, func: Callable[[DataFrame, int], None]) -> None:
        def shared(batch: DataFrame, number: int) -> None:
            _share_catalogs(batch.sparkSession)
            func(batch, number)

        start(self, session, shared)

    ForeachBatchFunction.__init__ = sharing


class SparkTables:
    """What the stand-in's metastore asks about the tables of a Spark session; see `metastore.TableProvider`."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def describe(self, full_name: str) -> TableInfo | None:
        """Return a table or view by its three-level name, or None if there is none."""
        from pyspark.sql.types import StructType

        # Of the session's catalog and of Delta's log themselves: `Catalog.getTable` and `DESCRIBE DETAIL` are queries,
        # and this is asked for with every call about a table.
        _, schema, name = full_name.split(".")
        session, jvm = self._spark._jsparkSession, self._spark._jvm
        catalog = session.sessionState().catalog()
        place = jvm.org.apache.spark.sql.catalyst.TableIdentifier(name, jvm.scala.Option.apply(schema))
        if not catalog.tableExists(place):
            return None
        known = catalog.getTableMetadata(place)
        if known.tableType().name() == "VIEW":
            comment = known.comment().get() if known.comment().isDefined() else ""
            return TableInfo(_columns(self._spark.table(_quoted(full_name)).schema), comment, "VIEW")
        metadata = jvm.org.apache.spark.sql.delta.DeltaLog.forTableWithSnapshot(session, place)._2().metadata()
        properties = dict(jvm.scala.jdk.javaapi.CollectionConverters.asJava(metadata.configuration()))
        columns = _columns(StructType.fromJson(json.loads(metadata.schema().json())))
        # A table that is made again has another id.
        return TableInfo(columns, metadata.description() or "", "MANAGED", properties, metadata.id())

    def list(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of the tables and views of a schema, sorted."""
        if not self._spark.catalog.databaseExists(_quoted(f"{catalog}.{schema}")):
            return []
        rows = self._spark.sql(f"SHOW TABLES IN {_quoted(f'{catalog}.{schema}')}").collect()
        return sorted(row["tableName"] for row in rows if not row["isTemporary"])

    def schemas(self, catalog: str) -> list[str]:
        """Return the bare names of a catalog's schemas, sorted; all catalogs share them."""
        return sorted(row["namespace"] for row in self._spark.sql(f"SHOW SCHEMAS IN {_quoted(catalog)}").collect())


def _columns(schema: StructType) -> list[Column]:
    return [
        Column(column.name, column.dataType.simpleString(), column.nullable, column.metadata.get("comment") or "")
        for column in schema
    ]


def _quoted(name: str) -> str:
    return ".".join(f"`{part}`" for part in name.split("."))
