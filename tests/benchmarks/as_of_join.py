"""The as-of join against others over the same parquet files: ratios and peak memory, each contender in its own process.

    python tests/benchmarks/as_of_join.py --shapes small medium --tables 1 3 16
    python tests/benchmarks/as_of_join.py --shapes huge --tables 1 --contenders ours duckdb

Ours reads Delta tables; DuckDB (the raw ASOF query), Polars and Feast read the tables' parquet files. All take the
spine from memory and give an Arrow table. Seconds are those of the join alone, the best of `--repeat`, by the clock and
by the processor (which other work on the machine disturbs less); the peak is the whole process's resident memory.
Polars and Feast need not be installed here: name a Python that has them (Feast with duckdb<1.5). The real client is run
on JVM Spark with the parity tests' stand-in, and needs what those need; its peak leaves the JVM out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TIME = pa.timestamp("us", "UTC")
SPAN_US = 365 * 86_400 * 1_000_000
START_US = 1_700_000_000_000_000
FEATURES = 4
PART_ROWS = 10_000_000  # a file of a feature table
CONTENDERS = ("duckdb", "ours", "polars", "feast", "real")


@dataclass(frozen=True)
class Shape:
    """Rows of the spine, rows of each feature table, entities."""

    spine: int
    features: int
    entities: int


SHAPES = {
    "tiny": Shape(10_000, 100_000, 1_000),
    "small": Shape(100_000, 1_000_000, 10_000),
    "medium": Shape(1_000_000, 10_000_000, 100_000),
    "huge": Shape(10_000_000, 100_000_000, 100_000),
}


def main() -> None:
    """Run the contenders one after the other and print a table."""
    arguments = _parser().parse_args()
    if arguments.child:
        _child(json.loads(arguments.child))
        return
    scratch = Path(arguments.scratch).resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    kept: list[dict[str, Any]] = []
    print("| shape | tables | contender | seconds | of DuckDB | CPU seconds | of DuckDB | peak RSS |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in arguments.shapes:
        for tables in arguments.tables:
            task = _prepare(scratch, shape, tables)
            found: dict[str, dict[str, Any]] = {}
            for contender in arguments.contenders:
                outcome = _measure(contender, task, arguments)
                found[contender] = outcome
                print(_line(shape, tables, contender, outcome, found.get("duckdb", {})), flush=True)
            kept += _kept(shape, tables, found)
    if arguments.json:
        from tests.benchmarks import table

        table.write(arguments.json, [table.Line(**line) for line in kept])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["small"], choices=SHAPES)
    parser.add_argument("--tables", nargs="+", type=int, default=[1, 3, 16])
    parser.add_argument("--contenders", nargs="+", default=["duckdb", "ours"], choices=CONTENDERS)
    parser.add_argument("--scratch", default=str(Path(tempfile.gettempdir()) / "mlplatform-benchmarks"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=1800)
    parser.add_argument("--polars-python", default=sys.executable)
    parser.add_argument("--feast-python", default=sys.executable)
    parser.add_argument("--json", help="Write the figures there.")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def _kept(shape: str, tables: int, found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ours against each of the others, as lines of the table of figures."""
    ours = found.get("ours", {})
    return [
        {
            "what": f"as-of join, {shape}, {tables} table(s)",
            "value": ours["seconds"],
            "against": contender,
            "other": outcome["seconds"],
            "limit": 1.0 if contender in {"duckdb", "polars"} else None,
            "peak_mb": ours["peak_mb"],
        }
        for contender, outcome in found.items()
        if contender != "ours" and "seconds" in outcome and "seconds" in ours
    ]


def _line(shape: str, tables: int, contender: str, outcome: dict[str, Any], base: dict[str, Any]) -> str:
    if "error" in outcome:
        return f"| {shape} | {tables} | {contender} | {outcome['error']} | | | | |"
    cells = [shape, str(tables), contender]
    for measure in ("seconds", "cpu"):
        cells += [f"{outcome[measure]:.2f}", f"{outcome[measure] / base[measure]:.2f}" if measure in base else ""]
    return f"| {' | '.join(cells)} | {outcome['peak_mb'] / 1024:.1f} GB |"


