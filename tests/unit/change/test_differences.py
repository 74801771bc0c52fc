"""Which class a difference between declaration and table belongs to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import pyarrow as pa
import pytest

from mlplatform.as_of import Duration
from mlplatform.change.declared import DeclaredTable
from mlplatform.change.differences import Difference, Kind, Measured, gravest, of_shape, of_values, refused
from mlplatform.change.measuring import stretches
from mlplatform.change.plan import ChangePlan, PlannedChange, Reading
from mlplatform.features.compare import ColumnDifference
from mlplatform.naming import ObjectName
from mlplatform.protocols.tables import TableInfo

NAME = ObjectName("dev", "risk", "features_lender")
HELD = pa.schema(
    [
        pa.field("lender", pa.string(), nullable=False),
        pa.field("known_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("loans", pa.int64(), metadata={"comment": "Loans so far"}),
        pa.field("risk", pa.float64()),
    ]
)
KEYS = ("lender", "known_at")


def differences(schema: pa.Schema, *, read: tuple[str, ...] = (), keys: tuple[str, ...] = KEYS) -> list[Difference]:
    """Return how a declaration with this schema differs from the table."""
    part = cast("Any", None)
    table = DeclaredTable(NAME, "features_lender", part, "features", schema, keys, "known_at", "History of a lender")
    info = TableInfo(str(NAME), 3, HELD, KEYS, "known_at", "History of a lender")
    return list(of_shape(table, info, read))


def with_field(name: str, field: pa.Field[Any]) -> pa.Schema:
    return HELD.set(HELD.get_field_index(name), field)


def test_a_table_as_it_is_declared_has_no_difference() -> None:
    assert differences(HELD, read=("risk",)) == []


@pytest.mark.parametrize("read", [(), ("risk",)])
def test_a_new_nullable_column_is_additive_whoever_reads_the_table(read: tuple[str, ...]) -> None:
    (found,) = differences(HELD.append(pa.field("age", pa.int32())), read=read)
    assert (found.mark, found.subject, found.kind) == ("+", "age", Kind.ADDITIVE)


def test_a_new_column_that_may_not_be_null_is_not_additive() -> None:
    (found,) = differences(HELD.append(pa.field("age", pa.int32(), nullable=False)))
    assert found.kind is Kind.RECOMPUTE


@pytest.mark.parametrize(
    ("read", "kind"), [((), Kind.ADDITIVE), (("loans",), Kind.ADDITIVE), (("risk",), Kind.BREAKING)]
)
def test_a_column_that_is_gone_breaks_only_who_reads_it(read: tuple[str, ...], kind: Kind) -> None:
    (found,) = differences(HELD.remove(3), read=read)
    assert (found.mark, found.subject, found.kind) == ("-", "risk", kind)


@pytest.mark.parametrize(
    ("read", "kind"), [((), Kind.RECOMPUTE), (("risk",), Kind.RECOMPUTE), (("loans",), Kind.BREAKING)]
)
def test_another_type_breaks_only_who_reads_the_column(read: tuple[str, ...], kind: Kind) -> None:
    schema = with_field("loans", pa.field("loans", pa.float64(), metadata={"comment": "Loans so far"}))
    (found,) = differences(schema, read=read)
    assert (found.kind, found.text) == (kind, "type bigint → double")


@pytest.mark.parametrize(("read", "kind"), [((), Kind.RECOMPUTE), (("risk",), Kind.BREAKING)])
def test_other_keys_break_every_reader(read: tuple[str, ...], kind: Kind) -> None:
    schema = pa.schema([pa.field("state", pa.string(), nullable=False), *HELD])
    (found,) = differences(schema, read=read, keys=("lender", "state", "known_at"))
    assert (found.subject, found.kind) == ("keys", kind)
    assert "lender, known_at → lender, state, known_at" in found.text


def test_order_and_comments_are_text() -> None:
    schema = pa.schema([*(HELD.field(place) for place in (0, 1, 3)), pa.field("loans", pa.int64())])
    assert {(item.subject, item.kind) for item in differences(schema, read=("loans", "risk"))} == {
        ("order", Kind.TEXT),
        ("loans", Kind.TEXT),
    }


def test_what_may_be_null_now_is_additive_and_what_may_not_any_more_is_not() -> None:
    (stricter,) = differences(with_field("risk", pa.field("risk", pa.float64(), nullable=False)))
    assert stricter.kind is Kind.RECOMPUTE
    looser = HELD.set(0, HELD.field(0).with_nullable(True))
    (found,) = differences(looser)
    assert found.kind is Kind.ADDITIVE


def test_equal_values_are_text_only_with_the_number_of_rows_looked_at() -> None:
    (whole,) = of_values(Measured(40_110, 40_110), ("risk",), why="code changed")
    assert (whole.kind, whole.text) == (Kind.TEXT, "values equal on all 40,110 rows")
    (part,) = of_values(Measured(812, 812, held=40_110), ("risk",), why="code changed")
    assert part.text == "values equal on 812 of 40,110 rows"


def test_other_values_break_who_reads_the_column_and_nobody_else() -> None:
    measured = Measured(
        100, 100, columns={"risk": ColumnDifference(12, 0.31), "loans": ColumnDifference(3)}, seconds=1.5
    )
    found = {item.text: item.kind for item in of_values(measured, ("risk",), why="code changed")}
    assert found == {
        "risk: 12 of 100 rows differ (largest 0.31)": Kind.BREAKING,
        "loans: 3 of 100 rows differ": Kind.RECOMPUTE,
    }


def test_rows_that_come_or_go_break_every_reader() -> None:
    measured = Measured(100, 98, added=1, removed=3)
    assert {item.kind for item in of_values(measured, ("risk",), why="code changed")} == {Kind.BREAKING}
    assert {item.kind for item in of_values(measured, (), why="code changed")} == {Kind.RECOMPUTE}


def test_a_new_column_of_a_large_table_is_computed_for_all_its_rows() -> None:
    assert Measured(100, 100, seconds=2.0).to_compute == (100, 2.0)
    assert Measured(100, 100, held=1000, seconds=2.0).to_compute == (1000, 20.0)


def test_the_gravest_difference_is_the_verdict() -> None:
    some = [Difference("=", "code", Kind.TEXT, ""), Difference("+", "age", Kind.ADDITIVE, "new column")]
    change = PlannedChange("features_lender", differences=some)
    assert change.kind is Kind.ADDITIVE
    plan = ChangePlan("risk", datetime(2020, 1, 1, tzinfo=UTC), [change, PlannedChange("gold_spine")])
    assert not plan.is_breaking
    change.differences.append(Difference("~", "code changed", Kind.BREAKING, "risk: 12 of 100 rows differ"))
    change.readings.append(Reading("v8 @champion", 8, ("risk",), None, breaks=True))
    assert plan.is_breaking
    assert list(plan.lines())[-2:] == ["  read by  model v8 @champion  risk", "  verdict  BREAKING for v8"]
    assert gravest([]) is None


def refusals(schema: pa.Schema, keys: tuple[str, ...] = KEYS) -> list[Difference]:
    """Return why the next run refuses a declaration with this schema."""
    table = DeclaredTable(
        NAME, "features_lender", cast("Any", None), "features", schema, keys, "known_at", "History of a lender"
    )
    return list(refused(table, TableInfo(str(NAME), 3, HELD, KEYS, "known_at", "History of a lender")))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (with_field("loans", pa.field("loans", pa.float64())), "column loans is declared double, and is bigint"),
        (HELD.append(pa.field("age", pa.int32(), nullable=False)), "the new column age (int) is declared not null"),
        (HELD.append(pa.field("Risk", pa.float64())), "more than one column named risk (also as Risk)"),
        (HELD.remove(0), "column lender (string) is no longer declared; in the table it may not be null"),
    ],
    ids=["another type", "a new column that is not null", "in capitals", "gone, and not null"],
)
def test_what_the_next_run_refuses_is_breaking_whoever_reads_it(schema: pa.Schema, says: str) -> None:
    (found,) = refusals(schema)
    assert (found.mark, found.kind) == ("!", Kind.BREAKING)
    assert found.text.startswith("the next run refuses it: ")
    assert says in found.text


def test_other_keys_are_refused_in_one_line() -> None:
    schema = pa.schema([pa.field("state", pa.string(), nullable=False), *HELD])
    (found,) = refusals(schema, keys=("lender", "state", "known_at"))
    assert "the keys of a table do not change. declared: keys lender, state, known_at;" in found.text


def test_what_the_next_run_does_is_not_refused() -> None:
    wider = with_field("loans", pa.field("loans", pa.decimal128(20, 0)))
    assert refusals(HELD) == refusals(wider) == refusals(HELD.remove(3)) == []
    assert next(item.text for item in differences(wider)) == "type bigint → decimal(20,0), which Delta can widen"


def test_the_sample_of_history_is_the_last_window_and_earlier_ones_apart() -> None:
    first, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    found = stretches(first, end, Duration.parse("7 days"))
    assert len(found) == 4
    assert found[-1] == (end - timedelta(days=7), end)
    assert all(one[1] < other[0] for one, other in pairwise(found))
    # Of a history that is hardly longer than a few windows, all is looked at.
    assert stretches(end - timedelta(days=20), end, Duration.parse("7 days")) == []


@pytest.mark.parametrize(("kind", "breaks"), [(Kind.RECOMPUTE, True), (Kind.ADDITIVE, False)])
def test_other_values_break_where_it_is_not_known_what_a_model_reads(kind: Kind, breaks: bool) -> None:
    change = PlannedChange("features_lender", differences=[Difference("~", "code changed", kind, "")])
    at = datetime(2020, 1, 1, tzinfo=UTC)
    assert not ChangePlan("risk", at, [change]).is_breaking
    assert ChangePlan("risk", at, [change], unknown=["What version 8 reads is not known"]).is_breaking is breaks
