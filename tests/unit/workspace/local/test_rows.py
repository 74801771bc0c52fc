"""Rows on their way into a table: the same, and refused for the same reasons, in memory and in Parquet files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from mlplatform.errors import TableError
from mlplatform.workspace.local import delta, duck
from mlplatform.workspace.local.rows import (
    ArrowSource,
    ParquetSource,
    RowSource,
    check_no_nulls,
    check_unique,
    check_within,
    fitted,
)

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", TIME),
        pa.field("amount", pa.decimal128(10, 2)),
        pa.field("note", pa.string()),
    ]
)

Make = Callable[[pa.Table], RowSource]


@pytest.fixture(params=["memory", "files", "files that do not say how many nulls they hold"])
def rows_of(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Give a function that puts a table into rows of one kind; of files there are several, with small row groups."""

    def write(table: pa.Table) -> RowSource:
        if request.param == "memory":
            return ArrowSource(table)
        folder = tmp_path / "frame"
        folder.mkdir()
        for number, start in enumerate(range(0, max(table.num_rows, 1), 3)):
            file = folder / f"part-{number}.parquet"
            parquet.write_table(
                table.slice(start, 3), file, row_group_size=2, write_statistics=request.param == "files"
            )
        (folder / "_SUCCESS").touch()
        return ParquetSource(folder)

    return write


def table(number: int = 8, **columns: Any) -> pa.Table:
    values = {
        "id": pa.array(range(number), pa.int64()),
        "at": pa.array([FIRST + timedelta(days=day) for day in range(number)], TIME),
        "amount": pa.array([Decimal("1.25")] * number, pa.decimal128(10, 2)),
        "note": pa.array([None, *["x"] * (number - 1)], pa.string()),
    }
    return pa.table(values | columns)


def content(rows: RowSource, scratch: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    with duck.connect(scratch) as connection:
        rows.scan(connection, "given")
        scanned = connection.sql("SELECT * FROM given ORDER BY id").to_arrow_table().to_pylist()
    return rows.reader().read_all().sort_by("id").to_pylist(), scanned


def refusal(rows: RowSource, scratch: Path) -> str:
    with pytest.raises(TableError) as caught:
        fitted(rows, SCHEMA, "dev.x.t", scratch, scratch)
    return str(caught.value)


def test_rows_may_be_read_again(rows_of: Make, tmp_path: Path) -> None:
    rows = fitted(rows_of(table()), SCHEMA, "dev.x.t", tmp_path, tmp_path)
    assert rows.schema.equals(SCHEMA)
    expected = table().to_pylist()
    assert content(rows, tmp_path) == content(rows, tmp_path) == (expected, expected)


def test_columns_are_put_in_order_and_those_that_may_be_null_may_be_missing(rows_of: Make, tmp_path: Path) -> None:
    rows = fitted(rows_of(table().select(["note", "id"])), SCHEMA, "dev.x.t", tmp_path, tmp_path)
    expected = [{"id": row["id"], "at": None, "amount": None, "note": row["note"]} for row in table().to_pylist()]
    assert content(rows, tmp_path) == (expected, expected)


def test_what_fits_is_cast(rows_of: Make, tmp_path: Path) -> None:
    narrow = table(
        id=pa.array(range(8), pa.int32()),
        amount=pa.array([1.25] * 8),
        at=pa.array([FIRST + timedelta(days=day) for day in range(8)], pa.timestamp("ms", tz="Europe/Berlin")),
        note=pa.array([None, *["x"] * 7], pa.large_string()),
    )
    rows = fitted(rows_of(narrow), SCHEMA, "dev.x.t", tmp_path, tmp_path)
    expected = table().to_pylist()
    assert content(rows, tmp_path) == (expected, expected)
    assert rows.reader().schema.equals(SCHEMA)


def test_a_column_that_files_lack_is_null_in_each_row(tmp_path: Path) -> None:
    parquet.write_table(table(), tmp_path / "rows.parquet")
    rows = ParquetSource([tmp_path / "rows.parquet"], SCHEMA.append(pa.field("later", pa.int64())))
    with pytest.raises(TableError, match="8 row"):
        check_no_nulls(rows, ["id", "later"], "dev.x.t", tmp_path)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.struct([("low", pa.int64())])])
