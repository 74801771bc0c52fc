"""Rows that were made to fit a table before another writer added a column to it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from mlplatform.errors import TableError
from mlplatform.workspace.local import delta, duck
from mlplatform.workspace.local.rows import ArrowSource, ParquetSource, RowSource
from mlplatform.workspace.local.tables import LocalTables
from tests.support.racers import tables as opened

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("value", pa.int64()),
    ]
)
NAME, KEYS, AT = "dev.x.t", ["id", "at"], datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def tables(tmp_path: Path) -> LocalTables:
    """Give a table of a row, to which another writer has added a column since."""
    made = opened(tmp_path)
    made.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
    made.merge(NAME, rows(1).append_column("new", pa.array(["x"])))
    return made


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "at": [AT] * len(ids), "value": [5] * len(ids)}, schema=SCHEMA)


@pytest.fixture(params=["in memory", "in a file", "many"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> RowSource:
    made = rows(*range(7, 7 + (duck.BATCH_ROWS + 1 if request.param == "many" else 2)))
    if request.param != "in a file":
        return ArrowSource(made)
    parquet.write_table(made, tmp_path / "rows.parquet")
    return ParquetSource([tmp_path / "rows.parquet"], SCHEMA)


@pytest.mark.parametrize("how", ["append", "overwrite", "merge", "replace"])
def test_what_the_rows_lack_is_null(tables: LocalTables, source: RowSource, how: str) -> None:
    path, scratch = tables.path(NAME), tables.scratch
    if how == "append":
        delta.append(path, NAME, source)
    elif how == "overwrite":
        delta.overwrite(path, NAME, source, scratch)
    elif how == "merge":
        delta.merge(path, NAME, source, KEYS, scratch)
    else:
        delta.replace_range(path, NAME, source, ("at", AT, AT), scratch)
    found = tables.to_arrow(NAME, at_most=10**6, filters=[("id", "<=", 8)]).sort_by("id").to_pylist()
    first = [{"id": 1, "at": AT, "value": 5, "new": "x"}] if how in {"append", "merge"} else []
    assert found == first + [{"id": number, "at": AT, "value": 5, "new": None} for number in (7, 8)]


def test_a_column_that_another_has_added_with_another_type_is_refused(tables: LocalTables) -> None:
    version = tables.version(NAME)
    with pytest.raises(TableError, match=r"Column new .* is string; that of the rows is int64"):
        delta.merge(tables.path(NAME), NAME, rows(1).append_column("new", pa.array([1])), KEYS, tables.scratch)
    assert tables.version(NAME) == version
