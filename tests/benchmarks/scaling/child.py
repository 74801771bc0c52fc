"""The measured process: runs a plan of stages on the use case `orders`, and says where it is.

    python -m tests.benchmarks.scaling.child PLAN.json

What it says goes, as a JSON object a line, to the file descriptor that `EVENTS` of the environment names.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlplatform import UseCase
    from mlplatform.protocols.workspace import Workspace

EVENTS = "MLPLATFORM_BENCHMARK_EVENTS"
USE_CASE = "orders"
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
    with _open(plan["home"], Path(plan["root"])) as ws:
        from mlplatform import Pipeline, open_use_case, parse_as_of

        use_case = open_use_case(ws, USE_CASE, plan["use_cases"])
        ws.registry.ensure_model(use_case.model)
        _tell(event="open", home=ws.home)
        for step in plan["steps"]:
            as_of = parse_as_of(step["as_of"])
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
            if plan.get("count_files"):
                _tell(event="files", as_of=step["as_of"], **_files(Path(plan["root"])))
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
    from tests.standin.home import databricks_home
    from tests.standin.spark import start_delta_session

    root.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    spark = start_delta_session(root / "spark", _SPARK)
    try:
        with databricks_home(root / "standin", spark) as running:
            yield running.ws
    finally:
        spark.stop()


def _files(root: Path) -> dict[str, int]:
    """Count the files of the workspace's tables: with rows, and of Delta's logs."""
    rows = logs = size = 0
    for folder, _, names in os.walk(root):
        if f"{os.sep}_delta_log" in folder:
            logs += len(names)
            continue
        parquet = [name for name in names if name.endswith(".parquet")]
        rows += len(parquet)
        size += sum((Path(folder) / name).stat().st_size for name in parquet)
    return {"data_files": rows, "log_files": logs, "data_bytes": size}


def _tell(**event: Any) -> None:
    os.write(int(os.environ[EVENTS]), (json.dumps(event) + "\n").encode())


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
