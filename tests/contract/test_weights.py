"""Weights of a silver table: the same in both homes, and for each row what a reader of the deliveries would say."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform import Column, LabelSpine, SilverTable, Source, WeightColumn
from mlplatform.errors import ConfigError, StageError, TableError
from mlplatform.naming import Namespace
from mlplatform.protocols.registry import TableRead
from mlplatform.refine.silver import BATCH
from mlplatform.training.weights import look_up, looked_up_weights

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
AS_OF = DAY + dt.timedelta(days=20)
NUMBERS = itertools.count()


class Landed(Source):
    """Weights as landed."""

    name = "sizes"
    files = "sizes_*.csv"
    available = "period_end"
    columns = ("shop", "day", "size")


class Sizes(SilverTable):
    """How large a shop is."""

    name = "sizes"
    source = Landed
    keys = ("shop",)
    known_at = "day"
    columns = (
        Column("shop", "int", "Number", nullable=False),
        Column("day", "timestamp", "From when on it is known", nullable=False),
        Column("size", "decimal(8,2)", "Size"),
        Column("note", "string", "What was written beside it"),
    )


class Series(Sizes):
    """How large a shop is, day by day."""

    timeseries = True


class Corrected(Sizes):
    """How large a shop is; the newest delivery holds."""

    corrections = "newest"


class CorrectedSeries(Series):
    """How large a shop is, day by day; the newest delivery of a day holds."""

    corrections = "newest"


class Visits(LabelSpine):
    """Visits to shops."""

    key_columns = (
        Column("visit", "string", "Number of the visit", nullable=False),
        Column("at", "timestamp", "When", nullable=False),
    )
    columns = (Column("place", "int", "The shop"), Column("town", "string", "Where it is"))
    keys = ("visit",)
    prediction_time = "at"
    label = "bought"

    def labels(self, ws: Any) -> Any:
        """None are needed here."""
        raise NotImplementedError


def deliveries(silver: type[SilverTable], chance: random.Random) -> list[dict[str, Any]]:
    """Rows of the silver table, as refining leaves them: at most one for each key, unless it keeps corrections."""
    rows: list[dict[str, Any]] = []
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number in range(60):
        available = DAY + dt.timedelta(days=number // 3)
        day = DAY + dt.timedelta(days=chance.randrange(25), hours=chance.choice([0, 0, 7]))
        row = {"shop": chance.randrange(6), "day": day, "size": chance.choice([None, 0, 1, 2.5, 7]), "note": "x"}
        key = tuple(row[name] for name in silver.primary_keys)
        if key in first and not silver.corrections:
            continue
        more = {"_file": f"sizes_{number // 3:02}.csv", "_row": number, "_available_at": available}
        if silver.corrections:
            more["_corrected_at"] = max(available, day) if key in first else None
        rows.append(row | more | {"_ingested_at": available, BATCH: 1})
        first.setdefault(key, rows[-1])
    return rows


def reader(
    silver: type[SilverTable], rows: list[dict[str, Any]], shop: int | None, at: dt.datetime, landed_by: dt.datetime
) -> tuple[bool, float | None]:
    """Say of one visit whether a row was known by then, and its weight."""
    found: list[tuple[Any, ...]] = []
    records: dict[tuple[Any, ...], dt.datetime] = {}
    for row in rows:  # in the order of their delivery
        if row["_available_at"] > landed_by or row["shop"] != shop:
            continue
        known = records.setdefault(tuple(row[name] for name in silver.primary_keys), row["day"])
        corrected = row.get("_corrected_at")
        if known <= at and (corrected is None or corrected <= at):
            found.append((known, row["_row"], row["size"]))
    if not found:
        return False, None
    size = max(found, key=lambda item: item[:2])[2]
    return True, None if size is None else float(size)


def written(ws: Workspace, silver: type[SilverTable], rows: list[dict[str, Any]]) -> Namespace:
    names = Namespace("dev", f"weights{next(NUMBERS)}")
    name = names.silver(silver.name)
    ws.tables.create(name, silver().schema(), primary_keys=silver.row_keys, timeseries_column=silver.known_at)
    schema = silver().schema()
    texts = pa.Table.from_pylist(
        [row | {"size": None if row["size"] is None else str(row["size"])} for row in rows],
        schema=pa.schema([field if field.name != "size" else pa.field("size", pa.string()) for field in schema]),
    )
    ws.tables.append(name, texts.cast(schema))
    return names


def visits(chance: random.Random, count: int = 50) -> pa.Table:
    rows = [
        {
            "visit": f"v{number}",
            "at": DAY + dt.timedelta(days=chance.randrange(20), hours=chance.choice([0, 7, 12])),
            "place": chance.choice([0, 1, 2, 3, 4, 5, 9, None]),
            "town": "a",
        }
        for number in range(count)
    ]
    schema = Visits(settings=None).spine_schema()  # type: ignore[arg-type]
    return pa.Table.from_pylist(rows, schema=schema)


SPINE = Visits(settings=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("silver", [Sizes, Series, Corrected, CorrectedSeries])
@pytest.mark.parametrize("seed", range(2))
def test_each_row_has_the_weight_that_was_known_at_its_own_time(
    ws: Workspace, silver: type[SilverTable], seed: int
) -> None:
    chance = random.Random(seed)
    rows, asked = deliveries(silver, chance), visits(chance)
    names = written(ws, silver, rows)
    declared = WeightColumn(silver, "size", keys=("place",))
    for as_of, landed_only in ((AS_OF, True), (DAY + dt.timedelta(days=9), True), (AS_OF, False)):
        by_then = asked.filter(pc.field("at") <= pa.scalar(as_of))
        found = look_up(ws, names, SPINE, declared, by_then, as_of, landed_only=landed_only)
        table = ws.frames.collect(found.rows, at_most=1000, what="weights").to_pylist()
        landed_by = as_of if landed_only else dt.datetime.max.replace(tzinfo=dt.UTC)
        expected = {}
        for visit in by_then.to_pylist():
            was_known, weight = reader(silver, rows, visit["place"], visit["at"], landed_by)
            if was_known:
                expected[visit["visit"], visit["at"]] = weight
        assert len(expected) > 3 or as_of != AS_OF
        assert {(row["visit"], row["at"]): row["__weight"] for row in table} == expected
        assert len(table) == len(expected)
        assert {row["__weights"] for row in table} <= {1}
        assert found.read == TableRead(str(names.silver("sizes")), 1, "weights")


def test_weights_come_in_the_order_of_the_rows(ws: Workspace) -> None:
    chance = random.Random(5)
    rows = [row | {"size": row["size"] or 0.25} for row in deliveries(Series, chance)]
    names, asked = written(ws, Series, rows), visits(chance).sort_by(SPINE.order)
    declared = WeightColumn(Series, "size", keys=("place",), default=4.0)
    weights, read = looked_up_weights(ws, names, SPINE, declared, asked, AS_OF)
    expected = [reader(Series, rows, row["place"], row["at"], AS_OF) for row in asked.to_pylist()]
    assert weights.tolist() == [4.0 if weight is None else weight for _, weight in expected]
    assert read.role == "weights"


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (None, r"of 1 labelled rows 1 have none \(the first is visit=v0, at=2024-01-02\)"),
        (-1, r"1 have one below zero \(the first is visit=v0"),
        (0, "all 1 are zero"),
    ],
)
def test_weights_that_nothing_can_be_fitted_with_are_said(ws: Workspace, size: float | None, says: str) -> None:
    (row, *_) = deliveries(Sizes, random.Random(1))
    names = written(ws, Sizes, [row | {"shop": 1, "day": DAY, "_available_at": DAY, "size": size}])
    asked = pa.Table.from_pylist(
        [{"visit": "v0", "at": DAY + dt.timedelta(days=1), "place": 1, "town": "a"}], schema=SPINE.spine_schema()
    )
    declared = WeightColumn(Sizes, "size", keys=("place",))
    with pytest.raises(ConfigError, match=says) as caught:
        looked_up_weights(ws, names, SPINE, declared, asked, AS_OF)
    assert caught.value.hint
    # A day earlier nothing was known.
    with pytest.raises(ConfigError, match="have none"):
        looked_up_weights(
            ws,
            names,
            SPINE,
            declared,
            asked.set_column(1, "at", pa.array([DAY - dt.timedelta(1)], asked.schema.field("at").type)),
            AS_OF,
        )


def test_several_weights_at_one_time_are_no_weight(ws: Workspace) -> None:
    (row, *_) = deliveries(Series, random.Random(1))
    twice = [row | {"shop": 1, "day": DAY, "_available_at": DAY, "size": size, "_row": size} for size in (1, 2)]
    names = written(ws, Series, twice)
    asked = pa.Table.from_pylist([{"visit": "v0", "at": DAY, "place": 1, "town": "a"}], schema=SPINE.spine_schema())
    with pytest.raises(
        StageError, match=r"1 labelled rows have several weights in silver_sizes\.size, known at the same"
    ):
        looked_up_weights(ws, names, SPINE, WeightColumn(Series, "size", keys=("place",)), asked, AS_OF)


def test_a_table_that_is_not_there_and_keys_that_do_not_match_are_said(ws: Workspace) -> None:
    names, asked = Namespace("dev", "weights_of_nobody"), visits(random.Random(1), 3)
    with pytest.raises(TableError, match="silver_sizes"):
        look_up(ws, names, SPINE, WeightColumn(Sizes, "size", keys=("place",)), asked, AS_OF)
    for keys, says in (
        (("plaice",), "by plaice, which is no column of Visits. Did you mean place"),
        (("town",), "by town, which is string, and its key shop is int"),
        ((), "by shop, which is no column of Visits"),
    ):
        with pytest.raises(ConfigError, match=says):
            look_up(ws, names, SPINE, WeightColumn(Sizes, "size", keys=keys), asked, AS_OF)
