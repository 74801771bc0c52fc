"""How the days of a file are written: found by the whole file, and never guessed where two readings fit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mlplatform.as_of import parse_as_of, plausible
from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import DATE_FORMATS, ISO, DateFormat
from mlplatform.refine.dates import date_pattern, day_places

if TYPE_CHECKING:
    import pandas as pd

    from mlplatform.scaffold.given_data import GivenData

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?")

_SHORT_YEAR = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2}(\D|$)")
_WRITE = "Write 2024-01-31 or 2024-01-31T08:00:00"
_NOT_READ = "Years have four digits, a day 24 hours, and a zone is an offset as +01:00."


@dataclass(frozen=True)
class Days:
    """How days are written.

    Attributes:
        format: As in `dd/MM/yyyy`.
        note: What one must know about how that was found; empty: nothing.
    """

    format: DateFormat = ISO
    note: str = ""


def found_format(file: GivenData, timestamp: str | None, asked_for: DateFormat | None) -> Days:
    """Return how the days of a file's time are written.

    Args:
        file: The file.
        timestamp: The time's column; None: the file has none.
        asked_for: How somebody says that they are.

    Raises:
        UsageError: If days can be read in two ways, and no other column says which; or in none.
    """
    if timestamp is None or asked_for:
        return Days(asked_for or ISO)
    values = _values(file.rows[timestamp])
    formats = formats_of(values)
    if not values:
        return Days()
    if not formats:
        wrong = next((value for value in values if not _ISO.fullmatch(value)), values[0])
        why = "a year of two digits" if _SHORT_YEAR.match(wrong) else "no time in ISO 8601"
        raise UsageError(
            f"{file.origin}: {timestamp} is {wrong!r} somewhere, which is {why}, nor are all of "
            f"{', '.join(DATE_FORMATS[1:])}.",
            hint=f"{_WRITE}; 31/01/2024 in all rows does, too. {_NOT_READ} Is --timestamp the column meant?",
        )
    if len(formats) == 1:
        return Days(formats[0])
    example = next((value for value in values if len({_moment(value, one) for one in formats}) > 1), values[0])
    for column in file.header:
        others = [one for one in formats_of(_values(file.rows[column])) if one in formats]
        if column != timestamp and len(others) == 1:
            note = f"{example} is read as {others[0]}, as the days of {column} must be; alone it may be either"
            return Days(others[0], note)
    readings = " or ".join(f"{_moment(example, one):%Y-%m-%d} ({one})" for one in formats)
    raise UsageError(
        f"{file.origin}: the days of {timestamp} can be read in two ways: {example} is {readings}.",
        hint=f"Say which: --date-format {formats[0]}, or --date-format {formats[1]}.",
    )


def formats_of(values: Iterable[str]) -> list[DateFormat]:
    """Return the formats in which all of some texts are days; ISO 8601 alone, where they are written so.

    Examples:
        >>> formats_of(["31/12/2024", "01/02/2024"]), formats_of(["01/02/2024"])
        (['dd/MM/yyyy'], ['dd/MM/yyyy', 'MM/dd/yyyy'])
        >>> formats_of(["2024-12-31", "31/12/2024"])
        []
    """
    texts = list(values)
    if not texts:
        return []
    if all(_ISO.fullmatch(text) and _moment(text, ISO) for text in texts):
        return [ISO]
    return [one for one in DATE_FORMATS if one != ISO and all(_moment(text, one) for text in texts)]


def moments(origin: str, values: pd.Series[str], column: str, date_format: DateFormat) -> tuple[datetime, datetime]:
    """Return the first and the last time of a column.

    Args:
        origin: Where it is from, for messages.
        values: Its texts.
        column: Its name.
        date_format: How they are written.

    Raises:
        UsageError: If one is no time, or one that nobody can have meant; or if they cover too little.
    """
    times = []
    for value in _values(values):
        moment = _moment(value, date_format)
        if moment is None:
            written = "no time in ISO 8601" if date_format == ISO else f"no day as {date_format}"
            raise UsageError(
                f"{origin}: {column} is {value!r} somewhere, which is {written}.",
                hint=f"{_WRITE}, or say --date-format. {_NOT_READ}" if date_format == ISO else _NOT_READ,
            )
        try:
            times.append(plausible(parse_as_of(moment), what=column))
        except UsageError as error:
            raise UsageError(
                f"{origin}: {error.message}", hint="Leave such rows out: a time stands in each of the others."
            ) from None
    start, end = min(times), max(times)
    if end - start < timedelta(days=10):
        raise UsageError(
            f"{origin}: {column} covers {start:%Y-%m-%d} to {end:%Y-%m-%d}; ten days are the least that can be split.",
            hint="Leave --timestamp out, if the order in time means nothing.",
        )
    return start, end


def _values(values: pd.Series[str]) -> list[str]:
    return list(dict.fromkeys(value.strip() for value in values.dropna().unique()))


def _moment(text: str, date_format: DateFormat) -> datetime | None:
    """Return the time that a text says; None where it says none to the engine, which reads less than Python does."""
    iso = text
    if date_format != ISO:
        match = re.fullmatch(date_pattern(date_format), text)
        if not match:
            return None
        year, month, day = (match[place] for place in day_places(date_format))
        iso = f"{year}-{month:0>2}-{day:0>2}{match[4] or ''}"
    try:
        return datetime.fromisoformat(iso if _ISO.fullmatch(iso) else "")
    except ValueError:
        return None
