"""Finding out how a CSV file is written: its encoding, what separates values, whether it has a header.

What separates values is what cuts the header, and the lines after it, into the same number of values. A sniffer that
goes by the lines alone takes the comma of `1,5;2,5;3,5` for it: it is in each line as often (docs/decisions/0032).
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from mlplatform.errors import UsageError
from mlplatform.ingest.dialect import DELIMITERS, Delimiter, Encoding
from mlplatform.refine.numbers import NO_NUMBER, number_pattern

_CODECS = {"utf-8": "utf-8-sig", "latin-1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16"}
_SAMPLE = 2000
_JUDGED = 200
_MOSTLY = 0.9
# Where two cut all lines alike, the one that stands in numbers and texts least.
_RAREST_FIRST = ("\t", "|", ";", ",")
_CONTROL = re.compile(rb"[\x80-\x9f]")
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f]")
_NUMBER = re.compile("|".join(number_pattern("", *marks) for marks in ((",", "."), (".", ","))))
_DAY = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?")


def found_encoding(content: bytes) -> Encoding:
    """Return the encoding of a file's content.

    What is UTF-8 is no other one: other texts do not come out as such by chance. Of those of one byte a letter, Latin-1
    has no letters where Windows-1252 has some.

    Examples:
        >>> found_encoding("São Paulo".encode()), found_encoding("São Paulo".encode("latin-1"))
        ('utf-8', 'latin-1')
        >>> found_encoding("5 €".encode("cp1252")), found_encoding("a".encode("utf-16"))
        ('windows-1252', 'utf-16')
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "windows-1252" if _CONTROL.search(content) else "latin-1"
    return "utf-8"


def decoded(path: Path, content: bytes, encoding: Encoding) -> str:
    """Return a file's text.

    Raises:
        UsageError: If it is not of the encoding, or holds what no text has.
    """
    try:
        text = content.decode(_CODECS[encoding])
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        raise UsageError(
            f"{path} is not {encoding}: line {line} holds the byte {error.object[error.start]:#x}.",
            hint="Leave --encoding out, or export the file in UTF-8.",
        ) from None
    odd = _NO_TEXT.search(text)
    if odd and encoding != "utf-8":
        raise UsageError(
            f"{path} is no CSV file: it holds bytes that no text has ({odd[0]!r}).", hint="Export it as CSV, in UTF-8."
        )
    return text


def found_delimiter(text: str) -> Delimiter | None:
    r"""Return what separates a text's values; None where its header is one value, whatever separates them.

    Examples:
        >>> found_delimiter('id;"a;b";x\n1;"2,5";3,5\n'), found_delimiter("nome\nana\n")
        (';', None)
    """
    chosen: tuple[bool, int, int] | None = None
    delimiter: Delimiter | None = None
    for mark in DELIMITERS:
        counts = _counts(text, mark)
        if not counts or counts[0] == 1:
            continue
        alike = sum(count == counts[0] for count in counts) / len(counts)
        place = (alike >= _MOSTLY, counts[0], -_RAREST_FIRST.index(mark))
        if chosen is None or place > chosen:
            chosen, delimiter = place, mark
    return delimiter


def header_elsewhere(text: str) -> str:
    r"""Return a sentence about a header that does not stand in the first line, as below a title; empty: it seems to.

    Examples:
        >>> header_elsewhere("Relatório\n\nid;valor\n1;2,5\n2;3,5\n3;4,5\n")
        'Line 1 has 1 value(s), line 3 and those after it have 2: does the header stand there? Delete what is above it.'
        >>> header_elsewhere("id;valor\n1;2,5\n")
        ''
    """
    found: list[tuple[int, int, int]] = []
    for mark in DELIMITERS:
        counts = _counts(text, mark)
        usual = Counter(counts).most_common(1)[0][0] if counts else 0
        if usual > 1 and counts[0] < usual:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
            line = next(reader.line_num for record in reader if len(record) == usual)
            found.append((line, -usual, counts[0]))
    if not found:
        return ""
    # By the comma of decimals, too, lines fall apart, but their header does not: the one that begins first is meant.
    line, values, first = min(found)
    return (
        f"Line 1 has {first} value(s), line {line} and those after it have {-values}: does the header stand there? "
        "Delete what is above it."
    )


def looks_like_a_row(rows: list[list[str]]) -> bool:
    """Tell whether the first line of a file is a row as those after it: no name stands above numbers or days.

    Examples:
        >>> looks_like_a_row([["1", "ana"], ["2", "bia"]]), looks_like_a_row([["id", "nome"], ["2", "bia"]])
        (True, False)
        >>> looks_like_a_row([["id", "2020"], ["7", "1,5"]])
        False
    """
    if len(rows) <= 1:
        return False
    header, values = rows[0], rows[1:_JUDGED]
    above = [
        _is_value(name)
        for place, name in enumerate(header)
        if _mostly_values([row[place] for row in values if place < len(row)])
    ]
    return bool(above) and all(above)


def sample(text: str, delimiter: str) -> list[list[str]]:
    """Return the first records of a text, its header among them; blank lines are none."""
    records: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        records.extend(islice((record for record in reader if record), _SAMPLE))
    except csv.Error:
        # A value longer than Python's reader takes: what lies before it has to do.
        return records
    return records


def _counts(text: str, delimiter: str) -> list[int]:
    return [len(record) for record in sample(text, delimiter)]


def _is_value(cell: str) -> bool:
    cell = cell.strip()
    return bool(_NUMBER.search(cell) or _DAY.fullmatch(cell))


def _mostly_values(cells: list[str]) -> bool:
    kinds = Counter(_is_value(cell) for cell in cells if cell.strip().lower() not in NO_NUMBER)
    return kinds.total() > 0 and kinds[True] >= _MOSTLY * kinds.total()
