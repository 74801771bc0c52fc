"""A file in a dialect is the same values in both homes: those that were written, and nothing where none was."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import random
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform import Column, Dialect, SilverTable, Source, number_sql, time_sql
from mlplatform.ingest.delivery import DueFile, FileReading
from mlplatform.ingest.landed_file import LandedFile
from mlplatform.ingest.landed_parquet import LandedParquet
from mlplatform.naming import ObjectName
from mlplatform.refine.landed_rows import LandedRows

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

NUMBERS = itertools.count()
CODECS = {"utf-8": "utf-8-sig", "latin-1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16"}
DIALECTS = [
    Dialect(),
    Dialect(delimiter=";", encoding="latin-1", decimal=",", thousands=".", date_format="dd/MM/yyyy"),
    Dialect(thousands=",", date_format="MM/dd/yyyy"),
    Dialect(delimiter="\t", encoding="utf-16", decimal=",", thousands=" ", date_format="dd.MM.yyyy"),
    Dialect(delimiter="|", encoding="windows-1252", thousands="'", date_format="yyyy/MM/dd"),
    Dialect(delimiter=";", decimal=",", date_format="dd-MM-yyyy"),
    Dialect(decimal=",", thousands=".", date_format="yyyy.MM.dd"),
    Dialect(delimiter=";", decimal=",", thousands="'", date_format="MM-dd-yyyy"),
    Dialect(date_format="MM.dd.yyyy"),
]
COLUMNS = ("id", "name", "amount", "money", "count", "day", "moment")
READ = ("amount", "amount_sql", "money", "count", "day", "moment", "moment_sql")


def silver_of(dialect: Dialect, file_format: str = "csv") -> type[SilverTable]:
    """Return a table whose columns are read by the dialect, without SQL and with it."""
    source = type(
        "LandedSource",
        (Source,),
        {"files": "*.csv", "columns": COLUMNS, "dialect": dialect, "format": file_format, "name": "landed"},
    )
    columns = (
        Column("id", "int", "Number"),
        Column("name", "string", "Letters"),
        Column("amount", "double", "An amount"),
        Column("money", "decimal(12,2)", "The same, exactly"),
        Column("count", "bigint", "A whole number"),
        Column("day", "date", "A day"),
        Column("moment", "timestamp", "A time"),
        Column("amount_sql", "double", "An amount", sql=number_sql("amount", dialect=dialect)),
        Column("moment_sql", "timestamp", "A time", sql=time_sql("moment", dialect=dialect)),
    )
    declared = {"source": source, "keys": ("id",), "known_at": "moment", "columns": columns, "name": "landed"}
    return type("Landed", (SilverTable,), declared)


def read(ws: Workspace, silver: type[SilverTable], landed: Any) -> list[dict[str, Any]]:
    """Bring a file into bronze, and read it as silver."""
    schema = f"dialects{next(NUMBERS)}"
    bronze = ObjectName("dev", schema, "bronze_landed")
    file = DueFile(Path("drop"), "drop", dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    reading = FileReading(landed, file)
    ws.tables.create(bronze, silver.source().bronze_schema())
    ws.tables.append(bronze, pa.Table.from_batches(reading.batches(), reading.schema))
    assert landed.malformed == []
    target = ObjectName("dev", schema, "silver_landed")
    rows = LandedRows(ws, silver(), target, bronze, ws.tables.version(bronze), ["drop"])
    with rows.judged() as judged:
        collected = ws.frames.collect(judged, at_most=1000, what="rows")
    return collected.sort_by("id").to_pylist()


def values() -> list[dict[str, Any]]:
    """Return rows of values: small and large, negative, none."""
    dice = random.Random(11)
    rows: list[dict[str, Any]] = []
    for number in range(60):
        cents = dice.choice([0, dice.randrange(100), dice.randrange(10**6), dice.randrange(10**11)])
        money = Decimal(cents * dice.choice([1, -1])) / 100
        moment = dt.datetime(1900, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=dice.randrange(6 * 10**9))
        whole = dice.randrange(10 ** dice.randrange(1, 13))
        rows.append({"id": number, "name": dice.choice(["São José", 'x "y"', ";|,\t"]), "money": money, "count": whole})
        rows[-1] |= {"amount": float(money), "day": moment.date(), "moment": moment}
    rows.append({"id": 60, "name": None, "money": None, "count": None, "amount": None, "day": None, "moment": None})
    return rows


def written(value: Any, dialect: Dialect) -> str:
    """Return a value's text in a dialect, by Python's own formatting."""
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return f"{written(value.date(), dialect)} {value:%H:%M:%S}"
    if isinstance(value, dt.date):
        day = dialect.date_format.replace("yyyy", f"{value.year:04}")
        return day.replace("MM", f"{value.month:02}").replace("dd", f"{value.day:02}")
    if isinstance(value, str):
        return value
    grouped = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return grouped.translate(str.maketrans({",": dialect.thousands or None, ".": dialect.decimal}))


def write(path: Path, dialect: Dialect, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding=CODECS[dialect.encoding], newline="") as file:
        writer = csv.writer(file, delimiter=dialect.delimiter)
        writer.writerow(COLUMNS)
        writer.writerows([written(row.get(column), dialect) for column in COLUMNS] for row in rows)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.date_format)
def test_what_was_written_is_read_again(ws: Workspace, tmp_path: Path, dialect: Dialect) -> None:
    silver, rows, path = silver_of(dialect), values(), tmp_path / "drop.csv"
    # A number of a plain file has no thousands; an id is one of every dialect.
    write(path, dialect, rows)
    found = read(ws, silver, LandedFile(path, silver.source()))
    assert [row["name"] for row in found] == [row["name"] for row in rows]
    for expected, row in zip(rows, found, strict=True):
        beside = {"amount_sql": expected["amount"], "moment_sql": expected["moment"]}
        assert {name: row[name] for name in READ} == {name: (expected | beside)[name] for name in READ}


WRONG = {
    "amount": ["1.234.5", "1,5,5", "1 5", "12.50", "1.23,4", "abc", "1,5e3", "NaN", "0x1", "--1"],
    "money": ["1,234", "1.2,30", "99999999999,00", "1,5-5"],
    "count": ["1,5", "1.23", "007", "9" * 30, "1e3"],
    "day": ["31/02/2024", "12/31/2024", "31/12/24", "2024-12-31", "31.12.2024", "00/01/2024", "x31/12/2024"],
    "moment": ["31/12/2024 25:00", "12/31/2024 08:30", "31/12/2024 8h", "31/12/2024 08", "2024-12-31 08:30"],
}


def test_what_is_written_otherwise_is_nothing_and_never_another_value(ws: Workspace, tmp_path: Path) -> None:
    silver, path = silver_of(DIALECTS[1]), tmp_path / "drop.csv"
    wrong = [(column, text) for column, texts in WRONG.items() for text in texts]
    rows = [{"id": number, column: text} for number, (column, text) in enumerate(wrong)]
    write(path, DIALECTS[1], rows)
    found = read(ws, silver, LandedFile(path, silver.source()))
    values = {text: {name: row[name] for name in READ} for (_, text), row in zip(wrong, found, strict=True)}
    assert {text: row for text, row in values.items() if any(value is not None for value in row.values())} == {}


def test_a_day_and_a_month_may_have_one_digit_and_a_time_a_zone(ws: Workspace, tmp_path: Path) -> None:
    silver, path = silver_of(DIALECTS[1]), tmp_path / "drop.csv"
    texts = ["1/2/2024", " 01/02/2024 ", "1/2/2024 08:30", "01/02/2024T08:30:10.5-03:00", "29/2/2024 00:00:00Z"]
    write(path, DIALECTS[1], [{"id": number, "moment": text} for number, text in enumerate(texts)])
    first = dt.datetime(2024, 2, 1, tzinfo=dt.UTC)
    assert [row["moment"] for row in read(ws, silver, LandedFile(path, silver.source()))] == [
        first,
        first,
        first + dt.timedelta(hours=8, minutes=30),
        first + dt.timedelta(hours=11, minutes=30, seconds=10, milliseconds=500),
        first + dt.timedelta(days=28),
    ]


def test_values_of_parquet_are_those_that_were_written(ws: Workspace, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    silver, rows, path = silver_of(Dialect(), "parquet"), values(), tmp_path / "drop.parquet"
    kinds = [pa.int32(), pa.string(), pa.float64(), pa.decimal128(12, 2), pa.int64(), pa.date32()]
    schema = pa.schema(list(zip(COLUMNS, [*kinds, pa.timestamp("us", "UTC")], strict=True)))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    found = read(ws, silver, LandedParquet(path, silver.source()))
    for expected, row in zip(rows, found, strict=True):
        beside = {"amount_sql": expected["amount"], "moment_sql": expected["moment"]}
        assert {name: row[name] for name in READ} == {name: (expected | beside)[name] for name in READ}


def test_a_table_is_read_for_a_new_use_case_as_the_text_of_its_values(ws: Workspace, fresh: Any) -> None:
    from mlplatform.scaffold.typed_data import read_table

    name = fresh("extract")
    fields = [pa.field("code", pa.string()), pa.field("amount", pa.float64()), pa.field("_rescued_data", pa.string())]
    ws.tables.create(name, pa.schema([*fields, pa.field("moment", pa.timestamp("us", "UTC"))]))
    moment = dt.datetime(2024, 12, 31, 8, 30, tzinfo=dt.UTC)
    rows = [{"code": "007", "amount": 1.5, "moment": moment}, {"code": None, "amount": None, "moment": None}]
    ws.tables.append(name, pa.Table.from_pylist([{"_rescued_data": "x"} | row for row in rows]))
    data = read_table(ws, name)
    found = sorted((tuple(row) for row in data.rows.to_numpy().tolist()), key=str)
    assert found == [("007", "1.5", "2024-12-31T08:30:00.000000Z"), (None, None, None)]
    assert (data.left_out, data.types["code"], data.format) == (("_rescued_data",), "string", "parquet")
