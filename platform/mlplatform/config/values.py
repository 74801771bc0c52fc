"""How times, durations and schedules are written in settings, and how large numbers may be."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from mlplatform.as_of import Duration, interval, parse_as_of, plausible
from mlplatform.config import cron
from mlplatform.errors import UsageError

MOST = 2_000_000_000
"""No number of rows, draws or runs is larger: engines count a limit in 32 bits."""
MOST_DRAWS = 100_000
LONGEST_DAYS = 36_500


def _duration(text: object) -> object:
    try:
        Duration.parse(str(text))
    except (UsageError, OverflowError) as error:
        raise ValueError(_in_one_line(error)) from None
    return text


def _positive(text: object) -> object:
    duration = Duration.parse(str(_duration(text)))
    if not (duration.months or duration.seconds):
        raise ValueError(f"{text!r} is no time at all: write a duration above zero, as in '1 day'")
    return text


def _interval(text: object) -> object:
    try:
        interval(str(text))
    except (UsageError, OverflowError) as error:
        raise ValueError(_in_one_line(error)) from None
    return text


def _in_one_line(error: Exception) -> str:
    return f"{error.message} {error.hint}".rstrip(" .") if isinstance(error, UsageError) else str(error)


def _time(value: object) -> object:
    if not isinstance(value, str | date | datetime):
        return value
    try:
        return parse_as_of(value).isoformat()
    except UsageError as error:
        raise ValueError(error.message) from None


def _as_of(value: object) -> object:
    text = _time(value)
    if not isinstance(text, str):
        return text
    try:
        plausible(parse_as_of(text), what="the time")
    except UsageError as error:
        raise ValueError(_in_one_line(error)) from None
    return text


def _cron(text: str) -> str:
    try:
        return cron.check(text)
    except UsageError as error:
        raise ValueError(str(error)) from None


# YAML turns a text that looks like a date into one.
TimeText = Annotated[str, BeforeValidator(_time)]
"""A point in time, such as `2003-01-01`."""
AsOfText = Annotated[str, BeforeValidator(_as_of)]
"""A time that a pipeline can be run for: not centuries away."""
DurationText = Annotated[str, BeforeValidator(_duration)]
"""A duration such as `36 months` or `2 hours`; a unit alone, as `quarter`, is one of them."""
PositiveText = Annotated[str, BeforeValidator(_positive)]
"""A duration above zero."""
IntervalText = Annotated[str, BeforeValidator(_interval)]
"""How often: a duration above zero."""
CronText = Annotated[str, AfterValidator(_cron)]
"""A Quartz cron expression, such as `0 30 5 * * ?`: every day at half past five."""
