"""The engines: how rows are read from Parquet files, given as Arrow, staged as Parquet, and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

MEMORY_GB = 2  # DuckDB's limit, and the JVM's heap; Sail has none


class Duck:
    """DuckDB as the local workspace sets it up."""

    def __init__(self, scratch: Path) -> None:
        import duckdb

        self.scratch = scratch
        self.connection = duckdb.connect()
        for setting in ("TimeZone = 'UTC'", "preserve_insertion_order = false", "enable_progress_bar = false"):
            self.connection.execute(f"SET {setting}")
        self.connection.execute(f"SET temp_directory = '{scratch / 'spill'}'")
        self.connection.execute(f"SET memory_limit = '{MEMORY_GB}GB'")

    def read(self, files: list[str]) -> Any:
        return self.connection.read_parquet(files)

    def arrow(self, relation: Any) -> pa.Table:
        return relation.to_arrow_table()

    def stage(self, relation: Any, folder: Path) -> list[str]:
        """Write Parquet; return the files."""
        folder.mkdir(parents=True)
        relation.write_parquet(str(folder / "part.parquet"))
        return [str(folder / "part.parquet")]

    def write(self, relation: Any, folder: Path) -> int:
        """Stream rows into a Delta table; return their number."""
        from deltalake import DeltaTable, write_deltalake

        write_deltalake(str(folder), relation.to_arrow_reader(122_880))
        return int(DeltaTable(str(folder)).count())

    def close(self) -> None:
        self.connection.close()


class Spark:
    """A Spark session: Sail's as the local workspace starts it, or one on the JVM with as much memory as DuckDB."""

    def __init__(self, scratch: Path, *, jvm: bool) -> None:
        self.scratch, self.jvm = scratch, jvm
        if jvm:
            from pyspark.sql import SparkSession

            builder = SparkSession.builder.master("local[*]").config("spark.driver.memory", f"{MEMORY_GB}g")
            for name, value in {
                "spark.driver.host": "127.0.0.1",
                "spark.local.dir": str(scratch / "spark"),
                "spark.log.level": "ERROR",
                "spark.sql.session.timeZone": "UTC",
                "spark.sql.shuffle.partitions": "8",
                "spark.ui.enabled": "false",
                "spark.ui.showConsoleProgress": "false",
            }.items():
                builder = builder.config(name, value)
            self.session = builder.getOrCreate()
            return
        from mlplatform.workspace.local.session import SailServer, connect

        self.server = SailServer(scratch / "sail.log", scratch)
        self.session = connect(self.server.url)

    def read(self, files: list[str]) -> Any:
        return self.session.read.parquet(*files)

    def arrow(self, frame: Any) -> pa.Table:
        return frame.toArrow()

    def stage(self, frame: Any, folder: Path) -> list[str]:
        """Write Parquet; return the files."""
        frame.write.parquet(str(folder))
        return sorted(str(file) for file in folder.rglob("*.parquet"))

    def write(self, frame: Any, folder: Path) -> int:
        """Write Parquet, and from there into a Delta table where Spark is not the one that writes it."""
        files = self.stage(frame, folder.with_name(f"{folder.name}_staged"))
        if self.jvm:
            return int(self.session.read.parquet(*files).count())
        duck = Duck(self.scratch)
        return duck.write(duck.read(files), folder)

    def close(self) -> None:
        self.session.stop()
        if not self.jvm:
            self.server.stop()
