"""NaN and the infinities are no values: quarantined or null in silver, null in what is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from mlplatform import Column, Expectation, LabelSpine
from mlplatform.as_of import parse_as_of
from mlplatform.errors import StageError
from mlplatform.naming import Namespace
from mlplatform.ops.run_record import RunSummary
from mlplatform.pipeline import Pipeline
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_use_case import (
    NAME,
    RegionHistory,
    SilverCancellations,
    SilverSignups,
    Subscriptions,
    Tiny,
    TinyFolder,
    write_tiny_use_case,
)

CATALOGS = iter(f"catalog{number}" for number in range(1000))
WORDS = ("inf", "-inf", "Infinity", "+Infinity", "NaN", "nan", "-NaN", "1e400", "-1e400")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("workspace")) as ws:
        yield ws


@pytest.fixture
def here(shared: LocalWorkspace) -> LocalWorkspace:
    shared.catalog = next(CATALOGS)
    return shared


@pytest.fixture
def tiny(tmp_path: Path) -> TinyFolder:
    return write_tiny_use_case(tmp_path, months=4, rows_a_month=30)


def soil(tiny: TinyFolder) -> None:
    with (tiny.data / "signups" / "signups_2020-02.csv").open("a", encoding="utf-8") as file:
        for number, word in enumerate(WORDS):
            file.write(f"P{number},2020-02-05,north,{word},3\n")
            file.write(f"S{number},2020-02-05,north,10,{word}\n")


def run(ws: LocalWorkspace, use_case: type[Tiny], tiny: TinyFolder, *stages: str) -> RunSummary:
    return Pipeline(ws, use_case.open(NAME, tiny.folder, ws), parse_as_of("2020-09-01")).run(stages)


def rows(ws: LocalWorkspace, table: str) -> list[dict[str, Any]]:
    name = str(Namespace(ws.catalog, NAME).table(table))
    found: list[dict[str, Any]] = ws.tables.to_arrow(name, at_most=10**6).to_pylist()
    return found


def test_a_row_with_such_a_number_is_quarantined_with_the_column_named(here, tiny):
    soil(tiny)
    run(here, Tiny, tiny, "ingest", "refine")
    found = {row["content"].split('"')[3]: row["reason"] for row in rows(here, "quarantine_signups")}
    assert {account: reason for account, reason in found.items() if account[0] == "S"} == {
        f"S{number}": "seats_is_not_finite" for number in range(len(WORDS))
    }
    # What the author expects of the column does not see that it is none.
    assert all("price_is_not_finite" in found[f"P{number}"] for number in range(len(WORDS)))
    silver = rows(here, "silver_signups")
    assert len(silver) == 120
    assert all(math.isfinite(row["price"]) and math.isfinite(row["seats"]) for row in silver)


class WithNulls(SilverSignups):
    """Reads them as missing, in one column."""

    name = "signups"
    columns = tuple(
        replace(column, not_finite="null") if column.name == "seats" else column for column in SilverSignups.columns
    )


class TinyWithNulls(Tiny):
    """The parts."""

    silver = (WithNulls, SilverCancellations)


def test_a_column_may_say_that_such_a_number_is_null(here, tiny):
    soil(tiny)
    run(here, TinyWithNulls, tiny, "ingest", "refine")
    found = {row["account"]: row["seats"] for row in rows(here, "silver_signups")}
    assert {account: found.get(account, 0) for account in (f"S{number}" for number in range(len(WORDS)))} == {
        f"S{number}": None for number in range(len(WORDS))
    }
    assert {row["reason"] for row in rows(here, "quarantine_signups")} <= {
        "price_is_not_finite",
        "price_is_positive, price_is_not_finite",
    }
    assert WithNulls().digest() != SilverSignups().digest(), "what was refined otherwise is refined again"


class WholeSeats(SilverSignups):
    """Computes whole numbers by way of floats."""

    name = "signups"
    columns = (*SilverSignups.columns[:4], Column("seats", "bigint", "Seats"))


class TinyWithWholeSeats(Tiny):
    """The parts."""

    silver = (WholeSeats, SilverCancellations)


def test_a_float_that_is_none_does_not_become_a_whole_number(here, tiny, monkeypatch):
    soil(tiny)
    monkeypatch.setattr(Tiny, "spine", WholeSpine)
    run(here, TinyWithWholeSeats, tiny, "ingest", "refine")
    assert len(rows(here, "silver_signups")) == 120


class WholeSpine(Subscriptions):
    """With whole seats."""

    columns = WholeSeats.columns[2:]


class OddHistory(RegionHistory):
    """Divides by what may be nothing."""

    name = "region"
    columns = (*RegionHistory.columns, Column("odd", "double", "Odd"), Column("odder", "float", "Odder"))

    def compute(self, ws: Any, as_of: Any, since: Any) -> DataFrame:
        """Compute numbers that are none for two of the regions."""
        infinite, none = (f"CAST('{word}' AS DOUBLE)" for word in ("Infinity", "NaN"))
        odd = f"CASE region WHEN 'north' THEN {infinite} WHEN 'east' THEN {none} ELSE CAST(1 AS DOUBLE) END"
        rows = super().compute(ws, as_of, since)
        return rows.withColumn("odd", F.expr(odd)).withColumn("odder", F.expr(f"CAST(-({odd}) AS FLOAT)"))


class OddSpine(Subscriptions):
    """A spine with such numbers of its own."""

    columns = (*Subscriptions.columns, Column("odd", "double", "Odd"))
    odd_labels: ClassVar[bool] = False

    def spine(self, ws: Any) -> DataFrame:
        """Compute numbers that are none."""
        return super().spine(ws).withColumn("odd", F.expr("price * CAST('1e308' AS DOUBLE)"))

    def labels(self, ws: Any) -> DataFrame:
        """Compute labels that are none, where that is asked for."""
        rows = super().labels(ws)
        odd = F.when(F.col("account").endswith("1"), F.expr("CAST('NaN' AS DOUBLE)")).otherwise(F.col("cancelled"))
        return rows.withColumn("cancelled", odd) if self.odd_labels else rows


class OddTiny(Tiny):
    """The parts."""

    spine: type[LabelSpine] = OddSpine
    features = (OddHistory,)


def test_what_is_computed_so_is_written_as_null_and_said(here, tiny):
    summary = run(here, OddTiny, tiny, "ingest", "refine", "features")
    found = rows(here, "features_region")
    assert {row["odd"] for row in found if row["region"] in ("north", "east")} == {None}
    assert {row["odd"] for row in found if row["region"] in ("south", "west")} == {1.0}
    assert {row["odder"] for row in found} == {None, -1.0}
    spine = rows(here, "gold_spine")
    assert {row["odd"] for row in spine} == {None}
    assert len(spine) == 120
    concerned = sum(row["region"] in ("north", "east") for row in found)
    text = "numbers that are not finite were computed, and written as null:"
    assert f"features_region: {text} odd ({concerned} row(s)), odder ({concerned} row(s))." in summary.notes()
    assert f"gold_spine: {text} odd (120 row(s))." in summary.notes()


def test_a_label_that_is_none_is_an_error_that_says_how_many_there_are(here, tiny, monkeypatch):
    monkeypatch.setattr(OddSpine, "odd_labels", True)
    with pytest.raises(StageError, match=r"gold_labels: 12 label\(s\) are no finite numbers") as raised:
        run(here, OddTiny, tiny, "ingest", "refine")
    assert "OddSpine.labels()" in (raised.value.hint or "")


def test_a_table_may_have_columns_called_as_the_landed_text_is(here, tiny, monkeypatch):
    """`raw.amount` is landed text in an expectation, also beside a column `raw`, in silver and in the file."""

    class RawSignups(SilverSignups):
        """With a column `raw`."""

        name = "signups"
        columns = (*SilverSignups.columns, Column("raw", "string", "Raw", sql="concat(region, '!')"))
        expectations = (
            Expectation("region_landed", "raw.region IS NOT NULL AND raw = concat(raw.`region`, '!')"),
            Expectation("price_is_positive", "price > 0"),
        )

        def select(self) -> dict[str, Any]:
            """Read the landed text, with the column of its own."""
            return super().select() | {"raw": F.expr("concat(region, '!')")}

    class RawTiny(Tiny):
        """The parts."""

        silver = (RawSignups, SilverCancellations)

    run(here, RawTiny, tiny, "ingest", "refine")
    assert {row["raw"] for row in rows(here, "silver_signups")} == {"north!", "east!", "south!", "west!"}
    assert rows(here, "quarantine_signups") == []
