"""How a source's CSV files are written: what separates values, and how numbers, dates and letters stand in them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Literal, get_args

from mlplatform.errors import ConfigError, did_you_mean

Delimiter = Literal[",", ";", "\t", "|"]
Encoding = Literal["utf-8", "latin-1", "windows-1252", "utf-16"]
DateFormat = Literal[
    "yyyy-MM-dd",
    "yyyy/MM/dd",
    "yyyy.MM.dd",
    "dd/MM/yyyy",
    "dd.MM.yyyy",
    "dd-MM-yyyy",
    "MM/dd/yyyy",
    "MM.dd.yyyy",
    "MM-dd-yyyy",
]
DELIMITERS: tuple[Delimiter, ...] = get_args(Delimiter)
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
DATE_FORMATS: tuple[DateFormat, ...] = get_args(DateFormat)
ISO: DateFormat = "yyyy-MM-dd"
_DECIMALS = (".", ",")
_THOUSANDS = ("", ".", ",", " ", "'")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    r"""How the CSV files of a source are written: declared once, and the same for every file that lands.

    The delimiter and the encoding say how bytes become cells of text, which bronze keeps as they landed. The decimal
    separator, that of thousands and the date format say how silver reads them: in columns without SQL of their own, and
    in `number_sql` and `time_sql`, where the dialect is handed to them. Around values stand `"`, doubled inside.

    See the glossary: docs/glossary.md

    Attributes:
        delimiter: What separates values: `,`, `;`, a tab or `|`.
        encoding: `utf-8` (with a byte order mark, or without), `latin-1`, `windows-1252` or `utf-16`. A file of other
            bytes is refused, with its first line of such.
        decimal: What separates decimals: `.` or `,`.
        thousands: What may separate thousands: `.`, `,`, a blank, `'`, or nothing.
        date_format: How days are written, as in `dd/MM/yyyy`. A day or month may have one digit, a year has four; a
            time may follow, as in `31/12/2024 08:30`.

    Examples:
        >>> Dialect(delimiter=";", decimal=",", date_format="dd/MM/yyyy").is_plain
        False
        >>> Dialect(delimiter=":")
        Traceback (most recent call last):
        mlplatform.errors.ConfigError: Dialect.delimiter is ':'. It is one of ',', ';', '\t', '|'. ...
    """

    delimiter: Delimiter = ","
    encoding: Encoding = "utf-8"
    decimal: str = "."
    thousands: str = ""
    date_format: DateFormat = ISO

    def __post_init__(self) -> None:
        """Refuse what is not supported.

        Raises:
            ConfigError: Naming the attribute, and what it may be.
        """
        _check("delimiter", self.delimiter, DELIMITERS)
        _check("encoding", self.encoding, ENCODINGS)
        _check("decimal", self.decimal, _DECIMALS)
        _check("thousands", self.thousands, _THOUSANDS)
        _check("date_format", self.date_format, DATE_FORMATS)
        if self.thousands == self.decimal:
            raise ConfigError(
                f"Dialect: decimals and thousands are both separated by {self.decimal!r}.",
                hint="Which separates decimals? Leave thousands out where nothing separates them.",
            )

    @property
    def has_plain_numbers(self) -> bool:
        """Whether numbers are as a program writes them."""
        return self.decimal == "." and not self.thousands

    @property
    def is_plain(self) -> bool:
        """Whether it is that of a source which declares none."""
        return self == PLAIN

    def declared(self) -> dict[str, str]:
        """Return what differs from a source that declares no dialect, by the name of the attribute."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


def _check(name: str, value: object, allowed: Collection[str]) -> None:
    if value in allowed:
        return
    near = did_you_mean(value, allowed) if isinstance(value, str) and value else ""
    raise ConfigError(
        f"Dialect.{name} is {value!r}. It is one of {', '.join(map(repr, allowed))}.",
        hint=near or "Have the files delivered so.",
    )


PLAIN = Dialect()
"""Of a source that declares none: commas, UTF-8, points, ISO 8601."""
