"""A merge of few updated keys into a large table against rewriting the table: ratio, files touched and peak memory.

    python tests/benchmarks/merge.py --rows 20000000 --updates 1000
    python tests/benchmarks/merge.py --rows 2000000 --json

The table holds `--features` doubles by entity and time, as a feature table with a time series key does. Three merges:
of keys of the newest time (`latest`), of keys of one time in the middle of history (`day`), and of keys drawn from the
whole table (`random`), which lie in every file. Against them stands the least that rewriting can cost: all rows are
read from the table's files and written as another table, without a join. Each runs in a process of its own; the peak
is the process's resident memory, which leaves out what the operating system keeps of the files.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

NAME = "dev.bench.features"
TIME = pa.timestamp("us", "UTC")
DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000
ENTITIES = 100_000
MERGES = ("latest", "day", "random")


def main() -> None:
    """Build the table once, run each task in a process of its own, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--updates", type=int, default=1_000)
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--scratch", default=str(Path(tempfile.gettempdir()) / "mlplatform-benchmarks-merge"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_run(json.loads(arguments.child))))
        return
    root = Path(arguments.scratch) / f"{arguments.rows}-{arguments.features}"
    task = {"root": str(root), "rows": arguments.rows, "features": arguments.features, "updates": arguments.updates}
    outcomes = {}
    if not (root / "built").exists():
        shutil.rmtree(root, ignore_errors=True)
        outcomes["build"] = _measure(task | {"what": "build"})
        (root / "built").touch()
    for what in ("rewrite", *MERGES):
        outcomes[what] = _measure(task | {"what": what})
    for outcome in outcomes.values():
        outcome["of_rewrite"] = outcome["seconds"] / outcomes["rewrite"]["seconds"]
        outcome["cpu_of_rewrite"] = outcome["cpu"] / outcomes["rewrite"]["cpu"]
    if arguments.json:
        print(json.dumps(task | {"outcomes": outcomes}, indent=1))
        return
    print(f"{arguments.rows} rows, {arguments.features} features, {arguments.updates} updated keys")
    print("| what | seconds | of rewriting | CPU seconds | of rewriting | files written | of files | peak RSS |")
    print("|---|---|---|---|---|---|---|---|")
    for what, row in outcomes.items():
        print(
            f"| {what} | {row['seconds']:.2f} | {row['of_rewrite']:.3f} | {row['cpu']:.2f} | "
            f"{row['cpu_of_rewrite']:.3f} | {row['touched']} | {row['files']} | {row['peak_mb'] / 1024:.2f} GB |"
        )


def _measure(task: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(task)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    outcome: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return outcome


def _run(task: dict[str, Any]) -> dict[str, Any]:
    from mlplatform.workspace.local.tables import LocalTables

    root = Path(task["root"])
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    tables = LocalTables(root / "tables", root / "tmp", _no_spark)
    source = None if task["what"] in {"build", "rewrite"} else _updates(task)
    before = set(tables.open(NAME).file_uris()) if tables.exists(NAME) else set()
    _warm(root)
    started, busy = time.perf_counter(), time.process_time()
    if task["what"] == "build":
        _build(tables, task)
    elif task["what"] == "rewrite":
        _rewrite(tables, root)
    else:
        assert tables.merge(NAME, source).rows == task["updates"]
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    files = set(tables.open(NAME).file_uris())
    touched = len(files) if task["what"] == "rewrite" else len(files - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu": cpu, "touched": touched, "files": len(files), "peak_mb": peak}


def _warm(root: Path) -> None:
    """Import what a write needs: that is no part of it."""
    from mlplatform.workspace.local import duck

    with duck.connect(root / "tmp") as connection:
        connection.sql("SELECT 1").to_arrow_table()


def _build(tables: Any, task: dict[str, Any]) -> None:
    from pyarrow import parquet

    from mlplatform.workspace.local import delta
    from mlplatform.workspace.local.rows import ParquetSource

    root = Path(task["root"])
    schema = _schema(task["features"])
    tables.create(NAME, schema, primary_keys=["id", "at"], timeseries_column="at")
    file = root / "all.parquet"
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in _batches(task):
            writer.write_batch(batch)
    rows = ParquetSource([file], tables.describe(NAME).schema)
    delta.merge(tables.path(NAME), NAME, rows, ["id", "at"], root / "tmp")
    file.unlink()


def _rewrite(tables: Any, root: Path) -> None:
    from deltalake import write_deltalake

    from mlplatform.workspace.local.data_files import FILE_BYTES, WRITER
    from mlplatform.workspace.local.rows import ParquetSource

    files = [Path(uri.removeprefix("file://")) for uri in tables.open(NAME).file_uris()]
    rows = ParquetSource(files, tables.describe(NAME).schema)
    other = root / "rewritten"
    write_deltalake(str(other), rows.reader(), target_file_size=FILE_BYTES, writer_properties=WRITER)
    shutil.rmtree(other)


def _schema(features: int) -> pa.Schema:
    return pa.schema([("id", pa.int64()), ("at", TIME), *((f"f{number}", pa.float64()) for number in range(features))])


def _batches(task: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    """Give the rows in no order: entity after entity within a part of history, as an engine's partitions come."""
    entities = min(ENTITIES, task["rows"])
    for start in range(0, task["rows"], entities):
        number = min(entities, task["rows"] - start)
        random = np.random.default_rng([1, start])
        yield _rows(random.permutation(number), np.full(number, start // entities), random, task["features"])


def _rows(ids: Any, days: Any, random: Any, features: int) -> pa.RecordBatch:
    at = pa.array(START_US + days * DAY_US).cast(pa.timestamp("us")).cast(TIME)
    return pa.record_batch(
        [pa.array(ids), at, *(pa.array(random.random(len(ids))) for _ in range(features))], schema=_schema(features)
    )


def _updates(task: dict[str, Any]) -> pa.Table:
    random = np.random.default_rng(int(time.time_ns()))
    entities = min(ENTITIES, task["rows"])
    days = task["rows"] // entities
    if task["what"] == "random":
        keys = random.choice(task["rows"], task["updates"], replace=False)
    else:
        day = days - 1 if task["what"] == "latest" else days // 2
        keys = day * entities + random.choice(entities, task["updates"], replace=False)
    return pa.Table.from_batches([_rows(keys % entities, keys // entities, random, task["features"])])


def _no_spark() -> Any:
    raise RuntimeError("This needs no engine.")


if __name__ == "__main__":
    main()
