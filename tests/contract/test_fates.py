"""What becomes of landed rows: the same in both homes, and what a reader of the files one by one would say."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa
import pytest

from mlplatform import Column, Expectation, SilverTable, Source
from mlplatform.errors import StageError
from mlplatform.naming import ObjectName
from mlplatform.refine.fates import fates
from mlplatform.refine.landed_rows import LandedRows
from mlplatform.refine.silver import BATCH
from tests.support.crossed import crossed

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NUMBERS = itertools.count()


class Landed(Source):
    """Readings as landed."""

    name = "readings"
    files = "readings_*.csv"
    available = "period_end"
    columns = ("id", "kind", "taken", "value")


class Readings(SilverTable):
    """Readings; those of another kind are none."""

    name = "readings"
    source = Landed
    keys = ("id",)
    known_at = "taken_at"
    where = "kind = 'ours'"
    columns = (
        Column("id", "int", "Number", nullable=False),
        Column("taken_at", "timestamp", "When", nullable=False, sql="try_to_timestamp(taken, 'yyyy-MM-dd')"),
        Column("value", "double", "What was read"),
        Column("note", "string", "What was written beside it", sql="nullif(trim(value), '7')"),
    )
    expectations = (Expectation("value_is_a_number", "value IS NOT NULL"),)


class Series(Readings):
    """Readings by number and time."""

    timeseries = True


class Corrected(Readings):
    """Readings, of which the newest delivery holds."""

    corrections = "newest"


class CorrectedSeries(Series):
    """Readings by number and time, of which the newest delivery holds."""

    corrections = "newest"


@dataclass
class Table:
    """A silver table beside its bronze table."""

    ws: Workspace
    silver: SilverTable
    bronze: ObjectName
    target: ObjectName
    files: list[str] = field(default_factory=list)

    def land(self, *files: list[list[str | None]]) -> list[str]:
        names = []
        for lines in files:
            names.append(f"readings_{len(self.files):02}.csv")
            self.files.append(names[-1])
            available_at = DAY + dt.timedelta(days=len(self.files))
            rows = [
                {
                    **dict(zip(Landed.columns, line, strict=True)),
                    "_file": names[-1],
                    "_row": number,
                    "_available_at": available_at,
                    "_ingested_at": available_at,
                }
                for number, line in enumerate(lines)
            ]
            self.ws.tables.append(self.bronze, pa.Table.from_pylist(rows, schema=Landed().bronze_schema()))
        return names

    def landed(self, files: list[str]) -> LandedRows:
        version = self.ws.tables.version(self.bronze)
        return LandedRows(self.ws, self.silver, self.target, self.bronze, version, files)

    def refine(self, files: list[str], *, batch: int = 1) -> dict[str, Counter]:
        """Refine files at once; return the provenance of good and bad rows, and how many are repeated or left out."""
        with fates(self.landed(files), beside=files) as rows:
            good = self.ws.frames.collect(rows.good, at_most=1000, what="good rows")
            bad = self.ws.frames.collect(rows.bad, at_most=1000, what="bad rows")
            counts = rows.counts
            self.ws.tables.append(self.target, rows.good.with_columns(nw.lit(batch, nw.Int64()).alias(BATCH)))
        assert (counts.good, counts.quarantined) == (good.num_rows, bad.num_rows)
        assert counts.rows == good.num_rows + bad.num_rows + counts.repeated + counts.left_out
        by_reason = Counter((row["_file"], row["reason"]) for row in bad.to_pylist())
        assert Counter(counts.bad) == by_reason
        if self.silver.corrections:
            corrected = [row for row in good.to_pylist() if row["_corrected_at"] is not None]
            assert counts.corrections == len(corrected)
            assert all(row["_corrected_at"] == max(row["_available_at"], row["taken_at"]) for row in corrected)
        for row in bad.to_pylist():
            assert set(json.loads(row["content"])) <= set(Landed.columns)
        return {
            "good": Counter((row["_file"], row["_row"]) for row in good.to_pylist()),
            "bad": Counter((row["_file"], row["_row"], row["reason"]) for row in bad.to_pylist()),
            "others": Counter(repeated=counts.repeated, left_out=counts.left_out),
        }


def table(ws: Workspace, silver: type[SilverTable]) -> Table:
    schema = f"fates{next(NUMBERS)}"
    made = Table(
        ws, silver(), ObjectName("dev", schema, "bronze_readings"), ObjectName("dev", schema, "silver_readings")
    )
    ws.tables.create(made.bronze, Landed().bronze_schema())
    ws.tables.create(made.target, silver().schema(), primary_keys=silver.row_keys, timeseries_column=silver.known_at)
    return made


class Reader:
    """Says of each row what becomes of it, one after the other."""

    def __init__(self, silver: type[SilverTable]) -> None:
        self.held: dict[tuple, tuple] = {}
        self.silver = silver

    def refine(self, files: dict[str, list[list[str | None]]]) -> dict[str, Counter]:
        found = {"good": Counter(), "bad": Counter(), "others": Counter(repeated=0, left_out=0)}
        before = dict(self.held)
        first: dict[tuple, tuple] = {}
        for name, lines in files.items():
            for number, (key, kind, taken, value) in enumerate(lines):
                reasons = [
                    reason
                    for reason, fails in (
                        ("id_is_null", key is None),
                        ("taken_at_is_null", taken is None),
                        ("value_is_a_number", value is None or value == "bad"),
                    )
                    if fails
                ]
                if kind != "ours":
                    found["others"]["left_out"] += 1
                elif reasons:
                    found["bad"][name, number, ", ".join(reasons)] += 1
                else:
                    identity = (key, taken) if self.silver.timeseries else (key,)
                    earlier = before.get(identity, first.get(identity))
                    if self.silver.corrections:
                        # What was delivered last counts, whichever file it came with.
                        earlier = first.get(identity, before.get(identity))
                        if earlier is not None and earlier != (value,):
                            earlier = None
                    if earlier is None:
                        first[identity] = (value,)
                        found["good"][name, number] += 1
                    elif earlier == (value,):
                        found["others"]["repeated"] += 1
                    else:
                        found["bad"][name, number, "duplicate_key"] += 1
        self.held |= first
        return found


def lines(chance: random.Random, count: int) -> list[list[str | None]]:
    return [
        [
            chance.choice(["1", "2", "3", "4", "5", None]),
            chance.choice(["ours", "ours", "ours", "theirs", None]),
            chance.choice(["2024-01-01", "2024-01-02", "2024-01-03", None]),
            chance.choice(["1", "2", "7", "bad", None]),
        ]
        for _ in range(count)
    ]


@pytest.mark.parametrize(("seed", "silver"), crossed(range(3), [Readings, Series, Corrected, CorrectedSeries]))
def test_each_row_has_one_fate_within_files_and_across_them(ws, silver, seed):
    chance = random.Random(seed)
    made, reader = table(ws, silver), Reader(silver)
    for batch in range(3):
        landed = [lines(chance, chance.randint(0, 8)) for _ in range(2)]
        names = made.land(*landed)
        assert made.refine(names, batch=batch) == reader.refine(dict(zip(names, landed, strict=True)))


def test_without_keys_that_exist_nothing_is_compared(ws):
    made = table(ws, Readings)
    for start in (0, 10):
        (name,) = made.land([[str(number), "ours", "2024-01-01", "1"] for number in range(start, start + 10)])
        found = made.refine([name])
        assert (found["good"].total(), found["bad"].total(), found["others"].total()) == (10, 0, 0)


def test_a_duplicate_keeps_what_landed(ws):
    made = table(ws, Readings)
    (name,) = made.land([["1", "ours", "2024-01-01", "1"], ["1", "ours", "2024-01-02", " 2 "]])
    with fates(made.landed([name]), beside=[name]) as rows:
        (bad,) = ws.frames.collect(rows.bad, at_most=10, what="bad rows").to_pylist()
    assert (bad["_row"], bad["reason"]) == (1, "duplicate_key")
    assert json.loads(bad["content"]) == {"id": "1", "kind": "ours", "taken": "2024-01-02", "value": " 2 "}


def test_what_is_refined_again_is_not_compared_with_itself(ws):
    made = table(ws, Readings)
    (name,) = made.land([["1", "ours", "2024-01-01", "1"], ["2", "ours", "2024-01-01", "bad"]])
    made.refine([name])
    with fates(made.landed([name]), beside=[name]) as rows:
        assert (rows.counts.good, rows.counts.quarantined) == (1, 1)
    with fates(made.landed([name]), beside=None) as rows:
        assert (rows.counts.good, rows.counts.repeated) == (0, 1)


def test_sql_that_cannot_be_computed_is_our_error(ws):
    class Wrong(Readings):
        """Its value is misspelt."""

        columns = (*Readings.columns[:2], Column("value", "double", "What was read", sql="try_cast(vlaue AS double)"))
        expectations = ()

    made = table(ws, Readings)
    made.silver = Wrong()
    (name,) = made.land([["1", "ours", "2024-01-01", "1"]])
    with (
        pytest.raises(StageError, match="silver_readings cannot be read from") as caught,
        fates(made.landed([name]), beside=[name]),
    ):
        pass
    assert "vlaue" in str(caught.value)


class Texts(Series):
    """Its SQL gives texts where numbers and times are declared."""

    columns = (
        Column("id", "int", "Number", nullable=False, sql="trim(id)"),
        Column("taken_at", "timestamp", "When", nullable=False, sql="trim(taken)"),
        *Readings.columns[2:],
    )


def test_keys_that_are_read_as_text_are_compared_as_what_is_declared(ws):
    made = table(ws, Texts)
    first, second = made.land(
        [
            ["1", "ours", "2024-01-01T06:30:00Z", "1"],
            ["01", "ours", "2024-01-01T07:30:00+01:00", "2"],
            ["x", "ours", "2024-01-01T06:30:00Z", "3"],
            ["2", "ours", "06:30", "4"],
        ],
        [["+1", "ours", "2024-01-01 06:30:00", "5"]],
    )
    found = made.refine([first])
    assert found["good"] == Counter([(first, 0)])
    duplicate, number, time = (first, 1, "duplicate_key"), (first, 2, "id_is_null"), (first, 3, "taken_at_is_null")
    assert found["bad"] == Counter([duplicate, number, time])
    assert made.refine([second])["bad"] == Counter([(second, 0, "duplicate_key")])
    assert ws.tables.to_arrow(made.target, at_most=10, columns=["id"]).column("id").to_pylist() == [1]


def test_rows_of_files_are_replaced_beside_those_of_others(ws):
    """As when all is refined again: the rows of some files take the place of those that are there."""
    made = table(ws, Readings)
    kept, again = made.land([["1", "ours", "2024-01-01", "1"]], [["2", "ours", "2024-01-01", "2"]])
    for name in (kept, again):
        made.refine([name])
    names = made.silver.schema().names
    with fates(made.landed([again]), beside=[again]) as rows:
        good = rows.good.with_columns(nw.lit(2, nw.Int64()).alias(BATCH)).select(*names)
        written = ws.tables.overwrite(made.target, good, where={"_file": [again]})
    assert written.rows == 1
    held = ws.tables.to_arrow(made.target, at_most=10, columns=["id", BATCH]).sort_by("id").to_pylist()
    assert held == [{"id": 1, BATCH: 1}, {"id": 2, BATCH: 2}]


class Rounded(Corrected):
    """Its SQL gives more than the table holds."""

    columns = (*Readings.columns[:2], Column("value", "float", "What was read", sql="try_cast(value AS double)"))
    expectations = ()


def test_what_the_table_rounds_is_no_correction_of_itself(ws):
    made = table(ws, Rounded)
    first, second = made.land([["1", "ours", "2024-01-01", "0.1"]], [["1", "ours", "2024-01-01", "0.1"]])
    assert made.refine([first])["good"].total() == 1
    assert made.refine([second])["others"]["repeated"] == 1


class NullReadings(Readings):
    """Readings, of which numbers that are none are missing."""

    columns = (
        *Readings.columns[:2],
        Column("value", "double", "What was read", not_finite="null"),
        Column("raw", "float", "The same", sql="CAST(try_cast(value AS double) AS float)"),
    )
    expectations = (Expectation("value_landed", "raw.value IS NOT NULL AND coalesce(raw > 0, true)"),)


NONE_OF_THEM = ("NaN", "nan", "inf", "-inf", "Infinity", "-Infinity", "1e400", "-1e400")


def test_a_number_that_is_not_finite_is_quarantined_with_the_column_named(ws):
    """Whatever an engine thinks of `NaN > 0`; what it does not read as a number at all is missing, as before."""
    readings = table(ws, Readings)
    lines = [[str(number), "ours", "2024-01-01", word] for number, word in enumerate(NONE_OF_THEM)]
    (name,) = readings.land([*lines, ["99", "ours", "2024-01-01", "1e300"]])
    found = readings.refine([name])
    assert found["good"] == {(name, len(lines)): 1}
    assert {reason for _, _, reason in found["bad"]} <= {"value_is_not_finite", "value_is_a_number"}
    assert (name, 0, "value_is_not_finite") in found["bad"]
    assert (name, 6, "value_is_not_finite") in found["bad"]


def test_such_a_number_is_null_where_the_column_says_so_also_beside_a_column_called_raw(ws):
    readings = table(ws, NullReadings)
    lines = [[str(number), "ours", "2024-01-01", word] for number, word in enumerate(NONE_OF_THEM)]
    (name,) = readings.land([*lines, ["98", "ours", "2024-01-01", "1e300"], ["99", "ours", "2024-01-01", "2.5"]])
    found = readings.refine([name])
    # Of the other column, a float, nothing was said.
    assert (name, len(lines), "raw_is_not_finite") in found["bad"]
    assert found["good"] >= Counter({(name, len(lines) + 1): 1})
    held = ws.tables.to_arrow(readings.target, at_most=100).to_pylist()
    assert {row["id"]: row["value"] for row in held}[99] == 2.5
