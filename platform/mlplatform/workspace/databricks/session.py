"""The Spark session of the Databricks workspace: the active one, else one of Databricks Connect."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlplatform.errors import MissingDependencyError, UnavailableError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUNTIME = "DATABRICKS_RUNTIME_VERSION"
_TIME_ZONE = "spark.sql.session.timeZone"


def open_session() -> SparkSession:
    """Return a session in UTC; it is somebody else's, and never stopped by us.

    In a notebook or job it is the session that is active, or the runtime's own. Elsewhere Databricks Connect opens one
    on what the SDK's configuration names: `cluster_id`, or serverless compute, by
    `DATABRICKS_SERVERLESS_COMPUTE_ID=auto`.

    Raises:
        MissingDependencyError: If neither pyspark nor Databricks Connect is installed.
        UnavailableError: If Databricks Connect cannot open a session, or the session computes in another zone than UTC
            and cannot be told otherwise.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MissingDependencyError(
            "There is no pyspark here.",
            hint="On a laptop: pip install databricks-connect, in an environment of its own.",
        ) from error
    session = SparkSession.getActiveSession()
    if session is None and os.environ.get(RUNTIME):
        session = SparkSession.builder.getOrCreate()
    return _in_utc(session if session is not None else _connect())


def joblib_backend() -> str | None:
    """Return the name of the joblib backend that runs work as Spark jobs; None: not in a runtime that ships it.

    Runtimes for machine learning ship `joblibspark`. Through Databricks Connect the cluster would lack our package.
    """
    if not os.environ.get(RUNTIME):
        return None
    try:
        from joblibspark import register_spark
    except ImportError:
        return None
    register_spark()
    return "spark"


def _connect() -> SparkSession:
    try:
        from databricks.connect import DatabricksSession
    except ImportError as error:
        raise MissingDependencyError(
            "There is no active Spark session, and Databricks Connect is not installed.",
            hint="Run as a job or in a notebook; on a laptop: pip install databricks-connect, in an environment of its "
            "own (never beside pyspark).",
        ) from error
    try:
        session: SparkSession = DatabricksSession.builder.getOrCreate()
    except Exception as error:  # noqa: BLE001
        # Databricks Connect raises whatever it meets: gRPC's, the SDK's and its own. None of their texts is shown, for
        # some hold the headers of the request.
        raise UnavailableError(
            f"Databricks Connect could not open a Spark session ({type(error).__name__}).",
            hint="Set DATABRICKS_CLUSTER_ID, or DATABRICKS_SERVERLESS_COMPUTE_ID=auto; its version may not be newer "
            "than the cluster's runtime.",
        ) from None
    return session


def _in_utc(session: SparkSession) -> SparkSession:
    if session.conf.get(_TIME_ZONE) not in {"UTC", "Etc/UTC"}:
        try:
            session.conf.set(_TIME_ZONE, "UTC")
        except Exception as error:
            raise UnavailableError(
                f"The Spark session's time zone is {session.conf.get(_TIME_ZONE)} and cannot be set to UTC.",
                hint=f"Set {_TIME_ZONE}=UTC where the session is made.",
            ) from error
    return session
