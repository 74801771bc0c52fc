"""The JVM Spark session of the judge, set up for many tiny queries."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

# What makes a tiny query slow is the planning and compiling around it, not the rows. So: nothing adaptive, no generated
# code, one partition, no Hive, no bookkeeping for a UI. None of it changes an answer; only how it is computed.
_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.default.parallelism": "1",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.leafNodeDefaultParallelism": "1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.ui.retainedExecutions": "1",
    "spark.ui.retainedJobs": "1",
    "spark.ui.retainedStages": "1",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


def start_session(scratch: Path) -> SparkSession:
    """Start JVM Spark on this machine, in UTC.

    Args:
        scratch: A folder for whatever Spark writes.
    """
    # Spark starts its Python workers by name: they have to be this interpreter, with this path.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    from pyspark.sql import SparkSession  # noqa: PLC0415 - after the environment is set

    builder = SparkSession.builder.master("local[*]").appName("parity judge")
    for name, value in _SETTINGS.items():
        builder = builder.config(name, value)
    return (
        builder.config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.local.dir", str(scratch / "spark"))
        .getOrCreate()
    )
