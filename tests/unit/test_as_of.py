"""Times from outside, calendar durations, and the steps of a simulation."""

from __future__ import annotations

import calendar
import contextlib
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.as_of import EVERY, MOST_STEPS, Duration, _how_many, parse_as_of, plausible, steps
from mlplatform.errors import UsageError

MOMENTS = st.integers(0, 40 * 366 * 86_400).map(lambda s: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_time_without_a_zone_is_utc():
    assert parse_as_of("2006-01-01T06:30:00") == at("2006-01-01T06:30:00")
    assert parse_as_of(datetime.fromisoformat("2006-01-01")) == at("2006-01-01")
    assert parse_as_of(date(2006, 1, 1)) == at("2006-01-01")


def test_a_time_with_a_zone_is_moved_to_utc():
    berlin = timezone(timedelta(hours=1))
    assert parse_as_of("2006-01-01T00:00:00+01:00") == at("2005-12-31T23:00:00")
    assert parse_as_of(datetime(2006, 1, 1, tzinfo=berlin)).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "2006-13-01", "2006-02-30", "now", "1136073600", "2006"])
def test_what_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="not a time") as caught:
        parse_as_of(text)
    assert "2006-01-01" in caught.value.hint


@given(MOMENTS)
def test_what_is_written_reads_back(moment):
    assert parse_as_of(moment.isoformat()) == moment


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("1 month", "2003-01-31", "2003-02-28"),
        ("1 month", "2004-01-31", "2004-02-29"),
        ("1 month", "2003-03-31", "2003-04-30"),
        ("1 quarter", "2003-11-30", "2004-02-29"),
        ("36 months", "2003-01-31", "2006-01-31"),
        ("1 year", "2004-02-29", "2005-02-28"),
        ("4 years", "2004-02-29", "2008-02-29"),
        ("2 weeks", "2003-12-25", "2004-01-08"),
        ("1 day", "2004-02-28", "2004-02-29"),
        ("90 minutes", "2003-12-31T23:00:00", "2004-01-01T00:30:00"),
        ("0 days", "2003-12-31", "2003-12-31"),
    ],
)
def test_calendar_arithmetic_keeps_to_the_last_day_of_a_shorter_month(text, start, end):
    assert Duration.parse(text).after(at(start)) == at(end)


@pytest.mark.parametrize(
    ("text", "end", "start"),
    [
        ("1 month", "2003-03-31", "2003-02-28"),
        ("12 months", "2004-02-29", "2003-02-28"),
        ("2 hours", "2013-01-01T01:00:00", "2012-12-31T23:00:00"),
    ],
)
def test_a_duration_is_taken_off_by_the_calendar_too(text, end, start):
    assert Duration.parse(text).before(at(end)) == at(start)


@given(MOMENTS, st.integers(0, 600))
def test_months_keep_the_day_where_the_month_has_it_and_never_move_to_another_month(moment, months):
    after = Duration(months=months).after(moment)
    assert (after.year * 12 + after.month) - (moment.year * 12 + moment.month) == months
    assert after.day == min(moment.day, calendar.monthrange(after.year, after.month)[1])
    assert after.time() == moment.time()


@given(MOMENTS, st.integers(0, 10**8))
def test_seconds_are_taken_off_as_they_were_put_on(moment, seconds):
    duration = Duration(seconds=seconds)
    assert duration.before(duration.after(moment)) == moment


@given(
    st.integers(0, 500), st.sampled_from(["minute", "hour", "day", "week", "month", "quarter", "year"]), st.booleans()
)
def test_the_text_of_a_duration_reads_back_as_the_same(count, unit, plural):
    parsed = Duration.parse(f" {count} {unit.upper()}{'S' if plural else ''} ")
    assert Duration.parse(str(parsed)) == parsed
    assert Duration.parse(parsed) is parsed


@pytest.mark.parametrize("text", ["", "months", "3", "-1 day", "1.5 months", "3 weks", "1 month 2 days", None, 36])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="not a duration") as caught:
        Duration.parse(text)
    assert "36 months" in caught.value.hint


def test_both_ends_of_a_simulation_are_included():
    found = list(steps(at("2006-01-01"), at("2007-01-01"), "quarter"))
    assert found == [at(f"2006-{month:02d}-01") for month in (1, 4, 7, 10)] + [at("2007-01-01")]


def test_the_end_is_left_out_when_no_step_falls_on_it():
    assert list(steps(at("2006-01-01"), at("2006-03-31"), "month"))[-1] == at("2006-03-01")


def test_a_start_that_is_the_end_is_one_step():
    assert list(steps(at("2006-01-01"), at("2006-01-01"), "month")) == [at("2006-01-01")]


def test_steps_of_months_do_not_drift_after_a_short_month():
    found = list(steps(at("2004-01-31"), at("2004-05-31"), "month"))
    assert [moment.day for moment in found] == [31, 29, 31, 30, 31]


@given(MOMENTS, st.integers(0, 2000), st.sampled_from([*EVERY[1:], "6 months", "10 days", "36 hours"]))
def test_steps_rise_are_unique_and_stay_within_the_ends(start, days, every):
    end = start + timedelta(days=days)
    found = list(steps(start, end, every))
    assert found == sorted(set(found))
    assert found[0] == start
    assert found[-1] <= end
    step = Duration.parse(f"1 {every}" if every in EVERY else every)
    # Complete: there was no room for one more. A month counted from a clipped day may fall a few days short.
    assert step.after(found[-1]) + timedelta(days=3 if step.months else 0) > end


