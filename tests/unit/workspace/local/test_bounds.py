"""What is bounded: files left out by a log's numbers, rows read whole, and DuckDB's memory."""

from __future__ import annotations

import ast
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from mlplatform.errors import TableError
from mlplatform.features.training_set import Join
from mlplatform.workspace.local import data_files, duck, staged_lookups, table_files
from mlplatform.workspace.local import tables as local_tables
from tests.support.racers import tables as opened

NAME = "dev.x.t"
OPENING = {"connect", "open_connection"}


def test_no_row_is_lost_to_the_bounds_of_decimals(tmp_path: Path) -> None:
    tables = opened(tmp_path)
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("amount", pa.decimal128(38, 10))])
    tables.create(NAME, schema)
    values = [Decimal("1234567890123456789012345678.0123456789"), Decimal("-9876543210987654321.0000000001")]
    for number, value in enumerate(values):
        tables.append(NAME, pa.table({"id": [number], "amount": [value]}, schema=schema))
    for value in values:
        for operator in ("=", ">=", "<="):
            found = tables.frames.read(NAME, columns=["amount"], filters=[("amount", operator, value)])
            assert value in tables.frames.collect(found, at_most=9, what="rows").column("amount").to_pylist()


def test_a_table_of_many_rows_in_few_bytes_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = opened(tmp_path)
    schema = pa.schema([("id", pa.int64())])
    tables.create(NAME, schema)
    tables.append(NAME, pa.table({"id": [0] * 1000}, schema=schema))
    assert table_files.is_small(tables.open(NAME))
    monkeypatch.setattr(table_files, "SMALL_ROWS", 999)
    monkeypatch.setattr(local_tables, "_query", None)
    with pytest.raises(TableError, match=r"1,?000"):
        tables.to_arrow(NAME, at_most=10)


def test_a_folder_named_as_a_partition_changes_no_key(tmp_path: Path) -> None:
    file = tmp_path / "region=north" / "rows.parquet"
    file.parent.mkdir()
    parquet.write_table(pa.table({"region": ["south", "east"]}), file)
    item = Join("dev.x.f", (("region", "region"),), None, None, (("v", "v"),))
    with duck.connect(tmp_path) as connection:
        keys = connection.sql(staged_lookups._keys(file, item)).fetchall()
    assert [key for key, _ in keys] == ["south", "east"]


def test_each_database_that_writes_open_has_a_limit() -> None:
    room = Path(data_files.__file__).parent
    for file in sorted(room.glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if call.func.attr in OPENING and ast.unparse(call.func.value) == "duck":
                assert "memory_limit" in {item.arg for item in call.keywords}, f"{file.name}:{call.lineno}"
