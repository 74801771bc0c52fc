"""The JVM Spark session of the judge, set up for many tiny queries."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
    # Otherwise every call on a column or frame asks the JVM four more things, for nicer error messages.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}


def start_session(scratch: Path, more: Mapping[str, str] | None = None) -> SparkSession:
    """Start JVM Spark on this machine, in UTC.

    Args:
        scratch: A folder for whatever Spark writes.
        more: Settings beside ours.
    """
    # Spark starts its Python workers by name: they have to be this interpreter, with this path.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    from pyspark.sql import SparkSession

    _remember_java_names()

    builder = SparkSession.builder.master("local[*]").appName("parity judge")
    for name, value in (_SETTINGS | dict(more or {})).items():
        builder = builder.config(name, value)
    return (
        builder.config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.local.dir", str(scratch / "spark"))
        .getOrCreate()
    )


def _remember_java_names() -> None:
    """Let py4j ask the JVM once, not each time, what a name stands for: a third of all calls otherwise."""
    from py4j.java_gateway import JavaClass, JavaPackage, JVMView

    for kind in (JVMView, JavaPackage, JavaClass):
        kind.__getattr__ = _remembering(kind.__getattr__)


def _remembering(look_up: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    @functools.wraps(look_up)
    def remembered(owner: Any, name: str) -> Any:
        value = look_up(owner, name)
        if not name.startswith("_"):
            # Found there, Python does not ask `__getattr__` again.
            owner.__dict__[name] = value
        return value

    return remembered
