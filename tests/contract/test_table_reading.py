"""Tables: reading them, at their versions, by columns and filters, and through views."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform.errors import TableError

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", tz="UTC")
DAY = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", TIME, nullable=False),
        pa.field("amount", pa.float64()),
        pa.field("note", pa.string()),
        pa.field("day", pa.date32()),
        pa.field("good", pa.bool_()),
        pa.field("money", pa.decimal128(9, 2)),
    ]
)


def frame(*ids: int, note: str | None = "x") -> pa.Table:
    """Row 0 has nulls wherever it may."""
    return pa.Table.from_pylist(
        [
            {
                "id": number,
                "at": DAY + timedelta(days=number, microseconds=number),
                "amount": float(number) if number else None,
                "note": note if number else None,
                "day": (DAY + timedelta(days=number)).date() if number else None,
                "good": number % 2 == 0 if number else None,
                "money": Decimal(number) / 2 if number else None,
            }
            for number in ids
        ],
        schema=SCHEMA,
    )


def ids(ws: Workspace, name: str, **how: Any) -> list[int]:
    return sorted(ws.tables.to_arrow(name, at_most=10**6, **how).column("id").to_pylist())


@pytest.fixture
def table(ws: Workspace, fresh: Callable[[str], str]) -> str:
    """A keyed table of this test alone."""
    name = fresh("r")
    ws.tables.create(name, SCHEMA, primary_keys=("id", "at"), timeseries_column="at")
    return name


@pytest.fixture(scope="module")
def four(ws: Workspace) -> str:
    """A table with rows 0 to 3, which no test changes."""
    name = "dev.contract.four"
    ws.tables.create(name, SCHEMA, primary_keys=("id", "at"), timeseries_column="at")
    ws.tables.append(name, frame(0, 1))
    ws.tables.append(name, frame(2, 3))
    return name


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], [0, 1, 2, 3]),
        ([("id", "=", 2)], [2]),
        ([("id", "==", 2)], [2]),
        ([("id", "!=", 2)], [0, 1, 3]),
        ([("id", ">", 1), ("id", "<=", 3)], [2, 3]),
        ([("id", ">=", 2), ("id", "<", 3)], [2]),
        ([("id", "in", (1, 3, 99))], [1, 3]),
        ([("id", "in", [])], []),
        ([("at", ">", DAY + timedelta(days=1))], [1, 2, 3]),
        ([("at", "<=", DAY + timedelta(days=1, microseconds=1))], [0, 1]),
        ([("at", "<=", DAY + timedelta(days=1))], [0]),
        ([("at", "in", [DAY])], [0]),
        ([("note", "=", "x")], [1, 2, 3]),
        ([("note", "in", ["x", "y'z"])], [1, 2, 3]),
        ([("note", "=", "y'z\\")], []),
        ([("day", ">=", date(2024, 1, 3))], [2, 3]),
        ([("good", "=", True)], [2]),
        ([("money", ">", Decimal("1.00"))], [3]),
        ([("amount", ">", 5.0)], []),
    ],
    ids=str,
)
def test_filters_are_joined_by_and(ws, four, filters, found):
    assert ids(ws, four, filters=filters) == found


def test_a_null_passes_no_filter(ws, four):
    for operator in ("=", "!=", "<", ">=", "<=", ">"):
        assert 0 not in ids(ws, four, filters=[("amount", operator, 1.0)])
    assert 0 not in ids(ws, four, filters=[("amount", "in", [1.0])])


def test_nan_is_neither_less_nor_greater_however_the_files_lie(ws, fresh):
    schema = pa.schema([("id", pa.int64()), ("f", pa.float64()), ("g", pa.float32())])
    rows = pa.table([[0, 1, 2, 3], [None, 1.0, float("nan"), 50.0], [None, 1.0, float("nan"), 50.0]], schema=schema)
    together, apart = fresh("nan"), fresh("nan")
    for name in (together, apart):
        ws.tables.create(name, schema)
    ws.tables.append(together, rows)
    for place in range(4):
        ws.tables.append(apart, rows.slice(place, 1))
    for operator, found in ((">", 1), (">=", 1), ("<", 1), ("<=", 1), ("=", 0)):
        for name in (together, apart):
            for column in ("f", "g"):
                asked = [(column, operator, 10.0)]
                assert ws.frames.count(ws.frames.read(name, filters=asked)) == found, asked
                assert ws.frames.count(ws.frames.read(name, any_of=asked)) == found, asked
                assert ws.tables.to_arrow(name, at_most=9, filters=asked).num_rows == found, asked


def test_only_the_columns_asked_for_are_read_in_their_order(ws, four):
    found = ws.tables.to_arrow(four, at_most=10**6, columns=["note", "id"], filters=[("amount", "=", 1.0)])
    assert found.to_pylist() == [{"note": "x", "id": 1}]
    assert found.column_names == ["note", "id"]
    assert found.schema.equals(pa.schema([SCHEMA.field("note"), SCHEMA.field("id")]))


def test_what_cannot_be_asked_is_refused(ws, four):
    for how in ({"columns": ["amuont"]}, {"filters": [("amuont", "=", 1)]}):
        with pytest.raises(TableError, match=f"{four} has no column amuont") as refused:
            ws.tables.to_arrow(four, at_most=10**6, **how)
        assert "Did you mean amount" in refused.value.hint
    with pytest.raises(TableError, match="'like' is not a filter operator") as refused:
        ws.tables.to_arrow(four, at_most=10**6, filters=[("id", "like", "1%")])
    assert ">=" in refused.value.hint
    for misfit in (("at", ">", "yesterday"), ("note", ">", 1), ("id", "=", "one")):
        with pytest.raises(TableError, match=f"{four} cannot be filtered by"):
            ws.tables.to_arrow(four, at_most=10**6, filters=[misfit])


def test_the_largest_value_is_that_of_the_rows_asked_for(ws, four, table):
    assert ws.tables.largest(four, "at") == DAY + timedelta(days=3, microseconds=3)
    assert ws.tables.largest(four, "at", filters=[("id", "<", 2)]) == DAY + timedelta(days=1, microseconds=1)
    assert ws.tables.largest(four, "amount", filters=[("id", "=", 0)]) is None
    assert (ws.tables.largest(four, "note"), ws.tables.largest(four, "day")) == ("x", date(2024, 1, 4))
    assert ws.tables.largest(four, "money") == Decimal("1.50")
    assert ws.tables.largest(table, "id") is None
    with pytest.raises(TableError, match=f"{four} has no column idd") as refused:
        ws.tables.largest(four, "idd")
    assert "Did you mean id" in refused.value.hint
    with pytest.raises(TableError, match="no column idd"):
        ws.tables.largest(four, "id", filters=[("idd", "=", 1)])


def test_every_version_stays_readable_whatever_is_written_later(ws, table):
    versions = [ws.tables.append(table, frame(number)).version for number in range(3)]
    assert versions == sorted(set(versions))
    ws.tables.merge(table, frame(1, note="changed"))
    ws.tables.merge(table, frame(5).append_column("new", pa.array([1])))
    last = ws.tables.overwrite(table, pa.concat_tables([frame(99)])).version
    assert last == ws.tables.version(table) == ws.tables.describe(table).version
    assert [ids(ws, table, version=version) for version in versions] == [[0], [0, 1], [0, 1, 2]]
    for wrong in (-1, last + 1):
        for read in (partial(ws.tables.to_arrow, at_most=10**6), ws.tables.read):
            with pytest.raises(TableError, match=f"{table} has no version {wrong}; the newest is {last}"):
                read(table, version=wrong)


def test_a_data_frame_that_is_held_is_a_snapshot(ws, table):
    ws.tables.append(table, frame(1))
    held, filtered = ws.tables.read(table), ws.tables.read(table).where("id < 10")
    ws.tables.append(table, frame(2))
    ws.tables.merge(table, frame(1, note="changed"))
    assert [row["note"] for row in held.collect()] == ["x"]
    ws.tables.overwrite(table, frame(3))
    assert [row["id"] for row in held.collect()] == [row["id"] for row in filtered.collect()] == [1]
    assert [row["id"] for row in ws.tables.read(table).collect()] == [3]
    assert ws.tables.read(table, version=0).count() == 0


def test_spark_reads_what_arrow_reads(ws, four):
    found = ws.tables.read(four)
    assert dict(found.dtypes) == {
        "id": "bigint",
        "at": "timestamp",
        "amount": "double",
        "note": "string",
        "day": "date",
        "good": "boolean",
        "money": "decimal(9,2)",
    }
    assert found.columns == SCHEMA.names
    assert (
        found.toArrow().sort_by("id").to_pylist() == ws.tables.to_arrow(four, at_most=10**6).sort_by("id").to_pylist()
    )


def test_a_latest_view_shows_the_newest_row_of_each_key_and_is_no_table(ws, fresh):
    name, view = fresh("events"), fresh("latest")
    schema = pa.schema([("k", pa.string()), ("at", TIME), ("run", pa.int64()), ("v", pa.float64())])
    ws.tables.create(name, schema)

    def row(key: str, day: int, run: int, value: float | None) -> dict[str, Any]:
        return {"k": key, "at": DAY + timedelta(days=day), "run": run, "v": value}

    def write(*rows: dict[str, Any]) -> None:
        ws.tables.append(name, pa.Table.from_pylist(list(rows), schema=schema))

    def shown() -> list[dict[str, Any]]:
        return ws.tables.to_arrow(view, at_most=10**6).sort_by("k").to_pylist()

    ws.tables.create_latest_view(view, of=name, keys=["k"], order_by=["at", "run"], description="It's the newest")
    assert shown() == []
    write(row("a", 1, 9, 1.0), row("a", 2, 1, 2.0), row("a", 2, 2, None), row("b", 1, 1, 4.0))
    assert shown() == [row("a", 2, 2, None), row("b", 1, 1, 4.0)]
    write(row("b", 3, 1, 5.0), row("b", 0, 7, 6.0))
    assert shown() == [row("a", 2, 2, None), row("b", 3, 1, 5.0)]
    assert ws.tables.to_arrow(view, at_most=10**6, columns=["v"], filters=[("k", "=", "b")]).to_pylist() == [{"v": 5.0}]
    assert ws.tables.read(view).toArrow().sort_by("k").to_pylist() == shown()
    assert not ws.tables.exists(view)
    assert view.rpartition(".")[2] not in ws.tables.list("dev", "contract")

    ws.tables.create_latest_view(view, of=name, keys=["k"], order_by=["at"], where={"k": "b"})
    assert shown() == [row("b", 3, 1, 5.0)]


def test_of_several_conditions_of_a_view_one_must_hold_and_null_is_one(ws, fresh):
    name, view = fresh("decisions"), fresh("latest")
    schema = pa.schema([("k", pa.string()), ("at", TIME), ("by", pa.string()), ("counts", pa.bool_())])
    ws.tables.create(name, schema)
    rows = [("a", 1, "x", None), ("a", 2, "y", None), ("b", 1, "x", True), ("b", 2, "x", False), ("c", 1, "y", True)]
    listed = [dict(zip(schema.names, (k, DAY + timedelta(days=day), *rest), strict=True)) for k, day, *rest in rows]
    ws.tables.append(name, pa.Table.from_pylist(listed, schema=schema))
    conditions = [{"counts": True}, {"counts": None, "by": "x"}]
    ws.tables.create_latest_view(view, of=name, keys=["k"], order_by=["at"], where=conditions)
    shown = ws.tables.to_arrow(view, at_most=10).sort_by("k").to_pylist()
    assert shown == [listed[0], listed[2], listed[4]]
    ws.tables.create_latest_view(view, of=name, keys=["k"], order_by=["at"], where={"counts": False})
    assert ws.tables.to_arrow(view, at_most=10).to_pylist() == [listed[3]]


def test_a_latest_view_that_cannot_be_is_refused(ws, four, fresh):
    view = fresh("latest")
    for arguments in (
        {"keys": ["idd"], "order_by": ["at"]},
        {"keys": ["id"], "order_by": ["idd"]},
        {"keys": ["id"], "order_by": ["at"], "where": {"idd": "1"}},
    ):
        with pytest.raises(TableError, match="no column idd") as refused:
            ws.tables.create_latest_view(view, of=four, **arguments)
        assert four in refused.value.message
        assert view in refused.value.message
        assert "Did you mean id" in refused.value.hint
    with pytest.raises(TableError, match=f"{four} is a table"):
        ws.tables.create_latest_view(four, of=four, keys=["id"], order_by=["at"])
    with pytest.raises(TableError, match=f"{view} does not exist"):
        ws.tables.to_arrow(view, at_most=10**6)
