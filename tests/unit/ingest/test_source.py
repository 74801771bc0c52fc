"""A source: which files land, in which order, and when each could be known."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import ConfigError, StageError
from mlplatform.ingest.source import Source, end_of_period, start_of_period


class Quarterly(Source):
    name = "drops"
    files = "drops/*.csv*"
    columns = ("a",)

    def available_at(self, path: Path) -> datetime:
        return end_of_period(path)


class Undated(Source):
    name = "drops"
    files = "drops/*.csv*"
    columns = ("a",)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("loans_2005Q1.csv.gz", "2005-04-01"),
        ("loans_2005Q4.csv", "2006-01-01"),
        ("loans-2005-Q3.csv", "2005-10-01"),
        ("arrivals_2013-12.csv.gz", "2014-01-01"),
        ("arrivals_201302.csv", "2013-03-01"),
        ("events_2013-01-31.csv", "2013-02-01"),
        ("events_20121231.csv", "2013-01-01"),
        ("events_2012_02_28.csv", "2012-02-29"),
        ("events_2012-02-29.csv", "2012-03-01"),
    ],
)
def test_a_drop_is_complete_when_its_period_is_over(name, end):
    assert end_of_period(Path("2001-01/x") / name) == datetime.fromisoformat(end).replace(tzinfo=UTC)


@given(st.dates(datetime(1970, 1, 1).date(), datetime(2100, 1, 1).date()))  # noqa: DTZ001  (dates have no zone)
def test_the_end_lies_after_every_day_of_the_period(day):
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    quarter = (day.month - 1) // 3 + 1
    ends = [end_of_period(Path(name)) for name in (f"x_{day}.csv", f"x_{day:%Y-%m}.csv", f"x_{day.year}Q{quarter}.csv")]
    assert moment < ends[0] <= ends[1] <= ends[2]
    assert (ends[2] - moment).days <= 92


@pytest.mark.parametrize("name", ["loans.csv", "loans_05Q1.csv", "loans_2005Q5.csv", "2005.csv", "loans_20Q1.csv"])
def test_a_name_without_a_period_is_an_error_with_an_example(name):
    with pytest.raises(StageError, match="holds no period") as caught:
        end_of_period(Path(name))
    assert "loans_2005Q1" in caught.value.hint


@pytest.mark.parametrize("name", ["x_2005-13.csv", "x_2005-00.csv", "x_2005-02-30.csv"])
def test_a_period_that_does_not_exist_is_an_error(name):
    with pytest.raises(StageError, match="is not one"):
        end_of_period(Path(name))


def test_files_come_in_the_order_in_which_they_could_be_known(tmp_path):
    folder = tmp_path / "drops"
    folder.mkdir()
    for name in ("b_2005Q1.csv", "a_2005Q2.csv", "a_2005Q1.csv.gz", "c_2004Q4.csv"):
        (folder / name).write_text("a\n", encoding="utf-8")
    os.utime(folder / "c_2004Q4.csv")
    (folder / "notes.txt").write_text("", encoding="utf-8")
    (folder / "d_2003Q1.csv").mkdir()
    names = [path.name for path in Quarterly().landed(tmp_path)]
    assert names == ["c_2004Q4.csv", "a_2005Q1.csv.gz", "b_2005Q1.csv", "a_2005Q2.csv"]


def test_without_a_period_a_file_was_always_there(tmp_path):
    assert Undated().available_at(tmp_path / "x.csv") < datetime(1900, 1, 1, tzinfo=UTC)


def test_no_folder_and_no_file_are_errors_that_name_the_place(tmp_path):
    with pytest.raises(StageError, match="does not exist"):
        Quarterly().landed(tmp_path / "absent")
    with pytest.raises(StageError, match=r"No file matches drops/\*\.csv"):
        Quarterly().landed(tmp_path)


def test_bronze_keeps_the_columns_as_text_and_says_where_each_row_came_from():
    schema = Quarterly().bronze_schema()
    assert schema.names == ["a", "_rescued_data", "_file", "_row", "_available_at", "_ingested_at"]
    assert schema.field("a").nullable
    assert not any(schema.field(name).nullable for name in ("_file", "_row", "_available_at", "_ingested_at"))


class Everywhen(Source):
    name = "drops"
    files = "drops/*.csv"
    columns = ("a",)


class InAdvance(Everywhen):
    available = "period_start"


class Afterwards(Everywhen):
    available = "period_end"


@pytest.mark.parametrize(
    ("source", "known"),
    [(Everywhen, "0001-01-01"), (InAdvance, "2013-02-01"), (Afterwards, "2013-03-01")],
)
def test_a_source_says_when_its_files_can_be_known(source, known):
    assert source().available_at(Path("x_2013-02.csv")) == datetime.fromisoformat(known).replace(tzinfo=UTC)


@pytest.mark.parametrize("source", [InAdvance, Afterwards])
def test_where_the_name_says_when_a_name_without_a_period_is_refused(source):
    with pytest.raises(StageError, match="holds no period"):
        source().available_at(Path("x.csv"))


@given(st.dates(datetime(1970, 1, 1).date(), datetime(2100, 1, 1).date()))  # noqa: DTZ001  (dates have no zone)
def test_the_start_is_the_first_moment_of_the_period(day):
    quarter = (day.month - 1) // 3 + 1
    for name, first in (
        (f"x_{day}.csv", day),
        (f"x_{day:%Y%m%d}.csv", day),
        (f"x_{day:%Y-%m}.csv", day.replace(day=1)),
        (f"x_{day.year}Q{quarter}.csv", day.replace(month=3 * quarter - 2, day=1)),
    ):
        start = start_of_period(Path(name))
        assert start == datetime(first.year, first.month, first.day, tzinfo=UTC)
        assert start < end_of_period(Path(name))


@given(st.dates(datetime(1970, 1, 1).date(), datetime(2100, 1, 1).date()))  # noqa: DTZ001  (dates have no zone)
def test_a_period_ends_where_the_next_begins(day):
    following = day + timedelta(days=1)
    assert end_of_period(Path(f"x_{day}.csv")) == start_of_period(Path(f"x_{following}.csv"))


def test_files_of_the_same_moment_come_by_name_and_always_is_the_same_moment(tmp_path):
    folder = tmp_path / "drops"
    folder.mkdir()
    for name in ("b_2013-01.csv", "a_2013-02.csv", "c.csv"):
        (folder / name).write_text("a\n", encoding="utf-8")
    assert [path.name for path in Everywhen().landed(tmp_path)] == ["a_2013-02.csv", "b_2013-01.csv", "c.csv"]


def test_an_availability_that_there_is_not_is_refused():
    def declared_and_used():
        return type("Misspelt", (Everywhen,), {"available": "period_strat"})().available_at(Path("x_2013-02.csv"))

    with pytest.raises(ConfigError, match="period_start"):
        declared_and_used()


@pytest.mark.parametrize("name", ["store_120412_2013-01.csv", "part_000112_2013-01.csv"])
def test_a_number_in_the_name_is_no_period(name):
    assert end_of_period(Path(name)) == datetime(2013, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["x_9999-12.csv", "x_99991231.csv"])
def test_a_period_at_the_end_of_the_calendar_is_refused_with_our_error(name):
    with pytest.raises(StageError):
        end_of_period(Path(name))


@pytest.mark.parametrize(("columns", "says"), [(("a", "_file"), "_file is what bronze adds"), (("a", "A"), "twice")])
def test_columns_that_bronze_cannot_hold_are_refused_where_they_are_declared(columns, says):
    with pytest.raises(ConfigError, match=says):
        type("Drops", (Source,), {"name": "drops", "files": "*.csv", "columns": columns})
