"""Days and times as files write them: the SQL that reads `31/12/2024`, and nothing else.

What is not written as declared becomes null, never another day: by `dd/MM/yyyy`, `12/31/2024` is none. Engines read
patterns of dates differently, so the text is brought into ISO 8601 first, which all read alike.
"""

from __future__ import annotations

from mlplatform.errors import UsageError, did_you_mean
from mlplatform.ingest.dialect import DATE_FORMATS, ISO, PLAIN, Dialect

_DIGITS = {"yyyy": "[0-9]{4}", "MM": "[0-9]{1,2}", "dd": "[0-9]{1,2}"}
_TIME = "[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"


def date_pattern(date_format: str) -> str:
    """Return the regular expression of a day's text, with or without a time after it: year, month and day as groups.

    Args:
        date_format: One of `DATE_FORMATS`.

    Raises:
        UsageError: If it is none of them.

    Examples:
        >>> date_pattern("dd/MM/yyyy").startswith("^([0-9]{1,2})[/]([0-9]{1,2})[/]([0-9]{4})")
        True
    """
    if date_format not in DATE_FORMATS:
        raise UsageError(f"{date_format!r} is no format of dates.", hint=did_you_mean(date_format, DATE_FORMATS))
    parts, mark = _parts(date_format)
    return f"^{f'[{mark}]'.join(f'({_DIGITS[part]})' for part in parts)}({_TIME})?$"


def day_places(date_format: str) -> tuple[int, int, int]:
    """Return the groups of `date_pattern` that hold year, month and day, counted from 1; the fourth is the time.

    Examples:
        >>> day_places("dd/MM/yyyy")
        (3, 2, 1)
    """
    parts, _ = _parts(date_format)
    return parts.index("yyyy") + 1, parts.index("MM") + 1, parts.index("dd") + 1


def iso_sql(landed: str, date_format: str, *, with_time: bool = True) -> str:
    """Return the SQL that rewrites a landed day as ISO 8601; null where it is not written so.

    Args:
        landed: The landed column, as it stands in SQL.
        date_format: How it is written.
        with_time: Whether a time that follows the day is kept.
    """
    text, pattern = f"trim({landed})", date_pattern(date_format)
    year, month, day = (f"regexp_extract({text}, '{pattern}', {place})" for place in day_places(date_format))
    time = f", regexp_extract({text}, '{pattern}', 4)" if with_time else ""
    iso = f"concat({year}, '-', lpad({month}, 2, '0'), '-', lpad({day}, 2, '0'){time})"
    return f"CASE WHEN {text} RLIKE '{pattern}' THEN {iso} END"


def time_sql(landed: str, *, dialect: Dialect = PLAIN) -> str:
    """Return the SQL that reads a landed column as a timestamp; null where it is not written as the dialect says.

    A time without a zone is one in UTC, a day without a time its beginning.

    Args:
        landed: The landed column, as it stands in SQL.
        dialect: Says how days are written; by default ISO 8601.

    Examples:
        >>> time_sql("`Asked on`")
        'try_to_timestamp(trim(`Asked on`))'
        >>> "lpad" in time_sql("sold", dialect=Dialect(date_format="dd/MM/yyyy"))
        True
    """
    if dialect.date_format == ISO:
        return f"try_to_timestamp(trim({landed}))"
    return f"try_to_timestamp({iso_sql(landed, dialect.date_format)})"


def _parts(date_format: str) -> tuple[list[str], str]:
    mark = next(sign for sign in date_format if not sign.isalpha())
    return date_format.split(mark), mark
