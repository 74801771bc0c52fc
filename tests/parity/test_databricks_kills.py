"""A process that dies before and after each write of each stage on Databricks, and is started again each time.

It dies once at each place: before and after each commit to a table and each table that is created, before each call
that changes something in MLflow, Unity Catalog or the files of models. What it comes to is what an undisturbed cycle
comes to, in schemas of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pytest
import requests

from mlplatform.as_of import parse_as_of
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops.stage_runs import RunLog
from mlplatform.pipeline import Pipeline
from mlplatform.stages import ORDER
from mlplatform.workspace.databricks import auto_loader, delta, locks, table_metadata
from tests.parity.fault_bench import open_anew
from tests.parity.fault_kinds import Killed
from tests.support.state import differences
from tests.support.tiny_use_case import NAME, TinyFolder, write_tiny_use_case
from tests.support.writes import without_ids

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace
    from tests.standin.server import StandIn

T = TypeVar("T")

AS_OF = "2020-08-01"
READING = ("GET", "HEAD")
# Which run it was, the wall clock, and what is made of the model's full name, which differs between the two.
_NOT_BUSINESS = {"run_id", "scored_at", "recorded_at", "raised_at", "attempted_at", "_ingested_at", "decision_id"}
_NOT_STATE = {"stage_runs", "transactions", "leases"}
_TAGS = ("dataset_version", "training_key", "trained_as_of", "trained_through", "gate_outcome")


class Deaths:
    """Lets what writes die, once at each place; what is dead writes nothing more.

    Attributes:
        places: Where it died, in order.
        stage: The one that is running.
    """

    def __init__(self) -> None:
        self.places: list[str] = []
        self.stage = ""
        self.is_dead = False

    def reached(self, what: str) -> None:
        """Die, unless it died here before."""
        place = f"{self.stage}: {what}"
        if not self.is_dead and place in self.places:
            return
        if not self.is_dead:
            self.places.append(place)
            self.is_dead = True
        raise Killed

    def around(self, what: str, write: Callable[[], T]) -> T:
        """Write, and die before or after."""
        self.reached(f"before {what}")
        result = write()
        self.reached(f"after {what}")
        return result

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Watch from now on."""
        retrying, create = delta.retrying_conflicts, table_metadata.create_table
        request, record, give_back = requests.Session.request, RunLog.record, locks._Lease.give_back

        def commit(doing: str, write: Callable[[], Any]) -> Any:
            return retrying(doing, lambda: self.around(doing, write))

        def creating(unity: Any, name: Any, *rest: Any) -> Any:
            return self.around(f"creating {name}", lambda: create(unity, name, *rest))

        def sending(session: Any, method: str, url: str, *rest: Any, **named: Any) -> Any:
            if method.upper() not in READING:
                self.reached(f"{method.upper()} {without_ids(urlsplit(url).path)}")
            return request(session, method, url, *rest, **named)

        def recording(log: Any, run: Any) -> None:
            self.reached(f"recording {run.status}")
            record(log, run)

        def giving_back(lease: Any) -> bool:
            # The dead give nothing back: it expires.
            if self.is_dead:
                raise Killed
            return give_back(lease)

        for module in (delta, auto_loader):
            monkeypatch.setattr(module, "retrying_conflicts", commit)
        monkeypatch.setattr(table_metadata, "create_table", creating)
        monkeypatch.setattr(requests.Session, "request", sending)
        monkeypatch.setattr(RunLog, "record", recording)
        monkeypatch.setattr(locks._Lease, "give_back", giving_back)
        monkeypatch.setattr(locks, "LEASE_SECONDS", 1)
        monkeypatch.setattr(locks, "POLL_SECONDS", 0.5)


class Cycle:
    """One cycle of the tiny use case, in schemas with a prefix."""

    def __init__(self, standin: StandIn, spark: SparkSession, tiny: TinyFolder, prefix: str) -> None:
        self._standin, self._spark, self._tiny, self._prefix = standin, spark, tiny, prefix
        self.namespace = Namespace("dev", NAME, prefix)
        ws = self.open()
        shutil.copytree(tiny.data, ws.landing(NAME))
        ws.registry.ensure_model(self.namespace.model)

    def open(self) -> DatabricksWorkspace:
        return open_anew(self._standin, self._spark, self._prefix)

    def run(self, stage: str) -> None:
        """Run a stage in a workspace opened anew."""
        ws = self.open()
        Pipeline(ws, self._tiny.open(ws), parse_as_of(AS_OF)).run([stage])

    def run_to_its_end(self, stage: str, deaths: Deaths) -> None:
        """Run a stage again and again, until nothing kills it any more."""
        deaths.stage = stage
        while True:
            try:
                self.run(stage)
            except Killed:
                deaths.is_dead = False
                _forget_active_runs()
            else:
                return

    def state(self) -> dict[str, Any]:
        """Return rows, aliases and versions, without the prefix in names."""
        ws, names = self.open(), self.namespace
        ready = ws.registry.versions(names.model)
        places = {version.version: place for place, version in enumerate(ready)}
        found: dict[str, Any] = {
            "aliases": {alias: places.get(number) for alias, number in ws.registry.aliases(names.model).items()},
            "versions": [{key: version.tags.get(key) for key in _TAGS} for version in ready],
        }
        for schema in (names.table("x").schema, names.ops("x").schema):
            for table in ws.tables.list(names.catalog, schema):
                if table not in _NOT_STATE:
                    rows = ws.tables.to_arrow(f"{names.catalog}.{schema}.{table}", at_most=10**6)
                    rows = rows.select([column for column in rows.column_names if column not in _NOT_BUSINESS])
                    found[table] = sorted(str(_plain(row)).replace(self._prefix, "") for row in rows.to_pylist())
        return found


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    # The frozen label frame names Delta versions; its digest is in the checks and the tags.
    return {key: value for key, value in row.items() if key != "evaluation"}


def _forget_active_runs() -> None:
    """MLflow remembers in the process which runs are under way; another process would not."""
    from mlflow.tracking import fluent

    fluent._active_run_stack.get().clear()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_around_each_write_of_each_stage_it_ends_as_undisturbed(
    features: DatabricksWorkspace,
    standin: StandIn,
    delta_spark: SparkSession,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del features
    tiny = write_tiny_use_case(tmp_path, rows_a_month=150, gate={"margin": 0.2})
    undisturbed = Cycle(standin, delta_spark, tiny, "calm_")
    for stage in ORDER:
        undisturbed.run(stage)
    killed, deaths = Cycle(standin, delta_spark, tiny, "killed_"), Deaths()
    with monkeypatch.context() as patch:
        deaths.install(patch)
        for stage in ORDER:
            killed.run_to_its_end(stage, deaths)
    print(f"{len(deaths.places)} deaths", *deaths.places, sep="\n  ")
    state = killed.state()
    assert CHAMPION in state["aliases"]
    assert {place.partition(":")[0] for place in deaths.places} == set(ORDER)
    assert differences(state, undisturbed.state()) == {}
    assert not standin.unexpected
