"""Which types are wider than which, and what a declaration may change about a table."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.protocols.tables import TableInfo, Widening
from mlplatform.protocols.widening import is_wider, same_type, widened_schema, widening

DECIMALS = [pa.decimal128(*shape) for shape in ((5, 0), (8, 2), (10, 0), (10, 2), (12, 2), (12, 4), (20, 0), (22, 2))]
NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), *DECIMALS]
OTHERS = [pa.string(), pa.bool_(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.list_(pa.int32())]
PAIRS = list(product([*NUMBERS, *OTHERS], repeat=2))
EXTREMES = {
    **{kind: [-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1] for kind in NUMBERS[:4]},
    **{kind: [0.1, -(2.0**100), 2.0**-100] for kind in NUMBERS[4:6]},
    **{kind: [Decimal("9" * kind.precision).scaleb(-kind.scale)] for kind in DECIMALS},
}


@pytest.mark.parametrize(("declared", "than"), [pair for pair in PAIRS if is_wider(*pair)], ids=str)
def test_a_wider_type_holds_the_extremes_of_the_other_and_gives_them_back(declared, than):
    values = pa.array(EXTREMES[than], than)
    assert values.cast(declared).cast(than).equals(values)
    assert not is_wider(than, declared)


def test_only_numbers_are_widened_and_never_to_themselves():
    wider = [pair for pair in PAIRS if is_wider(*pair)]
    assert {kind for pair in wider for kind in pair} <= set(NUMBERS)
    assert not any(declared == than for declared, than in wider)
    # What is wider than a wider one is wider.
    assert all(is_wider(a, d) for (a, b), (c, d) in product(wider, wider) if b == c)


def test_variants_of_one_type_are_the_same():
    assert same_type(pa.string(), pa.large_string())
    assert same_type(pa.list_(pa.field("item", pa.int32())), pa.list_(pa.field("element", pa.int32())))
    assert not same_type(pa.timestamp("us"), pa.timestamp("us", "UTC"))


KEY = pa.field("id", pa.int64(), nullable=False)
INFO = TableInfo("dev.a.t", 3, pa.schema([KEY, ("n", pa.int32()), ("gone", pa.string())]), ("id",))


def test_what_a_table_lacks_and_what_it_is_then():
    declared = pa.schema([("n", pa.int64()), ("new", pa.string()), KEY])
    change = widening(INFO, declared, ("id",), None)
    assert change == Widening(added=(declared.field("new"),), retyped=(declared.field("n"),), unwritten=("gone",))
    then = widened_schema(INFO.schema, change)
    assert then == pa.schema([KEY, ("n", pa.int64()), ("gone", pa.string()), ("new", pa.string())])
    assert not widening(TableInfo("dev.a.t", 4, then, ("id",)), declared, ("id",), None)


def test_nested_types_are_not_widened():
    info = TableInfo("dev.a.t", 0, pa.schema([("x", pa.list_(pa.int32()))]))
    with pytest.raises(TableError, match=r"x is declared array<bigint>, and is array<int> in the table"):
        widening(info, pa.schema([("x", pa.list_(pa.int64()))]), (), None)


def test_a_column_that_differs_only_in_capitals_is_refused():
    with pytest.raises(TableError, match=r"more than one column named n \(also as N\)"):
        widening(INFO, pa.schema([KEY, ("N", pa.int32()), ("gone", pa.string())]), ("id",), None)