def _measure(contender: str, task: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    python = {"polars": arguments.polars_python, "feast": arguments.feast_python}.get(contender, sys.executable)
    child = json.dumps(task | {"contender": contender, "repeat": arguments.repeat})
    environment = dict(os.environ)
    if contender == "real":
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    try:
        done = subprocess.run(
            [python, __file__, "--child", child],
            capture_output=True,
            text=True,
            timeout=arguments.timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"more than {arguments.timeout:.0f} s"}
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
        return {"error": f"exit {done.returncode}: {reason[:100]}"}
    outcome: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return outcome


def _prepare(scratch: Path, name: str, tables: int) -> dict[str, Any]:
    """Write the spine and the feature tables, once; return what a contender needs to know."""
    from mlplatform import open_workspace

    shape = SHAPES[name]
    spine = scratch / f"spine-{name}.parquet"
    if not spine.exists():
        pq.write_table(_spine(shape), spine)
    names = [f"dev.bench.{name}_{number}" for number in range(tables)]
    files = []
    with open_workspace(root=scratch / "workspace") as ws:
        for number, table in enumerate(names):
            if not ws.tables.exists(table):
                schema = _features(shape, number, 0, 1).schema
                ws.tables.create(table, schema, primary_keys=["k", "t"], timeseries_column="t")
                for start in range(0, shape.features, PART_ROWS):
                    ws.tables.append(table, _features(shape, number, start, min(start + PART_ROWS, shape.features)))
            files.append(list(ws.tables.open(table).file_uris()))
    return {"root": str(scratch / "workspace"), "spine": str(spine), "names": names, "files": files}


def _times(micros: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(START_US + micros).cast(pa.timestamp("us")).cast(TIME)


def _spine(shape: Shape) -> pa.Table:
    random = np.random.default_rng(1)
    return pa.table(
        {
            # A fiftieth of the entities has no features.
            "id": random.integers(0, shape.entities * 51 // 50, shape.spine),
            "ts": _times(random.integers(0, SPAN_US, shape.spine)),
            "x": random.random(shape.spine),
            "y": random.integers(0, 2, shape.spine),
        }
    )


def _features(shape: Shape, seed: int, start: int, end: int) -> pa.Table:
    random = np.random.default_rng([100, seed, start])
    rows = np.arange(start, end)
    each = shape.features // shape.entities
    # In each entity's own order of time, a step apart at least, so that keys are unique; entities follow one another.
    micros = (rows // shape.entities) * (SPAN_US // each) + random.integers(0, SPAN_US // each, end - start)
    return pa.table(
        {
            "k": rows % shape.entities,
            "t": _times(micros),
            **{f"f{number}": random.random(end - start) for number in range(FEATURES)},
        }
    )


def _child(task: dict[str, Any]) -> None:
    spine = pq.read_table(task["spine"])
    with _CONTENDERS[task["contender"]](task, spine) as join:
        seconds, cpu = [], []
        rows = 0
        for _ in range(task["repeat"]):
            started, busy = time.perf_counter(), time.process_time()
            rows = join()
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - busy)
    peak = max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    )
    outcome = {"seconds": min(seconds), "cpu": min(cpu), "all": seconds, "rows": rows, "peak_mb": peak / 1024}
    print(json.dumps(outcome))


class _Contender:
    """Something that joins, as a context manager that gives the join."""

    def __init__(self, task: dict[str, Any], spine: pa.Table) -> None:
        self.task, self.spine = task, spine

    def __enter__(self) -> Callable[[], int]:
        return self.join

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def join(self) -> int:
        """Join, and return the number of rows of the Arrow table that came out."""
        raise AssertionError("each contender joins in its own way")


class _Ours(_Contender):
    def __enter__(self) -> Callable[[], int]:
        from mlplatform import open_workspace

        self.ws = open_workspace(root=self.task["root"])
        return self.join

    def __exit__(self, *_: object) -> None:
        self.ws.close()

    def join(self) -> int:
        from mlplatform import FeatureLookup

        lookups = [
            FeatureLookup(
                name,
                "id",
                timestamp_lookup_key="ts",
                rename_outputs={f"f{feature}": f"f{number}_{feature}" for feature in range(FEATURES)},
            )
            for number, name in enumerate(self.task["names"])
        ]
        training_set = self.ws.fe.create_training_set(df=self.spine, feature_lookups=lookups, label="y")
        return int(training_set.to_arrow().num_rows)


class _DuckDB(_Contender):
    def join(self) -> int:
        import duckdb

        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET preserve_insertion_order = false")
            connection.execute(f"SET temp_directory = '{Path(self.task['root']).parent / 'duckdb'}'")
            connection.register("spine", self.spine)
            columns = [f"t{n}.f{f} AS f{n}_{f}" for n in range(len(self.task["files"])) for f in range(FEATURES)]
            joins = [
                f"ASOF LEFT JOIN read_parquet({files!r}) t{number} ON s.id = t{number}.k AND s.ts >= t{number}.t"
                for number, files in enumerate(self.task["files"])
            ]
            query = f"SELECT s.*, {', '.join(columns)} FROM spine s {' '.join(joins)}"
            return int(connection.sql(query).to_arrow_table().num_rows)


class _Polars(_Contender):
    def join(self) -> int:
        import polars as pl

        left = pl.from_arrow(self.spine).lazy().sort("ts")
        for number, files in enumerate(self.task["files"]):
            paths = [file.removeprefix("file://") for file in files]
            renamed = {f"f{feature}": f"f{number}_{feature}" for feature in range(FEATURES)}
            right = pl.scan_parquet(paths).rename(renamed).sort("t")
            left = left.join_asof(right, left_on="ts", right_on="t", by_left="id", by_right="k", coalesce=True)
            left = left.drop("t", strict=False)
        return int(left.collect().to_arrow().num_rows)


class _Feast(_Contender):
    def join(self) -> int:
        import ibis
        from feast.infra.offline_stores.ibis import point_in_time_join

        backend = ibis.duckdb.connect()
        backend.raw_sql("SET TimeZone = 'UTC'")
        spine = ibis.memtable(self.spine.rename_columns(["id", "event_timestamp", "x", "y"]))
        views = []
        for number, files in enumerate(self.task["files"]):
            features = [f"f{number}_{feature}" for feature in range(FEATURES)]
            renamed = {name: f"f{feature}" for feature, name in enumerate(features)}
            table = backend.read_parquet([file.removeprefix("file://") for file in files], table_name=f"t{number}")
            views.append((table.rename(renamed), "t", None, {"k": "id"}, features, None))
        return int(backend.to_pyarrow(point_in_time_join(spine, views)).num_rows)


class _Real(_Contender):
    def __enter__(self) -> Callable[[], int]:
        from tests.parity.catalog import tell
        from tests.parity.real_client import RealClient
        from tests.support.cases import Case, Lookup, Table

        self.client = RealClient(Path(tempfile.mkdtemp())).__enter__()
        empty = pq.read_schema(self.task["files"][0][0].removeprefix("file://")).empty_table()
        names = [f"ml.prod.f{number}" for number in range(len(self.task["files"]))]
        self.case = Case(
            name="benchmark",
            why="",
            mode="training_set",
            tables=tuple(Table(name, ("k",), "t", empty) for name in names),
            functions=(),
            spine=self.spine,
            lookups=tuple(
                Lookup(
                    name,
                    ("id",),
                    rename_outputs={f"f{feature}": f"f{number}_{feature}" for feature in range(FEATURES)},
                    timestamp_lookup_key="ts",
                )
                for number, name in enumerate(names)
            ),
            bindings=(),
            label="y",
            exclude_columns=(),
        )
        self.client._case = self.case
        tell(self.client._standin.metastore, self.case)
        spark = self.client._spark
        self.client._frames = {
            name: spark.read.parquet(*(file.removeprefix("file://") for file in files))
            for name, files in zip(names, self.task["files"], strict=True)
        }
        return self.join

    def __exit__(self, *_: object) -> None:
        self.client.__exit__(None, None, None)

    def join(self) -> int:
        training_set = self.client._training_set(self.case, self.spine)
        return int(training_set.load_df().toArrow().num_rows)


_CONTENDERS: dict[str, Any] = {"ours": _Ours, "duckdb": _DuckDB, "polars": _Polars, "feast": _Feast, "real": _Real}

if __name__ == "__main__":
    main()
