"""How the report writes numbers, times and names: one place, so that a table and a sentence say the same."""

from __future__ import annotations

import math
import re
from datetime import datetime

NOTHING = "\N{EN DASH}"
NOT_FINITE = "not finite"
_MINUTE = 60
_LONGEST = 28
_SMALL, _LARGE = 1e-3, 1e5
# Control characters but for tab and line breaks, lone surrogates, and Unicode's overrides of the writing direction.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def count(value: float | None) -> str:
    """Return a number of things with thousands separators; a dash for None.

    Examples:
        >>> count(32614), count(None) == NOTHING
        ('32,614', True)
    """
    return NOTHING if value is None else f"{value:,.0f}"


def number(value: float | None) -> str:
    """Return a measured value with about four digits; a dash for None.

    Examples:
        >>> number(0.66722), number(31.4159), number(1234567.0), number(2e-5), number(float("nan"))
        ('0.6672', '31.42', '1,234,567', '2e-05', 'not finite')
    """
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return NOT_FINITE
    size = abs(value)
    if size >= _LARGE:
        return f"{value:,.0f}"
    if 0 < size < _SMALL:
        return f"{value:.2g}"
    return f"{value:,.{max(0, 4 - len(str(int(size)))) if size >= 1 else 4}f}"


def limit(value: float | None) -> str:
    """Return a limit as somebody wrote it in a config, without digits that nobody set.

    Examples:
        >>> limit(0.25), limit(-0.0), limit(1000)
        ('0.25', '0', '1,000')
    """
    if value is None:
        return NOTHING
    return f"{value + 0.0:,.6g}"  # adding zero turns minus zero into zero


def percent(value: float | None) -> str:
    """Return a share as a percentage; two decimals under ten percent, where rates of rare events live.

    Examples:
        >>> percent(0.01738), percent(0.205)
        ('1.74%', '20.5%')
    """
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return NOT_FINITE
    return f"{value:.1%}" if abs(value) >= 0.1 else f"{value:.2%}"  # noqa: PLR2004


def moment(value: datetime | None) -> str:
    """Return a time in UTC: the day alone where it is midnight.

    Examples:
        >>> from mlplatform.as_of import parse_as_of
        >>> moment(parse_as_of("2006-01-01")), moment(parse_as_of("2006-01-01T06:30"))
        ('2006-01-01', '2006-01-01 06:30')
    """
    if value is None:
        return NOTHING
    if (value.hour, value.minute, value.second) == (0, 0, 0):
        return f"{value:%Y-%m-%d}"
    return f"{value:%Y-%m-%d %H:%M}"


def seconds(value: float | None) -> str:
    """Return a duration.

    Examples:
        >>> seconds(0.0004), seconds(4.0874), seconds(132.9)
        ('under 0.01 s', '4.09 s', '2 min 13 s')
    """
    if value is None:
        return NOTHING
    if value < 0.01:  # noqa: PLR2004
        return "under 0.01 s"
    if value < _MINUTE:
        return f"{value:.2f} s"
    whole = round(value)
    return f"{whole // _MINUTE} min {whole % _MINUTE} s"


def plural(amount: int, singular: str, several: str = "") -> str:
    """Return an amount with its noun.

    Examples:
        >>> plural(1, "step"), plural(1200, "step"), plural(2, "query", "queries")
        ('1 step', '1,200 steps', '2 queries')
    """
    return f"{count(amount)} {singular if amount == 1 else several or singular + 's'}"


def printable(text: str) -> str:
    r"""Return a text with the characters replaced that no page may hold, or that turn the direction of what follows.

    Examples:
        >>> printable("Größe") == "Größe", "\x00" in printable("a\x00b"), "\u202e" in printable("a\u202eb")
        (True, False, False)
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def brief(name: str) -> str:
    """Return a name short enough to stand beside an axis.

    Examples:
        >>> brief("amount"), len(brief("a" * 100))
        ('amount', 28)
    """
    text = " ".join(printable(name).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
