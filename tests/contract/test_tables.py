"""Tables: declarations, what is written and what is refused, and what is read again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from mlplatform.errors import PlatformError, TableError, UsageError
from mlplatform.naming import ObjectName
from mlplatform.protocols.tables import Tables

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

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
KEYS: dict[str, Any] = {"primary_keys": ("id", "at"), "timeseries_column": "at"}


@pytest.fixture
def table(ws: Workspace, fresh: Callable[[str], str]) -> str:
    """A keyed table of this test alone."""
    name = fresh("t")
    ws.tables.create(name, SCHEMA, **KEYS, description="What it's about")
    return name


def frame(*ids: int, amount: float | None = 1.0, note: str | None = "x") -> pa.Table:
    rows = [{"id": number, "at": DAY + timedelta(days=number), "amount": amount, "note": note} for number in ids]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def ids(ws: Workspace, name: str, **how: Any) -> list[int]:
    return sorted(ws.tables.to_arrow(name, at_most=10**6, **how).column("id").to_pylist())


def in_any_frame(ws: Workspace, rows: pa.Table) -> list[Any]:
    # Spark Connect cannot make a frame of no rows.
    lifted = ws.spark.createDataFrame(rows) if rows.num_rows else ws.spark.createDataFrame(frame(1)).limit(0)
    return [rows, rows.to_pandas(), lifted]


def test_it_keeps_the_protocol(ws):
    assert isinstance(ws.tables, Tables)


# Declarations


def test_a_created_table_is_empty_and_says_how_it_was_declared(ws, table):
    info = ws.tables.describe(table)
    assert (info.name, info.version) == (table, 0)
    assert (info.primary_keys, info.timeseries_column, info.description) == (("id", "at"), "at", "What it's about")
    assert info.schema.equals(SCHEMA)
    assert (info.features, dict(info.tags)) == (["amount", "note"], {})
    assert ws.tables.to_arrow(table, at_most=10**6).num_rows == 0
    assert ws.tables.exists(table)
    assert ws.tables.exists(ObjectName.parse(table))
    assert ObjectName.parse(table).name in ws.tables.list("dev", "contract")


def test_keys_are_never_null_whatever_was_declared_and_comments_are_kept(ws, fresh):
    comment = {b"comment": b"The entity's key"}
    name = fresh("t")
    ws.tables.create(
        name, pa.schema([pa.field("k", pa.string(), metadata=comment), ("v", pa.int32())]), primary_keys=["k"]
    )
    schema = ws.tables.describe(name).schema
    assert [field.nullable for field in schema] == [False, True]
    assert schema.field("k").metadata == comment


def test_declaring_a_table_again_changes_nothing_and_otherwise_is_refused_showing_both(ws, table):
    ws.tables.append(table, frame(1))
    version = ws.tables.version(table)
    assert ws.tables.create(table, SCHEMA, **KEYS).version == version
    for arguments in (
        {"schema": SCHEMA, "primary_keys": ("id",)},
        {"schema": SCHEMA, "primary_keys": ("id", "at")},
        {"schema": SCHEMA, "primary_keys": ("at", "id"), "timeseries_column": "at"},
        {"schema": SCHEMA.remove(3), **KEYS},
        {"schema": SCHEMA.set(2, pa.field("amount", pa.int64())), **KEYS},
    ):
        with pytest.raises(
            TableError, match=r"(?s)another declaration.*there: .*\['id', 'at'\].*declared: "
        ) as refused:
            ws.tables.create(table, **arguments)
        assert table in refused.value.message
    assert (ids(ws, table), ws.tables.version(table)) == ([1], version)


def test_a_key_that_is_no_column_is_refused_with_the_nearest(ws, fresh):
    name = fresh("none")
    for wrong in ({"primary_keys": ("idd",)}, {"primary_keys": ("id",), "timeseries_column": "idd"}):
        with pytest.raises(TableError, match=r"key idd is not a column") as refused:
            ws.tables.create(name, SCHEMA, **wrong)
        assert "Did you mean id" in refused.value.hint
    assert not ws.tables.exists(name)


def test_the_time_of_a_table_need_be_no_key(ws, fresh):
    """As silver tables have it: one row an entity, and the time at which it was known."""
    name, declared = fresh("silver"), {"primary_keys": ("id",), "timeseries_column": "at"}
    ws.tables.create(name, SCHEMA, **declared)
    ws.tables.merge(name, frame(1, 2))
    ws.tables.merge(name, frame(2).set_column(1, "at", pa.array([DAY], TIME)))
    info = ws.tables.create(name, SCHEMA, **declared)
    assert (info.primary_keys, info.timeseries_column) == (("id",), "at")
    assert {row["id"]: row["at"] for row in ws.tables.to_arrow(name, at_most=10**6).to_pylist()} == {
        1: DAY + timedelta(days=1),
        2: DAY,
    }
    with pytest.raises(TableError, match="another declaration"):
        ws.tables.create(name, SCHEMA, primary_keys=("id",))


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.duration("us"), pa.month_day_nano_interval(), pa.null()], ids=str)
def test_a_type_that_no_table_can_hold_is_refused(ws, fresh, kind):
    name = fresh("t")
    with pytest.raises(PlatformError, match="Column x is "):
        ws.tables.create(name, pa.schema([pa.field("x", kind)]))
    assert not ws.tables.exists(name)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([("x", pa.float16())], "Column x is halffloat"),
        ([("x", pa.decimal256(50, 2))], "Column x is decimal256"),
        ([("x", pa.uint8())], "Column x is uint8"),
        ([("x", pa.int64()), ("X", pa.int64())], r"more than one column named x \(also as X\)"),
        ([("x", pa.int64()), ("x", pa.int64())], "more than one column named x"),
        ([("", pa.int64())], "cannot be used as a column name"),
        ([("a\nb", pa.int64())], "cannot be used as a column name"),
    ],
    ids=["half", "digits", "unsigned", "case", "twice", "no name", "line break"],
)
def test_columns_that_no_table_can_have_are_refused_before_anything_is_written(ws, table, fresh, fields, says):
    name, schema = fresh("t"), pa.schema(fields)
    with pytest.raises(TableError, match=says):
        ws.tables.create(name, schema)
    assert not ws.tables.exists(name)
    ws.tables.append(table, frame(1))
    version = ws.tables.version(table)
    rows = pa.table([*frame(1).columns, *(pa.nulls(1, field.type) for field in schema)], [*SCHEMA.names, *schema.names])
    with pytest.raises(TableError, match=says):
        ws.tables.merge(table, rows)
    assert ws.tables.version(table) == version
    assert ids(ws, table) == [1]


def test_a_new_column_of_times_without_a_zone_is_refused_and_so_is_one_that_differs_in_case_only(ws, table):
    ws.tables.append(table, frame(1))
    version = ws.tables.version(table)
    for name, column, says in (
        ("seen", pa.array([DAY], pa.timestamp("us")), "without time zone"),
        ("AMOUNT", pa.array([1.0]), "more than one column named amount"),
    ):
        with pytest.raises(TableError, match=says):
            ws.tables.merge(table, frame(1).drop_columns("amount").append_column(name, column))
    assert ws.tables.version(table) == version


def test_one_type_in_several_forms_is_one_declaration_and_one_column(ws, fresh):
    forms = pa.schema(
        [("k", pa.large_string()), ("at", pa.timestamp("ns", "Europe/Berlin")), ("s", pa.timestamp("s", "UTC"))]
    )
    plain = pa.schema([pa.field("k", pa.string(), nullable=False), ("at", TIME), ("s", TIME)])
    name = fresh("forms")
    for schema in (forms, forms, plain):
        assert ws.tables.create(name, schema, primary_keys=["k"]).schema.equals(plain)
    rows = pa.table({"k": ["a"], "at": [DAY], "s": [DAY]}).cast(forms)
    ws.tables.merge(name, rows.append_column("seen", rows.column("at")))
    assert ws.tables.describe(name).schema.field("seen").type == TIME
    found = ws.tables.to_arrow(name, at_most=10)
    assert found.to_pylist() == [{"k": "a", "at": DAY, "s": DAY, "seen": DAY}]
    assert ws.tables.read(name).count() == 1


@pytest.mark.parametrize("names", [["id", "id"], ["id", "ID"]], ids=["twice", "case"])
def test_a_frame_with_columns_of_one_name_is_refused_by_every_write_and_as_a_frame(ws, table, names):
    rows = pa.table([pa.array([1]), pa.array([2])], names)
    for write in (ws.tables.append, ws.tables.merge, ws.tables.overwrite, lambda _, given: ws.frames.of(given)):
        for given in (rows, pandas_of(rows)):
            with pytest.raises(TableError, match="more than one column named id"):
                write(table, given)


def pandas_of(rows: pa.Table) -> Any:
    import pandas as pd

    made = pd.DataFrame({number: column.to_pandas() for number, column in enumerate(rows.columns)})
    return made.set_axis(rows.column_names, axis=1)


def test_a_missing_table_is_named_with_the_near_ones(ws):
    ws.tables.create("dev.near.silver_loans", SCHEMA)
    missing = "dev.near.silver_loan"
    for act in (
        ws.tables.describe,
        ws.tables.version,
        ws.tables.drop,
        lambda name: ws.tables.to_arrow(name, at_most=1),
        ws.tables.read,
        lambda name: ws.tables.append(name, frame(1)),
        lambda name: ws.tables.merge(name, frame(1)),
        lambda name: ws.tables.overwrite(name, frame(1)),
        lambda name: ws.tables.replace_range(name, frame(), column="at", start=DAY, end=DAY),
        lambda name: ws.tables.largest(name, "id"),
        lambda name: ws.tables.set_tag(name, "a", "b"),
        lambda name: ws.tables.create_latest_view("dev.near.v", of=name, keys=["id"], order_by=["at"]),
    ):
        with pytest.raises(TableError, match=r"dev\.near\.silver_loan does not exist") as refused:
            act(missing)
        assert "Did you mean silver_loans" in refused.value.hint
    assert not ws.tables.exists(missing)
    assert ws.tables.list("dev", "near") == ["silver_loans"]
    assert ws.tables.list("dev", "nowhere") == []


@pytest.mark.parametrize("name", ["../../etc.x.y", "dev.x", "dev.x.y/z", "dev..y", "dev.x.`y; DROP"])
def test_a_name_that_leads_elsewhere_is_refused_by_every_method(ws, name):
    for act in (
        ws.tables.exists,
        ws.tables.describe,
        ws.tables.drop,
        lambda name: ws.tables.to_arrow(name, at_most=1),
        ws.tables.read,
        lambda name: ws.tables.create(name, SCHEMA),
        lambda name: ws.tables.append(name, frame(1)),
    ):
        with pytest.raises(UsageError):
            act(name)


def test_a_dropped_table_is_gone_and_may_be_made_anew_without_what_the_old_one_had(ws, table):
    ws.tables.append(table, frame(1))
    ws.tables.set_tag(table, "old", "1")
    ws.tables.drop(table)
    assert not ws.tables.exists(table)
    with pytest.raises(TableError, match="does not exist"):
        ws.tables.drop(table)
    ws.tables.create(table, SCHEMA.remove(3), primary_keys=("id",))
    info = ws.tables.describe(table)
    assert (info.schema.names, info.primary_keys, info.timeseries_column) == (["id", "at", "amount"], ("id",), None)
    assert (dict(info.tags), info.description, info.version) == ({}, "", 0)
    assert ids(ws, table) == []


def test_tags_are_set_replaced_and_removed(ws, table):
    ws.tables.append(table, frame(1))
    ws.tables.set_tag(table, "owner", "a")
    ws.tables.set_tag(table, "tier", "gold")
    ws.tables.set_tag(table, "owner", "Jo's team")
    ws.tables.set_tag(table, "tier", None)
    ws.tables.set_tag(table, "absent", None)
    info = ws.tables.describe(table)
    assert (dict(info.tags), info.primary_keys) == ({"owner": "Jo's team"}, ("id", "at"))
    assert ids(ws, table) == [1]


# Frames


def test_every_kind_of_frame_is_taken_in_any_order_of_columns(ws, table):
    rows = frame(3, 4).select(["note", "amount", "at", "id"])
    kinds = [rows, rows.to_batches()[0], rows.to_reader(), rows.to_pandas(), ws.spark.createDataFrame(rows)]
    for count, given in enumerate(kinds, start=1):
        result = ws.tables.append(table, given)
        assert (result.rows, result.skipped, result.version) == (2, False, ws.tables.version(table))
        assert ws.tables.to_arrow(table, at_most=10**6).num_rows == 2 * count
    found = {tuple(row.values()) for row in ws.tables.to_arrow(table, at_most=10**6).to_pylist()}
    assert found == {tuple(row.values()) for row in frame(3, 4).to_pylist()}


def test_a_pandas_frame_loses_its_index_only(ws, table):
    ws.tables.append(table, pd.DataFrame({"id": [1], "at": [DAY]}, index=["row"]))
    assert ws.tables.to_arrow(table, at_most=10**6).to_pylist() == [{"id": 1, "at": DAY, "amount": None, "note": None}]


@pytest.mark.parametrize("thing", [[{"id": 1}], {"id": [1]}, "rows", None], ids=lambda thing: type(thing).__name__)
def test_what_is_no_frame_is_refused(ws, table, thing):
    for write in (ws.tables.append, ws.tables.merge, ws.tables.overwrite):
        with pytest.raises(TableError, match=f"A {type(thing).__name__} is not a frame"):
            write(table, thing)


def test_an_empty_frame_is_a_frame_and_changes_no_row(ws, table):
    ws.tables.append(table, frame(1))
    for empty in in_any_frame(ws, frame()):
        assert ws.tables.append(table, empty).rows == 0
        assert ws.tables.merge(table, empty).rows == 0
    assert ids(ws, table) == [1]
    assert ws.tables.overwrite(table, frame()).rows == 0
    assert ids(ws, table) == []
    assert ws.tables.to_arrow(table, at_most=10**6).schema.equals(SCHEMA)


def test_columns_that_do_not_fit_are_refused_with_the_nearest_and_nothing_is_written(ws, table):
    ws.tables.append(table, frame(1).drop_columns(["note"]))
    assert ws.tables.to_arrow(table, at_most=10**6).column("note").to_pylist() == [None]
    version = ws.tables.version(table)
    for lacking in in_any_frame(ws, frame(2).drop_columns(["at"])):
        with pytest.raises(TableError, match=f"{table} lacks at"):
            ws.tables.append(table, lacking)
    for unknown in in_any_frame(ws, frame(2).append_column("amuont", pa.array([1.0]))):
        with pytest.raises(TableError, match=f"{table} has no column amuont") as refused:
            ws.tables.append(table, unknown)
        assert "Did you mean amount" in refused.value.hint
    assert ws.tables.version(table) == version


@pytest.mark.parametrize("write", ["append", "merge", "overwrite"])
def test_a_null_where_none_may_be_is_refused_with_the_column_and_nothing_is_written(ws, table, write):
    rows = pa.table({"id": pa.array([1, None, None], pa.int64()), "at": pa.array([DAY] * 3, TIME)})
    for given in (rows, ws.spark.createDataFrame(rows)):
        with pytest.raises(TableError, match=r"(?is)null.*\bid\b|\bid\b.*null") as refused:
            getattr(ws.tables, write)(table, given)
        assert table.rpartition(".")[2] in refused.value.message
    assert ws.tables.version(table) == 0


@pytest.mark.parametrize("write", ["append", "merge", "overwrite"])
def test_a_type_that_does_not_fit_is_refused_with_the_column(ws, table, write):
    wrongs = [pa.array(["many"]), pa.array([[1.0]]), pa.array([DAY], TIME), pa.array([{"a": 1}]), pa.array([b"x"])]
    for wrong in wrongs:
        with pytest.raises(TableError, match=rf"Column amount of {table} is double; .* does not fit"):
            getattr(ws.tables, write)(table, frame(1).set_column(2, "amount", wrong))
    assert ws.tables.version(table) == 0


def test_a_value_that_would_lose_something_is_refused_and_one_that_does_not_is_cast(ws, table):
    ws.tables.append(table, frame(1).set_column(0, "id", pa.array([1.0])))
    finer = pa.array([1_704_067_200_000_000_001], pa.timestamp("ns", tz="UTC"))
    for place, column, wrong in ((0, "id", pa.array([1.5])), (1, "at", finer)):
        with pytest.raises(TableError, match=f"Column {column} of {table} .* does not fit"):
            ws.tables.append(table, frame(1).set_column(place, column, wrong))
    for narrower in in_any_frame(ws, frame(2).set_column(0, "id", pa.array([2], pa.int32()))):
        ws.tables.merge(table, narrower)
    assert ids(ws, table) == [1, 2]


KINDS = pa.schema(
    [
        ("at", TIME),
        ("f", pa.float32()),
        ("day", pa.date32()),
        ("b", pa.bool_()),
        ("i", pa.int64()),
    ]
)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("f", pa.array([1.0, 1e300])),
        ("day", pa.array([DAY, DAY + timedelta(hours=5)], TIME)),
        ("b", pa.array([1, 7])),
        ("b", pa.array([0.5])),
        ("at", pa.array([5, 6])),
        ("i", pa.array([DAY], TIME)),
    ],
    ids=lambda given: given if isinstance(given, str) else str(given.type),
)
def test_what_a_cast_would_make_another_value_is_refused(ws, fresh, column, values):
    name = fresh("kinds")
    ws.tables.create(name, KINDS)
    for given in in_any_frame(ws, pa.table({column: values})):
        with pytest.raises(TableError, match=f"Column {column} of {name} is .*; the frame's .* does not fit"):
            ws.tables.append(name, given)
    assert ws.tables.version(name) == 0


def test_a_time_without_a_zone_is_not_taken_as_one_of_utc(ws, fresh):
    name = fresh("kinds")
    ws.tables.create(name, KINDS)
    rows = pa.table({"at": pa.array([DAY.replace(tzinfo=None)], pa.timestamp("us"))})
    for given in (rows, rows.to_pandas(), ws.spark.sql("SELECT TIMESTAMP_NTZ'2024-01-01 00:00:00' AS at")):
        with pytest.raises(TableError, match=f"Column at of {name} is .* does not fit: one of them has a time zone"):
            ws.tables.append(name, given)


def test_what_a_cast_keeps_is_cast(ws, fresh):
    name = fresh("kinds")
    ws.tables.create(name, KINDS)
    ws.tables.append(name, pa.table({"at": pa.array([DAY.date()]), "f": pa.array([float("inf")]), "i": [1]}))
    ws.tables.append(name, pa.table({"b": pa.array([1, 0]), "day": pa.array([DAY, None], TIME), "i": [2, 3]}))
    found = ws.tables.to_arrow(name, at_most=9).sort_by("i").to_pylist()
    assert [row["at"] for row in found] == [DAY, None, None]
    assert [row["f"] for row in found] == [float("inf"), None, None]
    assert [(row["b"], row["day"]) for row in found[1:]] == [(True, DAY.date()), (False, None)]


# Types and names


def test_every_type_comes_back_as_it_was(ws, fresh):
    from decimal import Decimal

    values: dict[str, tuple[pa.DataType, Any, Any]] = {
        "b": (pa.bool_(), True, False),
        "i8": (pa.int8(), -128, 127),
        "i16": (pa.int16(), -32768, 32767),
        "i32": (pa.int32(), -(2**31), 2**31 - 1),
        "i64": (pa.int64(), -(2**63), 2**63 - 1),
        "f32": (pa.float32(), 0.5, -0.25),
        "f64": (pa.float64(), 0.1, float("inf")),
        "text": (pa.string(), "", "ü 'quoted' \\ \n 🎈"),
        "raw": (pa.binary(), b"", b"\x00\xff"),
        "day": (pa.date32(), DAY.date(), datetime(1900, 2, 28, tzinfo=UTC).date()),
        "time": (TIME, DAY + timedelta(microseconds=1), datetime(1960, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)),
        "money": (pa.decimal128(18, 4), Decimal("-12345678901234.5678"), Decimal("0.0001")),
        "texts": (pa.list_(pa.field("element", pa.string())), ["a", None], []),
        "pair": (
            pa.struct([("x", pa.int64()), ("y", pa.list_(pa.field("element", pa.float64())))]),
            {"x": 1, "y": [1.5, None]},
            {"x": None, "y": None},
        ),
    }
    schema = pa.schema(
        [pa.field("k", pa.int64(), nullable=False), *((name, kind) for name, (kind, *_) in values.items())]
    )
    rows = [
        {"k": 1, **{name: first for name, (_, first, _) in values.items()}},
        {"k": 2, **{name: second for name, (_, _, second) in values.items()}},
        {"k": 3, **dict.fromkeys(values)},
    ]
    name, table = fresh("types"), pa.Table.from_pylist(rows, schema=schema)
    ws.tables.create(name, schema, primary_keys=["k"])
    assert ws.tables.describe(name).schema.equals(schema)
    ws.tables.append(name, table)
    assert ws.tables.merge(name, table).rows == 0
    changed = table.set_column(1, "b", pa.array([False, None, True]))
    assert ws.tables.merge(name, changed).rows == 3
    found = ws.tables.to_arrow(name, at_most=10**6)
    assert found.schema.equals(schema)
    assert found.sort_by("k").to_pylist() == changed.to_pylist()
    assert ws.tables.read(name).toArrow().select(schema.names).sort_by("k").to_pylist() == changed.to_pylist()


def test_a_time_of_another_zone_is_the_same_moment(ws, table):
    berlin = frame(1).set_column(1, "at", frame(1).column("at").cast(pa.timestamp("ms", "Europe/Berlin")))
    ws.tables.append(table, berlin)
    ws.tables.append(table, berlin.to_pandas())
    assert ws.tables.to_arrow(table, at_most=10**6).column("at").to_pylist() == [DAY + timedelta(days=1)] * 2


def test_columns_may_be_called_as_the_heads_of_csv_files_are(ws, fresh):
    names = ["Account No", "a.b", "x;y", "p(q)", "{r}", "s=t", "u,v", 'w"ird', "back`tick", "Ünï"]
    schema = pa.schema([pa.field(names[0], pa.int64(), nullable=False), *(pa.field(n, pa.string()) for n in names[1:])])
    row = {names[0]: 1, **{name: name for name in names[1:]}}
    other = {names[0]: 2, **dict.fromkeys(names[1:])}
    name, view = fresh("csv"), fresh("csv_view")
    ws.tables.create(name, schema, primary_keys=[names[0]])
    ws.tables.append(name, pa.Table.from_pylist([row], schema=schema))
    assert ws.tables.merge(name, pa.Table.from_pylist([row, other], schema=schema)).rows == 1
    assert ws.tables.describe(name).schema.equals(schema)
    assert ws.tables.to_arrow(name, at_most=10**6).sort_by(names[0]).to_pylist() == [row, other]
    for column in names[1:]:
        assert ws.tables.to_arrow(
            name, at_most=10**6, columns=[column], filters=[(column, "=", column)]
        ).to_pylist() == [{column: column}]
    assert ws.tables.largest(name, names[0]) == 2
    assert ws.tables.read(name).columns == names
    ws.tables.create_latest_view(view, of=name, keys=["a.b"], order_by=[names[0]], where={"x;y": "x;y"})
    assert ws.tables.to_arrow(view, at_most=10**6).to_pylist() == [row]


def test_such_a_column_may_come_with_a_merge(ws, table):
    ws.tables.append(table, frame(1))
    ws.tables.merge(table, frame(1, 2).append_column("Loan Amount, gross", pa.array([5, 6])))
    found = ws.tables.to_arrow(table, at_most=10**6).sort_by("id")
    assert found.select(["id", "Loan Amount, gross"]).to_pylist() == [
        {"id": 1, "Loan Amount, gross": 5},
        {"id": 2, "Loan Amount, gross": 6},
    ]
    assert ws.tables.describe(table).primary_keys == ("id", "at")


# Merge, overwrite, replace


def test_a_merge_updates_what_differs_and_inserts_the_rest(ws, table):
    ws.tables.append(table, frame(1, 2, 5))
    rows = pa.concat_tables([frame(2, 3, amount=9.0), frame(5)])
    for given, written in ((ws.spark.createDataFrame(rows), 2), (rows, 0)):
        assert ws.tables.merge(table, given).rows == written
        amounts = {row["id"]: row["amount"] for row in ws.tables.to_arrow(table, at_most=10**6).to_pylist()}
        assert amounts == {1: 1.0, 2: 9.0, 3: 9.0, 5: 1.0}
    assert ws.tables.merge(table, frame(3, amount=None)).rows == 1
    assert ws.tables.merge(table, frame(3, amount=None)).rows == 0


def test_a_merge_of_some_columns_keeps_the_others_and_adds_new_ones(ws, table):
    ws.tables.append(table, frame(1, 4, note="kept"))
    ws.tables.merge(table, frame(1, 2, amount=5.0).select(["id", "at", "amount"]))
    ws.tables.merge(table, frame(2, 3).select(["id", "at"]).append_column("new", pa.array([True, None])))
    assert ws.tables.to_arrow(table, at_most=10**6).sort_by("id").select(
        ["id", "amount", "note", "new"]
    ).to_pylist() == [
        {"id": 1, "amount": 5.0, "note": "kept", "new": None},
        {"id": 2, "amount": 5.0, "note": None, "new": True},
        {"id": 3, "amount": None, "note": None, "new": None},
        {"id": 4, "amount": 1.0, "note": "kept", "new": None},
    ]
    info = ws.tables.describe(table)
    assert info.schema.field("new").nullable
    assert (info.primary_keys, info.timeseries_column) == (("id", "at"), "at")


def test_a_merge_without_a_required_column_updates_and_cannot_insert(ws, fresh):
    name = fresh("required")
    required = pa.schema([("id", pa.int64()), pa.field("must", pa.string(), nullable=False), ("v", pa.int64())])
    ws.tables.create(name, required, primary_keys=("id",))
    ws.tables.append(name, pa.table({"id": [1], "must": ["a"], "v": [1]}))
    ws.tables.merge(name, pa.table({"id": [1], "v": [2]}))
    with pytest.raises(TableError, match="must"):
        ws.tables.merge(name, pa.table({"id": [1, 2], "v": [3, 3]}))
    assert ws.tables.to_arrow(name, at_most=10**6).to_pylist() == [{"id": 1, "must": "a", "v": 2}]


def test_keys_that_are_none_are_refused_and_counted_and_nothing_is_written(ws, table):
    twice = pa.concat_tables([frame(1, 2, 2), frame(2, amount=7.0)])
    span = {"column": "at", "start": DAY, "end": DAY + timedelta(days=9)}
    for given in in_any_frame(ws, twice):
        for write in (
            ws.tables.merge,
            ws.tables.overwrite,
            lambda name, rows: ws.tables.replace_range(name, rows, **span),
        ):
            with pytest.raises(
                TableError, match=rf"1 key\(s\) of {table} occur more than once .*\(2 row\(s\) too many\)"
            ):
                write(table, given)
    null = frame(1, 2).set_column(0, "id", pa.array([None, None], pa.int64()))
    for given in in_any_frame(ws, null):
        with pytest.raises(TableError, match=rf"Null in key column of {table}: id \(2 row\(s\)\)"):
            ws.tables.merge(table, given)
    with pytest.raises(TableError, match=rf"{table} lacks key column\(s\) at"):
        ws.tables.merge(table, frame(1).drop_columns(["at"]))
    assert ws.tables.version(table) == 0


def test_a_table_without_keys_holds_what_is_given_twice_and_cannot_be_merged_into(ws, fresh):
    name = fresh("keyless")
    ws.tables.create(name, SCHEMA)
    ws.tables.append(name, frame(1, 1))
    assert ws.tables.overwrite(name, frame(2, 2, 2)).rows == 3
    assert ids(ws, name) == [2, 2, 2]
    with pytest.raises(TableError, match=f"{name} has no primary keys"):
        ws.tables.merge(name, frame(1))


def test_keys_are_compared_exactly_and_column_by_column(ws, fresh):
    name = fresh("exact")
    schema = pa.schema([("a", pa.string()), ("b", pa.string()), ("v", pa.int64())])
    ws.tables.create(name, schema, primary_keys=("a", "b"))
    keys = [("a_", "b"), ("a", "_b"), ("A", "_b"), ("a ", "_b"), ("", "a_b"), ("é", "x"), ("e\u0301", "x")]
    rows = pa.Table.from_pylist([{"a": a, "b": b, "v": place} for place, (a, b) in enumerate(keys)], schema=schema)
    assert ws.tables.merge(name, rows).rows == len(keys)
    assert ws.tables.merge(name, rows.slice(1, 1).set_column(2, "v", pa.array([99]))).rows == 1
    found = {(row["a"], row["b"]): row["v"] for row in ws.tables.to_arrow(name, at_most=10**6).to_pylist()}
    assert found == {**{key: place for place, key in enumerate(keys)}, ("a", "_b"): 99}


def test_an_overwrite_replaces_all_rows_in_one_version_and_keeps_the_declaration(ws, table):
    ws.tables.append(table, frame(1, 2))
    ws.tables.set_tag(table, "owner", "a")
    before = ws.tables.describe(table)
    result = ws.tables.overwrite(table, frame(7))
    after = ws.tables.describe(table)
    assert (ids(ws, table), result.rows, result.version) == ([7], 1, after.version)
    assert ids(ws, table, version=before.version) == [1, 2]
    assert after.version == before.version + 1
    assert (after.schema, after.primary_keys, after.timeseries_column, after.description, after.tags) == (
        before.schema,
        before.primary_keys,
        before.timeseries_column,
        before.description,
        before.tags,
    )


NOTES = pa.schema([pa.field("file", pa.string()), pa.field("reason", pa.string()), pa.field("v", pa.int64(), False)])


def notes(*rows: tuple[str | None, str | None, int]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(NOTES.names, row, strict=True)) for row in rows], schema=NOTES)


@pytest.fixture
def noted(ws, fresh):
    name = fresh("noted")
    ws.tables.create(name, NOTES, primary_keys=("v",))
    ws.tables.append(name, notes(("it's", "x", 1), ("it's", "y", 2), ("b", "x", 3), (None, "x", 4), ("it's", None, 5)))
    return name


def test_rows_of_some_values_are_replaced_and_all_others_stay(ws, noted):
    def held() -> list[int]:
        return sorted(ws.tables.to_arrow(noted, at_most=10, columns=["v"]).column("v").to_pylist())

    for given in in_any_frame(ws, notes(("it's", "x", 1), ("it's", "x", 6))):
        assert ws.tables.overwrite(noted, given, where={"file": ["it's", "z"], "reason": ["x"]}).rows == 2
        assert held() == [1, 2, 3, 4, 5, 6]
    ws.tables.overwrite(noted, notes(("b", "new", 7)), where={"file": ["b", "it's"]})
    assert held() == [4, 7]
    ws.tables.overwrite(noted, notes(), where={"file": ["b"]})
    assert held() == [4]
    assert ws.tables.describe(noted).primary_keys == ("v",)


def test_rows_that_do_not_belong_in_the_place_of_those_replaced_are_refused(ws, noted):
    before = ws.tables.version(noted)
    for row, message in (
        (("b", "x", 9), r"1 row\(s\) for .*noted.* are not of those to be replaced, by file"),
        ((None, "x", 9), "are not of those to be replaced"),
        (("it's", "x", 3), r"1 row\(s\) for .*noted.* have the keys of rows that it holds besides"),
    ):
        with pytest.raises(TableError, match=message):
            ws.tables.overwrite(noted, notes(row), where={"file": ["it's"]})
    with pytest.raises(TableError, match="occur more than once"):
        ws.tables.overwrite(noted, notes(("b", "x", 9), ("b", "y", 9)), where={"file": ["b"]})
    with pytest.raises(TableError, match="has no column files"):
        ws.tables.overwrite(noted, notes(("b", "x", 9)), where={"files": ["b"]})
    assert ws.tables.version(noted) == before


def test_a_range_is_replaced_both_ends_included_to_the_microsecond(ws, table):
    tick = timedelta(microseconds=1)
    times = [DAY - tick, DAY, DAY + tick, DAY + timedelta(days=1), DAY + timedelta(days=1) + tick]
    rows = pa.table({"id": range(5), "at": pa.array(times, TIME)})
    ws.tables.append(table, rows)
    version = ws.tables.version(table)
    end = DAY + timedelta(days=1)
    new = pa.table({"id": [10, 11], "at": pa.array([DAY, end], TIME), "note": ["new", "new"]})
    result = ws.tables.replace_range(table, new, column="at", start=DAY, end=end)
    assert (ids(ws, table), result.rows, result.version) == ([0, 4, 10, 11], 2, ws.tables.version(table))
    assert ids(ws, table, version=version) == [0, 1, 2, 3, 4]
    assert ws.tables.replace_range(table, frame(), column="at", start=DAY, end=end).rows == 0
    assert ids(ws, table) == [0, 4]


def test_what_is_no_range_of_the_frame_and_the_table_is_refused(ws, table):
    ws.tables.append(table, frame(1))
    end = DAY + timedelta(days=2)
    for given in in_any_frame(ws, frame(1, 2, 3)):
        with pytest.raises(TableError, match=rf"1 of 3 row\(s\) for {table} have a at outside"):
            ws.tables.replace_range(table, given, column="at", start=DAY, end=end)
    for span, says in (
        ({"column": "at", "start": end, "end": DAY}, "ends at .* before it starts"),
        ({"column": "aat", "start": DAY, "end": end}, "no column aat"),
        ({"column": "id", "start": DAY, "end": end}, "no range of times"),
        ({"column": "at", "start": DAY.replace(tzinfo=None), "end": end}, "no range of times"),
    ):
        with pytest.raises(TableError, match=says):
            ws.tables.replace_range(table, frame(), **span)
    assert ids(ws, table) == [1]


def test_a_range_of_a_column_that_is_no_key_of_a_table_with_keys_is_refused(ws, fresh):
    name = fresh("silver")
    ws.tables.create(name, SCHEMA, primary_keys=("id",), timeseries_column="at")
    with pytest.raises(TableError, match=f"at is no key of {name}"):
        ws.tables.replace_range(name, frame(), column="at", start=DAY, end=DAY)


# Which table it is


def test_a_table_made_again_has_another_id_and_a_later_time(ws, table):
    before = ws.tables.describe(table)
    ws.tables.append(table, frame(1))
    ws.tables.merge(table, frame(1, 2, amount=2.0))
    ws.tables.overwrite(table, frame(3))
    ws.tables.set_tag(table, "owner", "me")
    after = ws.tables.describe(table)
    assert before.id
    assert (after.id, after.created_at) == (before.id, before.created_at)
    assert abs((datetime.now(UTC) - before.created_at).total_seconds()) < 3600
    ws.tables.drop(table)
    again = ws.tables.create(table, SCHEMA, **KEYS)
    assert again.id not in ("", before.id)
    assert again.created_at >= before.created_at


def test_a_table_that_was_put_back_is_told_from_one_that_was_written_to(ws, table):
    for number in (1, 2, 3):
        ws.tables.append(table, frame(number))
    written = ws.tables.version(table)
    ws.tables.merge(table, frame(3, 4, amount=2.0))
    ws.tables.replace_range(table, frame(4), column="at", start=DAY, end=DAY + timedelta(days=9))
    ws.tables.set_tag(table, "owner", "me")
    now = ws.tables.version(table)
    assert not any(ws.tables.replaced_since(table, version) for version in range(now + 1))
    assert ws.tables.replaced_since(table, now + 1)
    put_back(ws, table, written)
    assert ids(ws, table) == [1, 2, 3]
    after = ws.tables.version(table)
    assert after > now
    assert ws.tables.replaced_since(table, now)
    assert not ws.tables.replaced_since(table, after)


def put_back(ws: Workspace, name: str, version: int) -> None:
    """As somebody does by hand, with Delta's RESTORE."""
    if ws.home == "local":
        ws.tables.open(name).restore(version)
        ws.tables._opened.clear()
    else:
        ws.spark.sql(f"RESTORE TABLE {ObjectName.parse(name).sql} TO VERSION AS OF {version}").collect()
