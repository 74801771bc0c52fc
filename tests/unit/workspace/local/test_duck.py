"""Databases of DuckDB for a write or a lookup: each one's own, however many are open, and quick to open."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlplatform.workspace.local import duck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    duck.close_instances(tmp_path)


def views(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the views that a connection finds by their bare names."""
    return [
        name
        for name in ("source", "other", "registered")
        if connection.execute(
            "SELECT count(*) FROM duckdb_views() WHERE view_name = ? AND database_name = current_database()", [name]
        ).fetchall()[0][0]
    ]


def databases(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many databases are open, its own included."""
    found = connection.sql("SELECT count(*) FROM duckdb_databases() WHERE database_name LIKE 'own_%'").fetchall()
    return int(found[0][0])


def test_each_is_empty_and_sees_nothing_of_the_others(scratch: Path) -> None:
    for _ in range(2):
        with duck.connect(scratch) as one, duck.connect(scratch) as other:
            one.execute("CREATE VIEW source AS SELECT 1 AS a")
            other.execute("CREATE VIEW source AS SELECT 2 AS a")
            one.register("registered", pa.table({"a": [3]}))
            assert [connection.sql("SELECT a FROM source").fetchall() for connection in (one, other)] == [
                [(1,)],
                [(2,)],
            ]
            assert views(other) == ["source"]
        with duck.connect(scratch) as later:
            assert views(later) == []
            assert databases(later) == 1


def test_one_that_failed_leaves_nothing_behind(scratch: Path) -> None:
    import duckdb

    def fail() -> None:
        with duck.connect(scratch) as connection:
            connection.execute("BEGIN TRANSACTION")
            connection.execute("CREATE VIEW source AS SELECT 1 AS a")
            connection.execute("SELECT no_such_column FROM source")

    with pytest.raises(duckdb.Error):
        fail()
    with duck.connect(scratch) as later:
        assert databases(later) == 1


def test_all_think_in_utc_and_threads_have_their_own(scratch: Path) -> None:
    def ask(number: int) -> tuple[str, int]:
        with duck.connect(scratch) as connection:
            connection.execute(f"CREATE VIEW source AS SELECT {number} AS a")
            zone = connection.sql("SELECT current_setting('TimeZone')").fetchall()[0][0]
            return str(zone), int(connection.sql("SELECT a FROM source").fetchall()[0][0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(12))) == [("UTC", number) for number in range(12)]


def test_the_folder_may_come_again_after_the_instances_are_closed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    for _ in range(2):
        scratch.mkdir()
        with duck.connect(scratch, memory_limit="60MB") as connection:
            connection.execute("SET threads = 1")
            connection.execute("CREATE TEMP TABLE x AS SELECT i, repeat('a', 60) || i AS t FROM range(1500000) r(i)")
            assert connection.sql("SELECT count(*) FROM x").fetchall() == [(1_500_000,)]
            assert any((scratch / "duckdb").iterdir())
        duck.close_instances(scratch)
        shutil.rmtree(scratch)
