"""The tiny use case on the Databricks workspace, set back between tests to the state before or after a stage."""

from __future__ import annotations

import copy
import shutil
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplatform.as_of import parse_as_of
from mlplatform.errors import PlatformError
from mlplatform.gate import decision_log
from mlplatform.naming import Namespace, ObjectName
from mlplatform.ops.stage_runs import RunLog
from mlplatform.pipeline import Pipeline
from mlplatform.scoring.predictions import LATEST_PREDICTIONS, PREDICTIONS
from tests.support.state import table_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlplatform.use_case import UseCase
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.standin.models import Model
    from tests.standin.server import StandIn
    from tests.support.tiny_use_case import TinyFolder

FIRST, SECOND = "2020-08-01", "2020-11-01"
NAMESPACE = Namespace("dev", "tiny", "faults_")
MODEL = str(NAMESPACE.model)
_FILES = f"Models/{MODEL.replace('.', '/')}"
REGION, GOLD = NAMESPACE.features("region"), NAMESPACE.gold(PREDICTIONS)
DECISIONS, RUNS, LEDGER = (NAMESPACE.ops(name) for name in ("gate_decisions", "stage_runs", "transactions"))
# What a stage writes, beside the registry.
WRITES = {"features": (REGION,), "train": (), "gate": (DECISIONS,), "score": (GOLD, LEDGER)}
# Tags that the same training and the same decision give again.
_TAGS = ("dataset_version", "training_key", "trained_as_of", "trained_through", "gate_decision", "gate_outcome")


@dataclass(frozen=True)
class Moment:
    """A state to go back to: Delta versions (None: the table is not there), and the model, with a copy of its files."""

    tables: dict[ObjectName, int | None]
    model: Model
    files: Path


def open_anew(standin: StandIn, spark: SparkSession, prefix: str, *, timeout: int = 30) -> DatabricksWorkspace:
    """Open the workspace as another process would.

    Args:
        standin: The server.
        spark: The session.
        prefix: Of schemas and models.
        timeout: Seconds after which the SDK gives a call up.
    """
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.standin.intercepted_sql import InterceptedSql

    config = Config(
        host=standin.url,
        token=standin.token,
        auth_type="pat",
        retry_timeout_seconds=3,
        http_timeout_seconds=timeout,
    )
    return DatabricksWorkspace(
        "dev",
        WorkspaceClient(config=config),
        prefix=prefix,
        spark=lambda: spark,
        sql=InterceptedSql(lambda: spark, standin.metastore),
        volumes=standin.scratch / "files" / "Volumes",
    )


