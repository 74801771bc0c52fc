"""Landed Parquet: each value is the text that a CSV file would hold, and what has no text is refused."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import StageError
from mlplatform.ingest.landed_parquet import LandedParquet, as_text
from mlplatform.ingest.source import RESCUED, Source

MORNING = dt.datetime(2024, 12, 31, 8, 30, tzinfo=dt.UTC)


class Drops(Source):
    """Drops."""

    format = "parquet"
    files = "*.parquet"
    columns = ("a", "b")


def read(path: Path, columns: dict[str, Any]) -> pa.Table:
    pq.write_table(pa.table(columns), path)
    landed = LandedParquet(path, Drops())
    assert landed.malformed == []
    return pa.Table.from_batches(landed.batches(), landed.schema)


@pytest.mark.parametrize(
    ("kind", "values", "texts"),
    [
        (pa.string(), ["007", "", None, " x"], ["007", None, None, " x"]),
        (pa.large_string(), ["1e5"], ["1e5"]),
        (pa.int64(), [2**53 + 1, -7], ["9007199254740993", "-7"]),
        (pa.float64(), [1.5, 1e20, 0.1, float("nan")], ["1.5", "1e+20", "0.1", "nan"]),
        (pa.decimal128(20, 10), [Decimal("0.0000000001"), Decimal("12.5")], ["0.0000000001", "12.5000000000"]),
        (pa.bool_(), [True, False], ["true", "false"]),
        (pa.date32(), [dt.date(2024, 12, 31)], ["2024-12-31"]),
        (pa.date64(), [dt.date(2024, 12, 31)], ["2024-12-31"]),
        (pa.timestamp("us", "UTC"), [MORNING], ["2024-12-31T08:30:00.000000Z"]),
        (pa.timestamp("ms", "America/Sao_Paulo"), [MORNING], ["2024-12-31T08:30:00.000000Z"]),
        (pa.timestamp("s"), [MORNING.replace(tzinfo=None)], ["2024-12-31T08:30:00.000000"]),
        (pa.dictionary(pa.int32(), pa.string()), ["x", None], ["x", None]),
        (pa.null(), [None, None], [None, None]),
    ],
)
def test_each_value_is_its_text(tmp_path: Path, kind: pa.DataType, values: list[Any], texts: list[str | None]) -> None:
    rows = read(tmp_path / "d.parquet", {"a": pa.array(values, kind), "b": pa.array(range(len(values)))})
    assert rows.column("a").to_pylist() == texts
    assert rows.column_names == ["a", "b", RESCUED]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_the_same_number_again(values: list[float]) -> None:
    assert [float(text) for text in as_text(pa.array(values, pa.float64())).to_pylist()] == values


def test_an_added_column_is_rescued_whatever_its_type(tmp_path: Path) -> None:
    rows = read(tmp_path / "d.parquet", {"a": ["1"], "c": [[1, 2]], "b": ["2"], "d": [MORNING]})
    assert json.loads(rows.column(RESCUED)[0].as_py()) == {"c": [1, 2], "d": "2024-12-31 08:30:00+00:00"}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a": ["1"]}, r"lacks the column\(s\) b"),
        ({"a": [[1]], "b": ["1"]}, "the column a is list<.*>, which has no text"),
        ({"a": [b"x"], "b": ["1"]}, "the column a is binary"),
        ({"a": pa.array([1], pa.timestamp("ns")), "b": ["1"]}, "cannot be read as Parquet: .*lose data"),
    ],
)
def test_what_cannot_be_bronze_is_refused_with_file_and_column(tmp_path: Path, columns: Any, says: str) -> None:
    with pytest.raises(StageError, match=says) as caught:
        read(tmp_path / "d.parquet", columns)
    assert "d.parquet" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(content)
    with pytest.raises(StageError, match="cannot be read as Parquet"):
        LandedParquet(path, Drops())
