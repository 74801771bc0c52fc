"""Days as files write them: the pattern says the same as a reading of our own, and what is ISO stays as it was."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import DATE_FORMATS, Dialect
from mlplatform.refine.dates import date_pattern, day_places, time_sql
from mlplatform.refine.numbers import number_sql


def written(day: date, date_format: str) -> str:
    text = date_format.replace("yyyy", f"{day.year:04d}")
    return text.replace("MM", f"{day.month:02d}").replace("dd", f"{day.day:02d}")


@given(st.dates(), st.sampled_from(DATE_FORMATS))
def test_a_day_is_found_where_its_format_has_it(day: date, date_format: str) -> None:
    match = re.search(date_pattern(date_format), written(day, date_format))
    assert match is not None
    assert tuple(int(match[place]) for place in day_places(date_format)) == (day.year, day.month, day.day)


@pytest.mark.parametrize(
    "text", ["31/12/24", "31/12/2024x", "x31/12/2024", "31/12/2024 8h", "31-12-2024", "2024/12/31"]
)
def test_what_is_written_otherwise_is_no_day(text: str) -> None:
    assert not re.search(date_pattern("dd/MM/yyyy"), text)


def test_plain_days_are_read_as_ever() -> None:
    assert time_sql("`a``b`") == "try_to_timestamp(trim(`a``b`))"
    with pytest.raises(UsageError, match="no format of dates"):
        date_pattern("dd/MM/yy")


def test_numbers_are_given_a_dialect_or_separators() -> None:
    with pytest.raises(UsageError, match="a dialect, and separators"):
        number_sql("a", decimal=",", dialect=Dialect())
    assert number_sql("a", dialect=Dialect()) == number_sql("a")