class Bench:
    """Runs stages as processes of their own would: nothing is remembered between two but what the workspace holds.

    Attributes:
        standin: The server.
        before: By stage, the state in which it is due.
        after: By stage, what it comes to when nothing disturbs it.
    """

    def __init__(self, standin: StandIn, spark: SparkSession, tiny: TinyFolder) -> None:
        """Take the stand-in, the session and the use case's folder; nothing is run yet."""
        self.standin = standin
        self.before: dict[str, Moment] = {}
        self.after: dict[str, dict[str, Any]] = {}
        self._spark = spark
        self._tiny = tiny

    def build(self) -> None:
        """Run all stages undisturbed: a first champion, then a challenger that is promoted, and scores."""
        ws = self.open()
        landing = ws.landing("tiny")
        if not landing.exists():
            shutil.copytree(self._tiny.data, landing)
        ws.registry.ensure_model(NAMESPACE.model)
        self.run("ingest", "refine", "features", "train", "gate", as_of=FIRST)
        self.run("ingest", "refine")
        for stage in WRITES:
            self.before[stage] = self._note(stage)
            self.run(stage)
            self.after[stage] = self.state(stage)

    def open(self, *, timeout: int = 30) -> DatabricksWorkspace:
        """Open the workspace as another process would.

        Args:
            timeout: Seconds after which the SDK gives a call up.
        """
        return open_anew(self.standin, self._spark, NAMESPACE.prefix, timeout=timeout)

    def run(self, *stages: str, as_of: str = SECOND, timeout: int = 30) -> dict[str, Any]:
        """Run stages in a workspace opened anew; return the last one's details."""
        ws = self.open(timeout=timeout)
        return Pipeline(ws, self._use_case(ws), parse_as_of(as_of)).run(stages).details(stages[-1])

    def attempt(self, stage: str, *, timeout: int = 30) -> PlatformError | None:
        """Run a stage that may fail, which has to be on record; return the error, in which no token may stand."""
        failed: PlatformError | None = None
        try:
            self.run(stage, timeout=timeout)
        except PlatformError as error:
            failed = error
        record = self.last_run(stage)
        if failed is None:
            assert record["status"] == "done"
        else:
            self.standin.assert_token_not_in("".join(traceback.format_exception(failed)))
            assert (record["status"], record["message"]) == ("failed", failed.message)
        return failed

    def aliases(self) -> dict[str, int]:
        """Return the aliases as the server holds them, whatever faults are set."""
        return dict(self.standin.models.by_name[MODEL].aliases)

    def told(self) -> list[tuple[str, str, int]]:
        """Return event, outcome and version of each event of the gate about the second version."""
        rows = decision_log.events(self.open(), NAMESPACE)
        return [(row.event, row.outcome, row.challenger_version) for row in rows][2:]

    def last_run(self, stage: str) -> dict[str, Any]:
        """Return the newest record of a stage."""
        return vars(RunLog(self.open(), NAMESPACE).records(stage)[-1])

    def rows(self, table: ObjectName) -> list[str]:
        """Return a table's business rows."""
        return table_rows(self.open(), str(table))

    def state(self, stage: str) -> dict[str, Any]:
        """Return what a stage writes: rows, and the versions that are ready, which aliases name by their place."""
        model = self.standin.models.by_name[MODEL]
        ready = [version for version in model.versions.values() if version.status == "READY"]
        places = {version.number: place for place, version in enumerate(ready)}
        return {
            "aliases": {alias: places.get(number) for alias, number in model.aliases.items()},
            "versions": [{key: version.tags.get(key) for key in _TAGS} for version in ready],
            **{table.name: self.rows(table) for table in WRITES[stage] if table != LEDGER},
        }

    def go_back(self, stage: str) -> None:
        """Go back to where a stage is due; faults and calls are forgotten."""
        moment = self.before[stage]
        self.standin.faults.clear()
        for table, version in moment.tables.items():
            if version is None:
                self._spark.sql(f"DROP VIEW IF EXISTS {NAMESPACE.gold(LATEST_PREDICTIONS).sql}")
                self._spark.sql(f"DROP TABLE IF EXISTS {table.sql}")
            elif self._version(table) != version:
                self._spark.sql(f"RESTORE TABLE {table.sql} TO VERSION AS OF {version}")
        self.standin.models.by_name[MODEL] = copy.deepcopy(moment.model)
        self.standin.files.remove(_FILES)
        shutil.copytree(moment.files, self.standin.files.path(_FILES))
        self.standin.calls.clear()
        self.standin.unexpected.clear()

    def _use_case(self, ws: DatabricksWorkspace) -> UseCase:
        return self._tiny.open(ws)

    def _note(self, stage: str) -> Moment:
        tables: Sequence[ObjectName] = (*WRITES[stage], RUNS)
        files = self.standin.scratch / "kept" / stage
        shutil.copytree(self.standin.files.path(_FILES), files)
        model = copy.deepcopy(self.standin.models.by_name[MODEL])
        return Moment({table: self._version(table) for table in tables}, model, files)

    def _version(self, table: ObjectName) -> int | None:
        if not self._spark.catalog.tableExists(table.sql):
            return None
        return int(self._spark.sql(f"DESCRIBE HISTORY {table.sql} LIMIT 1").collect()[0]["version"])