def test_nulls_are_counted_where_columns_are_nested(rows_of: Make, tmp_path: Path, kind: pa.DataType) -> None:
    """A list that is null is one; a list with a null in it is none."""
    whole = [[1, None], []] * 4 if pa.types.is_list(kind) else [{"low": None}, {"low": 2}] * 4
    for values, nulls in ((whole, 0), ([None, *whole[1:]], 1)):
        rows = rows_of(table(nested=pa.array(values, kind)))
        schema = SCHEMA.append(pa.field("nested", kind, nullable=False))
        if nulls:
            with pytest.raises(TableError, match=r"nested of dev.x.t may not be null; the frame has 1 null\(s\)"):
                fitted(rows, schema, "dev.x.t", tmp_path, tmp_path)
        else:
            assert fitted(rows, schema, "dev.x.t", tmp_path, tmp_path).schema.equals(schema)
            shutil.rmtree(tmp_path / "frame", ignore_errors=True)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("other", pa.array(range(8)), "dev.x.t has no column other"),
        ("id", pa.array([1, None, 3, 4, 5, None, 7, 8]), "id of dev.x.t may not be null; the frame has 2 null(s)"),
        ("amount", pa.array([0.001] * 8), "value(s), such as 0.001, would be rounded"),
        ("amount", pa.array(["text"] * 8), "Column amount of dev.x.t is decimal128(10, 2); the frame's string"),
    ],
)
def test_what_does_not_fit_is_refused(rows_of: Make, tmp_path: Path, column: str, values: Any, said: str) -> None:
    message = refusal(rows_of(table(**{column: values})), tmp_path)
    assert said in message


def test_a_required_column_that_lacks_is_named(rows_of: Make, tmp_path: Path) -> None:
    assert "The frame for dev.x.t lacks id" in refusal(rows_of(table().select(["note"])), tmp_path)


def test_repeated_and_missing_keys_are_counted(rows_of: Make, tmp_path: Path) -> None:
    repeated = rows_of(table(id=pa.array([1, 1, 1, 2, 3, 3, 4, 5]), at=pa.array([FIRST] * 8, TIME)))
    with pytest.raises(TableError, match=r"2 key\(s\) of dev.x.t occur more than once in the frame \(3 row") as caught:
        check_unique(repeated, ["id", "at"], "dev.x.t", tmp_path)
    assert "'at': datetime.datetime(2024, 1, 1, 0, 0, tzinfo=" in str(caught.value)


def test_unique_keys_pass_and_null_keys_do_not(rows_of: Make, tmp_path: Path) -> None:
    rows = rows_of(table())
    check_unique(rows, ["id", "at"], "dev.x.t", tmp_path)
    check_no_nulls(rows, ["id"], "dev.x.t", tmp_path)
    with pytest.raises(TableError, match=r"Null in key column of dev.x.t: note \(1 row\(s\)\)"):
        check_unique(rows, ["id", "note"], "dev.x.t", tmp_path)


def test_rows_outside_a_range_are_counted_and_a_missing_time_is_outside(rows_of: Make, tmp_path: Path) -> None:
    days = [FIRST + timedelta(days=day) for day in range(7)]
    rows = rows_of(table(at=pa.array([*days, None], TIME)))
    with pytest.raises(TableError, match=r"4 of 8 row\(s\) for dev.x.t have a at outside"):
        check_within(rows, ("at", FIRST + timedelta(days=1), FIRST + timedelta(days=4)), "dev.x.t", tmp_path)


def test_an_engine_that_wrote_no_file_wrote_no_rows(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    rows = ParquetSource(folder, SCHEMA)
    assert content(fitted(rows, SCHEMA, "dev.x.t", tmp_path, tmp_path), tmp_path) == ([], [])
    with pytest.raises(TableError, match="no rows in"):
        ParquetSource(folder)


def test_all_writes_take_files_and_count_what_they_wrote(tmp_path: Path) -> None:
    path, scratch = tmp_path / "t", tmp_path / "scratch"
    scratch.mkdir()
    delta.create(path, SCHEMA, description="", properties={"primary_keys": '["id"]'})

    def given(name: str, rows: pa.Table) -> RowSource:
        parquet.write_table(rows, tmp_path / f"{name}.parquet")
        return fitted(ParquetSource([tmp_path / f"{name}.parquet"]), SCHEMA, "t", scratch, scratch)

    def ids() -> list[int]:
        found = pa.table(delta.open_table(path, "t").to_pyarrow_table()).column("id").to_pylist()
        return sorted(found)

    assert delta.append(path, "t", given("a", table(3))).rows == 3
    later = table(4, id=pa.array([2, 3, 4, 5]), note=pa.array([None, "x", "y", "z"]))
    assert delta.merge(path, "t", given("b", later), ["id"], scratch).rows == 4
    assert ids() == [0, 1, 2, 3, 4, 5]
    span = ("at", FIRST, FIRST + timedelta(days=1))
    assert delta.replace_range(path, "t", given("c", table(1, id=pa.array([9]))), span, scratch).rows == 1
    assert ids() == [4, 5, 9]
    assert delta.overwrite(path, "t", given("d", table(2)), scratch).rows == 2
    assert ids() == [0, 1]
    assert not list(scratch.glob("delta-*"))
