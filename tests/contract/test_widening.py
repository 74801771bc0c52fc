"""Widening: a table takes on what a declaration adds, keeps what it has, and refuses what would lose something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.protocols.tables import Transaction, Widening

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.protocols.workspace import Workspace

TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False, metadata={"comment": "Who it's about"}),
        pa.field("at", TIME, nullable=False),
        pa.field("count", pa.int32(), nullable=False),
        pa.field("amount", pa.decimal128(8, 2)),
    ]
)
NEW = pa.field("seats", pa.float64(), metadata={"comment": "How many it's for"})
KEYS: dict[str, Any] = {"primary_keys": ("id", "at"), "timeseries_column": "at"}
DAY = datetime(2024, 1, 1, tzinfo=UTC)


def rows(*ids: int, schema: pa.Schema = SCHEMA) -> pa.Table:
    columns = {"id": list(ids), "at": [DAY + timedelta(days=number) for number in ids], "count": [7] * len(ids)}
    amounts = {"amount": [Decimal("1.25")] * len(ids), "seats": [2.5] * len(ids)}
    return pa.table({name: {**columns, **amounts}[name] for name in schema.names}, schema=schema)


@pytest.fixture
def table(ws: Workspace, fresh: Callable[[str], str]) -> str:
    """A keyed table of two rows, with a tag."""
    name = fresh("wide")
    ws.tables.create(name, SCHEMA, **KEYS, description="What it's about")
    ws.tables.append(name, rows(1, 2), transactions=[Transaction("file", 1)])
    ws.tables.set_tag(name, "owner", "Jo's team")
    return name


def read(ws: Workspace, name: str, **how: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ws.tables.to_arrow(name, at_most=100, **how).sort_by("id").to_pylist()
    return found


def with_type(name: str, kind: pa.DataType) -> pa.Schema:
    at = SCHEMA.get_field_index(name)
    return SCHEMA.set(at, SCHEMA.field(at).with_type(kind))


def test_a_new_column_comes_in_one_commit_with_its_comment_and_all_else_stays(ws, table):
    before = ws.tables.describe(table)
    change = ws.tables.widen(table, SCHEMA.append(NEW), **KEYS)
    after = ws.tables.describe(table)
    assert change == Widening(added=(NEW,))
    assert after.version == before.version + 1
    assert after.schema.names == [*SCHEMA.names, "seats"]
    assert [field.metadata for field in after.schema] == [field.metadata for field in SCHEMA.append(NEW)]
    assert [field.nullable for field in after.schema] == [False, False, False, True, True]
    kept = ("primary_keys", "timeseries_column", "description", "tags", "id", "created_at")
    assert {name: getattr(after, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert ws.tables.committed(table, [Transaction("file", 1)]) == (True,)
    assert not ws.tables.replaced_since(table, before.version)
    assert [row["seats"] for row in read(ws, table)] == [None, None]
    assert "seats" not in read(ws, table, version=before.version)[0]


def test_rows_are_written_and_read_with_the_new_column_beside_those_without(ws, table):
    wider = SCHEMA.append(NEW)
    ws.tables.widen(table, wider, **KEYS)
    ws.tables.append(table, rows(3, schema=wider))
    ws.tables.merge(table, rows(2, 4, schema=wider))
    assert [(row["id"], row["seats"]) for row in read(ws, table)] == [(1, None), (2, 2.5), (3, 2.5), (4, 2.5)]
    assert [row["id"] for row in read(ws, table, filters=[("seats", "=", 2.5)])] == [2, 3, 4]
    assert sorted(row["id"] for row in ws.tables.read(table).where("seats IS NULL").collect()) == [1]
    # Whoever does not know the column writes as before: new rows read null in it, and a merge leaves it as it is.
    ws.tables.append(table, rows(5))
    ws.tables.merge(table, rows(2))
    assert [row["seats"] for row in read(ws, table)] == [None, 2.5, 2.5, 2.5, None]


def test_the_same_again_changes_nothing(ws, table):
    wider = with_type("count", pa.int64()).append(NEW)
    assert ws.tables.widen(table, wider, **KEYS)
    version = ws.tables.version(table)
    assert not ws.tables.widen(table, wider, **KEYS)
    assert ws.tables.create(table, wider, **KEYS).version == ws.tables.version(table) == version


def test_keys_become_longer_by_columns_of_the_platforms_own_and_stay_so(ws, fresh):
    name, time = fresh("longer"), {"timeseries_column": "at"}
    schema = pa.schema([*SCHEMA, pa.field("_file", pa.string(), nullable=False)])
    with_file = pa.schema([*schema, pa.field("_noted", TIME)])
    ws.tables.create(name, schema, primary_keys=("id",), **time)
    one, other = (rows(1).append_column(schema.field("_file"), pa.array([file])) for file in ("a", "b"))
    ws.tables.append(name, one, transactions=[Transaction("file", 1)])
    before = ws.tables.describe(name)
    longer = {"primary_keys": ("id", "_file"), **time}
    change = ws.tables.widen(name, with_file, **longer)
    assert (change.keys, [field.name for field in change.added]) == (("id", "_file"), ["_noted"])
    after = ws.tables.describe(name)
    assert (after.primary_keys, after.timeseries_column, after.id) == (("id", "_file"), "at", before.id)
    assert ws.tables.committed(name, [Transaction("file", 1)]) == (True,)
    # One id, delivered twice.
    ws.tables.overwrite(name, other, where={"_file": ["b"]})
    assert [row["_file"] for row in read(ws, name)] in (["a", "b"], ["b", "a"])
    version = ws.tables.version(name)
    assert not ws.tables.widen(name, with_file, **longer)
    # Taken back, the keys stay: they are true.
    assert not ws.tables.widen(name, with_file, primary_keys=("id",), **time)
    assert (ws.tables.version(name), ws.tables.describe(name).primary_keys) == (version, ("id", "_file"))
    with pytest.raises(TableError, match="the keys of a table do not change"):
        ws.tables.widen(name, with_file, primary_keys=("id", "count"), **time)


def test_the_order_of_a_declaration_is_none(ws, table):
    version = ws.tables.version(table)
    turned = pa.schema([SCHEMA.field(name) for name in ("amount", "at", "count", "id")])
    assert ws.tables.widen(table, turned, **KEYS) == Widening()
    assert ws.tables.version(table) == version


def test_a_column_that_is_no_longer_declared_stays_and_is_named(ws, table):
    ws.tables.widen(table, SCHEMA.append(NEW), **KEYS)
    ws.tables.merge(table, rows(1, schema=SCHEMA.append(NEW)))
    version = ws.tables.version(table)
    change = ws.tables.widen(table, SCHEMA, **KEYS)
    assert change == Widening(unwritten=("seats",))
    assert (bool(change), ws.tables.version(table)) == (False, version)
    assert [row["seats"] for row in read(ws, table)] == [2.5, None]


WIDER = [
    (pa.int16(), 7, pa.int32(), 7),
    (pa.int16(), 7, pa.int64(), 7),
    (pa.int16(), 7, pa.float64(), 7.0),
    (pa.int32(), 2**31 - 1, pa.int64(), 2**31 - 1),
    (pa.int32(), 2**31 - 1, pa.float64(), float(2**31 - 1)),
    (pa.int32(), -7, pa.decimal128(12, 2), Decimal("-7.00")),
    (pa.int64(), 2**62, pa.decimal128(22, 2), Decimal(2**62)),
    (pa.float32(), 0.5, pa.float64(), 0.5),
    (pa.decimal128(8, 2), Decimal("1.25"), pa.decimal128(10, 2), Decimal("1.25")),
    (pa.decimal128(8, 2), Decimal("1.25"), pa.decimal128(10, 4), Decimal("1.2500")),
]


@pytest.mark.parametrize(("kind", "value", "wider", "widened"), WIDER, ids=[f"{row[0]}-{row[2]}" for row in WIDER])
def test_a_wider_type_holds_the_same_values(ws, fresh, kind, value, wider, widened):
    name = fresh("typed")
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("x", kind, metadata={"comment": "An x"})])
    ws.tables.create(name, schema, primary_keys=("id",), description="Typed")
    ws.tables.append(name, pa.table({"id": [1, 2], "x": [value, None]}, schema=schema))
    before = ws.tables.describe(name)
    declared = schema.set(1, pa.field("x", wider, metadata={"comment": "An x"}))
    assert ws.tables.widen(name, declared, primary_keys=("id",)) == Widening(retyped=(declared.field("x"),))
    after = ws.tables.describe(name)
    assert (after.schema, after.id, after.description) == (declared, before.id, "Typed")
    assert not ws.tables.replaced_since(name, before.version)
    assert [row["x"] for row in read(ws, name)] == [widened, None]
    assert sorted(row["id"] for row in ws.tables.read(name).where("x IS NOT NULL").collect()) == [1]
    ws.tables.merge(name, pa.table({"id": [2, 3], "x": [widened, widened]}, schema=declared))
    assert [row["x"] for row in read(ws, name)] == [widened, widened, widened]
    # What was recorded at a version is read as it was.
    assert ws.tables.to_arrow(name, at_most=9, version=before.version).schema.field("x").type == kind


def test_all_that_a_declaration_adds_comes_at_once(ws, table):
    declared = pa.schema(
        [*list(SCHEMA)[:2], pa.field("count", pa.int64()), pa.field("amount", pa.decimal128(12, 2)), NEW]
    )
    change = ws.tables.widen(table, declared, **KEYS)
    assert [field.name for field in change.retyped] == ["count", "amount"]
    assert (change.added, change.relaxed, change.unwritten) == ((NEW,), ("count",), ())
    after = ws.tables.describe(table)
    assert after.schema == declared
    assert (after.primary_keys, dict(after.tags)) == (("id", "at"), {"owner": "Jo's team"})
    assert ws.tables.committed(table, [Transaction("file", 1)]) == (True,)
    assert [(row["count"], row["amount"], row["seats"]) for row in read(ws, table)] == [(7, Decimal("1.25"), None)] * 2


def test_a_column_may_be_null_from_now_on(ws, table):
    declared = SCHEMA.set(2, SCHEMA.field("count").with_nullable(True))
    assert ws.tables.widen(table, declared, **KEYS) == Widening(relaxed=("count",))
    assert ws.tables.describe(table).schema == declared
    ws.tables.append(table, rows(3).set_column(2, declared.field("count"), pa.nulls(1, pa.int32())))
    assert [row["count"] for row in read(ws, table)] == [7, 7, None]
    # So that it may go from the declaration after that.
    assert ws.tables.widen(table, SCHEMA.remove(2), **KEYS) == Widening(unwritten=("count",))


def test_an_empty_table_and_one_without_keys_are_widened_alike(ws, fresh):
    name, schema = fresh("empty"), pa.schema([("a b", pa.int32())])
    ws.tables.create(name, schema)
    declared = pa.schema([("a b", pa.int64()), ("c d", pa.string())])
    assert ws.tables.widen(name, declared)
    assert ws.tables.describe(name).schema == declared
    ws.tables.append(name, pa.table({"a b": [2**40], "c d": ["x"]}))
    assert ws.tables.to_arrow(name, at_most=9).to_pylist() == [{"a b": 2**40, "c d": "x"}]


REFUSED = {
    "other keys": (SCHEMA, {**KEYS, "primary_keys": ("at", "id")}, "keys of a table do not change", "name of its own"),
    "another time": (SCHEMA, {"primary_keys": ("id", "at")}, "keys of a table do not change", "name of its own"),
    "a new key": (
        SCHEMA.append(NEW),
        {**KEYS, "primary_keys": ("id", "at", "seats")},
        "keys of a table do not change",
        "name of its own",
    ),
    "a lost key": (SCHEMA.remove(0), {**KEYS, "primary_keys": ("at",)}, "keys of a table do not change", "its own"),
    "a new column not null": (
        SCHEMA.append(NEW.with_nullable(False)),
        KEYS,
        r"new column seats \(double\) is declared not null",
        "Declare it nullable",
    ),
    "a narrower integer": (
        with_type("count", pa.int16()),
        KEYS,
        "column count is declared smallint, and is int in the table",
        "Declare it int; or give the new column another name",
    ),
    "fewer digits": (
        with_type("amount", pa.decimal128(8, 3)),
        KEYS,
        r"column amount is declared decimal\(8,3\), and is decimal\(8,2\) in the table",
        "another name",
    ),
    "another type": (with_type("amount", pa.string()), KEYS, "column amount is declared string", "another name"),
    "a key's type": (
        with_type("id", pa.decimal128(22, 0)),
        KEYS,
        "column id is declared decimal.*key's type does not change",
        "another key",
    ),
    "null no longer": (
        SCHEMA.set(3, SCHEMA.field("amount").with_nullable(False)),
        KEYS,
        "column amount is declared not null; in the table it may be null",
        "Declare it nullable",
    ),
    "not null and no longer declared": (
        SCHEMA.remove(2),
        KEYS,
        r"column count \(int\) is no longer declared; in the table it may not be null",
        "Declare it again, nullable, and run once",
    ),
}


@pytest.mark.parametrize(("schema", "keys", "message", "way_out"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_wider_is_refused_with_both_sides_and_a_way_out(ws, table, schema, keys, message, way_out):
    before = ws.tables.describe(table)
    with pytest.raises(TableError, match=f"(?s){message}") as refused:
        ws.tables.widen(table, schema, **keys)
    assert table in refused.value.message
    assert way_out in refused.value.hint
    assert "drop the table" not in refused.value.hint.lower()
    assert ws.tables.describe(table) == before


def test_a_table_that_does_not_exist_is_not_widened(ws, fresh):
    with pytest.raises(TableError, match="does not exist"):
        ws.tables.widen(fresh("none"), SCHEMA, **KEYS)


def test_properties_are_the_platforms_and_read_for_all_tables_of_a_schema_at_once(ws, fresh):
    ws.tables.create("dev.stamped.a", SCHEMA, **KEYS, properties={"stamp": "it's 1"})
    ws.tables.create("dev.stamped.b", SCHEMA)
    assert ws.tables.properties("dev", "stamped", "stamp") == {"a": "it's 1", "b": ""}
    ws.tables.set_property("dev.stamped.b", "stamp", "2")
    assert ws.tables.properties("dev", "stamped", "stamp") == {"a": "it's 1", "b": "2"}
    assert ws.tables.properties("dev", "nowhere", "stamp") == {}
    info = ws.tables.describe("dev.stamped.a")
    assert (dict(info.tags), info.primary_keys, info.timeseries_column) == ({}, ("id", "at"), "at")
    with pytest.raises(TableError, match="does not exist"):
        ws.tables.set_property(fresh("none"), "stamp", "1")
