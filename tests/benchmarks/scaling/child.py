"""The measured process: runs a plan of stages on the use case `orders`, and says where it is.

    python -m tests.benchmarks.scaling.child PLAN.json

What it says goes, as a JSON object a line, to the file descriptor that `EVENTS` of the environment names.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.scaling import memory

if TYPE_CHECKING:
    from mlplatform import UseCase
    from mlplatform.protocols.workspace import Workspace

EVENTS = "MLPLATFORM_BENCHMARK_EVENTS"
USE_CASE = "orders"
COLUMNS = "MLPLATFORM_BENCHMARK_COLUMNS"
"""Variable of the environment that says how many more columns the accounts have."""
# Tables of the platform that hold what every use case's steps leave behind.
_RECORDS = ("stage_runs", "drift_metrics", "window_counts", "performance_metrics", "alerts")
_COPIES_AT_ONCE = 50
_PATIENCE_SECONDS = 600
# The tests' own settings are for many tiny queries, in 1 GB.
_SPARK = {
    "spark.driver.memory": "6g",
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:+UseParallelGC",
    "spark.default.parallelism": "4",
    "spark.sql.shuffle.partitions": "16",
    "spark.sql.leafNodeDefaultParallelism": "4",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
}


def main(plan: dict[str, Any]) -> None:
    """Run the plan."""
    os.environ |= plan.get("environment", {})
    with _open(plan["home"], Path(plan["root"])) as ws:
        from mlplatform import Pipeline, open_use_case, parse_as_of
        from mlplatform.simulation import STEPS_AN_ENGINE

        use_case = open_use_case(ws, USE_CASE, plan["use_cases"])
        ws.registry.ensure_model(use_case.model)
        _tell(event="open", home=ws.home)
        for number, step in enumerate(plan["steps"], start=1):
            as_of = parse_as_of(step["as_of"])
            if step.get("copies"):
                _copy_records(ws, use_case, step["copies"])
            for only in step["stages"] or [None]:
                name = only or "step"
                _tell(event="begin", name=name, as_of=step["as_of"])
                before = time.perf_counter()
                summary = Pipeline(ws, use_case, as_of).run([only] if only else None)
                seconds = time.perf_counter() - before
                stages = [
                    {"stage": run.stage, "status": run.status, "seconds": run.seconds}
                    | {"rows_in": run.result.rows_in, "rows_out": run.result.rows_out}
                    | {"collected": run.details.to_json().get("collected")}
                    for run in summary.stages
                ]
                _tell(event="end", name=name, seconds=seconds, stages=stages)
            if number % STEPS_AN_ENGINE == 0:
                ws.renew_engine()  # as `mlplatform simulate` does
            if plan.get("count_files"):
                _tell(event="files", as_of=step["as_of"], **_files(Path(plan["root"])), held=_held())
        _check(ws, use_case)
        _tell(event="done")


def _check(ws: Workspace, use_case: UseCase) -> None:
    """Fail where the figures would say nothing: nothing was promoted, so nothing was scored."""
    aliases = ws.registry.aliases(use_case.model)
    assert "champion" in aliases, f"there is no champion: {aliases}"


@contextmanager
def _open(home: str, root: Path) -> Iterator[Workspace]:
    if home == "local":
        from mlplatform import open_workspace

        with open_workspace("local", root=root) as ws:
            yield ws
        return
    from mlplatform.workspace.databricks import connection
    from tests.standin.home import databricks_home
    from tests.standin.spark import start_delta_session

    # The tests' server shares the processors with all that is measured: it must not be given up meanwhile.
    connection.HTTP_SECONDS = connection.RETRY_SECONDS = _PATIENCE_SECONDS
    root.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    spark = start_delta_session(root / "spark", _SPARK)
    try:
        with databricks_home(root / "standin", spark) as running:
            yield running.ws
    finally:
        spark.stop()


def _copy_records(ws: Workspace, use_case: UseCase, copies: int) -> None:
    """Write the records of the use case once more for each of so many others, into the platform's own tables."""
    import pyarrow as pa

    for table in _RECORDS:
        name = use_case.namespace.ops(table)
        if not ws.tables.exists(name):
            continue
        rows = ws.tables.to_arrow(name, at_most=10_000_000, filters=[("use_case", "=", USE_CASE)])
        at = rows.column_names.index("use_case")
        for start in range(0, copies, _COPIES_AT_ONCE):
            others = [f"{USE_CASE}_{copies}_{number}" for number in range(start, min(start + _COPIES_AT_ONCE, copies))]
            tables = [
                rows.set_column(at, "use_case", pa.array([other] * rows.num_rows, pa.string())) for other in others
            ]
            ws.tables.append(name, pa.concat_tables(tables))


def _files(root: Path) -> dict[str, int]:
    """Count the files of the workspace's Delta tables: those with rows of the newest versions, all on disk, of logs."""
    from deltalake import DeltaTable

    files = on_disk = logs = size = 0
    for folder, _, names in os.walk(root):
        if folder.endswith(f"{os.sep}_delta_log"):
            logs += len(names)
            sizes = DeltaTable(Path(folder).parent).get_add_actions().column("size_bytes").to_pylist()
            files += len(sizes)
            size += sum(sizes)
        elif f"{os.sep}_delta_log{os.sep}" not in folder:
            on_disk += sum(name.endswith(".parquet") for name in names)
    return {"files": files, "files_on_disk": on_disk, "log_files": logs, "bytes": size}


def _held() -> dict[str, int]:
    """Return what the process holds between two steps: memory in bytes, open files, threads."""
    gc.collect()
    seen = memory.Watch(os.getpid()).look()
    opened = len(list(Path("/proc/self/fd").iterdir()))
    return {"driver": seen.driver, "private": seen.private, "opened": opened, "threads": threading.active_count()}


def _tell(**event: Any) -> None:
    os.write(int(os.environ[EVENTS]), (json.dumps(event) + "\n").encode())


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
