"""The Databricks workspace on JVM Spark and the stand-in, in a process of its own.

It needs the environment, MLflow's URIs and the one Spark session of its process for itself: a session of Spark Connect,
which the local workspace may have, cannot live beside a classic one.

Two things of the real client are replaced, since open-source Spark lacks them, and named here and nowhere else: a
catalog's existence (`DESCRIBE CATALOG`), and the call of a function of Unity Catalog.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType
    from typing import Self

    from pyspark.sql import Column

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

_START_SECONDS = 300
_ANSWER_SECONDS = 1500


@contextmanager
def databricks_workspace(scratch: Path) -> Iterator[DatabricksWorkspace]:
    """Open a Databricks workspace over JVM Spark and a stand-in server; one a process.

    Args:
        scratch: A folder for whatever is written.
    """
    from tests.standin.environment import environment
    from tests.standin.feature_models import registrable_feature_models
    from tests.standin.intercepted_sql import InterceptedSql
    from tests.standin.server import StandIn
    from tests.standin.spark import SparkTables, start_delta_session

    spark = start_delta_session(scratch / "spark")
    with ExitStack() as cleanup:
        cleanup.callback(spark.stop)
        standin = cleanup.enter_context(StandIn(scratch / "standin", SparkTables(spark)))
        cleanup.enter_context(environment(standin))
        from mlplatform.workspace.databricks.connection import connect
        from mlplatform.workspace.databricks.workspace import DatabricksWorkspace

        ws = DatabricksWorkspace(
            "dev",
            connect(),
            spark=lambda: spark,
            sql=InterceptedSql(lambda: spark, standin.metastore),
            volumes=standin.scratch / "files" / "Volumes",
        )

        def call(udf_name: str, arguments: list[str]) -> Column:
            from pyspark.sql import functions

            function = ws.functions.get(udf_name)
            # Not through Arrow: a pickled call passes plain Python values, as a Unity Catalog function gets them.
            udf = functions.udf(function.fn, function.returns, useArrow=False)
            return udf(*(functions.col(f"`{argument}`") for argument in arguments))

        client = "databricks.ml_features._spark_client._spark_client.SparkClient"
        cleanup.enter_context(mock.patch(f"{client}.catalog_exists", return_value=True))
        cleanup.enter_context(mock.patch("databricks.ml_features.utils.on_demand_utils._udf_expr", call))
        cleanup.enter_context(registrable_feature_models())
        with ws:
            yield ws
        assert not standin.unexpected, f"The stand-in has no answer to {standin.unexpected}."


class DatabricksHome:
    """Runs functions beside a Databricks workspace, as a context manager. One at a time."""

    def __init__(self, scratch: Path) -> None:
        """Take a folder for the process's files and its log."""
        self._log = scratch / "home.log"
        # Spawned, never forked: the parent may hold engines whose threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(self._theirs, scratch, self._log), name="databricks home", daemon=True
        )

    def __enter__(self) -> Self:
        """Start the process, and wait until the workspace is open."""
        self._process.start()
        self._theirs.close()
        self._receive(_START_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the process end: it stops Spark when nobody is left to ask."""
        self._pipe.close()
        self._process.join(timeout=30)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function of a module gives, called with the workspace and the arguments.

        Raises:
            RuntimeError: If it fails, with its traceback.
        """
        self._pipe.send((function, arguments))
        return self._receive(_ANSWER_SECONDS)

    def _receive(self, seconds: float) -> Any:
        try:
            if not self._pipe.poll(seconds):
                raise RuntimeError(self._report(f"gave no answer within {seconds:.0f} s"))
            kind, value = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(self._report("ended")) from error
        if kind == "error":
            raise RuntimeError(f"In the Databricks home's process:\n{value}")
        return value

    def _report(self, what: str) -> str:
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-4000:] if self._log.exists() else ""
        return f"The Databricks home's process {what}\nThe end of its log:\n{tail}"


def _serve(pipe: Connection, scratch: Path, log: Path) -> None:
    """Answer until the other side closes the pipe."""
    _write_to(log)
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.chdir(scratch)
    try:
        with databricks_workspace(scratch) as ws:
            pipe.send(("value", None))
            while True:
                function, arguments = pipe.recv()
                try:
                    answer = ("value", function(ws, *arguments))
                except Exception:  # noqa: BLE001 - it is told to the other side, whatever it is
                    answer = ("error", traceback.format_exc())
                pipe.send(answer)
    except EOFError:
        return
    except Exception:  # noqa: BLE001 - it is told to the other side, whatever it is
        pipe.send(("error", traceback.format_exc()))


def _write_to(log: Path) -> None:
    """Send everything this process, its JVM and its workers print to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)
