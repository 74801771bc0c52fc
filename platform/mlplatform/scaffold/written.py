"""How data are written: what somebody says of it, and what a file shows beside."""

from __future__ import annotations

from dataclasses import dataclass

from mlplatform.ingest.dialect import DateFormat, Delimiter, Dialect, Encoding

_MARKS = {"\t": "a tab", ";": "';'", ",": "','", "|": "'|'", ".": "'.'", " ": "a blank", "'": "an apostrophe"}
_ENCODINGS = {"utf-8": "UTF-8", "latin-1": "Latin-1", "windows-1252": "Windows-1252", "utf-16": "UTF-16"}


@dataclass(frozen=True)
class WrittenAs:
    """What is known of how a file is written; None is to be found out.

    Attributes:
        delimiter: What separates values.
        encoding: Of its bytes.
        decimal: What separates decimals, in columns that can be read in two ways.
        date_format: How days are written.
    """

    delimiter: Delimiter | None = None
    encoding: Encoding | None = None
    decimal: str | None = None
    date_format: DateFormat | None = None


UNKNOWN = WrittenAs()


def described(dialect: Dialect) -> str:
    """Return a dialect in words.

    Examples:
        >>> described(Dialect(delimiter=";", encoding="latin-1", decimal=",", thousands=".", date_format="dd/MM/yyyy"))
        "';' between values, Latin-1, decimals by ',', thousands by '.', days as dd/MM/yyyy"
    """
    parts = [
        f"{_MARKS[dialect.delimiter]} between values",
        _ENCODINGS[dialect.encoding],
        f"decimals by {_MARKS[dialect.decimal]}",
        *([f"thousands by {_MARKS[dialect.thousands]}"] if dialect.thousands else []),
        f"days as {dialect.date_format}",
    ]
    return ", ".join(parts)