@pytest.mark.parametrize("every", ["0 days", "0 months", "never", ""])
def test_an_interval_that_leads_nowhere_is_refused(every):
    with pytest.raises(UsageError):
        list(steps(at("2006-01-01"), at("2007-01-01"), every))


def test_an_end_before_the_start_is_refused():
    with pytest.raises(UsageError, match="lies before"):
        list(steps(at("2007-01-01"), at("2006-01-01"), "month"))


@pytest.mark.parametrize("every", ["9999 years", "99999999999 days"])
def test_an_interval_beyond_the_calendar_gives_the_start_alone_or_a_usage_error(every):
    with contextlib.suppress(UsageError):
        assert list(steps(at("2000-01-01"), at("2001-01-01"), every)) == [at("2000-01-01")]


def test_a_time_beyond_the_calendar_is_a_usage_error():
    with pytest.raises(UsageError):
        parse_as_of("9999-12-31T23:59:59-05:00")


# What nobody can have meant

NOW = at("2026-06-01")


@pytest.mark.parametrize(
    "text",
    ["0001-01-01", "1402-10-11", "1899-12-31", "2200-01-01", "2262-04-12", "9999-12-31", "9999-12-31T23:59:59.999999"],
)
def test_a_time_centuries_away_is_not_plausible(text):
    with pytest.raises(
        UsageError, match=rf"--as-of {text[:10]} is not plausible: it does not lie between 1900"
    ) as caught:
        plausible(parse_as_of(text), what="--as-of")
    assert "Gregorian" in caught.value.hint


@pytest.mark.parametrize("text", ["1900-01-01", "2026-06-01", "2076-06-01", "2199-12-31T23:59:59"])
def test_a_time_that_a_pipeline_can_be_run_for_is(text):
    assert plausible(parse_as_of(text), what="--as-of") == parse_as_of(text)


@pytest.mark.parametrize(("text", "accepted"), [("2076-06-01", True), ("2076-06-02", False), ("2569-06-01", False)])
def test_by_the_clock_no_more_than_fifty_years_lie_ahead(text, accepted):
    if accepted:
        assert plausible(parse_as_of(text), what="--as-of", now=NOW)
        return
    with pytest.raises(UsageError, match="not plausible"):
        plausible(parse_as_of(text), what="--as-of", now=NOW)


@pytest.mark.parametrize(
    ("end", "every", "many"),
    [
        ("2166-01-01", "1 minute", "87,308,641"),
        ("2006-01-01", "1 minute", "3,156,481"),
        ("2200-01-01", "day", None),
        ("2100-01-01", "hour", "876,601"),
        ("2100-01-01", "month", None),
    ],
)
def test_more_steps_than_anybody_takes_are_refused_with_their_number_and_at_once(end, every, many):
    start = at("2000-01-01")
    if many is None:
        assert len(list(steps(start, at(end), every))) <= MOST_STEPS
        return
    with pytest.raises(UsageError, match=rf"are {many} steps of {every}; at most 100,000") as caught:
        next(steps(start, at(end), every))
    assert "one part after the other" in caught.value.hint


@settings(max_examples=30)
@given(MOMENTS, st.integers(0, 3000), st.sampled_from([*EVERY, "6 months", "10 days", "36 hours", "90 minutes"]))
def test_the_number_of_steps_is_known_before_they_are_taken(start, days, every):
    end = start + timedelta(days=days)
    step = Duration.parse(f"1 {every}" if every in EVERY else every)
    off = 1 if step.months else 0
    assert abs(_how_many(start, end, step) - len(list(steps(start, end, every)))) <= off


@pytest.mark.parametrize("text", ["1001 years", "1000000000000000000000 months", "366001 days", "99999999999 minutes"])
def test_a_duration_of_more_than_a_thousand_years_is_refused(text):
    with pytest.raises(UsageError, match="longer than 1,000 years"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["9" * 4301 + " days", " " * 200 + "1 day", "x" * 5_000_000])
def test_a_text_without_end_is_no_duration_and_quoted_in_short(text):
    with pytest.raises(UsageError, match="characters"):
        Duration.parse(text)


@pytest.mark.parametrize(("text", "moment"), [("1000 years", "0900-01-01"), ("366000 days", "0900-01-01")])
def test_a_duration_that_leads_out_of_the_calendar_is_a_usage_error(text, moment):
    length = Duration.parse(text)
    with pytest.raises(UsageError, match="beyond the calendar"):
        length.before(at(moment))
    with pytest.raises(UsageError, match="beyond the calendar"):
        length.after(at("9500-01-01"))


@given(st.text(max_size=40) | st.from_regex(r"\A\s*[0-9]{1,30}\s*(minute|day|month|year)s?\s*\Z"))
def test_whatever_is_given_for_a_duration_or_a_time_is_one_or_our_error(text):
    for read in (Duration.parse, parse_as_of):
        with contextlib.suppress(UsageError):
            read(text)


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from(["1 minute", "3 months", "1000 years", "365000 days"]))
def test_a_moment_of_any_year_moved_by_any_duration_is_one_or_our_error(moment, text):
    for move in (Duration.parse(text).after, Duration.parse(text).before):
        with contextlib.suppress(UsageError):
            assert isinstance(move(moment), datetime)
