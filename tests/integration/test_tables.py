"""Delta tables of a local workspace: what is kept, what is refused, and that a version stays what it was."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from mlplatform.errors import InvalidNameError, PlatformError, TableError
from mlplatform.workspace.protocols import Transaction

if TYPE_CHECKING:
    from mlplatform.workspace.local.workspace import LocalWorkspace

TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", TIME, nullable=False),
        pa.field("amount", pa.float64()),
        pa.field("note", pa.string()),
    ]
)
DAY = datetime(2024, 1, 1, tzinfo=UTC)
_NUMBERS = itertools.count()


@pytest.fixture
def table(ws: LocalWorkspace) -> str:
    """A keyed table of this test alone."""
    name = f"dev.things.t{next(_NUMBERS)}"
    ws.tables.create(name, SCHEMA, primary_keys=("id", "at"), timeseries_column="at", description="Things")
    return name


def frame(*ids: int, amount: float | None = 1.0, note: str | None = "x") -> pa.Table:
    rows = [{"id": number, "at": DAY + timedelta(days=number), "amount": amount, "note": note} for number in ids]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def ids(ws: LocalWorkspace, name: str, **how: Any) -> list[int]:
    return sorted(ws.tables.to_arrow(name, **how).column("id").to_pylist())


def test_a_created_table_is_empty_and_says_how_it_was_declared(ws, table):
    info = ws.tables.describe(table)
    assert (info.primary_keys, info.timeseries_column, info.description) == (("id", "at"), "at", "Things")
    assert info.schema.equals(SCHEMA)
    assert info.features == ["amount", "note"]
    assert ws.tables.to_arrow(table).num_rows == 0
    assert ws.tables.exists(table)
    assert table.rpartition(".")[2] in ws.tables.list("dev", "things")


def test_declaring_a_table_again_changes_nothing_and_otherwise_is_refused(ws, table):
    ws.tables.append(table, frame(1))
    ws.tables.create(table, SCHEMA, primary_keys=("id", "at"), timeseries_column="at")
    assert ids(ws, table) == [1]
    for arguments in (
        {"schema": SCHEMA, "primary_keys": ("id",)},
        {"schema": SCHEMA, "primary_keys": ("id", "at")},
        {"schema": SCHEMA.remove(3), "primary_keys": ("id", "at"), "timeseries_column": "at"},
        {
            "schema": SCHEMA.set(2, pa.field("amount", pa.int64())),
            "primary_keys": ("id", "at"),
            "timeseries_column": "at",
        },
    ):
        with pytest.raises(TableError, match="another declaration"):
            ws.tables.create(table, **arguments)


def test_a_key_that_is_no_column_is_refused_with_the_nearest(ws):
    with pytest.raises(TableError) as caught:
        ws.tables.create("dev.things.none", SCHEMA, primary_keys=("idd",))
    assert "Did you mean id" in caught.value.hint
    assert not ws.tables.exists("dev.things.none")


@pytest.mark.parametrize("kind", ["spark", "arrow", "batch", "reader", "pandas"])
def test_every_kind_of_frame_is_taken_in_any_order_of_columns(ws, table, kind):
    rows = frame(3, 4).select(["note", "amount", "at", "id"])
    frames = {
        "arrow": lambda: rows,
        "batch": lambda: rows.to_batches()[0],
        "reader": rows.to_reader,
        "pandas": rows.to_pandas,
        "spark": lambda: ws.spark.createDataFrame(rows),
    }
    assert ws.tables.append(table, frames[kind]()).rows == 2
    assert ws.tables.to_arrow(table).sort_by("id").to_pylist() == frame(3, 4).to_pylist()


@pytest.mark.parametrize("thing", [[{"id": 1}], {"id": [1]}, "rows", None])
def test_what_is_no_frame_is_refused(ws, table, thing):
    with pytest.raises(TableError, match="is not a frame"):
        ws.tables.append(table, thing)


def test_a_missing_nullable_column_is_null_and_a_missing_required_one_is_refused(ws, table):
    ws.tables.append(table, frame(1).drop_columns(["note"]))
    assert ws.tables.to_arrow(table).column("note").to_pylist() == [None]
    with pytest.raises(TableError, match="lacks at"):
        ws.tables.append(table, frame(2).drop_columns(["at"]))
    assert ids(ws, table) == [1]


def test_an_unknown_column_is_refused_with_the_nearest(ws, table):
    with pytest.raises(TableError, match="no column amuont") as caught:
        ws.tables.append(table, frame(1).append_column("amuont", pa.array([1.0])))
    assert "Did you mean amount" in caught.value.hint


@pytest.mark.parametrize("write", ["append", "merge", "overwrite"])
def test_a_null_where_none_may_be_is_refused_and_nothing_is_written(ws, table, write):
    rows = pa.table({"id": pa.array([1, None], pa.int64()), "at": pa.array([DAY, DAY], TIME)})
    version = ws.tables.version(table)
    with pytest.raises(TableError, match=r"(may not be null|Null in key)"):
        getattr(ws.tables, write)(table, rows)
    assert ws.tables.version(table) == version


@pytest.mark.parametrize(
    "wrong",
    [
        pa.array(["many"]),
        pa.array([[1.0]]),
        pa.array([DAY], TIME),
        pa.array([{"a": 1}]),
        pa.array([b"x"]),
    ],
    ids=lambda array: str(array.type),
)
@pytest.mark.parametrize("write", ["append", "merge", "overwrite"])
def test_a_type_that_does_not_fit_is_refused_with_the_column(ws, table, write, wrong):
    rows = frame(1).set_column(2, "amount", wrong)
    with pytest.raises(TableError, match=r"Column amount .* does not fit"):
        getattr(ws.tables, write)(table, rows)


def test_a_value_that_would_lose_something_is_refused_and_one_that_does_not_is_cast(ws, table):
    whole = frame(1).set_column(0, "id", pa.array([1.0]))
    ws.tables.append(table, whole)
    with pytest.raises(TableError, match="does not fit"):
        ws.tables.append(table, frame(1).set_column(0, "id", pa.array([1.5])))
    fine = pa.array([1_704_067_200_000_000_001], pa.timestamp("ns", tz="UTC"))
    with pytest.raises(TableError, match="does not fit"):
        ws.tables.append(table, frame(1).set_column(1, "at", fine))
    assert ids(ws, table) == [1]


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.duration("us"), pa.month_day_nano_interval(), pa.null()])
def test_a_type_that_no_table_can_hold_is_refused_with_our_error(ws, kind):
    with pytest.raises(PlatformError):
        ws.tables.create(f"dev.things.k{next(_NUMBERS)}", pa.schema([pa.field("x", kind)]))


def test_a_merge_updates_and_inserts(ws, table):
    ws.tables.append(table, frame(1, 2))
    result = ws.tables.merge(table, frame(2, 3, amount=9.0))
    assert result.rows == 2
    amounts = {row["id"]: row["amount"] for row in ws.tables.to_arrow(table).to_pylist()}
    assert amounts == {1: 1.0, 2: 9.0, 3: 9.0}


def test_a_merge_of_some_columns_keeps_the_others(ws, table):
    ws.tables.append(table, frame(1, note="kept"))
    ws.tables.merge(table, frame(1, 2, amount=5.0).select(["id", "at", "amount"]))
    assert {row["id"]: (row["amount"], row["note"]) for row in ws.tables.to_arrow(table).to_pylist()} == {
        1: (5.0, "kept"),
        2: (5.0, None),
    }


def test_a_merge_without_a_required_column_cannot_insert(ws):
    name = "dev.things.required"
    required = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("must", pa.string(), nullable=False)])
    ws.tables.create(name, required, primary_keys=("id",))
    with pytest.raises(TableError):
        ws.tables.merge(name, pa.table({"id": [1]}))
    assert ws.tables.to_arrow(name).num_rows == 0


@pytest.mark.parametrize("write", ["merge", "overwrite"])
def test_the_same_key_twice_in_one_frame_is_refused(ws, table, write):
    with pytest.raises(TableError, match="more than once"):
        getattr(ws.tables, write)(table, frame(1, 1))
    assert ids(ws, table) == []


def test_a_table_without_keys_cannot_be_merged_into(ws):
    ws.tables.create("dev.things.keyless", SCHEMA)
    with pytest.raises(TableError, match="no primary keys"):
        ws.tables.merge("dev.things.keyless", frame(1))


def test_an_overwrite_replaces_all_rows_in_one_version(ws, table):
    ws.tables.append(table, frame(1, 2))
    before = ws.tables.version(table)
    result = ws.tables.overwrite(table, frame(7))
    assert (ids(ws, table), result.version) == ([7], before + 1)
    assert ws.tables.describe(table).primary_keys == ("id", "at")


def test_every_version_stays_readable(ws, table):
    versions = [ws.tables.append(table, frame(number)).version for number in range(3)]
    ws.tables.merge(table, frame(1, amount=8.0))
    ws.tables.overwrite(table, frame(99))
    assert [ids(ws, table, version=version) for version in versions] == [[0], [0, 1], [0, 1, 2]]
    for wrong in (-1, ws.tables.version(table) + 1):
        with pytest.raises(TableError, match=f"no version {wrong}"):
            ws.tables.to_arrow(table, version=wrong)


def test_a_data_frame_that_is_held_is_a_snapshot(ws, table):
    ws.tables.append(table, frame(1))
    held, filtered = ws.tables.read(table), ws.tables.read(table).where("id < 10")
    ws.tables.append(table, frame(2))
    ws.tables.merge(table, frame(1, amount=7.0))
    assert [row["amount"] for row in held.collect()] == [1.0]
    ws.tables.overwrite(table, frame(3))
    assert [row["id"] for row in held.collect()] == [row["id"] for row in filtered.collect()] == [1]
    assert [row["id"] for row in ws.tables.read(table).collect()] == [3]
    assert ws.tables.read(table, version=0).count() == 0


def test_spark_reads_what_arrow_reads(ws, table):
    ws.tables.append(table, frame(1, 2, amount=None))
    ws.tables.merge(table, frame(2, 3, note=None))
    from_spark = ws.tables.read(table).toArrow().select(SCHEMA.names).sort_by("id")
    assert from_spark.to_pylist() == ws.tables.to_arrow(table).sort_by("id").to_pylist()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([("id", "=", 2)], [2]),
        ([("id", "==", 2)], [2]),
        ([("id", "!=", 2)], [0, 1, 3]),
        ([("id", ">", 1), ("id", "<=", 3)], [2, 3]),
        ([("id", ">=", 2), ("id", "<", 3)], [2]),
        ([("id", "in", (1, 3, 99))], [1, 3]),
        ([("id", "in", ())], []),
        ([("at", ">", DAY + timedelta(days=1))], [2, 3]),
        ([("note", "=", "x")], [0, 1, 2, 3]),
        ([("amount", ">", 5.0)], []),
    ],
)
def test_filters_are_joined_by_and(ws, table, filters, found):
    ws.tables.append(table, frame(0, 1))
    ws.tables.append(table, frame(2, 3))
    assert ids(ws, table, filters=filters) == found


def test_a_null_passes_no_filter(ws, table):
    ws.tables.append(table, frame(1, amount=None))
    for operator in ("=", "!=", "<", ">="):
        assert ids(ws, table, filters=[("amount", operator, 1.0)]) == []


def test_only_the_columns_asked_for_are_read(ws, table):
    ws.tables.append(table, frame(1))
    assert ws.tables.to_arrow(table, columns=["note", "id"], filters=[("amount", "=", 1.0)]).column_names == [
        "note",
        "id",
    ]


def test_an_unknown_column_or_operator_is_refused(ws, table):
    for how in ({"columns": ["amuont"]}, {"filters": [("amuont", "=", 1)]}):
        with pytest.raises(TableError, match="no column amuont"):
            ws.tables.to_arrow(table, **how)
    with pytest.raises(TableError, match="not a filter operator"):
        ws.tables.to_arrow(table, filters=[("id", "like", "1%")])


def test_a_filter_whose_value_has_another_type_is_refused(ws, table):
    with pytest.raises(TableError):
        ws.tables.to_arrow(table, filters=[("at", ">", "yesterday")])


def test_tags_are_set_replaced_and_removed(ws, table):
    ws.tables.append(table, frame(1))
    ws.tables.set_tag(table, "owner", "a")
    ws.tables.set_tag(table, "tier", "gold")
    ws.tables.set_tag(table, "owner", "b")
    ws.tables.set_tag(table, "tier", None)
    ws.tables.set_tag(table, "absent", None)
    assert dict(ws.tables.describe(table).tags) == {"owner": "b"}
    assert ws.tables.describe(table).primary_keys == ("id", "at")
    assert ids(ws, table) == [1]


def test_a_transaction_is_taken_once(ws, table):
    once = Transaction("file-1")
    assert ws.tables.committed(table, [once]) == (False,)
    assert ws.tables.append(table, frame(1), transactions=[once]).rows == 1
    again = ws.tables.append(table, frame(2), transactions=[once])
    assert (again.skipped, again.rows) == (True, 0)
    assert ws.tables.committed(table, [once, Transaction("file-2")]) == (True, False)
    assert ids(ws, table) == [1]


def test_an_append_of_no_rows_still_takes_its_transaction(ws, table):
    ws.tables.append(table, frame(), transactions=[Transaction("empty")])
    assert ws.tables.committed(table, [Transaction("empty")]) == (True,)


def test_an_append_that_has_partly_happened_is_refused(ws, table):
    ws.tables.append(table, frame(1), transactions=[Transaction("a")])
    with pytest.raises(TableError, match="Part of this append"):
        ws.tables.append(table, frame(2), transactions=[Transaction("a"), Transaction("b")])
    assert ids(ws, table) == [1]


def test_a_missing_table_is_named_with_the_near_ones(ws):
    ws.tables.create("dev.near.silver_loans", SCHEMA)
    for act in (ws.tables.describe, ws.tables.version, ws.tables.drop, ws.tables.to_arrow, ws.tables.read):
        with pytest.raises(TableError, match="silver_loan does not exist") as caught:
            act("dev.near.silver_loan")
        assert "Did you mean silver_loans" in caught.value.hint
    with pytest.raises(TableError):
        ws.tables.append("dev.near.silver_loan", frame(1))
    assert not ws.tables.exists("dev.near.silver_loan")
    assert ws.tables.list("dev", "near") == ["silver_loans"]
    assert ws.tables.list("dev", "nowhere") == []


def test_a_dropped_table_is_gone_and_may_be_made_anew(ws, table):
    ws.tables.append(table, frame(1), transactions=[Transaction("a")])
    ws.tables.drop(table)
    assert not ws.tables.exists(table)
    ws.tables.create(table, SCHEMA.remove(3))
    assert ws.tables.describe(table).schema.names == ["id", "at", "amount"]
    assert ws.tables.committed(table, [Transaction("a")]) == (False,)


@pytest.mark.parametrize("name", ["../../etc.x.y", "dev.x", "dev.x.y/z", "dev..y"])
def test_a_name_that_leads_elsewhere_is_refused_by_every_method(ws, name):
    for act in (ws.tables.exists, ws.tables.describe, ws.tables.drop, ws.tables.to_arrow):
        with pytest.raises(InvalidNameError):
            act(name)


def test_a_pandas_frame_with_an_index_loses_only_the_index(ws, table):
    ws.tables.append(table, pd.DataFrame({"id": [1], "at": [DAY]}, index=["row"]))
    assert ws.tables.to_arrow(table).to_pylist() == [{"id": 1, "at": DAY, "amount": None, "note": None}]
