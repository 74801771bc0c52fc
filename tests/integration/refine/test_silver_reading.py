"""Silver reads landed text by its columns' types and SQL: what cannot be read is null, for an expectation to catch."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform import Column, Expectation, SilverTable, Source
from mlplatform.as_of import parse_as_of
from mlplatform.errors import PlatformError
from mlplatform.pipeline import Pipeline
from tests.support.tiny_use_case import (
    NAME,
    Cancellations,
    SilverCancellations,
    Subscriptions,
    Tiny,
    write_tiny_use_case,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlplatform.workspace.local.workspace import LocalWorkspace

CATALOGS = iter(f"catalog{number}" for number in range(1000))
AS_OF = parse_as_of("2020-02-01")
EVERY_TYPE = ("string", "boolean", "int", "bigint", "float", "double", "date", "timestamp")


class Landed(Source):
    """Readings as landed."""

    name = "readings"
    files = "readings/readings_*.csv"
    available = "period_end"
    columns = ("id", "Taken At", "value")


class LandedWide(Landed):
    """Readings of which each has many values, to be read at once."""

    columns = ("id", "Taken At", *(f"value{number}" for number in range(20)))


class Readings(SilverTable):
    """Readings."""

    name = "readings"
    source = Landed
    keys = ("id",)
    known_at = "taken_at"
    columns = (
        Column("id", "int", "Number", nullable=False),
        Column("taken_at", "timestamp", "When", sql="try_to_timestamp(`Taken At`, 'dd.MM.yyyy HH:mm')"),
        Column("value", "double", "What was read"),
        Column("doubled", "double", "Twice", sql="2 * try_cast(value AS double)"),
    )
    expectations = (Expectation("value_is_a_number", "value IS NOT NULL"),)


def of(**changes: Any) -> type[SilverTable]:
    return type("Changed", (Readings,), {"__doc__": "Readings.", **changes})


@pytest.fixture
def refine(ws: LocalWorkspace, tmp_path: Path) -> Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Refine landed lines; return the silver rows by id, and the quarantined ones."""
    ws.catalog = next(CATALOGS)
    tiny = write_tiny_use_case(tmp_path, months=1, rows_a_month=5)

    def refined(
        lines: list[str], silver: type[SilverTable] = Readings
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        file = tiny.data / "readings" / "readings_2020-01.csv"
        file.parent.mkdir(exist_ok=True)
        header = ",".join(silver.source.columns)
        file.write_text("\n".join([header, *lines, ""]), encoding="utf-8")

        class Spine(Subscriptions):
            inputs = ("silver_cancellations",)

            def spine(self, view: Any) -> Any:
                rows = view.read("silver_cancellations").selectExpr("account", "cancelled_at AS signed_up_at")
                return rows.selectExpr("*", "'' AS region", "1D AS price", "1D AS seats")

            def labels(self, view: Any) -> Any:
                return self.spine(view).selectExpr(
                    "account", "signed_up_at", "1D AS cancelled", "signed_up_at AS label_known_at"
                )

        parts = {"sources": (silver.source, Cancellations), "silver": (silver, SilverCancellations), "spine": Spine}
        use_case = type("WithReadings", (Tiny,), {**parts, "features": ()}).open(NAME, tiny.folder, ws)
        Pipeline(ws, use_case, AS_OF).run(["ingest", "refine"])
        good = ws.tables.to_arrow(use_case.namespace.silver(silver.name), at_most=10**6).sort_by("id").to_pylist()
        bad = ws.tables.to_arrow(use_case.namespace.quarantine(silver.name), at_most=10**6).sort_by("_row").to_pylist()
        return good, bad

    return refined


def test_columns_are_read_by_their_type_or_their_sql(refine: Any) -> None:
    good, bad = refine(["1,31.01.2020 06:30,1.5", " 2 ,01.01.2020 00:00,-1e2"])
    assert [(row["id"], row["taken_at"], row["value"], row["doubled"]) for row in good] == [
        (1, datetime(2020, 1, 31, 6, 30, tzinfo=UTC), 1.5, 3.0),
        (2, datetime(2020, 1, 1, tzinfo=UTC), -100.0, -200.0),
    ]
    assert bad == []


def test_what_cannot_be_read_is_null_and_quarantined_with_its_reason_and_its_text(refine: Any) -> None:
    good, bad = refine(
        [
            "1,31.01.2020 06:30,1.5",
            "one,31.01.2020 06:30,1.5",
            "2.5,31.01.2020 06:30,1.5",
            "99999999999,31.01.2020 06:30,1.5",
            "3,2020-01-31,1.5",
            "4,31.02.2020 06:30,1.5",
            '5,31.01.2020 06:30,"1,5"',
            "6,31.01.2020 06:30,",
            "x,,y",
        ]
    )
    assert [row["id"] for row in good] == [1]
    assert [row["reason"] for row in bad] == [
        "id_is_null",
        "id_is_null",
        "id_is_null",
        "taken_at_is_null",
        "taken_at_is_null",
        "value_is_a_number",
        "value_is_a_number",
        "id_is_null, taken_at_is_null, value_is_a_number",
    ]
    assert json.loads(bad[0]["content"]) == {"id": "one", "Taken At": "31.01.2020 06:30", "value": "1.5"}


def test_what_cannot_be_read_and_is_not_expected_goes_on_as_null(refine: Any) -> None:
    good, bad = refine(["1,31.01.2020 06:30,none", "2,31.01.2020 06:30,"], of(expectations=()))
    assert [(row["value"], row["doubled"]) for row in good] == [(None, None), (None, None)]
    assert bad == []


def read_as(refine: Any, values: list[tuple[str, str]]) -> list[Any]:
    """Return what texts are read as, each by the type of a column of its own; all in one run."""
    names = LandedWide.columns[2:]
    texts = [text for _, text in values] + [""] * (len(names) - len(values))
    columns = (
        *Readings.columns[:2],
        *(Column(name, kind, "What was read") for name, (kind, _) in zip(names, values, strict=False)),
    )
    silver = of(source=LandedWide, columns=columns, expectations=())
    (row,), bad = refine([",".join(["1", "31.01.2020 06:30", *texts])], silver)
    assert bad == []
    return [row[name] for name in names[: len(values)]]


def test_nonsense_is_null_as_every_type_but_text(refine: Any) -> None:
    found = dict(zip(EVERY_TYPE, read_as(refine, [(kind, "#?!") for kind in EVERY_TYPE]), strict=True))
    assert found == {kind: "#?!" if kind == "string" else None for kind in EVERY_TYPE}


def test_a_type_reads_what_spark_reads(refine: Any) -> None:
    expected: list[tuple[str, str, object]] = [
        ("boolean", "true", True),
        ("boolean", "F", False),
        ("int", "-7", -7),
        ("bigint", "9223372036854775807", 2**63 - 1),
        ("bigint", "9223372036854775808", None),
        ("double", "1e3", 1000.0),
        ("date", "2020-02-29", date(2020, 2, 29)),
        ("date", "2019-02-29", None),
        ("timestamp", "2020-01-31T23:59:59Z", datetime(2020, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("timestamp", "2020-01-31T23:59:59+01:00", datetime(2020, 1, 31, 22, 59, 59, tzinfo=UTC)),
        ("timestamp", "2020-01-31", datetime(2020, 1, 31, tzinfo=UTC)),
        ("timestamp", "2020-01-31T24:30:00Z", None),
        # A time without a day is no timestamp.
        ("timestamp", "10:00", None),
        ("string", " x ", " x "),
    ]
    found = read_as(refine, [(kind, text) for kind, text, _ in expected])
    assert [(kind, text, value) for (kind, text, _), value in zip(expected, found, strict=True)] == expected


def test_a_text_that_says_it_is_no_number_is_quarantined(refine: Any) -> None:
    rows, (quarantined,) = refine(["1,31.01.2020 06:30,NaN"])
    assert not rows
    assert quarantined["reason"] == "value_is_not_finite, doubled_is_not_finite"


WRONG = {
    "a column that did not land": Column("vlaue", "double", "What was read"),
    "a misspelt column": Column("value", "double", "What was read", sql="try_cast(vlaue AS double)"),
    "a misspelt function": Column("value", "double", "What was read", sql="trry_cast(vlaue)"),
    "a bracket too few": Column("value", "double", "What was read", sql="try_cast(value AS double"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_sql_that_cannot_be_read_is_our_error_with_the_table_and_the_column_and_nothing_is_written(
    refine: Any, ws: LocalWorkspace, wrong: Column
) -> None:
    silver = of(columns=(*Readings.columns[:2], wrong), expectations=())
    with pytest.raises(PlatformError, match=wrong.name) as caught:
        refine(["1,31.01.2020 06:30,1.5"], silver)
    assert re.search(r"vlaue|trry_cast|invalid argument", str(caught.value))
    assert "silver_readings" in str(caught.value)
    assert ws.tables.version(f"{ws.catalog}.{NAME}.silver_readings") == 0
    if wrong.name == "value":
        # Mended, the same file is taken.
        columns = (*Readings.columns[:2], Column("value", "double", "What was read", sql="try_cast(value AS double)"))
        (row,), _ = refine(["1,31.01.2020 06:30,1.5"], of(columns=columns, expectations=()))
        assert row["value"] == 1.5


def test_sql_that_fails_on_a_value_is_an_error_and_nothing_is_written(refine: Any, ws: LocalWorkspace) -> None:
    columns = (*Readings.columns[:2], Column("value", "int", "What was read", sql="cast(value AS int)"))
    with pytest.raises(Exception, match=r"(?i)cast"):
        refine(["1,31.01.2020 06:30,1", "2,31.01.2020 06:30,no"], of(columns=columns, expectations=()))
    assert ws.tables.version(f"{ws.catalog}.{NAME}.silver_readings") == 0


def test_text_that_sql_gives_for_another_type_is_read_as_landed_text_is(refine: Any) -> None:
    columns = (*Readings.columns[:2], Column("value", "double", "What was read", sql="trim(value)"))
    rows, _ = refine(["1,31.01.2020 06:30, 1.5 ", "2,31.01.2020 06:30,no"], of(columns=columns, expectations=()))
    assert [row["value"] for row in rows] == [1.5, None]
